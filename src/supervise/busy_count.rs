//! Whether lsphp still knows how many of its workers hold a connection.
//!
//! It counts them in memory that all share, and closes a connection after an answer while there are
//! `LSAPI_MAX_BUSY_WORKER` or more. But when its handler of SIGCHLD finds two workers that have ended, it takes
//! the second one off that count though it held none (seen with the SAPI of PHP 8.2 and 8.4: the value that a
//! failed comparison leaves behind is compared with the next time). Workers of one burst leave together, so the
//! count sinks, below zero even, and connections are kept again: each takes a worker from the other processes of
//! the front end. Only a new lsphp counts from the beginning.

use std::time::Duration;

/// lsphp says so ten times a second while a connection waits and it may fork no more, so that all workers hold one;
/// one line may be of the moment between two connections.
const LINES: u32 = 10;

/// Between two new generations for this reason; each begins with an empty opcode cache.
const PAUSE: Duration = Duration::from_secs(20);

/// What lsphp's lines about its limit of children told.
#[derive(Debug, Default)]
pub struct BusyCount {
    /// Lines in a row with fewer busy workers than there are.
    too_low: u32,
    not_before: Duration,
}

impl BusyCount {
    /// Takes `Reached max children process limit: 7, extra: 0, current: 7, busy: -2, …`.
    pub fn hear(&mut self, line: &str) {
        if let (Some(workers), Some(busy)) = (number(line, "current: "), number(line, "busy: ")) {
            self.too_low = if busy < workers { self.too_low.saturating_add(1) } else { 0 };
        }
    }

    /// Whether it is time for a new lsphp; it is asked for once.
    pub fn is_lost(&mut self, now: Duration) -> bool {
        let lost = self.too_low >= LINES && now >= self.not_before;
        if lost {
            *self = Self { too_low: 0, not_before: now + PAUSE };
        }
        lost
    }
}

fn number(line: &str, name: &str) -> Option<i64> {
    let (_, rest) = line.split_once(name)?;
    rest.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn says(busy: i32) -> String {
        format!(
            "Reached max children process limit: 7, extra: 0, current: 7, busy: {busy}, please increase LSAPI_CHILDREN."
        )
    }

    fn after(counts: impl IntoIterator<Item = i32>) -> BusyCount {
        let mut count = BusyCount::default();
        counts.into_iter().for_each(|busy| count.hear(&says(busy)));
        count
    }

    #[test]
    fn a_count_that_stays_below_the_workers_is_lost() {
        assert!(after([-2; 10]).is_lost(NOW));
        assert!(after([6; 10]).is_lost(NOW));
        assert!(!after([-2; 9]).is_lost(NOW));
    }

    #[test]
    fn one_right_count_among_them_means_the_others_were_of_a_moment() {
        assert!(!after([6, 5, 6, 6, 7, 6, 5, 6, 6, 6]).is_lost(NOW));
        assert!(!after([7; 100]).is_lost(NOW));
    }

    #[test]
    fn it_is_asked_for_once_and_again_after_the_pause() {
        let mut count = after([0; 10]);
        assert!(count.is_lost(NOW));
        assert!(!count.is_lost(NOW));
        (0..20).for_each(|_| count.hear(&says(0)));
        assert!(!count.is_lost(NOW + PAUSE - Duration::from_millis(1)));
        assert!(count.is_lost(NOW + PAUSE));
    }

    #[test]
    fn what_is_no_such_line_changes_nothing() {
        let mut count = after([0; 9]);
        for line in ["", "busy: -1", "current: 7, busy: many", "current: 7"] {
            count.hear(line);
        }
        assert!(!count.is_lost(NOW));
        count.hear(&says(0));
        assert!(count.is_lost(NOW));
    }
}
