//! pid 1 that stays above lsphp (`CAC_SUPERVISE=1`), so that a stop and a reload lose no request.
//!
//! [`pool`] decides what happens to the generations of lsphp, as a pure machine; [`pid1`] is the loop that feeds
//! it and does what it says, with [`generations`] for processes and [`crate::listener::group`] for sockets. [`session`] is a
//! reload as pid 1 sees it, [`control`] what it and `cac-lsphp reload` say to each other.

mod busy_count;
pub mod control;
mod crashes;
mod ends;
mod generations;
mod memory_watch;
pub mod name;
mod output;
mod own_reload;
mod pid1;
pub mod pool;
mod processes;
mod session;
pub mod stderr;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::fcntl::OFlag;

use self::control::Specification;
use self::generations::Generations;
use self::pid1::Supervisor;
use self::pool::Ending;
use crate::cgroup::EventFiles;
use crate::fault::{Fault, Object};
use crate::listener::group::{Group, Member};
use crate::privileges::{ExecError, SiteUser};

/// What root has opened for pid 1.
#[derive(Debug)]
pub struct Opened {
    pub group: Group,
    /// Gets every new connection to the group already.
    pub first: Member,
    /// Where `cac-lsphp reload` speaks; `None`: it cannot.
    pub control: Option<UnixListener>,
}

/// Why pid 1 could not begin, or had to end in the middle.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error("{0}")]
    System(Fault),
}

impl From<io::Error> for SuperviseError {
    fn from(cause: io::Error) -> Self {
        let hint = "let seccomp allow signalfd, poll and prctl, or unset CAC_SUPERVISE";
        Self::System(Fault::new("supervising lsphp", Object::Nothing, cause, hint))
    }
}

/// Serves until the container is stopped. The process is already the site's user.
pub fn run(
    site_user: &SiteUser,
    home: &Path,
    specification: Specification,
    opened: Opened,
    event_files: EventFiles,
) -> Result<Ending, SuperviseError> {
    site_user.settle(home)?;
    // Not the site's to trace or to write to, though it has the same uid.
    nix::sys::prctl::set_dumpable(false).map_err(io::Error::from)?;
    // Where it is not pid 1, workers whose lsphp has ended are to be found all the same.
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    let (output, stderr) = pipe()?;
    let Opened { group, first, control } = opened;
    if let Some(control) = &control {
        control.set_nonblocking(true)?;
    }
    let generations = Generations::new(site_user, group, first, stderr);
    let supervisor = Supervisor::new(generations, specification, control, output, event_files);
    Ok(supervisor.and_then(Supervisor::run).map_err(io::Error::from)?)
}

/// Only pid 1's end never waits: lsphp's must, or its lines would be lost.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}
