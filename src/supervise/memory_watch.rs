//! `CAC_WATCH_MEMORY`: a look at the memory limit from time to time.

use std::path::Path;
use std::time::Duration;

use crate::cgroup;

/// The limit as it was seen last.
#[derive(Debug)]
pub struct MemoryWatch {
    every: Option<Duration>,
    next: Duration,
    /// In bytes; `None`: there is none.
    limit: Option<u64>,
}

impl MemoryWatch {
    /// Begins with the limit as it is now; without `every` it never looks.
    pub fn every(every: Option<Duration>) -> Self {
        let limit = every.and_then(|_| limit());
        Self { every, next: every.unwrap_or_default(), limit }
    }

    /// Looks as often as this from now on; what is known stays, so that no change is overlooked.
    pub fn set(&mut self, every: Option<Duration>, now: Duration) {
        if self.every == every {
            return;
        }
        if self.every.is_none() {
            self.limit = limit();
        }
        self.every = every;
        self.next = now + every.unwrap_or_default();
    }

    pub fn wakes_at(&self) -> Option<Duration> {
        self.every.map(|_| self.next)
    }

    /// The limit before and after, if it is time to look and it has changed.
    pub fn look(&mut self, now: Duration) -> Option<(String, String)> {
        let every = self.every.filter(|_| now >= self.next)?;
        self.next = now + every;
        let before = std::mem::replace(&mut self.limit, limit());
        (before != self.limit).then(|| (readable(before), readable(self.limit)))
    }
}

fn limit() -> Option<u64> {
    cgroup::detect(Path::new("/")).memory.map(|limit| limit.bytes)
}

fn readable(limit: Option<u64>) -> String {
    limit.map_or_else(|| "none".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
}
