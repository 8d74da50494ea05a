//! An lsphp that runs on the listener with which it is to take over, before visitors come there: it is warmed up, and
//! then stopped until memory has room for its workers.
//!
//! The opcode cache is in memory that lsphp's parent holds, so that no worker need stay. While the parent is stopped
//! nobody forks or accepts, however many connections wait, and it can be ended where less than all of its workers have
//! room.

use std::ffi::OsString;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::processes::{self, signal};
use crate::listener::group::Member;

/// One that only a reload asks.
#[derive(Debug)]
pub struct Standby {
    pub listener: Member,
    pub running: Running,
    /// It was warmed up, and takes over next.
    pub is_held: bool,
}

/// The processes of an lsphp that has no visitors.
#[derive(Debug)]
pub struct Running {
    pub lsphp: Pid,
    pub executed: PathBuf,
    pub environment: Vec<(OsString, OsString)>,
}

impl Running {
    /// Asks an idle worker to leave, whom `asked` gets; whether there is none any more. One after the other, as lsphp
    /// miscounts those that leave together, see [`super::busy_count`].
    pub fn is_left(&self, mut asked: impl FnMut(Pid)) -> bool {
        let workers = processes::children(self.lsphp, &self.executed);
        let idle = workers.iter().copied().find(|worker| processes::script(*worker).is_none());
        // In a request it would be the request's end. lsphp says a word about it with LSAPI_CLEAN_SHUTDOWN=0 (seen).
        if let Some(worker) = idle {
            signal(worker, Signal::SIGTERM);
            asked(worker);
        }
        workers.is_empty()
    }

    pub fn stop(&self) {
        signal(self.lsphp, Signal::SIGSTOP);
    }

    pub fn go_on(&self) {
        signal(self.lsphp, Signal::SIGCONT);
    }

    /// Ends all of it, a page that is late with it.
    pub fn end(&self) {
        let workers = processes::children(self.lsphp, &self.executed);
        signal(self.lsphp, Signal::SIGKILL);
        workers.into_iter().for_each(|worker| signal(worker, Signal::SIGKILL));
    }
}
