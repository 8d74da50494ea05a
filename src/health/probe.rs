//! The checks that take a worker: a connection, and a request to the ping script.

use std::io;
use std::time::{Duration, Instant};

use super::Reason;
use super::report::Answer;
use crate::address::Address;
use crate::lsapi::connection::Connection;
use crate::lsapi::response::Head;
use crate::lsapi::{Body, Client, Deadline, Receiver, Request};
use crate::plan::{PING_SCRIPT, RUNTIME_DIRECTORY};

/// What the ping script prints before PHP's version.
const GREETING: &[u8] = b"cac-lsphp ping: PHP ";

/// More than the ping script prints; whoever sends more is not it.
const LONGEST_ANSWER: usize = 256;

/// Connects and closes; the time that took.
pub(super) fn connect(listen: &Address, deadline: Deadline) -> Result<Duration, Reason> {
    let start = Instant::now();
    Connection::open(listen, deadline).map_err(|error| Reason::NoConnection(error.to_string()))?;
    Ok(start.elapsed())
}

/// Has PHP run the ping script.
pub(super) fn ask(listen: &Address, deadline: Deadline) -> Result<Answer, Reason> {
    let start = Instant::now();
    let mut said = Said::default();
    let sent = Client::new(listen.clone()).send(&request(), Body::None, deadline, &mut said);
    sent.map_err(|error| Reason::NoAnswer(error.to_string()))?;
    let php = said.body.strip_prefix(GREETING).and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    match php {
        Some(php) if said.status == 200 => Ok(Answer {
            status: said.status,
            time: start.elapsed(),
            php: String::from_utf8_lossy(php).into_owned(),
        }),
        _ => Err(Reason::WrongAnswer { status: said.status }),
    }
}

fn request() -> Request {
    let name = PING_SCRIPT.strip_prefix(RUNTIME_DIRECTORY).unwrap_or(PING_SCRIPT);
    let mut request = Request::new("GET", PING_SCRIPT, name);
    request.environment = [("DOCUMENT_ROOT", RUNTIME_DIRECTORY), ("REQUEST_URI", name)]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
    request
}

#[derive(Default)]
struct Said {
    status: u16,
    body: Vec<u8>,
}

impl Receiver for Said {
    fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        self.status = head.status;
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = LONGEST_ANSWER.saturating_sub(self.body.len());
        self.body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(())
    }

    fn stderr(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
