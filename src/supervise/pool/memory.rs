//! When memory has room for the next lsphp, and for how many of its workers.

use std::time::Duration;

use super::{Action, Generation, Pool, State};

/// How long after a generation retired its idle workers have surely left; busy ones are waited for longer.
const IDLE_LEAVE: Duration = Duration::from_millis(50);

/// How long after a try to grow that memory did not allow the next one may come: each try makes new
/// connections wait for up to the grace.
const GROWTH_PAUSE: Duration = Duration::from_secs(60);

/// lsphp has a process manager only with two children and more.
pub(super) const MIN_WORKERS: u32 = crate::sizing::MIN_CHILDREN;

impl Pool {
    /// When [`Event::Tick`] is due next; `None`: nothing waits for time to pass.
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let starting = self.generations.iter().flat_map(|generation| match generation.state {
            State::Starting { opened, not_before, whole_until } => {
                let settled = self.last_retired().map_or(not_before, |since| since + IDLE_LEAVE);
                let grace_over = opened + self.patience.grace;
                [not_before, settled, whole_until, grace_over].map(|time| Some(time.max(not_before)))
            }
            _ => [None; 4],
        });
        let growing = self.may_grow().then_some(self.grows_at);
        let late = self.generations.iter().filter_map(Generation::is_late_at);
        starting.flatten().chain(growing).chain(late).filter(|time| *time > now).chain(self.deadline).min()
    }

    /// Starts lsphp where memory allows it, or where it has been waited for long enough.
    pub(super) fn spawn(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let held: u64 = self.generations.iter().map(Generation::holds_mib).sum();
        let idle_left = self.last_retired().is_none_or(|since| now >= since + IDLE_LEAVE);
        let (patience, stopping) = (self.patience, self.is_stopping());
        for generation in &mut self.generations {
            let State::Starting { opened, not_before, whole_until } = generation.state else { continue };
            if now < not_before {
                continue;
            }
            let size = generation.size;
            let fitting = size.fitting(held);
            // With nothing beside it, what the plan says is what there is, overcommitted or not.
            let alone = held == 0;
            let fewer = fitting >= MIN_WORKERS && idle_left && now >= whole_until;
            let enough = fitting == size.workers || fewer;
            if !alone && !enough && now < opened + patience.grace {
                continue;
            }
            let workers = if alone { size.workers } else { fitting.max(MIN_WORKERS) };
            let needed = held + u64::from(size.fixed_mib) + size.workers_mib(workers);
            generation.ceiling = workers;
            generation.has_parent = true;
            generation.longest_request = Some(patience.request);
            generation.state = if stopping { State::Draining } else { State::Serving };
            if !alone && needed > size.budget_mib {
                actions.push(Action::Overcommitted { by_mib: needed - size.budget_mib });
            }
            actions.push(Action::Spawn { id: generation.id, workers });
            if workers == size.workers {
                self.grows_at = Duration::ZERO; // memory allowed it: the next one need not wait
            }
            return; // what it holds counts for the next one
        }
    }

    fn last_retired(&self) -> Option<Duration> {
        let retired = self.generations.iter().filter_map(|generation| match generation.state {
            State::Retiring { since } => Some(since),
            _ => None,
        });
        retired.max()
    }

    pub(super) fn is_full_size(&self) -> bool {
        self.generations.iter().all(|generation| generation.ceiling == generation.size.workers)
    }

    /// One generation that began small, with nothing beside it any more.
    fn may_grow(&self) -> bool {
        !self.is_stopping()
            && matches!(self.generations.as_slice(), [only] if only.state == State::Serving && !self.is_full_size())
    }

    pub(super) fn grow(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.may_grow() && now >= self.grows_at {
            self.grows_at = now + GROWTH_PAUSE;
            self.open(Duration::ZERO, self.patience.grace, now, actions);
        }
    }
}
