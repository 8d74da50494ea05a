//! Workers that crash again and again: a damaged file in opcache's file cache does that to PHP, after each restart
//! too. Then lsphp goes on without the cache.

use std::collections::VecDeque;
use std::time::Duration;

use tracing::warn;

use super::pid1::Supervisor;
use super::pool::Event;

/// This many crashes in this time are no accident.
const MOST: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// When workers crashed.
#[derive(Debug, Default)]
pub struct Crashes(VecDeque<Duration>);

impl Crashes {
    /// Whether `more` at `now` make it too many; then counting begins anew.
    fn are_too_many(&mut self, more: usize, now: Duration) -> bool {
        self.0.retain(|crash| now.saturating_sub(*crash) < WINDOW);
        self.0.extend(std::iter::repeat_n(now, more.min(MOST)));
        let too_many = self.0.len() >= MOST;
        if too_many {
            self.0.clear();
        }
        too_many
    }
}

impl Supervisor<'_> {
    pub(super) fn see_crashes(&mut self, more: usize) {
        let now = self.now();
        if !self.specification.has_file_cache() || !self.crashes.are_too_many(more, now) {
            return;
        }
        self.specification = self.specification.without_file_cache();
        self.goes_without_file_cache = true;
        warn!(
            "opcache's file cache is switched off: workers crashed {MOST} times within {} s, and a damaged file in it can be the cause; run cac-lsphp opcache reset, then cac-lsphp reload",
            WINDOW.as_secs()
        );
        self.happen(Event::Replace(self.specification.size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_within_a_minute_are_too_many() {
        let at = Duration::from_secs;
        let mut crashes = Crashes::default();
        let seen = [(0, 1), (1, 1), (60, 1), (61, 0), (62, 1), (63, 1), (64, 1), (65, 9), (66, 2)];
        let too_many = seen.map(|(second, more)| crashes.are_too_many(more, at(second)));
        assert_eq!(too_many, [false, false, false, false, false, true, false, true, false]);
    }
}
