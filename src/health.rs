//! Whether the site can serve, told without taking a worker from it.
//!
//! A connect to lsphp takes a worker or forks one, and times out when the backlog is full: a check
//! that connects restarts sites that are merely busy. So by default the kernel is asked instead: is
//! the recorded process ([`record`]) there and lsphp ([`process`]), and does the site's uid listen
//! ([`listener`]: over [`netlink`] in [`sock_diag`]'s messages, else in [`proc_net`]'s tables)?
//! [`probe`] connects, when asked to.

mod listener;
mod netlink;
mod probe;
mod proc_net;
mod process;
mod reason;
mod record;
mod report;
mod sock_diag;
mod workers;

use std::path::Path;

pub use self::listener::Queue;
pub use self::reason::Reason;
use self::record::Record;
pub use self::report::{Answer, Report, Workers};
use crate::cgroup;
use crate::lsapi::Deadline;

/// What to do beside the passive check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Connect to lsphp.
    pub connect: bool,
    /// Have PHP run the ping script.
    pub deep: bool,
}

/// Checks the site, reading the kernel's files and the record below `root` (`/` in production).
pub fn check(root: &Path, extent: Extent, deadline: Deadline) -> Report {
    let mut report = Report::unhealthy(Reason::NotStarted);
    report.events = cgroup::events(root);
    report.verdict = look(root, extent, deadline, &mut report);
    report
}

fn look(root: &Path, extent: Extent, deadline: Deadline, report: &mut Report) -> Result<(), Reason> {
    let proc = root.join("proc");
    let record = Record::read(root)?;
    let comm = process::inspect(&proc, &record)?;
    report.pid = Some(record.pid);
    let running = workers::count(&proc, record.pid, &comm).ok();
    report.workers = running.map(|running| Workers { running, limit: record.workers });
    report.queue = listener::find(&proc, &record)?;
    if extent.connect {
        report.connect = Some(probe::connect(&record.listen, deadline)?);
    }
    if extent.deep {
        report.answer = Some(probe::ask(&record.listen, deadline)?);
    }
    Ok(())
}
