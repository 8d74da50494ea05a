//! From root to the site user for good, and the proof.
//!
//! [`Privileged`] is needed for root's effects and consumed by the drop; [`SiteUser`] comes out of
//! it and is the only thing that can exec. The wrong order does not compile.

mod capabilities;
mod drop;
mod exec;
mod proof;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use self::exec::{Program, Stdin, not_executed, set_umask, unusable};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fault::{Cause, Fault, Object};
use crate::identity::{Gid, StartedAs, Uid};

/// The state before the drop. On a non-root start it holds only what the runtime gave.
#[derive(Debug)]
pub struct Privileged {
    started_as: StartedAs,
}

/// The state after the drop, proven by reading back.
#[derive(Debug)]
pub struct SiteUser {
    /// The signals that exec would leave ignored, a bit each, the lowest for signal 1.
    ignored_signals: u64,
}

/// What the process shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub uid: Uid,
    pub gid: Gid,
    pub no_new_privs: bool,
}

/// The process is not what it shall be. Nothing may be executed after it.
fn not_dropped(operation: impl fmt::Display, cause: impl Into<Cause>, hint: &'static str) -> Failure {
    let operation = format!("dropping privileges: {operation}");
    Failure::new(Exit::Privileges, Fault::new(operation, Object::Nothing, cause, hint))
}

impl Privileged {
    /// The privileges that this process was started with. There is one of them: whoever consumed it
    /// in the drop cannot get another to work as root with.
    ///
    /// # Errors
    /// They have been taken before.
    pub fn take() -> Result<Self, Failure> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(not_dropped("starting", "the privileges have been taken before", "please report it"));
        }
        Ok(Self { started_as: StartedAs::of_this_process() })
    }

    pub fn started_as(&self) -> StartedAs {
        self.started_as
    }

    pub fn is_root(&self) -> bool {
        self.started_as.uid == 0
    }

    /// Gives up everything but what `target` says, irrevocably, and proves it.
    ///
    /// Warnings (a bounding set that cannot be emptied, groups that a non-root start cannot drop)
    /// come back beside the new state.
    pub fn become_site_user(self, target: Target) -> Result<(SiteUser, Vec<Fault>), Failure> {
        let (after, warnings) = drop::irrevocably(self.started_as, target)?;
        Ok((SiteUser { ignored_signals: after.ignored_signals }, warnings))
    }
}
