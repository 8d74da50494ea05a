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
pub mod sock_diag;
mod workers;

use std::path::Path;

pub use self::listener::{Listener, Queue};
pub use self::reason::Reason;
use self::record::Record;
pub use self::report::{Answer, Findings, Report, Workers};
use crate::lsapi::Deadline;

/// What to do beside the passive check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Connect to lsphp.
    pub connect: bool,
    /// Have PHP run the ping script.
    pub deep: bool,
}

/// Children of lsphp that a check looks at beside as many as there may be workers. Each costs 5 µs, and
/// the site can make any number of them.
const OTHER_CHILDREN: usize = 64;

/// Checks the site, reading the kernel's files and the record below `root` (`/` in production).
pub fn check(root: &Path, extent: Extent, deadline: Deadline) -> Report {
    let mut found = Findings::default();
    let verdict = look(root, extent, deadline, &mut found);
    Report { verdict, found }
}

fn look(root: &Path, extent: Extent, deadline: Deadline, found: &mut Findings) -> Result<(), Reason> {
    let proc = &root.join("proc");
    let record = &Record::read(root)?;
    found.events = record.events.read(root);
    let comm = process::inspect(proc, record)?;
    found.pid = Some(record.pid);
    let most = (record.workers as usize).saturating_add(OTHER_CHILDREN);
    let pids = workers::find(proc, record.pid, &comm, most).ok().flatten();
    found.workers = pids.map(|pids| Workers { running: pids.len(), limit: record.workers });
    found.queue = listener::find(proc, record)?;
    if extent.connect {
        found.connect = Some(probe::connect(&record.listen, deadline)?);
    }
    if extent.deep {
        found.answer = Some(probe::ask(&record.listen, deadline)?);
    }
    Ok(())
}
