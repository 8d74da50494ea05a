//! What pid 1 does with its generations of lsphp, as a pure machine: an event comes in, actions go out.
//!
//! A *generation* is one lsphp with a listener of its own. It goes through four states:
//!
//! ```text
//! starting ──spawn──▶ serving ──another takes over, or stop──▶ draining ──queue empty──▶ retiring ──▶ gone
//!     ▲                  │ lsphp died and nobody is left of it
//!     └──────────────────┘
//! ```
//!
//! *Starting*: new connections come to its listener and wait there for memory or for a pause after a death.
//! *Draining*: new connections go elsewhere; what is in its queue is still served. *Retiring*: its listener
//! is shut down and its workers leave after their request.

mod event;
mod generation;
mod memory;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::event::{Action, Ending, Event};
pub use self::generation::{Generation, Id, Size, State, Wait};

/// The first pause after a death; each further one in [`DEATH_WINDOW`] doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// This many deaths in this time are no accident: the container ends, so that the runtime sees it.
const FATAL_DEATHS: usize = 5;
const DEATH_WINDOW: Duration = Duration::from_secs(60);

/// The time limits that the plan names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// `CAC_RELOAD_GRACE`.
    pub grace: Duration,
    /// `CAC_STOP_TIMEOUT`.
    pub stop: Duration,
    /// `LSAPI_MAX_PROCESS_TIME`.
    pub request: Duration,
}

/// Every generation there is, and what is wanted of them.
#[derive(Debug)]
pub struct Pool {
    size: Size,
    patience: Patience,
    /// Oldest first.
    generations: Vec<Generation>,
    deaths: VecDeque<Duration>,
    /// A replacement that waits for the one under way.
    waiting: Option<Size>,
    /// When a generation that began small may be replaced by one of full size.
    grows_at: Duration,
    /// When a stop ends whatever is left.
    deadline: Option<Duration>,
    /// Nothing happens after the end.
    ended: bool,
    next: u32,
}

impl Pool {
    pub fn new(size: Size, patience: Patience) -> Self {
        Self {
            size,
            patience,
            generations: Vec::new(),
            deaths: VecDeque::new(),
            waiting: None,
            grows_at: Duration::ZERO,
            deadline: None,
            ended: false,
            next: 1,
        }
    }

    /// For stops and replacements that begin from now on.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    pub fn is_stopping(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether a replacement is under way.
    pub fn is_replacing(&self) -> bool {
        self.waiting.is_some() || self.generations.len() > 1 || !self.is_full_size()
    }

    /// What `event`, at the time `now`, calls for.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.ended {
            return actions;
        }
        match event {
            Event::Replace(size) => self.replace(size, now, &mut actions),
            Event::Stop => self.stop(now, &mut actions),
            Event::Died(id, code) => self.died(id, code, now, &mut actions),
            Event::NotOpened(id) => self.not_opened(id, &mut actions),
            Event::Workers(id, workers) => {
                if let Some(generation) = self.find(id) {
                    generation.workers = workers;
                }
            }
            Event::Drained(id) => self.retire(id, now, &mut actions),
            Event::Tick => {}
        }
        self.go_on(now, &mut actions);
        self.ended = actions.iter().any(|action| matches!(action, Action::End(_)));
        actions
    }

    fn find(&mut self, id: Id) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.id == id)
    }

    fn replace(&mut self, size: Size, now: Duration, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            return;
        }
        self.size = size;
        // Two listeners have room beside the parking one: a third waits until the oldest has left.
        let draining = self.generations.iter().any(|generation| generation.state == State::Draining);
        let starting =
            self.generations.iter_mut().find(|generation| matches!(generation.state, State::Starting(_)));
        match starting {
            Some(starting) => starting.size = size,
            None if draining => self.waiting = Some(size),
            None => self.open(self.wait(now), actions),
        }
    }

    /// A new generation takes every new connection from now on.
    fn open(&mut self, wait: Wait, actions: &mut Vec<Action>) {
        for generation in &mut self.generations {
            if generation.state == State::Serving {
                generation.state = State::Draining;
            }
        }
        let id = Id(self.next);
        self.next += 1;
        self.generations.push(Generation::opened(id, self.size, wait));
        actions.push(Action::Open(id));
    }

    fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            actions.push(Action::End(Ending::Cut));
            return;
        }
        self.deadline = Some(now + self.patience.stop);
        let soon = Wait { whole: Duration::ZERO, ..self.wait(now) };
        self.waiting = None;
        actions.push(Action::Park);
        for generation in &mut self.generations {
            match &mut generation.state {
                State::Serving => generation.state = State::Draining,
                // It has a queue of its own, which it is still to serve.
                State::Starting(wait) => *wait = Wait { not_before: wait.not_before, ..soon },
                State::Draining | State::Retiring { .. } => {}
            }
        }
    }

    fn died(&mut self, id: Id, code: u8, now: Duration, actions: &mut Vec<Action>) {
        let Some(generation) = self.find(id) else { return };
        generation.has_parent = false;
        if generation.state != State::Serving {
            return; // it was asked to, or is on its way out
        }
        let nobody_left = generation.workers == 0;
        self.deaths.retain(|death| now.saturating_sub(*death) < DEATH_WINDOW);
        self.deaths.push_back(now);
        if self.deaths.len() >= FATAL_DEATHS {
            actions.push(Action::End(Ending::Failed(code)));
            return;
        }
        let doublings = u32::try_from(self.deaths.len() - 1).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
        let wait = Wait { not_before: now + pause, whole: Duration::ZERO, ..self.wait(now) };
        if nobody_left {
            // Its listener is as good as new, and so is whoever waits there.
            let size = self.size;
            if let Some(generation) = self.find(id) {
                *generation = Generation::opened(id, size, wait);
            }
        } else {
            // The listener of the dead one needs the room of any that is still draining.
            self.retire_draining(now, actions);
            // Its workers would go on accepting without anybody to replace them.
            self.open(wait, actions);
        }
    }

    /// What served before goes on, as new connections still come to it; with nobody left to serve it is the end.
    fn not_opened(&mut self, id: Id, actions: &mut Vec<Action>) {
        self.generations.retain(|generation| generation.id != id);
        let mut before = self.generations.iter_mut().rev();
        match before.find(|old| old.state == State::Draining && old.has_parent) {
            Some(old) => {
                old.state = State::Serving;
                self.size = old.size;
            }
            None => actions.push(Action::End(Ending::NoListener)),
        }
    }

    fn retire_draining(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for generation in &mut self.generations {
            if generation.state == State::Draining {
                generation.state = State::Retiring { since: now };
                actions.push(Action::Retire(generation.id));
            }
        }
    }

    /// At a stop also one that was never spawned: nobody waits for it.
    fn retire(&mut self, id: Id, now: Duration, actions: &mut Vec<Action>) {
        let stopping = self.is_stopping();
        let may_retire = |state| match state {
            State::Draining => true,
            State::Starting(_) => stopping,
            State::Serving | State::Retiring { .. } => false,
        };
        let Some(generation) = self.find(id).filter(|generation| may_retire(generation.state)) else {
            return;
        };
        generation.state = State::Retiring { since: now };
        actions.push(Action::Retire(id));
    }

    /// What is due whatever happened.
    fn go_on(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.retire_the_dead(now, actions);
        self.cut_the_late(now, actions);
        self.forget_the_gone(actions);
        if self.deadline.is_some_and(|deadline| now >= deadline) && !self.generations.is_empty() {
            actions.push(Action::End(Ending::Cut));
            return;
        }
        if self.is_stopping() && self.generations.is_empty() {
            actions.push(Action::End(Ending::Stopped));
            return;
        }
        let draining = self.generations.iter().any(|generation| generation.state == State::Draining);
        if let Some(size) = self.waiting.filter(|_| !draining) {
            self.waiting = None;
            self.replace(size, now, actions);
        }
        self.spawn(now, actions);
        self.grow(now, actions);
    }

    /// Of a draining generation nobody is left who could empty its queue.
    fn retire_the_dead(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for generation in &mut self.generations {
            if generation.state == State::Draining && generation.is_gone() {
                generation.state = State::Retiring { since: now };
                actions.push(Action::Retire(generation.id));
            }
        }
    }

    /// lsphp's parent, which ends what takes too long, has left before its workers.
    fn cut_the_late(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for generation in &mut self.generations {
            if generation.is_late_at().is_some_and(|late| now >= late) {
                generation.longest_request = None;
                actions.push(Action::Cut(generation.id));
            }
        }
    }

    fn forget_the_gone(&mut self, actions: &mut Vec<Action>) {
        self.generations.retain(|generation| {
            let gone = matches!(generation.state, State::Retiring { .. }) && generation.is_gone();
            if gone {
                actions.push(Action::Forget(generation.id));
            }
            !gone
        });
    }
}

#[cfg(test)]
mod tests;
