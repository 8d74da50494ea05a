//! Children that have ended, and the end of them all.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{error, info, warn};

use super::pid1::Supervisor;
use super::pool::{Ending, Event, Id, State};
use super::processes;
use crate::running::events;
use crate::sys;

/// The shell's code of a process that SIGKILL ended.
const KILLED: u8 = 128 | Signal::SIGKILL as u8;

/// Workers that the kernel kills for one lack of memory end together, and lsphp tells of them one by one.
const TOGETHER: Duration = Duration::from_secs(2);

/// What the kernel has killed for lack of memory.
#[derive(Debug)]
pub struct OomKills {
    /// `None`: the kernel does not say.
    pub(super) count: Option<u64>,
    /// When more were seen last.
    pub(super) rose: Option<Duration>,
}

impl OomKills {
    /// Whether one of them can be what has just ended, where there are `count` at `now`.
    fn are_recent(&mut self, count: Option<u64>, now: Duration) -> bool {
        if count > self.count {
            self.rose = Some(now);
        }
        self.count = count;
        self.rose.is_some_and(|rose| now < rose + TOGETHER)
    }
}

impl Supervisor<'_> {
    /// Every child that has ended, lsphp or an orphan of the site's.
    pub(super) fn reap(&mut self) {
        let mut died = Vec::new();
        while let Some((pid, code)) = sys::reap() {
            if let Some(id) = self.generations.ended(pid) {
                self.generations.adopt(id);
                died.push((id, pid, code));
            } else if let Some(session) = self.session.as_mut().filter(|session| session.is_probe(pid)) {
                session.probe_ended(code);
            } else if self.own_reload.ended(pid) {
                self.watch.reloaded(code == 0, self.now());
            }
        }
        for (id, workers) in self.generations.orphans() {
            self.happen(Event::Workers(id, workers));
        }
        for (id, pid, code) in died {
            self.tell_death(id, pid, code);
            self.happen(Event::Died(id, code));
        }
    }

    /// One that was asked to leave leaves without a word.
    fn tell_death(&mut self, id: Id, pid: Pid, code: u8) {
        let serving = self
            .pool
            .generations()
            .iter()
            .any(|generation| generation.id == id && generation.state == State::Serving);
        if serving {
            let cause = if code == KILLED && self.oom_killed() {
                "the kernel killed it for lack of memory; raise the container's memory limit"
            } else {
                "see its lines above; it is started again, and the fifth end within 60 s ends the container"
            };
            warn!("lsphp {pid} ended with {code}: {cause}");
        }
    }

    /// Whether the kernel has killed something for lack of memory just now.
    pub(super) fn oom_killed(&mut self) -> bool {
        let kills = events::read(Path::new("/"), &self.event_files).oom_kills;
        self.oom_kills.are_recent(kills, self.now())
    }

    /// Ends workers that nobody else does: an lsphp that retires has left them.
    pub(super) fn cut(&mut self, id: Id) {
        for worker in self.generations.workers(id) {
            if let Some(script) = processes::script(worker) {
                warn!(
                    "worker {worker} is killed in {script}: its request took longer than LSAPI_MAX_PROCESS_TIME; raise it if such a request is expected"
                );
            }
            processes::signal(worker, Signal::SIGKILL);
        }
    }

    /// What is cut is named, because the front end may send it again; nothing else is begun, and nothing left to run on.
    pub(super) fn finish(&mut self, ending: Ending) {
        self.generations.freeze();
        if ending == Ending::Cut {
            for worker in self.generations.all_workers() {
                if let Some(script) = processes::script(worker) {
                    warn!(
                        "worker {worker} is cut in {script}: the front end may send its request again; raise CAC_STOP_TIMEOUT and the runtime's stop timeout"
                    );
                }
            }
        }
        if let Some(session) = &mut self.session {
            session.stop();
        }
        self.generations.kill();
        self.finish_output();
        match ending {
            Ending::Stopped => info!("stopped: every request was answered"),
            Ending::Cut => info!("stopped before every request was answered"),
            Ending::Failed(code) => {
                error!("lsphp ended too often, at last with {code}: the container ends; see the lines above");
            }
            Ending::NoListener => error!("no lsphp is left to serve: the container ends; see the line above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_lack_of_memory_ends_at_once_have_that_cause() {
        let at = Duration::from_millis;
        let mut kills = OomKills { count: Some(3), rose: None };
        let seen = [(0, 3), (10, 5), (10, 5), (2009, 5), (2010, 5), (5000, 6), (7000, 6)];
        let recent = seen.map(|(ms, count)| kills.are_recent(Some(count), at(ms)));
        assert_eq!(recent, [false, true, true, true, false, true, false]);
        assert!(!kills.are_recent(None, at(7001)), "the kernel does not say");
    }
}
