//! The processes and sockets behind the pool: each action of the machine, done to the system.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::control::Specification;
use super::pool::Id;
use super::processes;
use crate::failure::Failure;
use crate::fault::Object;
use crate::listener::group::{Group, Member};
use crate::privileges::{Program, SiteUser, Stdin};

/// A queue that has been empty for so long stays empty: whatever shook hands with the old listener when new
/// connections began to go elsewhere has been queued by then.
const SETTLED: Duration = Duration::from_millis(20);

/// One lsphp and its listener.
#[derive(Debug, Default)]
struct Generation {
    /// Until it is retired.
    listener: Option<Member>,
    /// Until it has ended.
    lsphp: Option<Pid>,
    /// The file that it was started from: a reload may change it.
    executed: PathBuf,
    /// Workers whose parent has ended, so that they are children of pid 1.
    orphans: BTreeSet<Pid>,
    empty_since: Option<Duration>,
}

/// All of them, and what they are started with.
#[derive(Debug)]
pub struct Generations<'a> {
    site_user: &'a SiteUser,
    group: Group,
    stderr: OwnedFd,
    all: BTreeMap<Id, Generation>,
    /// The listener that was opened before anything else, for the first of them.
    first: Option<Member>,
}

impl<'a> Generations<'a> {
    /// `first` already gets every new connection to `group`; `stderr` is for all that is started.
    pub fn new(site_user: &'a SiteUser, group: Group, first: Member, stderr: OwnedFd) -> Self {
        Self { site_user, group, stderr, all: BTreeMap::new(), first: Some(first) }
    }

    /// Opens a listener that gets every new connection from now on.
    pub fn open(&mut self, id: Id) -> io::Result<()> {
        let listener = match self.first.take() {
            Some(first) => first,
            None => self.group.join()?,
        };
        self.all.entry(id).or_default().listener = Some(listener);
        Ok(())
    }

    pub fn has_listener(&self, id: Id) -> bool {
        self.all.get(&id).is_some_and(|generation| generation.listener.is_some())
    }

    pub fn park(&mut self) -> io::Result<()> {
        self.group.park()
    }

    /// Starts lsphp on the generation's listener, with `workers` of them.
    pub fn start(&mut self, id: Id, with: &Specification, workers: u32) -> Result<(), Failure> {
        let environment = with.sized(workers);
        let Some(generation) = self.all.get_mut(&id) else { return Ok(()) };
        let Some(listener) = &generation.listener else { return Ok(()) };
        let pid =
            spawn(self.site_user, with, &environment, listener.as_fd().try_clone_to_owned(), &self.stderr)?;
        generation.lsphp = Some(pid);
        generation.executed.clone_from(&with.lsphp);
        Ok(())
    }

    /// Starts an lsphp that is to be proven on `listener`, a socket of the prover's.
    pub fn start_probe(&self, with: &Specification, listener: OwnedFd) -> Result<Pid, Failure> {
        spawn(self.site_user, with, &with.proving(), Ok(listener), &self.stderr)
    }

    /// Takes its listener out of the group and asks its lsphp to leave: busy workers leave after their request.
    pub fn retire(&mut self, id: Id) -> io::Result<()> {
        let Some(generation) = self.all.get_mut(&id) else { return Ok(()) };
        let left = generation.listener.take().map_or(Ok(()), |listener| self.group.leave(listener));
        if let Some(lsphp) = generation.lsphp {
            // ESRCH: it has ended, and its end is about to be noticed.
            let _ = kill(lsphp, Signal::SIGTERM);
        }
        left
    }

    pub fn forget(&mut self, id: Id) {
        self.all.remove(&id);
    }

    /// Whose lsphp that was, if anybody's.
    pub fn ended(&mut self, pid: Pid) -> Option<Id> {
        for (id, generation) in &mut self.all {
            generation.orphans.remove(&pid);
            if generation.lsphp == Some(pid) {
                generation.lsphp = None;
                return Some(*id);
            }
        }
        None
    }

    /// The workers that the end of its lsphp has left to pid 1.
    pub fn adopt(&mut self, id: Id) {
        let known: BTreeSet<Pid> = self.all.values().flat_map(Generation::processes).collect();
        if let Some(generation) = self.all.get_mut(&id) {
            let orphans = processes::children(Pid::this(), &generation.executed);
            let is_left = |pid: &Pid| !known.contains(pid) && processes::is_worker(*pid);
            generation.orphans.extend(orphans.into_iter().filter(is_left));
        }
    }

    /// How many workers each generation has whose lsphp has ended.
    pub fn orphans(&self) -> Vec<(Id, u32)> {
        let orphaned = self.all.iter().filter(|(_, generation)| generation.lsphp.is_none());
        orphaned
            .map(|(id, generation)| (*id, u32::try_from(generation.orphans.len()).unwrap_or(u32::MAX)))
            .collect()
    }

    /// Workers that are there now, whoever their parent is.
    pub fn workers(&self, id: Id) -> Vec<Pid> {
        let Some(generation) = self.all.get(&id) else { return Vec::new() };
        let children = generation.lsphp.map(|parent| processes::children(parent, &generation.executed));
        children.into_iter().flatten().chain(generation.orphans.iter().copied()).collect()
    }

    /// Whether nobody has waited at the generation's listener for a while.
    pub fn is_drained(&mut self, id: Id, now: Duration) -> bool {
        let Some(generation) = self.all.get_mut(&id) else { return true };
        let Some(listener) = &generation.listener else { return true };
        // What cannot be asked is not waited for for ever: a stop has its deadline.
        if listener.queue().is_ok_and(|length| length > 0) {
            generation.empty_since = None;
            return false;
        }
        now >= *generation.empty_since.get_or_insert(now) + SETTLED
    }

    /// Ends every process that is left, at once.
    pub fn kill(&self) {
        for (id, generation) in &self.all {
            let workers = self.workers(*id);
            for pid in generation.lsphp.into_iter().chain(workers) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }

    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.all.keys().copied()
    }
}

impl Generation {
    fn processes(&self) -> impl Iterator<Item = Pid> {
        self.lsphp.into_iter().chain(self.orphans.iter().copied())
    }
}

fn spawn(
    site_user: &SiteUser,
    with: &Specification,
    environment: &[(OsString, OsString)],
    listener: io::Result<OwnedFd>,
    stderr: &OwnedFd,
) -> Result<Pid, Failure> {
    let program = Program {
        path: &with.lsphp,
        argv: vec![OsString::from("lsphp")],
        environment: environment
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
            .collect::<Vec<(&OsStr, &OsStr)>>(),
        address_space: with.address_space,
        stdin: Stdin::Keep,
        if_missing: "set CAC_LSPHP to an lsphp whose interpreter is there too",
    };
    let copies = listener.and_then(|listener| Ok((listener, stderr.try_clone()?)));
    let (listener, stderr) = copies.map_err(|cause| {
        let hint = "raise the container's ulimit nofile";
        Failure::system("copying descriptors for lsphp", Object::Nothing, cause, hint)
    })?;
    site_user.spawn(&program, listener, stderr)
}
