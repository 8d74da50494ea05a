//! One look after the other: how long each worker has been busy with the same script.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::estimate::Peaks;
use super::{Down, Row, Status, StatusPlan};
use crate::running::RunRecord;

/// A worker with a script.
type Work = (u32, u64, String);

/// What earlier looks have seen.
#[derive(Debug, Default)]
pub struct Watch {
    /// Since when; a worker that was done with it and began again in between two looks counts on.
    busy_since: HashMap<Work, Instant>,
    peaks: Peaks,
}

impl Watch {
    /// Looks once more.
    ///
    /// # Errors
    /// lsphp does not run.
    pub fn look(&mut self, root: &Path, run: &RunRecord<StatusPlan>) -> Result<Status, Down> {
        let status = super::look(root, run, &mut self.peaks)?;
        self.see(&status, Instant::now());
        Ok(status)
    }

    fn see(&mut self, status: &Status, now: Instant) {
        let since = |work: Work| {
            let since = self.busy_since.get(&work).copied().unwrap_or(now);
            (work, since)
        };
        self.busy_since = status.workers.iter().filter_map(work).map(since).collect();
    }

    /// How long it has been busy with what it is busy with, as far as was watched.
    pub fn busy_for(&self, row: &Row) -> Option<Duration> {
        self.busy_since.get(&work(row)?).map(Instant::elapsed)
    }

    /// `line`, and what has taken longest.
    pub fn line(&self, line: String, status: &Status) -> String {
        let busy =
            status.workers.iter().filter_map(|row| Some((self.busy_for(row)?, row.script.as_deref()?)));
        match busy.max_by_key(|(busy, _)| *busy) {
            Some((busy, script)) => format!("{line}; longest busy {}: {script}", super::text::time(busy)),
            None => line,
        }
    }
}

fn work(row: &Row) -> Option<Work> {
    Some((row.pid, row.start_ticks, row.script.clone()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::{busy, example};

    #[test]
    fn a_worker_is_busy_since_it_was_first_seen_with_its_script() {
        let mut watch = Watch::default();
        let start = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let seen = |workers| Status { workers, ..example() };
        watch.see(&seen(vec![busy(8, "/a.php"), busy(9, "/b.php")]), start);
        let later = start + Duration::from_secs(4);
        let status =
            seen(vec![busy(8, "/a.php"), busy(9, "/c.php"), Row { start_ticks: 77, ..busy(8, "/a.php") }]);
        watch.see(&status, later);
        let seconds = |row: &Row| watch.busy_for(row).map(|busy| busy.as_secs() >= 10);
        let known: Vec<_> = status.workers.iter().map(seconds).collect();
        assert_eq!(known, [Some(true), Some(false), Some(false)], "the third is another with its pid");
        assert_eq!(watch.busy_for(&busy(9, "/b.php")), None, "that is over");
        let line = watch.line("x".into(), &status);
        assert!(line.starts_with("x; longest busy 1") && line.ends_with(" s: /a.php"), "{line}");
        assert_eq!(watch.line("x".into(), &seen(vec![])), "x");
    }
}
