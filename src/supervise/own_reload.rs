//! A reload that pid 1 asks for itself, on SIGHUP or because the memory limit has changed.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Pid;
use tracing::{info, warn};

use super::pid1::Supervisor;

/// The site can send SIGHUP as often as it likes.
const PAUSE: Duration = Duration::from_secs(1);

/// What is wanted, and what goes on.
#[derive(Debug, Default)]
pub struct OwnReload {
    /// Why; it waits for the pause and for any reload under way, so that what changed last counts.
    wanted: Option<&'static str>,
    running: Option<Pid>,
    /// When the next one may begin.
    not_before: Duration,
}

impl OwnReload {
    /// When it is to go on; `None`: when something happens.
    pub fn wakes_at(&self) -> Option<Duration> {
        (self.wanted.is_some() && self.running.is_none()).then_some(self.not_before)
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether that was it.
    pub fn ended(&mut self, pid: Pid) -> bool {
        self.running.take_if(|running| *running == pid).is_some()
    }
}

impl Supervisor<'_> {
    pub(super) fn want_reload(&mut self, why: &'static str) {
        self.own_reload.wanted = Some(why);
    }

    /// Not while a reload is about to tell what came of the last look.
    pub(super) fn may_look_at_memory(&self) -> bool {
        self.own_reload.wanted.is_none() && !self.own_reload.is_running() && !self.pool.is_stopping()
    }

    pub(super) fn look_at_memory(&mut self) {
        let now = self.now();
        if self.may_look_at_memory()
            && let Some((before, after)) = self.watch.look(now)
        {
            info!("the memory limit changed from {before} to {after}: the pool is resized");
            self.want_reload("the memory limit");
        }
    }

    /// Has the reload command plan anew, with this process's own environment and rights.
    pub(super) fn go_on_with_own_reload(&mut self) {
        let now = self.now();
        let is_due = self.own_reload.wakes_at().is_some_and(|due| now >= due);
        if !is_due || self.session.is_some() {
            return;
        }
        let Some(why) = self.own_reload.wanted.take() else { return };
        self.own_reload.not_before = now + PAUSE;
        if self.pool.is_stopping() {
            return;
        }
        match Command::new("/proc/self/exe").arg0("cac-lsphp").arg("reload").spawn() {
            Ok(child) => self.own_reload.running = Some(Pid::from_raw(child.id().cast_signed())),
            Err(cause) => {
                warn!("reloading for {why}: {cause}; run cac-lsphp reload in the container instead");
                self.watch.reloaded(false, now);
            }
        }
    }
}
