//! The checks that take a worker: a connection, and a request to the ping script.

use std::time::{Duration, Instant};

use super::Reason;
use super::report::Answer;
use crate::address::Address;
use crate::lsapi::Deadline;
use crate::lsapi::connection::Connection;
use crate::own_script::{self, Question, Said};
use crate::paths::PING_SCRIPT;

const PING: Question = Question { script: PING_SCRIPT, query: "", directives: &[] };

/// What the ping script prints before PHP's version.
const GREETING: &[u8] = b"cac-lsphp ping: PHP ";

/// What it adds where the site's own ini fails every page.
const SHUT_OUT: &[u8] = b"\nshut out\n";

/// Connects and closes; the time that took.
pub(super) fn connect(listen: &Address, deadline: Deadline) -> Result<Duration, Reason> {
    let start = Instant::now();
    Connection::open(listen, deadline).map_err(|error| Reason::NoConnection(error.to_string()))?;
    Ok(start.elapsed())
}

/// Has PHP run the ping script.
pub fn ask(listen: &Address, deadline: Deadline) -> Result<Answer, Reason> {
    let start = Instant::now();
    let said =
        own_script::ask(listen, PING, deadline).map_err(|error| Reason::NoAnswer(error.to_string()))?;
    match php_version(&said) {
        Some(_) if said.body.ends_with(SHUT_OUT) => Err(Reason::ShutOut),
        Some(php) if said.status == 200 => {
            Ok(Answer { status: said.status, time: start.elapsed(), php: php.to_owned() })
        }
        _ => Err(Reason::WrongAnswer { status: said.status }),
    }
}

/// The version that the ping script printed.
fn php_version(said: &Said) -> Option<&str> {
    std::str::from_utf8(said.line_after(GREETING)?).ok().filter(|version| own_script::is_version(version))
}
