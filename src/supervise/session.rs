//! One reload as pid 1 sees it: an lsphp to prove, then the word to let it take over.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::warn;

use super::control::{self, Answer, Request, Specification};
use super::pid1::{Supervisor, warn_if};
use super::pool::Event;

/// How often it is looked whether memory has room for the lsphp to prove.
const MEMORY_LOOKS: Duration = Duration::from_millis(50);

/// How long a reload may take from its first word to its last, beside what it waits for memory, twice: PHP may be
/// slow, `reload` may be stopped.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a message that has begun to come in may take, and an answer to go out.
const MESSAGE_TIME: Duration = Duration::from_millis(500);

const NOT_UNDERSTOOD: &str = "process 1 did not understand what was said last";

/// How long the worker that has answered the last page may take to leave; it is looked for this often.
const LEAVING_TIME: Duration = Duration::from_millis(200);
const LEAVING_LOOKS: Duration = Duration::from_millis(5);

/// A reload in progress.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
    specification: Specification,
    began: Duration,
    phase: Phase,
    overcommitted_mib: u64,
}

#[derive(Debug)]
enum Phase {
    /// The lsphp to prove waits for memory, with the listener that it will get.
    Waiting(OwnedFd),
    Proving(Pid),
    /// It was proven, and the standby is asked for pages, if there is one.
    WarmingUp,
    /// The standby's workers leave until then, or it does not take over.
    Holding(Duration),
    /// The pool was told.
    Replacing(Box<Before>),
    Over,
}

/// What counted before the pool was told.
#[derive(Debug)]
struct Before {
    specification: Specification,
    goes_without_file_cache: bool,
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Session {
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Waiting(_) => Some(now + MEMORY_LOOKS),
            Phase::Proving(_) | Phase::WarmingUp | Phase::Replacing(_) => Some(self.ends_at()),
            Phase::Holding(_) => Some(now + LEAVING_LOOKS),
            Phase::Over => Some(now),
        }
    }

    fn ends_at(&self) -> Duration {
        self.began + LONGEST + 2 * self.specification.patience().grace
    }

    pub fn is_probe(&self, pid: Pid) -> bool {
        matches!(self.phase, Phase::Proving(probe) if probe == pid)
    }

    pub fn probe_ended(&mut self, code: u8) {
        self.phase = Phase::Over; // its pid may be somebody else's from now on
        self.refuse(format!("the new lsphp ended with {code} before it was proven"));
    }

    /// What served before goes on.
    pub fn refuse(&mut self, why: String) {
        self.end(&Answer::Refused(why));
    }

    /// Neither the old one nor the new one serves on.
    pub fn stop(&mut self) {
        self.end(&Answer::Stopping);
    }

    fn run_out(&mut self) {
        if let Phase::Replacing(_) = self.phase {
            warn!(
                "a reload is not waited for any longer: its lsphp takes over when nobody is queued for an older one"
            );
            self.phase = Phase::Over;
        } else {
            self.refuse("it took longer than a minute and twice CAC_RELOAD_GRACE".to_owned());
        }
    }

    pub fn is_overcommitted(&mut self, by_mib: u64) {
        self.overcommitted_mib = by_mib;
    }

    /// The new lsphp runs on the listener that gets every new connection.
    pub fn serves(&mut self, workers: u32) {
        if matches!(self.phase, Phase::Replacing(_)) {
            self.end(&Answer::Serving { workers, overcommitted_mib: self.overcommitted_mib });
        }
    }

    /// Says the last word. Who has left does not hear it, and need not.
    fn end(&mut self, answer: &Answer) {
        if let Phase::Proving(probe) = self.phase {
            let _ = kill(probe, Signal::SIGKILL);
        }
        self.phase = Phase::Over;
        let _ = self.say(answer);
    }

    fn say(&mut self, answer: &Answer) -> std::io::Result<()> {
        self.stream.set_write_timeout(Some(MESSAGE_TIME))?;
        control::send(&mut self.stream, answer, None)
    }

    /// Whether the other side said something, or left.
    fn is_readable(&self) -> bool {
        let mut stream = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        poll(&mut stream, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

impl Supervisor<'_> {
    pub(super) fn begin_session(&mut self, mut stream: UnixStream) {
        let refused = if self.pool.is_stopping() {
            Some(Answer::Stopping)
        } else if self.session.is_some() {
            Some(Answer::Refused("another reload is under way; try again when it is done".to_owned()))
        } else {
            None
        };
        if let Some(answer) = refused {
            let _ = control::send(&mut stream, &answer, None);
            return;
        }
        match control::receive_request(&stream, MESSAGE_TIME) {
            Ok((Request::Prove(specification), Some(listener))) => {
                let (began, phase) = (self.now(), Phase::Waiting(listener));
                let specification = *specification;
                self.session = Some(Session { stream, specification, began, phase, overcommitted_mib: 0 });
            }
            Ok(_) => warn!("a reload began with an unexpected message and is refused"),
            Err(cause) => warn!("reading what a reload wants: {cause}; it is refused"),
        }
    }

    pub(super) fn go_on_with_session(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        let event = self.go_on(&mut session);
        self.session = Some(session).filter(|session| !matches!(session.phase, Phase::Over));
        if let Some(event) = event {
            self.happen(event);
        }
        if self.session.is_none() {
            warn_if("ending an lsphp that does not take over", self.generations.dismiss_standby());
        }
    }

    fn go_on(&mut self, session: &mut Session) -> Option<Event> {
        let now = self.now();
        if now >= session.ends_at() {
            session.run_out();
        }
        let readable = session.is_readable();
        match std::mem::replace(&mut session.phase, Phase::Over) {
            Phase::Waiting(listener) if !readable => session.phase = self.prove(session, listener, now),
            Phase::Proving(probe) if readable => {
                let said = control::receive_request(&session.stream, MESSAGE_TIME);
                let _ = kill(probe, Signal::SIGKILL);
                match said {
                    Ok((Request::WarmUp, None)) => session.phase = self.start_standby(session),
                    Ok((Request::Replace, None)) => return Some(self.replace(session)),
                    _ => session.refuse(NOT_UNDERSTOOD.to_owned()),
                }
            }
            Phase::WarmingUp if readable => {
                let said = control::receive_request(&session.stream, MESSAGE_TIME);
                if let Ok((Request::Replace, None)) = said {
                    return self.hold_standby(session, now + LEAVING_TIME);
                }
                session.refuse(NOT_UNDERSTOOD.to_owned());
            }
            Phase::Holding(until) => return self.hold_standby(session, until),
            // Nothing more is to be said: whoever speaks has left.
            Phase::Waiting(_) | Phase::Over => {}
            Phase::Replacing(_) if readable => {}
            phase => session.phase = phase,
        }
        None
    }

    /// Starts the lsphp to prove when memory has room for it, and when the grace is over in any case.
    fn prove(&mut self, session: &mut Session, listener: OwnedFd, now: Duration) -> Phase {
        let size = session.specification.size;
        let needed = self.held_mib() + u64::from(session.specification.probe_mib);
        if needed > size.budget_mib {
            if now < session.began + session.specification.patience().grace {
                return Phase::Waiting(listener);
            }
            let more = needed - size.budget_mib;
            warn!("proving a new lsphp beside workers that are busy: up to {more} MiB more than the budget");
        }
        match self.generations.start_probe(&session.specification, listener) {
            Ok(probe) => match session.say(&Answer::Started) {
                Ok(()) => Phase::Proving(probe),
                Err(cause) => {
                    warn!("telling a reload that its lsphp runs: {cause}; it is refused");
                    let _ = kill(probe, Signal::SIGKILL);
                    Phase::Over
                }
            },
            Err(cause) => {
                let _ = session.say(&Answer::Refused(cause.to_string()));
                Phase::Over
            }
        }
    }

    /// In the room that memory had for the one that was proven.
    fn start_standby(&mut self, session: &mut Session) -> Phase {
        let specification = self.allowed(&session.specification);
        let answer = match self.generations.start_standby(&specification) {
            Ok(()) => Answer::Started,
            Err(failure) => Answer::Cold(failure.to_string()),
        };
        match session.say(&answer) {
            Ok(()) => Phase::WarmingUp,
            Err(cause) => {
                warn!("telling a reload what it can warm up: {cause}; it is refused");
                Phase::Over
            }
        }
    }

    /// A page that is late may keep a worker: then a new lsphp starts without having been asked.
    fn hold_standby(&mut self, session: &mut Session, until: Duration) -> Option<Event> {
        if !self.generations.hold_standby(|worker| self.stderr.expect_end(worker.as_raw())) {
            if self.now() < until {
                session.phase = Phase::Holding(until);
                return None;
            }
            warn_if("ending an lsphp that is still in a page", self.generations.dismiss_standby());
        }
        Some(self.replace(session))
    }

    fn replace(&mut self, session: &mut Session) -> Event {
        let before = self.take(self.allowed(&session.specification));
        session.phase = Phase::Replacing(Box::new(before));
        Event::Replace(self.specification.size)
    }

    /// What of it may count. Only an operator has seen to it that the file cache is no longer damaged.
    fn allowed(&self, specification: &Specification) -> Specification {
        match self.goes_without_file_cache && self.own_reload.is_running() {
            true => specification.without_file_cache(),
            false => specification.clone(),
        }
    }

    /// What is to count from now on.
    fn take(&mut self, specification: Specification) -> Before {
        let goes_without_file_cache = self.goes_without_file_cache;
        self.goes_without_file_cache &= self.own_reload.is_running();
        Before { specification: self.follow(specification), goes_without_file_cache }
    }

    /// There is no listener for the new lsphp, so what counted before does again: the old one may have to be started
    /// once more.
    pub(super) fn take_back(&mut self, why: String) {
        let is_replacing = |session: &mut Session| matches!(session.phase, Phase::Replacing(_));
        let Some(mut session) = self.session.take_if(is_replacing) else { return };
        if let Phase::Replacing(before) = std::mem::replace(&mut session.phase, Phase::Over) {
            self.follow(before.specification);
            self.goes_without_file_cache = before.goes_without_file_cache;
        }
        session.refuse(why);
    }

    /// Gives back what was followed until now.
    fn follow(&mut self, specification: Specification) -> Specification {
        self.pool.set_patience(specification.patience());
        self.watch.set(specification.watch(), self.now());
        std::mem::replace(&mut self.specification, specification)
    }

    /// What every generation needs by the plan with the workers that it has now.
    fn held_mib(&self) -> u64 {
        let generations = self.pool.generations().iter().filter(|generation| generation.ceiling > 0);
        let needs = generations.map(|generation| {
            let workers = self.generations.workers(generation.id).len();
            let workers = generation.size.workers_mib(u32::try_from(workers).unwrap_or(u32::MAX));
            workers + u64::from(generation.size.fixed_mib)
        });
        needs.sum()
    }
}
