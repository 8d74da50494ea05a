//! One request over a connection of its own.

use super::body::Body;
use super::connection::{Connection, Deadline, Receiver};
use super::error::Error;
use super::request::Request;
use crate::address::Address;

/// Sends `request` to `address` and hands the answer to `receiver` as it comes. It is never sent twice.
///
/// # Errors
/// Whatever stands between the request and its complete answer, one line.
pub fn send(
    address: &Address,
    request: &Request,
    mut body: Body<'_>,
    deadline: Deadline,
    receiver: &mut dyn Receiver,
) -> Result<(), Error> {
    let mut packet = Vec::new();
    request.encode(body.length(), &mut packet)?;
    Connection::open(address, deadline)?.exchange(&packet, &mut body, deadline, receiver)
}
