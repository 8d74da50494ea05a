//! Whether the site can serve, told without taking a worker from it.
//!
//! A connect to lsphp takes a worker or forks one, and times out when the backlog is full: a check
//! that connects restarts sites that are merely busy. So by default the kernel is asked instead, see
//! [`crate::running`]: is the recorded process there and lsphp ([`process`]), and does the site's uid
//! listen? [`probe`] connects, when asked to.

pub mod probe;
pub(crate) mod process;
mod reason;
mod report;

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

pub(crate) use self::reason::Reason;
pub(crate) use self::report::{Findings, Report, Workers};
use crate::address::Address;
use crate::lsapi::Deadline;
use crate::paths::RUN_RECORD;
use crate::running::listener::{self, Holder};
use crate::running::place::Place;
use crate::running::socket::Queue;
use crate::running::{ListenerRecord, RunRecord, descriptor, events, lineage};
use crate::supervise::name::{self, Doing};

/// What to do beside the passive check; each takes a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probes {
    /// Connect to lsphp.
    pub connect: bool,
    /// Have PHP run the ping script.
    pub deep: bool,
}

/// Children of lsphp that a check looks at beside as many as there may be workers. Each costs 5 µs, and
/// the site can make any number of them.
const OTHER_CHILDREN: usize = 64;

/// Checks the site, reading the kernel's files and the record below `root` (`/` in production).
pub(crate) fn check(root: &Path, probes: Probes, deadline: Deadline) -> Report {
    let mut found = Findings::default();
    let verdict = look(root, probes, deadline, &mut found);
    Report { verdict, found }
}

fn look(root: &Path, probes: Probes, deadline: Deadline, found: &mut Findings) -> Result<(), Reason> {
    let run: &RunRecord = &read_record(root)?;
    found.events = events::read(root, &run.events);
    let place = &process::place(root, run)?;
    let proc = &place.proc;
    let comm = process::judge(place, run, run.plan.supervision.is_some())?;
    let supervisor = name::parse(&comm);
    found.doing = supervisor.map(|(doing, _)| doing);
    let limit = supervisor.map_or(run.plan.front_end.max_conns, |(_, limit)| limit);
    found.pid = Some(run.pid);
    if let Ok(Some(lineage)) = lineage::find(proc, run.pid, &run.lsphp, supervisor.is_some(), most(limit)) {
        let serving = *lineage.parents.last().ok_or(Reason::Restarting { pid: run.pid })?;
        found.pid = Some(serving);
        found.workers = Some(Workers { running: lineage.workers.len(), limit });
        // The one that takes over is stopped while it waits for memory.
        if matches!(supervisor, Some((doing, _)) if doing != Doing::Reloading) {
            process::judge_supervised(proc, serving)?;
        }
    }
    let listen = &run.listener.address;
    found.queue = queue(place, &run.listener, &[])?;
    if run.listener.handed_over.is_some() && (probes.connect || probes.deep) {
        let cause =
            "its listener was handed over, and may be in another network; check without --connect and --deep";
        return Err(Reason::NoConnection(cause.to_owned()));
    }
    found.allowed_clients.clone_from(&run.plan.listener.allowed_clients);
    if probes.connect {
        found.connect = Some(probe::connect(listen, deadline)?);
    }
    if probes.deep {
        found.answer = Some(probe::ask(listen, deadline)?);
    }
    Ok(())
}

/// Children that are looked through, where there may be `limit` workers.
pub(crate) fn most(limit: u32) -> usize {
    (limit as usize).saturating_add(OTHER_CHILDREN)
}

/// # Errors
/// Nothing was started, or the record cannot be read.
pub(crate) fn read_record<P: DeserializeOwned>(root: &Path) -> Result<RunRecord<P>, Reason> {
    RunRecord::read(root).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Reason::NotStarted,
        _ => Reason::Unreadable { file: RUN_RECORD.into(), cause: error.to_string() },
    })
}

/// Whether lsphp has the listener that was handed over: as one of its first descriptors, not always as 0 (seen). Only
/// root with CAP_SYS_PTRACE and the site itself may see; for others that lsphp runs must do.
fn holds(place: &Place, inode: u64, listen: Address) -> Result<(), Reason> {
    match descriptor::sockets(&place.proc, place.pid) {
        Ok(sockets) if sockets.iter().all(|(_, held)| *held != inode) => Err(Reason::NotListening { listen }),
        _ => Ok(()),
    }
}

/// The queue of the site's listener, where the kernel tells it: not of one that was handed over, which may belong to
/// another network. `parents` as for [`listener::find`].
///
/// # Errors
/// Nobody listens, somebody else does, or that cannot be told.
pub(crate) fn queue(
    place: &Place,
    wanted: &ListenerRecord,
    parents: &[u32],
) -> Result<Option<Queue>, Reason> {
    let listen = wanted.address.clone();
    if let Some(inode) = wanted.handed_over {
        return holds(place, inode, listen).map(|()| None);
    }
    match listener::find(place, wanted, parents) {
        Ok(Holder::Site(queue)) => Ok(queue),
        Ok(Holder::Other { uid }) => Err(Reason::ListeningAsOther { listen, uid, wanted: wanted.uid }),
        Ok(Holder::Nobody) => Err(Reason::NotListening { listen }),
        Err(error) => Err(Reason::Unreadable { file: "/proc/net".into(), cause: error.to_string() }),
    }
}
