//! The checks that take a worker: a connection, and a request to the ping script.

use std::io;
use std::time::{Duration, Instant};

use super::Reason;
use super::report::Answer;
use crate::address::Address;
use crate::lsapi::connection::Connection;
use crate::lsapi::response::Head;
use crate::lsapi::{self, Body, Deadline, Receiver, Request};
use crate::paths::{PING_SCRIPT, RUNTIME_DIRECTORY};

/// What the ping script prints before PHP's version.
const GREETING: &[u8] = b"cac-lsphp ping: PHP ";

/// What it adds where the site's own ini fails every page.
const SHUT_OUT: &[u8] = b"\nshut out\n";

/// More than the ping script prints; whoever sends more is not it.
const LONGEST_ANSWER: usize = 256;

/// Connects and closes; the time that took.
pub(super) fn connect(listen: &Address, deadline: Deadline) -> Result<Duration, Reason> {
    let start = Instant::now();
    Connection::open(listen, deadline).map_err(|error| Reason::NoConnection(error.to_string()))?;
    Ok(start.elapsed())
}

/// Has PHP run the ping script.
pub fn ask(listen: &Address, deadline: Deadline) -> Result<Answer, Reason> {
    let start = Instant::now();
    let mut said = Said::default();
    let sent = lsapi::send(listen, &request(), Body::None, deadline, &mut said);
    sent.map_err(|error| Reason::NoAnswer(error.to_string()))?;
    match php_version(&said.body) {
        Some(_) if said.body.ends_with(SHUT_OUT) => Err(Reason::ShutOut),
        Some(php) if said.status == 200 => {
            Ok(Answer { status: said.status, time: start.elapsed(), php: php.to_owned() })
        }
        _ => Err(Reason::WrongAnswer { status: said.status }),
    }
}

/// The version that the ping script printed. What answers is the site's, and the line that shows this
/// is read on root's terminal: nothing but what a version is made of comes through.
fn php_version(body: &[u8]) -> Option<&str> {
    let rest = body.strip_prefix(GREETING)?;
    let version = rest.split(|byte| *byte == b'\n').next().filter(|version| !version.is_empty())?;
    let is_plain = version.iter().all(|byte| byte.is_ascii_alphanumeric() || b".+~-".contains(byte));
    std::str::from_utf8(version).ok().filter(|_| is_plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_made_of_what_versions_are_made_of() {
        for version in ["8.2.29", "8.4.0RC1-dev", "8.3.1-1+deb12u1~bpo11+1"] {
            let body = [GREETING, version.as_bytes(), b"\nmore"].concat();
            assert_eq!(php_version(&body), Some(version));
        }
        for version in
            ["", "\n8.2", "8.2\r", "8\x1b]0;x\x07", "8\u{9b}2J", "8 2", "8.2\u{202e}", "8,2", "8\0"]
        {
            let body = [GREETING, version.as_bytes()].concat();
            assert_eq!(php_version(&body), None, "{version:?}");
        }
        assert_eq!(php_version(b"8.2.29"), None, "without the greeting");
    }
}
