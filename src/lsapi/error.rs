//! What can go wrong between a request and its complete answer.

use std::io;
use std::time::Duration;

use super::request::EncodeError;
use super::response::DecodeError;
use crate::address::Address;

/// One line each: the operation, the address, the cause and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Request(#[from] EncodeError),
    #[error("connect to lsphp at {address}: {cause}; check that it runs and listens there")]
    Connect { address: Address, cause: io::Error },
    #[error(
        "{step} {address}: not done after {} s; allow more time; cac-lsphp healthcheck tells busy from broken",
        .limit.as_secs_f64()
    )]
    Deadline { step: Step, address: Address, limit: Duration },
    #[error("{step} {address}: {cause}; see lsphp's log for the reason, then try again")]
    Broken { step: Step, address: Address, cause: io::Error },
    #[error(
        "answer from {address}: the connection was closed before its end; see lsphp's log for the reason"
    )]
    Closed { address: Address },
    #[error("answer from {address}: {cause}; check that lsphp listens there and nothing else")]
    Answer { address: Address, cause: DecodeError },
    #[error("request body: {0}; check what it is read from")]
    Body(io::Error),
    #[error("pass on the answer: {0}; check where the output goes")]
    Output(io::Error),
}

/// What was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Connect,
    Send,
    Answer,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Connect => "connect to lsphp at",
            Step::Send => "request to",
            Step::Answer => "answer from",
        })
    }
}
