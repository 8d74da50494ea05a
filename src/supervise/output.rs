//! lsphp's stderr, on its way to the log.

use tracing::{info, warn};

use super::pid1::Supervisor;
use super::pool::Event;
use super::stderr::Line;

impl Supervisor<'_> {
    pub(super) fn read_output(&mut self) {
        let mut buffer = [0; 4096];
        // As much as a pipe holds: a site that floods must not keep pid 1 from its other work.
        for _ in 0..16 {
            let Ok(length @ 1..) = nix::unistd::read(&self.output, &mut buffer) else { break };
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            let now = self.now();
            let mut stderr = std::mem::take(&mut self.stderr);
            let lines = stderr.take(&bytes, now, &mut || self.oom_killed());
            self.stderr = stderr;
            lines.iter().for_each(log);
            let crashes = self.stderr.take_crashes();
            self.see_crashes(crashes);
        }
        self.stderr.flush(Some(self.now())).iter().for_each(log);
    }

    /// A new lsphp for one that keeps connections it should close; whoever has one is answered first.
    pub(super) fn look_at_the_busy_count(&mut self) {
        let is_calm = self.session.is_none() && !self.pool.is_stopping() && !self.pool.is_replacing();
        let now = self.now();
        if is_calm && self.stderr.busy_count.is_lost(now) {
            info!(
                "lsphp has lost count of its busy workers and keeps connections from others: a new one takes over"
            );
            self.happen(Event::Replace(self.specification.size));
        }
    }

    /// The last of it, counts that are not due included.
    pub(super) fn finish_output(&mut self) {
        self.read_output();
        self.stderr.flush(None).iter().for_each(log);
    }
}

fn log(line: &Line) {
    let hint = line.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    match line.repeated {
        0 => warn!("lsphp: {}{hint}", line.text),
        more => warn!("lsphp: {}{hint}; {more} more like it", line.text),
    }
}
