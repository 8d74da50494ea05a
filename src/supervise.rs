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
mod standby;
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
use crate::failure::Failure;
use crate::fault::Object;
use crate::listener::group::{Group, Member};
use crate::privileges::SiteUser;

/// What root has opened for pid 1.
#[derive(Debug)]
pub struct Opened {
    pub group: Group,
    /// Gets every new connection to the group already.
    pub first: Member,
    /// Where `cac-lsphp reload` speaks; `None`: it cannot.
    pub control: Option<UnixListener>,
}

/// Serves until the container is stopped. The process is already the site's user.
pub fn run(
    site_user: &SiteUser,
    home: &Path,
    specification: Specification,
    opened: Opened,
    event_files: EventFiles,
) -> Result<Ending, Failure> {
    site_user.settle(home)?;
    supervise(site_user, specification, opened, event_files).map_err(|cause| {
        let hint = "let seccomp allow signalfd, poll and prctl, or unset CAC_SUPERVISE";
        Failure::system("supervising lsphp", Object::Nothing, cause, hint)
    })
}

fn supervise(
    site_user: &SiteUser,
    specification: Specification,
    opened: Opened,
    event_files: EventFiles,
) -> io::Result<Ending> {
    // Not the site's to trace or to write to, though it has the same uid.
    nix::sys::prctl::set_dumpable(false)?;
    // Where it is not pid 1, workers whose lsphp has ended are to be found all the same.
    nix::sys::prctl::set_child_subreaper(true)?;
    let (output, stderr) = pipe()?;
    let Opened { group, first, control } = opened;
    if let Some(control) = &control {
        control.set_nonblocking(true)?;
    }
    let generations = Generations::new(site_user, group, first, stderr);
    let supervisor = Supervisor::new(generations, specification, control, output, event_files);
    Ok(supervisor.and_then(Supervisor::run)?)
}

/// Only pid 1's end never waits: lsphp's must, or its lines would be lost.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}
