//! The processes and sockets behind the pool: each action of the machine, done to the system.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::control::Specification;
use super::pool::Id;
use super::processes;
use super::standby::{Running, Standby};
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
    /// Warmed up, and stopped until it is started.
    held: Option<Running>,
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
    standby: Option<Standby>,
}

impl<'a> Generations<'a> {
    /// `first` already gets every new connection to `group`; `stderr` is for all that is started.
    pub fn new(site_user: &'a SiteUser, group: Group, first: Member, stderr: OwnedFd) -> Self {
        Self { site_user, group, stderr, all: BTreeMap::new(), first: Some(first), standby: None }
    }

    /// Opens a listener that gets every new connection from now on: the one of the standby that was warmed up, else
    /// a new one.
    pub fn open(&mut self, id: Id) -> io::Result<()> {
        let standby = self.standby.take_if(|standby| standby.is_held && self.group.take_over().is_ok());
        let (listener, held) = match (self.first.take(), standby) {
            (Some(first), _) => (first, None),
            (None, Some(standby)) => (standby.listener, Some(standby.running)),
            (None, None) => {
                let _ = self.dismiss_standby(); // out in any case, and its slot is vacant
                (self.group.join()?, None)
            }
        };
        let generation = self.all.entry(id).or_default();
        generation.listener = Some(listener);
        generation.held = held;
        Ok(())
    }

    /// Starts an lsphp that is to take over next, where only this host reaches it.
    pub fn start_standby(&mut self, with: &Specification) -> Result<(), Failure> {
        let refuse = |cause: &dyn std::fmt::Display| {
            let (operation, hint) = ("opening a listener to warm up on", "the new lsphp starts without");
            Failure::system(operation, Object::Nothing, cause.to_string(), hint)
        };
        // Of the two slots one serves; the other may still drain.
        let listeners = self.all.values().filter(|generation| generation.listener.is_some());
        if self.standby.is_some() || listeners.count() > 1 {
            return Err(refuse(&"another replacement is under way"));
        }
        let listener = self.group.join_standby().map_err(|cause| refuse(&cause))?;
        let copy = listener.as_fd().try_clone_to_owned();
        match spawn(self.site_user, with, &with.environment, copy, &self.stderr) {
            Ok(lsphp) => {
                let (executed, environment) = (with.lsphp.clone(), with.environment.clone());
                let running = Running { lsphp, executed, environment };
                self.standby = Some(Standby { listener, running, is_held: false });
                Ok(())
            }
            Err(failure) => {
                let _ = self.group.dismiss(listener);
                Err(failure)
            }
        }
    }

    /// Stops the standby until it takes over. False while it has workers, which are asked to leave; `asked` gets them.
    pub fn hold_standby(&mut self, asked: impl FnMut(Pid)) -> bool {
        let Some(standby) = self.standby.as_mut().filter(|standby| standby.running.is_left(asked)) else {
            return self.standby.is_none();
        };
        standby.running.stop();
        standby.is_held = true;
        true
    }

    /// Ends the standby, if there is one.
    pub fn dismiss_standby(&mut self) -> io::Result<()> {
        let Some(standby) = self.standby.take() else { return Ok(()) };
        standby.running.end();
        self.group.dismiss(standby.listener)
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
        if let Some(held) = generation.held.take() {
            if held.environment == environment {
                held.go_on();
                (generation.lsphp, generation.executed) = (Some(held.lsphp), held.executed);
                return Ok(());
            }
            held.end(); // it would fork more than memory has room for, or has a file cache that crashes it
        }
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
        if let Some(held) = generation.held.take() {
            held.end();
        }
        if let Some(lsphp) = generation.lsphp {
            processes::signal(lsphp, Signal::SIGTERM);
        }
        left
    }

    pub fn forget(&mut self, id: Id) {
        self.all.remove(&id);
    }

    /// Whose lsphp that was, if anybody's.
    pub fn ended(&mut self, pid: Pid) -> Option<Id> {
        if let Some(standby) = self.standby.take_if(|standby| standby.running.lsphp == pid) {
            let _ = self.group.dismiss(standby.listener); // out in any case
        }
        for (id, generation) in &mut self.all {
            generation.orphans.remove(&pid);
            generation.held.take_if(|held| held.lsphp == pid);
            if generation.lsphp == Some(pid) {
                generation.lsphp = None;
                return Some(*id);
            }
        }
        None
    }

    /// The workers that the end of its lsphp has left to pid 1.
    pub fn adopt(&mut self, id: Id) {
        let standby = self.standby.as_ref().map(|standby| standby.running.lsphp);
        let known: BTreeSet<Pid> = self.all.values().flat_map(Generation::processes).chain(standby).collect();
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

    /// Has every process that visitors reach stand still: from now on none begins anything. First those that make
    /// others.
    pub fn freeze(&self) {
        let parents = self.all.values().filter_map(|generation| generation.lsphp);
        parents.for_each(|parent| processes::signal(parent, Signal::SIGSTOP));
        self.all_workers().into_iter().for_each(|worker| processes::signal(worker, Signal::SIGSTOP));
    }

    /// Ends every process that is left, at once.
    pub fn kill(&self) {
        let workers = self.all_workers(); // while it is known whose they are
        let parents = self.all.values().filter_map(|generation| generation.lsphp);
        parents.chain(workers).for_each(|process| processes::signal(process, Signal::SIGKILL));
        let held = self.all.values().filter_map(|generation| generation.held.as_ref());
        held.chain(self.standby.as_ref().map(|standby| &standby.running)).for_each(Running::end);
    }

    /// Of every generation.
    pub fn all_workers(&self) -> Vec<Pid> {
        self.all.keys().flat_map(|id| self.workers(*id)).collect()
    }
}

impl Generation {
    fn processes(&self) -> impl Iterator<Item = Pid> {
        let held = self.held.as_ref().map(|held| held.lsphp);
        self.lsphp.into_iter().chain(held).chain(self.orphans.iter().copied())
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
