//! One lsphp with a listener of its own: its state, and the memory that it may come to need.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Numbers generations in the order in which they were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u32);

/// How large a pool is wanted, and what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Workers, extra ones included.
    pub workers: u32,
    /// Opcode cache and lsphp's parent, once for each generation.
    pub fixed_mib: u32,
    /// A worker.
    pub estimate_mib: u32,
    /// What all generations together may need.
    pub budget_mib: u64,
}

impl Size {
    /// What so many workers need.
    pub fn workers_mib(&self, workers: u32) -> u64 {
        u64::from(workers) * u64::from(self.estimate_mib)
    }

    /// How many fit into the budget beside what is held; not more than are wanted.
    pub(super) fn fitting(&self, held_mib: u64) -> u32 {
        let room = self.budget_mib.saturating_sub(held_mib + u64::from(self.fixed_mib));
        u32::try_from(room / u64::from(self.estimate_mib.max(1))).unwrap_or(u32::MAX).min(self.workers)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting(Wait),
    Serving,
    Draining,
    Retiring { since: Duration },
}

/// For memory, or after a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Not to be spawned before.
    pub(super) not_before: Duration,
    /// For so long after that, and after the one before has retired, only with all of its workers.
    pub(super) whole: Duration,
    /// After that with these at least.
    pub(super) least: u32,
    /// In any case.
    pub(super) until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    pub id: Id,
    pub state: State,
    pub size: Size,
    /// What it was spawned with; fewer than wanted where memory was short. 0: not spawned.
    pub ceiling: u32,
    /// Workers that are there.
    pub workers: u32,
    /// Whether lsphp's parent, which can fork more workers, is there.
    pub has_parent: bool,
    /// How long a request may take, which lsphp's parent sees to while it is there; `None`: nobody needs to any more.
    pub(super) longest_request: Option<Duration>,
}

impl Generation {
    pub(super) fn opened(id: Id, size: Size, wait: Wait) -> Self {
        let state = State::Starting(wait);
        Self { id, state, size, ceiling: 0, workers: 0, has_parent: false, longest_request: None }
    }

    /// What it may come to need: every worker that it may have, until its parent has left those that there are to pid 1.
    pub(super) fn holds_mib(&self) -> u64 {
        let workers = if self.has_parent { self.ceiling } else { self.workers };
        let fixed = if self.has_parent || self.workers > 0 { self.size.fixed_mib.into() } else { 0 };
        fixed + self.size.workers_mib(workers)
    }

    /// When a request that was taken before it retired has had its time.
    pub(super) fn is_late_at(&self) -> Option<Duration> {
        match self.state {
            State::Retiring { since } => self.longest_request.map(|longest| since + longest),
            _ => None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        !self.has_parent && self.workers == 0
    }
}
