//! An lsphp that runs on the listener with which it is to take over, before visitors come there: it is warmed up, and
//! then stopped until memory has room for its workers.
//!
//! While lsphp's parent is stopped nobody forks, however many connections wait. Its worker is stopped as well: so it
//! has accepted nothing, and both can be ended where less than all of the workers have room.

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
    /// Those that were there when it was stopped.
    workers: Vec<Pid>,
}

impl Running {
    pub fn new(lsphp: Pid, executed: PathBuf) -> Self {
        Self { lsphp, executed, workers: Vec::new() }
    }

    /// The parent first, so that it forks none behind our back.
    pub fn stop(&mut self) {
        signal(self.lsphp, Signal::SIGSTOP);
        self.workers = processes::children(self.lsphp, &self.executed);
        self.workers.iter().for_each(|worker| signal(*worker, Signal::SIGSTOP));
    }

    pub fn go_on(&self) {
        self.workers.iter().for_each(|worker| signal(*worker, Signal::SIGCONT));
        signal(self.lsphp, Signal::SIGCONT);
    }

    /// Ends all of it. Without its parent a worker that is stopped would stay for ever.
    pub fn end(&self) {
        let workers = processes::children(self.lsphp, &self.executed);
        signal(self.lsphp, Signal::SIGKILL);
        workers.into_iter().for_each(|worker| signal(worker, Signal::SIGKILL));
    }

    /// What is left to end when its lsphp has ended of itself.
    pub fn end_workers(&self) {
        self.workers.iter().for_each(|worker| signal(*worker, Signal::SIGKILL));
    }
}
