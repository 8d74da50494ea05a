//! A new plan for a supervised site: decided, proven, written, and only then handed over.
//!
//! pid 1 belongs to the site. Nothing that root does here depends on what it says or has in memory: the plan comes
//! from this process's own environment, the site file and the kernel; who the site is, from root's run record.

mod changes;
mod files;
mod warm_up;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

pub use self::changes::changes;
use self::files::Files;
use crate::address::Address;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fault::{Cause, Fault, Object};
use crate::gather::Asker;
use crate::health::probe;
use crate::lsapi::Deadline;
use crate::paths::{CONTROL_SOCKET, RUN_RECORD, RUNTIME_DIRECTORY};
use crate::plan::{ListenerPlan, Plan};
use crate::running::{RunRecord, StatusPlan};
use crate::start;
use crate::supervise::control::{self, Answer, Request, Specification};
use crate::supervise::name;

/// pid 1 gives a reload a minute, and twice CAC_RELOAD_GRACE: it may wait for memory before each start.
const PID_1_TIME: Duration = Duration::from_secs(65);

/// How long the new lsphp has for its first page.
const PROOF_TIME: Duration = Duration::from_secs(20);

/// How long pid 1 has to say why, when the new lsphp or itself does not go on.
const OBITUARY_TIME: Duration = Duration::from_secs(1);

/// The site's own preload script.
const PRELOAD: &str = "CAC_INI_opcache__preload";

/// What changed, and with how many workers the new lsphp serves.
#[derive(Debug)]
pub struct Reloaded {
    workers: u32,
    /// What the plan has, and what memory allows once the old workers are gone.
    planned: u32,
    overcommitted_mib: u64,
    changes: Vec<String>,
}

/// `reloaded: 15 workers serve; workers 7 -> 15`.
impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reloaded: {} workers serve", self.workers)?;
        if self.workers != self.planned {
            write!(f, ", {} when the old ones are gone", self.planned)?;
        }
        match self.changes.as_slice() {
            [] => write!(f, "; the plan has not changed")?,
            changes => write!(f, "; {}", changes.join(", "))?,
        }
        if self.overcommitted_mib > 0 {
            let more = self.overcommitted_mib;
            write!(f, "; up to {more} MiB more than the budget until the old workers are gone")?;
        }
        Ok(())
    }
}

/// Replaces what serves by an lsphp as the plan says now.
///
/// # Errors
/// What served before goes on, whatever went wrong.
pub fn reload() -> Result<Reloaded, Failure> {
    let (privileged, plan) = start::begin(Asker::Later)?;
    let lsphp = start::usable(&plan)?;
    plan.warnings.iter().for_each(Fault::warn);
    if privileged.is_root() {
        refuse_a_sites_directory(&plan)?;
    }
    let record = RunRecord::read(Path::new("/")).map_err(unreadable)?;
    let specification = specification(&plan, &record)?;
    let were = name::workers(record.pid).unwrap_or_else(|| record.plan.workers.total());

    let files = Files::write(&privileged, &plan, lsphp, &record)?;
    let stream = UnixStream::connect(CONTROL_SOCKET).map_err(unreachable)?;
    let mut pid_1 = Pid1 { stream, patience: PID_1_TIME + 2 * specification.patience().grace };
    prove(&mut pid_1, specification)?;
    match take_over(&mut pid_1, &plan, &files)? {
        Answer::Serving { workers, overcommitted_mib } => {
            let (planned, changes) = (plan.workers.total(), changes(&record.plan, were, &plan));
            Ok(Reloaded { workers, planned, overcommitted_mib, changes })
        }
        other => Err(unexpected(other)),
    }
}

/// Publishes the files, for the new lsphp to find when it starts. Where it does not, the old one has its own again,
/// as pid 1 may have to start it once more.
fn take_over(pid_1: &mut Pid1, plan: &Plan, files: &Files) -> Result<Answer, Failure> {
    // Ended in between, it could take nothing back.
    let ends = SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM]);
    let before = ends.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|cause| {
        Failure::system("blocking signals", Object::Nothing, cause, "let seccomp allow rt_sigprocmask")
    })?;
    let told = files
        .publish()
        .and_then(|()| warm_up(pid_1, plan))
        .and_then(|()| pid_1.tell(&Request::Replace, None));
    told.inspect_err(|_| files.take_back())?;
    let _ = before.thread_set_mask(); // pid 1 goes on alone
    // Without an answer it is not known which of them is started next; most likely the new one.
    let answer = pid_1.answer()?;
    if matches!(answer, Answer::Refused(_)) {
        files.take_back();
    }
    Ok(answer)
}

/// Root neither writes to nor believes what the site's user made, as it does in a start without root; Kubernetes gives
/// it a directory of root's where its group may write.
fn refuse_a_sites_directory(plan: &Plan) -> Result<(), Failure> {
    const OTHERS_WRITE: u32 = 0o022;
    let status = std::fs::symlink_metadata(RUNTIME_DIRECTORY).map_err(unreadable)?;
    let cause = match (status.uid(), status.mode() & OTHERS_WRITE) {
        (0, 0) => return Ok(()),
        (0, _) => "others than root may write there, as the site was started without root".to_owned(),
        (uid, _) => format!("it belongs to uid {uid}, as the site was started without root"),
    };
    let hint = format!("reload as the site too, with --user {}:{}", plan.site.uid, plan.site.gid);
    let directory = Path::new(RUNTIME_DIRECTORY);
    Err(Failure::refused("reloading in", directory, cause, hint))
}

/// What pid 1 is to start, if this is the site that runs and only what can change has changed.
fn specification(plan: &Plan, record: &RunRecord<StatusPlan>) -> Result<Specification, Failure> {
    let mut faults = Vec::new();
    if record.plan.supervision.is_none() {
        let cause = "this site was started without CAC_SUPERVISE=1, so nothing is there to replace its lsphp";
        faults.push(fault(cause, "restart the container"));
    }
    let specification = Specification::of(plan);
    if specification.is_none() && faults.is_empty() {
        faults.push(fault("CAC_SUPERVISE is off now", "recreate the container to run without it"));
    }
    let mut same = |name: &str, is: String, was: String| {
        if is != was {
            let cause = format!("{name} is {is:?} now and was {was:?} at the start");
            faults.push(fault(cause, "recreate the container to change it"));
        }
    };
    let domain = |domain: &Option<crate::identity::Domain>| {
        domain.as_ref().map_or_else(|| "unset".to_owned(), ToString::to_string)
    };
    same("user", plan.site.user.to_string(), record.plan.site.user.to_string());
    same("uid", plan.site.uid.to_string(), record.plan.site.uid.to_string());
    same("gid", plan.site.gid.to_string(), record.plan.site.gid.to_string());
    same("domain", domain(&plan.site.domain), domain(&record.plan.site.domain));
    same("CAC_LISTEN", plan.front_end.address.to_string(), record.listener.address.to_string());
    let (listener, was) = (&plan.listener, &record.plan.listener);
    same("CAC_BACKLOG", backlog(listener), backlog(was));
    same("CAC_ALLOWED_CLIENTS", allowed(listener), allowed(was));
    // A script that only a start writes names it: a new one could keep PHP from starting, and nothing would prove it.
    let is = plan.given.iter().find(|(name, _)| *name == PRELOAD).map(|(_, given)| given.value.as_str());
    let was = record.plan.given.get(PRELOAD).map(|given| given.value.as_str());
    same(PRELOAD, is.unwrap_or("unset").to_owned(), was.unwrap_or("unset").to_owned());
    specification.filter(|_| faults.is_empty()).ok_or(Failure::of_plan(faults))
}

fn backlog(listener: &ListenerPlan) -> String {
    listener.backlog.unwrap_or_default().to_string()
}

fn allowed(listener: &ListenerPlan) -> String {
    listener.allowed_clients.as_ref().map_or_else(|| "everybody".to_owned(), ToString::to_string)
}

/// Has pid 1 start an lsphp as it is to be, on a socket that nobody else knows, and asks it for a page.
fn prove(pid_1: &mut Pid1, specification: Specification) -> Result<(), Failure> {
    let path = Path::new(RUNTIME_DIRECTORY).join(".proof.sock");
    // Where only root may write, the socket of pid 1's own child must be somewhere else.
    let path = if nix::unistd::access(RUNTIME_DIRECTORY, nix::unistd::AccessFlags::W_OK).is_ok() {
        path
    } else {
        Path::new("/dev/shm").join(format!(".cac-lsphp-proof.{}", std::process::id()))
    };
    let _ = std::fs::remove_file(&path); // of a reload that was interrupted
    let listener = UnixListener::bind(&path).map_err(|cause| {
        Failure::system("making", &path, cause, "make it writable: the new lsphp is proven there")
    })?;
    let proven = prove_on(pid_1, specification, listener.into(), &Address::Unix(path.clone()));
    let _ = std::fs::remove_file(&path);
    proven
}

fn prove_on(
    pid_1: &mut Pid1,
    specification: Specification,
    listener: OwnedFd,
    address: &Address,
) -> Result<(), Failure> {
    pid_1.tell(&Request::Prove(Box::new(specification)), Some(&listener))?;
    match pid_1.answer()? {
        Answer::Started => {}
        other => return Err(unexpected(other)),
    }
    drop(listener);
    let answer = probe::ask(address, Deadline::after(PROOF_TIME));
    answer.map(drop).map_err(|reason| match control::receive_answer(&pid_1.stream, OBITUARY_TIME) {
        // That it has ended says more than that it did not answer.
        Ok(answer) => unexpected(answer),
        // And that process 1 has ended, more than that.
        Err(cause) if !matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            unreachable(cause)
        }
        _ => {
            let (operation, cause) = ("proving the new lsphp", reason.to_string());
            Failure::system(operation, Object::Nothing, cause, "the old one goes on serving")
        }
    })
}

/// Has pid 1 start the lsphp that is to serve, and asks that for the pages of CAC_WARM_UP.
fn warm_up(pid_1: &mut Pid1, plan: &Plan) -> Result<(), Failure> {
    let (false, Address::Inet(address)) = (plan.opcache.warm_up.is_empty(), &plan.front_end.address) else {
        return Ok(());
    };
    pid_1.tell(&Request::WarmUp, None)?;
    match pid_1.answer()? {
        Answer::Started => warm_up::ask(plan, *address),
        Answer::Cold(why) => warm_up::skipped(why),
        other => return Err(unexpected(other)),
    }
    Ok(())
}

/// What supervises the site, at the other end of the control socket.
struct Pid1 {
    stream: UnixStream,
    patience: Duration,
}

impl Pid1 {
    fn tell(&mut self, request: &Request, descriptor: Option<&OwnedFd>) -> Result<(), Failure> {
        control::send(&mut self.stream, request, descriptor).map_err(|cause| {
            // It need not have listened to the end to answer.
            control::receive_answer(&self.stream, OBITUARY_TIME)
                .map_or_else(|_| unreachable(cause), unexpected)
        })
    }

    fn answer(&self) -> Result<Answer, Failure> {
        control::receive_answer(&self.stream, self.patience).map_err(unreachable)
    }
}

fn unexpected(answer: Answer) -> Failure {
    let (why, hint) = match answer {
        Answer::Refused(why) => (why, "the old lsphp goes on serving"),
        Answer::Stopping => ("the container is stopping".to_owned(), "see its log, and start it again"),
        Answer::Started | Answer::Cold(_) | Answer::Serving { .. } => (
            "process 1 gave an unexpected answer".to_owned(),
            "see the container's log, and cac-lsphp healthcheck",
        ),
    };
    Failure::new(Exit::System, fault(why, hint))
}

fn unreachable(cause: io::Error) -> Failure {
    // Whichever serves: it may have been in the middle of the change.
    let (path, hint) = (Path::new(CONTROL_SOCKET), "see the container's log, and cac-lsphp healthcheck");
    Failure::system("reloading over", path, cause, hint)
}

fn unreadable(cause: io::Error) -> Failure {
    let hint = "reload in the container of a site that has started";
    Failure::refused("reading", Path::new(RUN_RECORD), cause, hint)
}

fn fault(cause: impl Into<Cause>, hint: &'static str) -> Fault {
    Fault::new("reloading", Object::Nothing, cause, hint)
}
