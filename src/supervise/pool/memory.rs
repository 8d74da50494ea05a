//! When memory has room for the next lsphp, and for how many of its workers.

use std::time::Duration;

use super::{Action, Generation, Pool, State, Wait};

/// How long after a generation retired its idle workers have surely left; busy ones are waited for longer.
const IDLE_LEAVE: Duration = Duration::from_millis(50);

/// How long one waits for room for all of its workers: then fewer start. Most requests are over by then, and those that
/// wait meanwhile would share the processors with them.
const WHOLE_WAIT: Duration = Duration::from_millis(300);

/// How long after a try to grow that memory did not allow the next one may come: each try makes new
/// connections wait.
const GROWTH_PAUSE: Duration = Duration::from_secs(60);

/// How many times the grace a try to grow waits before it would begin with no more workers than there are: those who
/// wait meanwhile would wait for a worker of the small one too, which still serves its queue.
const GROWTH_GRACES: u32 = 5;

/// lsphp has a process manager only with two children and more.
pub(super) const MIN_WORKERS: u32 = crate::sizing::MIN_CHILDREN;

impl Wait {
    /// When fewer than all workers may start. What is queued before the last one retires costs nobody anything: it is
    /// served with all that memory has room for.
    fn ends_whole(&self, last_retired: Option<Duration>) -> Duration {
        let retired = last_retired.map(|since| since + self.whole.max(IDLE_LEAVE));
        retired.unwrap_or_default().max(self.not_before + self.whole)
    }
}

impl Pool {
    /// When [`Event::Tick`] is due next; `None`: nothing waits for time to pass.
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let starting = self.generations.iter().flat_map(|generation| match generation.state {
            State::Starting(wait) => {
                let Wait { not_before, until, .. } = wait;
                [not_before, wait.ends_whole(self.last_retired()), until]
                    .map(|time| Some(time.max(not_before)))
            }
            _ => [None; 3],
        });
        let growing = self.small().map(|_| self.grows_at);
        let late = self.generations.iter().filter_map(Generation::is_late_at);
        starting.flatten().chain(growing).chain(late).filter(|time| *time > now).chain(self.deadline).min()
    }

    /// Starts lsphp where memory allows it, or where it has been waited for long enough.
    pub(super) fn spawn(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let held: u64 = self.generations.iter().map(Generation::holds_mib).sum();
        let retired = self.last_retired();
        let (patience, stopping) = (self.patience, self.is_stopping());
        for generation in &mut self.generations {
            let State::Starting(wait) = generation.state else { continue };
            if now < wait.not_before {
                continue;
            }
            let size = generation.size;
            let fitting = size.fitting(held);
            // With nothing beside it, what the plan says is what there is, overcommitted or not.
            let alone = held == 0;
            let fewer = fitting >= wait.least && now >= wait.ends_whole(retired);
            let enough = fitting == size.workers || fewer;
            if !alone && !enough && now < wait.until {
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

    /// What one that is opened now waits for, if nothing else is said.
    pub(super) fn wait(&self, now: Duration) -> Wait {
        Wait { not_before: now, whole: WHOLE_WAIT, least: MIN_WORKERS, until: now + self.patience.grace }
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
    fn small(&self) -> Option<&Generation> {
        match self.generations.as_slice() {
            [only] if only.state == State::Serving && !self.is_full_size() && !self.is_stopping() => {
                Some(only)
            }
            _ => None,
        }
    }

    pub(super) fn grow(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(small) = self.small().filter(|_| now >= self.grows_at).map(|small| small.ceiling) else {
            return;
        };
        self.grows_at = now + GROWTH_PAUSE;
        let grace = self.patience.grace;
        let wait =
            Wait { whole: grace, least: small + 1, until: now + GROWTH_GRACES * grace, ..self.wait(now) };
        self.open(wait, actions);
    }
}
