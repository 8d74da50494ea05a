//! Many requests to one address, over as few connections as lsphp allows.

use std::io;

use super::body::Body;
use super::connection::{Connection, Deadline, Outcome, Receiver};
use super::error::Error;
use super::request::Request;
use super::response::Head;
use crate::address::Address;

/// Keeps its connection between requests, and makes a new one when the worker has left: a worker
/// does so after its last request, after idle time, or to let others have their turn.
#[derive(Debug)]
pub struct Client {
    address: Address,
    connection: Option<Connection>,
    packet: Vec<u8>,
}

impl Client {
    /// A client that connects with its first request.
    pub fn new(address: Address) -> Self {
        Client { address, connection: None, packet: Vec::new() }
    }

    /// Sends one request and hands the answer to `receiver` as it comes.
    ///
    /// A request that a worker left unread is sent once more, over a new connection.
    pub fn send(
        &mut self,
        request: &Request,
        mut body: Body<'_>,
        deadline: Deadline,
        receiver: &mut dyn Receiver,
    ) -> Result<(), Error> {
        request.encode(body.length(), &mut self.packet)?;
        if let Some(kept) = self.connection.take()
            && self.exchange(kept, &mut body, deadline, receiver)? == Outcome::Answered
        {
            return Ok(());
        }
        let fresh = Connection::open(&self.address, deadline)?;
        match self.exchange(fresh, &mut body, deadline, receiver)? {
            Outcome::Answered => Ok(()),
            Outcome::NotTaken => Err(Error::Closed { address: self.address.to_dial() }),
        }
    }

    /// Sends one request and keeps the whole answer in memory.
    pub fn fetch(
        &mut self,
        request: &Request,
        body: Body<'_>,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let mut response = Response::default();
        self.send(request, body, deadline, &mut response)?;
        Ok(response)
    }

    fn exchange(
        &mut self,
        mut connection: Connection,
        body: &mut Body<'_>,
        deadline: Deadline,
        receiver: &mut dyn Receiver,
    ) -> Result<Outcome, Error> {
        let outcome = connection.exchange(&self.packet, body, deadline, receiver)?;
        self.connection = Some(connection).filter(Connection::is_reusable);
        Ok(outcome)
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header lines, `Name: value`.
    pub headers: Vec<Vec<u8>>,
    pub body: Vec<u8>,
    /// What the site wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Receiver for Response {
    fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        self.status = head.status;
        self.headers = head.lines().map(<[u8]>::to_vec).collect();
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stderr.extend_from_slice(bytes);
        Ok(())
    }
}
