//! `CAC_WATCH_MEMORY`: a look at the memory limit from time to time.

use std::path::Path;
use std::time::Duration;

use crate::cgroup;

/// How long after a reload that did not work out the next look may come: it may fail for as long as nobody helps.
const PAUSE: Duration = Duration::from_secs(60);

/// The limit as it was seen last, and the one that counts.
#[derive(Debug)]
pub struct MemoryWatch {
    every: Option<Duration>,
    next: Duration,
    /// In bytes, the one that the pool has the size for; `None`: there is none.
    limit: Option<u64>,
    seen: Option<u64>,
}

impl MemoryWatch {
    /// Begins with the limit as it is now; without `every` it never looks.
    pub fn every(every: Option<Duration>) -> Self {
        let limit = every.and_then(|_| limit());
        Self { every, next: every.unwrap_or_default(), limit, seen: limit }
    }

    /// Looks as often as this from now on; what is known stays, so that no change is overlooked.
    pub fn set(&mut self, every: Option<Duration>, now: Duration) {
        if self.every == every {
            return;
        }
        if self.every.is_none() {
            self.limit = limit();
            self.seen = self.limit;
        }
        self.every = every;
        self.next = now + every.unwrap_or_default();
    }

    pub fn wakes_at(&self) -> Option<Duration> {
        self.every.map(|_| self.next)
    }

    /// The limit that the pool has the size for and the present one, if it is time to look and they differ.
    pub fn look(&mut self, now: Duration) -> Option<(String, String)> {
        let every = self.every.filter(|_| now >= self.next)?;
        self.next = now + every;
        self.see(limit())
    }

    fn see(&mut self, present: Option<u64>) -> Option<(String, String)> {
        self.seen = present;
        (self.limit != present).then(|| (readable(self.limit), readable(present)))
    }

    /// A reload that began after the last look has ended: the pool has the size for what was seen, or still not.
    pub fn reloaded(&mut self, worked: bool, now: Duration) {
        if worked {
            self.limit = self.seen;
        } else if self.limit != self.seen {
            self.next = now + PAUSE.max(self.every.unwrap_or_default());
        }
    }
}

fn limit() -> Option<u64> {
    cgroup::detect(Path::new("/")).memory.map(|limit| limit.bytes)
}

fn readable(limit: Option<u64>) -> String {
    limit.map_or_else(|| "none".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_change_is_one_until_the_pool_has_the_size_for_it() {
        let at = Duration::from_secs;
        let (every, sized) = (Some(at(10)), Some(2 * GIB));
        let mut watch = MemoryWatch { every, next: at(10), limit: sized, seen: sized };
        let changed = Some(("2048 MiB".to_owned(), "1024 MiB".to_owned()));
        assert_eq!(watch.see(Some(GIB)), changed);
        watch.reloaded(false, at(30));
        assert_eq!(watch.wakes_at(), Some(at(90)), "a plan that is refused is refused the next second too");
        assert_eq!(watch.see(Some(GIB)), changed, "it was not resized");
        watch.reloaded(true, at(100));
        assert_eq!((watch.see(Some(GIB)), watch.wakes_at()), (None, Some(at(90))));
        watch.reloaded(false, at(101));
        assert_eq!(watch.wakes_at(), Some(at(90)), "that was about something else");
        assert_eq!(watch.see(None), Some(("1024 MiB".to_owned(), "none".to_owned())));
    }
}
