//! What `cac-lsphp reload` and pid 1 say to each other, over a unix socket in `/run/cac-lsphp`.
//!
//! Each message is its length in four bytes, little endian, and as much JSON. The first one carries a
//! descriptor beside it: the private socket on which the new lsphp is to be proven.
//!
//! Both sides bound what they read. pid 1 is the site's, so what it says is data for a person at most.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::pool::{Patience, Size};
use crate::address_space::AddressSpace;
use crate::paths::{FILE_CACHE_INI_DIRECTORY, NEXT_DIRECTORY};
use crate::plan::{Plan, SupervisionPlan};

/// A specification holds the whole environment, which the kernel lets be 2 MiB, as numbers in JSON.
const LONGEST_SPECIFICATION: usize = 16 << 20;

/// Workers, or MiB: more than any plan has, and few enough that nothing overflows that is reckoned with them.
const LARGEST: u32 = 1 << 20;

/// What the kernel takes with one message (SCM_MAX_FD). Of those that find no room here some would be ours for ever.
const MOST_DESCRIPTORS: usize = 253;

/// Where PHP looks for its ini files.
const SCAN_DIR: &str = "PHP_INI_SCAN_DIR";

/// Answers are a line.
const LONGEST_ANSWER: usize = 4096;

/// Everything that pid 1 needs to start lsphp as a plan says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specification {
    pub lsphp: PathBuf,
    pub environment: Vec<(OsString, OsString)>,
    pub address_space: AddressSpace,
    pub size: Size,
    /// What the one that is proven may need, and then the one that is warmed up, which serves a page.
    pub probe_mib: u32,
    /// In whole seconds, and 32 bits of them.
    pub supervision: SupervisionPlan,
}

/// What `reload` says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Start an lsphp like this on the descriptor that comes along, so that it can be asked for a page.
    Prove(Box<Specification>),
    /// It answered and the files are written: start the one that will serve, where only this host reaches it, so
    /// that it can be asked for pages.
    WarmUp,
    /// Let it take over.
    Replace,
}

/// What pid 1 says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The lsphp to prove, or to warm up, runs.
    Started,
    /// The new lsphp runs with this many workers and gets every new connection.
    Serving { workers: u32, overcommitted_mib: u64 },
    /// One line that says why not; what served before goes on, and is what is started when it ends.
    Refused(String),
    /// There is nothing to warm up, for this reason; the reload goes on.
    Cold(String),
    /// The container ends.
    Stopping,
}

/// Sends `message`, with `descriptor` beside it.
pub fn send<M: Serialize>(
    stream: &mut UnixStream,
    message: &M,
    descriptor: Option<&OwnedFd>,
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes();
    let descriptors = descriptor.map(AsRawFd::as_raw_fd);
    let control: Vec<_> =
        descriptors.iter().map(std::slice::from_ref).map(ControlMessage::ScmRights).collect();
    let sent =
        sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&length)], &control, MsgFlags::MSG_NOSIGNAL, None)?;
    stream.write_all(length.get(sent..).unwrap_or_default())?;
    stream.write_all(&body)
}

/// Receives pid 1's answer within `limit`.
pub fn receive_answer(stream: &UnixStream, limit: Duration) -> io::Result<Answer> {
    Ok(receive(stream, LONGEST_ANSWER, limit)?.0)
}

/// Receives what `reload` says within `limit`, and the descriptor that came along.
pub fn receive_request(stream: &UnixStream, limit: Duration) -> io::Result<(Request, Option<OwnedFd>)> {
    let received = receive(stream, LONGEST_SPECIFICATION, limit)?;
    match &received {
        (Request::Prove(specification), _) if !specification.is_reckonable() => {
            Err(io::Error::other(format!("one of its numbers is above {LARGEST}")))
        }
        _ => Ok(received),
    }
}

fn receive<M: DeserializeOwned>(
    stream: &UnixStream,
    longest: usize,
    limit: Duration,
) -> io::Result<(M, Option<OwnedFd>)> {
    let mut reader = WithinTime { stream, until: Instant::now() + limit };
    let mut length = [0; 4];
    reader.arm()?;
    let (read, descriptor) = receive_with_descriptor(stream, &mut length)?;
    reader.read_exact(length.get_mut(read..).unwrap_or_default())?;
    let length = u32::from_le_bytes(length);
    if length as usize > longest {
        return Err(io::Error::other(format!("the message has {length} bytes, and {longest} is the most")));
    }
    let mut body = Vec::new();
    reader.take(length.into()).read_to_end(&mut body)?;
    Ok((serde_json::from_slice(&body)?, descriptor))
}

/// Reads until a moment, however slowly the other side writes.
struct WithinTime<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl WithinTime<'_> {
    fn arm(&self) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))
    }
}

impl Read for WithinTime<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        (&mut &*self.stream).read(buffer)
    }
}

fn receive_with_descriptor(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; MOST_DESCRIPTORS]);
    let mut into = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_fd().as_raw_fd(), &mut into, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            descriptors.extend(received.into_iter().map(crate::sys::own_received));
        }
    }
    match message.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok((read, descriptors.pop())),
    }
}

impl Specification {
    pub fn of(plan: &Plan) -> Option<Self> {
        let supervision = plan.supervision?;
        let environment = plan.exec.environment.iter();
        let fixed_mib = crate::sizing::fixed_mib(plan.opcache.memory_mib);
        let fixed_mib = u32::try_from(fixed_mib).unwrap_or(u32::MAX);
        let page_mib = if plan.opcache.warm_up.is_empty() { 0 } else { plan.workers.estimate_mib };
        Some(Self {
            lsphp: plan.exec.lsphp.usable().ok()?.to_owned(),
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            address_space: plan.exec.address_space,
            size: Size {
                workers: plan.workers.total(),
                fixed_mib,
                estimate_mib: plan.workers.estimate_mib,
                budget_mib: plan.memory.ceiling_mib(),
            },
            probe_mib: fixed_mib.saturating_add(page_mib),
            supervision,
        })
    }

    /// The site may send any numbers; of the budget the rest is only taken away.
    fn is_reckonable(&self) -> bool {
        let Size { workers, fixed_mib, estimate_mib, budget_mib: _ } = self.size;
        [workers, fixed_mib, estimate_mib, self.probe_mib].into_iter().all(|number| number <= LARGEST)
    }

    /// Whether PHP is told of a file cache.
    pub fn has_file_cache(&self) -> bool {
        self.scan_dir().contains(FILE_CACHE_INI_DIRECTORY)
    }

    /// The same for a PHP that is told of none.
    pub fn without_file_cache(&self) -> Self {
        let scan_dir = self.scan_dir().replace(&format!(":{FILE_CACHE_INI_DIRECTORY}"), "");
        Self { environment: self.with(&[(SCAN_DIR, &scan_dir)]), ..self.clone() }
    }

    fn scan_dir(&self) -> Cow<'_, str> {
        let scan_dir = self.environment.iter().find(|(name, _)| name == SCAN_DIR);
        scan_dir.map(|(_, value)| value.to_string_lossy()).unwrap_or_default()
    }

    pub fn patience(&self) -> Patience {
        Patience {
            grace: Duration::from_secs(self.supervision.reload_grace_s.into()),
            stop: Duration::from_secs(self.supervision.stop_timeout_s.into()),
            request: self.longest_request(),
        }
    }

    /// As lsphp is told it; at most a day, whoever says so.
    fn longest_request(&self) -> Duration {
        const DAY_S: u64 = 24 * 60 * 60;
        let given = self.environment.iter().find(|(name, _)| name == "LSAPI_MAX_PROCESS_TIME");
        let seconds = given.and_then(|(_, value)| value.to_str()?.parse().ok());
        Duration::from_secs(seconds.unwrap_or(DAY_S).min(DAY_S))
    }

    /// Time between looks at the memory limit.
    pub fn watch(&self) -> Option<Duration> {
        self.supervision.watch_memory_s.map(|seconds| Duration::from_secs(seconds.max(1).into()))
    }

    /// The environment for `workers` of them, where memory does not allow for all.
    pub fn sized(&self, workers: u32) -> Vec<(OsString, OsString)> {
        if workers == self.size.workers {
            return self.environment.clone();
        }
        self.with(&[("PHP_LSAPI_CHILDREN", &workers.to_string()), ("LSAPI_EXTRA_CHILDREN", "0")])
    }

    /// The environment for the one that is proven: alone, without workers, and with the ini that is to come.
    pub fn proving(&self) -> Vec<(OsString, OsString)> {
        let next = format!("{}:{NEXT_DIRECTORY}", self.scan_dir());
        self.with(&[("PHP_LSAPI_CHILDREN", "1"), (SCAN_DIR, &next)])
    }

    fn with(&self, other: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let replaced =
            |name: &OsString| other.iter().find(|(other, _)| name == other).map(|(_, value)| value.into());
        let pair = |(name, value): &(OsString, OsString)| {
            (name.clone(), replaced(name).unwrap_or_else(|| value.clone()))
        };
        self.environment.iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests;
