//! The loop of pid 1: signals, lsphp's stderr, the control socket and the machine's times in; actions out.
//!
//! One thread, one poll(2). What is not waiting for time to pass is only woken by what happens.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tracing::{error, info, warn};

use super::control::Specification;
use super::generations::Generations;
use super::memory_watch::MemoryWatch;
use super::pool::{Action, Ending, Event, Id, Pool, State};
use super::session::Session;
use super::stderr::{Line, Stderr};
use super::{name, processes};
use crate::cgroup::EventFiles;
use crate::running::events;

/// How often a queue that is to become empty is looked at.
const QUEUE_LOOKS: Duration = Duration::from_millis(10);

/// Children of pid 1 or of lsphp that are looked at beside the workers there may be: the site can make any number.
const OTHER_CHILDREN: usize = 1024;

/// The shell's code of a process that a signal ended is this and the signal's number.
const SIGNALLED: u8 = 128;

/// What pid 1 is while it supervises.
pub struct Supervisor<'a> {
    pub(super) pool: Pool,
    pub(super) generations: Generations<'a>,
    pub(super) specification: Specification,
    pub(super) session: Option<Session>,
    control: Option<UnixListener>,
    signals: SignalFd,
    output: OwnedFd,
    stderr: Stderr,
    event_files: EventFiles,
    oom_kills: Option<u64>,
    watch: MemoryWatch,
    started: Instant,
    last_reload: Option<Duration>,
    ending: Option<Ending>,
}

/// Why the loop could not begin or go on.
type Result<T> = std::result::Result<T, Errno>;

/// The signals that pid 1 answers; the rest have no effect on it, or the kernel's.
fn handled() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP])
}

impl<'a> Supervisor<'a> {
    /// Blocks the signals that it answers, so that none is lost before the loop begins.
    pub fn new(
        generations: Generations<'a>,
        specification: Specification,
        control: Option<UnixListener>,
        output: OwnedFd,
        event_files: EventFiles,
    ) -> Result<Self> {
        handled().thread_block()?;
        let signals = SignalFd::with_flags(&handled(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let oom_kills = events::read(Path::new("/"), &event_files).oom_kills;
        Ok(Self {
            pool: Pool::new(specification.size, specification.patience),
            generations,
            watch: MemoryWatch::every(specification.watch),
            specification,
            session: None,
            control,
            signals,
            output,
            stderr: Stderr::default(),
            event_files,
            oom_kills,
            started: Instant::now(),
            last_reload: None,
            ending: None,
        })
    }

    /// Serves until the end, and says which.
    pub fn run(mut self) -> Result<Ending> {
        let first = Event::Replace(self.specification.size);
        self.happen(first);
        while self.ending.is_none() {
            self.wait()?;
            self.read_signals();
            self.read_output();
            self.look_at_queues();
            self.look_at_memory();
            self.serve_control();
            self.happen(Event::Tick);
        }
        let ending = self.ending.unwrap_or(Ending::Cut);
        self.finish(ending);
        Ok(ending)
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn most(&self) -> usize {
        (self.specification.size.workers as usize).saturating_add(OTHER_CHILDREN)
    }

    /// Tells the machine, and does what it says; what cannot be done is an event of its own.
    pub(super) fn happen(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.now();
            for action in self.pool.on(event, now) {
                events.extend(self.act(action));
            }
        }
        name::show(&self.pool);
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Open(id) => self.generations.open(id).err().map(|cause| {
                error!(
                    "opening a listener: {cause}; the container ends, see whether the site holds the port"
                );
                self.ending = Some(Ending::Failed(crate::exit::Exit::System as u8));
                Event::Tick
            }),
            Action::Park => {
                warn_if("sending new connections to the parking listener", self.generations.park());
                None
            }
            Action::Spawn { id, workers } => self.spawn(id, workers),
            Action::Retire(id) => {
                warn_if("retiring a listener", self.generations.retire(id));
                None
            }
            Action::Forget(id) => {
                self.generations.forget(id);
                None
            }
            Action::Overcommitted { id: _, by_mib } => {
                warn!(
                    "starting new workers beside old ones that are still busy: up to {by_mib} MiB more than the budget; raise CAC_RELOAD_GRACE to wait longer"
                );
                if let Some(session) = &mut self.session {
                    session.is_overcommitted(by_mib);
                }
                None
            }
            Action::Settled(_) => None,
            Action::End(ending) => {
                self.ending = Some(ending);
                None
            }
        }
    }

    fn spawn(&mut self, id: Id, workers: u32) -> Option<Event> {
        match self.generations.start(id, &self.specification, workers) {
            Ok(()) => {
                info!("serving with {workers} workers");
                if let Some(session) = &mut self.session {
                    session.serves(workers);
                }
                None
            }
            Err(cause) => {
                error!("{cause}");
                Some(Event::Died(id, crate::exit::Exit::NotExecutable as u8))
            }
        }
    }

    /// Sleeps until something happens or is due.
    fn wait(&mut self) -> Result<()> {
        let now = self.now();
        let due = [
            self.pool.wakes_at(now),
            self.stderr.wakes_at(),
            self.waits_for_a_queue().then_some(now + QUEUE_LOOKS),
            self.watch.wakes_at(),
            self.session.as_ref().and_then(|session| session.wakes_at(now)),
        ];
        let timeout = due.into_iter().flatten().min().map(|due| due.saturating_sub(now));
        // Rounded up: a moment too early would be a turn for nothing.
        let timeout = timeout.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut descriptors = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.output.as_fd(), PollFlags::POLLIN),
        ];
        descriptors
            .extend(self.control.as_ref().map(|control| PollFd::new(control.as_fd(), PollFlags::POLLIN)));
        descriptors
            .extend(self.session.as_ref().map(|session| PollFd::new(session.as_fd(), PollFlags::POLLIN)));
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo.cast_signed()) {
                Ok(Signal::SIGCHLD) => self.reap(),
                Ok(Signal::SIGHUP) => self.reload_self("SIGHUP"),
                Ok(signal) => {
                    info!(
                        "{signal}: stopping; requests in flight have {} s",
                        self.specification.patience.stop.as_secs()
                    );
                    self.happen(Event::Stop);
                }
                Err(_) => {}
            }
        }
    }

    /// Every child that has ended, lsphp or an orphan of the site's.
    fn reap(&mut self) {
        let mut died = Vec::new();
        loop {
            let (pid, code) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, u8::try_from(code).unwrap_or(u8::MAX)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, SIGNALLED | signal as u8),
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => continue,
            };
            if let Some(id) = self.generations.ended(pid) {
                self.generations.adopt(id, &self.specification.lsphp, self.most());
                died.push((id, pid, code));
            } else if let Some(session) = self.session.as_mut().filter(|session| session.is_probe(pid)) {
                session.probe_ended(code);
            }
        }
        for (id, workers) in self.generations.orphans() {
            self.happen(Event::Workers(id, workers));
        }
        for (id, pid, code) in died {
            self.tell_death(id, pid, code);
            self.happen(Event::Died(id, code));
        }
    }

    /// One that was asked to leave leaves without a word.
    fn tell_death(&mut self, id: Id, pid: Pid, code: u8) {
        let serving = self
            .pool
            .generations()
            .iter()
            .any(|generation| generation.id == id && generation.state == State::Serving);
        if serving && !self.pool.is_stopping() {
            let cause = if code == SIGNALLED | Signal::SIGKILL as u8 && self.oom_killed() {
                "the kernel killed it for lack of memory; raise the container's memory limit"
            } else {
                "see its lines above; it is started again, and the fifth end within 60 s ends the container"
            };
            warn!("lsphp {pid} ended with {code}: {cause}");
        }
    }

    /// Whether the kernel has killed something for lack of memory since the last time this was asked.
    fn oom_killed(&mut self) -> bool {
        let kills = events::read(Path::new("/"), &self.event_files).oom_kills;
        let more = kills > self.oom_kills;
        self.oom_kills = kills;
        more
    }

    fn read_output(&mut self) {
        let mut buffer = [0; 4096];
        // As much as a pipe holds: a site that floods must not keep pid 1 from its other work.
        for _ in 0..16 {
            let Ok(length @ 1..) = nix::unistd::read(&self.output, &mut buffer) else { break };
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            let now = self.now();
            let mut stderr = std::mem::take(&mut self.stderr);
            let lines = stderr.take(&bytes, now, &mut || self.oom_killed());
            self.stderr = stderr;
            lines.iter().for_each(log);
        }
        self.stderr.flush(Some(self.now())).iter().for_each(log);
    }

    fn draining(&self) -> Vec<Id> {
        let stopping = self.pool.is_stopping();
        let drains = |state| match state {
            State::Draining => true,
            State::Starting { .. } => stopping,
            State::Serving | State::Retiring { .. } => false,
        };
        let generations = self.pool.generations().iter();
        generations.filter(|generation| drains(generation.state)).map(|generation| generation.id).collect()
    }

    fn waits_for_a_queue(&self) -> bool {
        !self.draining().is_empty()
    }

    fn look_at_queues(&mut self) {
        let now = self.now();
        for id in self.draining() {
            if self.generations.is_drained(id, now) {
                self.happen(Event::Drained(id));
            }
        }
    }

    fn look_at_memory(&mut self) {
        let now = self.now();
        if let Some((before, after)) = self.watch.look(now) {
            info!("the memory limit changed from {before} to {after}: the pool is resized");
            self.reload_self("the memory limit");
        }
    }

    /// Has the reload command plan anew, with this process's own environment and rights.
    fn reload_self(&mut self, why: &str) {
        if !self.may_reload() {
            return;
        }
        let spawned = std::process::Command::new("/proc/self/exe").arg0("cac-lsphp").arg("reload").spawn();
        if let Err(cause) = spawned {
            warn!("reloading for {why}: {cause}; run cac-lsphp reload in the container instead");
        }
    }

    /// At most once a second: the site can ask for it as often as it likes.
    pub(super) fn may_reload(&mut self) -> bool {
        let now = self.now();
        let may = self.last_reload.is_none_or(|last| now >= last + Duration::from_secs(1))
            && !self.pool.is_stopping();
        if may {
            self.last_reload = Some(now);
        }
        may
    }

    fn serve_control(&mut self) {
        if let Some(control) = &self.control
            && let Ok((stream, _)) = control.accept()
        {
            self.begin_session(stream);
        }
        self.go_on_with_session();
    }

    /// What every generation needs by the plan with the workers that it has now.
    pub(super) fn held_mib(&self) -> u64 {
        let generations = self.pool.generations().iter().filter(|generation| generation.ceiling > 0);
        let needs = generations.map(|generation| {
            let workers = self.generations.workers(generation.id, &self.specification.lsphp, self.most());
            generation.size.fixed_mib + workers.len() as u64 * generation.size.estimate_mib
        });
        needs.sum()
    }

    /// What is cut is named, because the front end may send it again; nothing is left to run on.
    fn finish(&mut self, ending: Ending) {
        if ending == Ending::Cut {
            let ids: Vec<Id> = self.generations.ids().collect();
            for id in ids {
                for worker in self.generations.workers(id, &self.specification.lsphp, self.most()) {
                    if let Some(script) = processes::script(worker) {
                        warn!(
                            "worker {worker} is cut in {script}: the front end may send its request again; raise CAC_STOP_TIMEOUT and the runtime's own"
                        );
                    }
                }
            }
        }
        self.generations.kill(&self.specification.lsphp, self.most());
        self.read_output();
        self.stderr.flush(None).iter().for_each(log);
        match ending {
            Ending::Stopped => info!("stopped: every request was answered"),
            Ending::Cut => info!("stopped before every request was answered"),
            Ending::Failed(code) => {
                error!("lsphp ended too often, at last with {code}: the container ends; see the lines above");
            }
        }
    }
}

fn warn_if<E: std::fmt::Display>(operation: &str, result: std::result::Result<(), E>) {
    if let Err(cause) = result {
        warn!("{operation}: {cause}; connections may be lost");
    }
}

fn log(line: &Line) {
    let hint = line.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    match line.repeated {
        0 => warn!("lsphp: {}{hint}", line.text),
        more => warn!("lsphp: {}{hint}; {more} more like it", line.text),
    }
}
