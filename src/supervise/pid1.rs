//! The loop of pid 1: signals, lsphp's stderr, the control socket and the machine's times in; actions out.
//!
//! One thread, one poll(2). What is not waiting for time to pass is only woken by what happens.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tracing::{error, info, warn};

use super::control::Specification;
use super::crashes::Crashes;
use super::ends::OomKills;
use super::generations::Generations;
use super::memory_watch::MemoryWatch;
use super::name;
use super::own_reload::OwnReload;
use super::pool::{Action, Ending, Event, Id, Pool, State};
use super::session::Session;
use super::stderr::Stderr;
use crate::cgroup::EventFiles;
use crate::running::events;

/// How often a queue that is to become empty is looked at.
const QUEUE_LOOKS: Duration = Duration::from_millis(10);

/// How long the control socket rests when a connection cannot be taken: it stays readable meanwhile.
const CONTROL_PAUSE: Duration = Duration::from_secs(1);

/// What pid 1 is while it supervises.
pub struct Supervisor<'a> {
    pub(super) pool: Pool,
    pub(super) generations: Generations<'a>,
    pub(super) specification: Specification,
    pub(super) session: Option<Session>,
    pub(super) own_reload: OwnReload,
    pub(super) output: OwnedFd,
    pub(super) stderr: Stderr,
    pub(super) crashes: Crashes,
    /// After crashes, until an operator reloads.
    pub(super) goes_without_file_cache: bool,
    pub(super) event_files: EventFiles,
    pub(super) oom_kills: OomKills,
    pub(super) watch: MemoryWatch,
    control: Option<UnixListener>,
    control_rests_until: Duration,
    signals: SignalFd,
    started: Instant,
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
        let oom_kills = OomKills { count: events::read(Path::new("/"), &event_files).oom_kills, rose: None };
        Ok(Self {
            pool: Pool::new(specification.size, specification.patience()),
            generations,
            watch: MemoryWatch::every(specification.watch()),
            specification,
            session: None,
            own_reload: OwnReload::default(),
            control,
            control_rests_until: Duration::ZERO,
            signals,
            output,
            stderr: Stderr::default(),
            crashes: Crashes::default(),
            goes_without_file_cache: false,
            event_files,
            oom_kills,
            started: Instant::now(),
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
            self.look_at_the_busy_count();
            self.look_at_queues();
            self.look_at_memory();
            self.serve_control();
            self.go_on_with_own_reload();
            self.happen(Event::Tick);
        }
        let ending = self.ending.unwrap_or(Ending::Cut);
        self.finish(ending);
        Ok(ending)
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
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
                error!("opening a listener: {cause}; see whether the site itself holds the port");
                self.take_back(format!("opening a listener: {cause}"));
                Event::NotOpened(id)
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
            Action::Cut(id) => {
                self.cut(id);
                None
            }
            Action::Forget(id) => {
                self.generations.forget(id);
                None
            }
            Action::Overcommitted { by_mib } => {
                warn!(
                    "starting new workers beside old ones that are still busy: up to {by_mib} MiB more than the budget; raise CAC_RELOAD_GRACE to wait longer"
                );
                if let Some(session) = &mut self.session {
                    session.is_overcommitted(by_mib);
                }
                None
            }
            Action::End(ending) => {
                self.ending = Some(ending);
                None
            }
        }
    }

    fn spawn(&mut self, id: Id, workers: u32) -> Option<Event> {
        if !self.generations.has_listener(id) {
            return None; // it could not be opened, of which the machine is about to hear
        }
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
                Some(Event::Died(id, cause.exit as u8))
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
            self.watch.wakes_at().filter(|_| self.may_look_at_memory()),
            Some(self.control_rests_until).filter(|until| *until > now),
            self.own_reload.wakes_at().filter(|_| self.session.is_none()),
            self.session.as_ref().and_then(|session| session.wakes_at(now)),
        ];
        let timeout = due.into_iter().flatten().min().map(|due| due.saturating_sub(now));
        if timeout.is_none() {
            // Nothing is going on, and that is what most of the time is. Where it fails memory is all it costs.
            let _ = crate::sys::forget_code();
        }
        // Rounded up: a moment too early would be a turn for nothing.
        let timeout = timeout.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut descriptors = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.output.as_fd(), PollFlags::POLLIN),
        ];
        let control = self.control.as_ref().filter(|_| now >= self.control_rests_until);
        descriptors.extend(control.map(|control| PollFd::new(control.as_fd(), PollFlags::POLLIN)));
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
                Ok(Signal::SIGHUP) => self.want_reload("SIGHUP"),
                Ok(signal) => {
                    info!(
                        "{signal}: stopping; requests in flight have {} s",
                        self.specification.patience().stop.as_secs()
                    );
                    if let Some(session) = &mut self.session {
                        session.stop();
                    }
                    self.happen(Event::Stop);
                }
                Err(_) => {}
            }
        }
    }

    fn draining(&self) -> Vec<Id> {
        let stopping = self.pool.is_stopping();
        let drains = |state| match state {
            State::Draining => true,
            State::Starting(_) => stopping,
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

    fn serve_control(&mut self) {
        match self.control.as_ref().map(UnixListener::accept) {
            Some(Ok((stream, _))) => self.begin_session(stream),
            Some(Err(cause)) if cause.kind() != std::io::ErrorKind::WouldBlock => {
                self.control_rests_until = self.now() + CONTROL_PAUSE;
            }
            _ => {}
        }
        self.go_on_with_session();
    }
}

pub(super) fn warn_if<E: std::fmt::Display>(operation: &str, result: std::result::Result<(), E>) {
    if let Err(cause) = result {
        warn!("{operation}: {cause}; connections may be lost");
    }
}
