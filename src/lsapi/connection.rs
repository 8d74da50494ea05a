//! One connection to a worker: a request out, its answer in, both at once, within a deadline.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, setsockopt, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::body::Body;
use super::error::{Error, Step};
use super::request::Request;
use super::response::{Decoder, Event, Head};
use crate::address::Address;

/// The instant by which something must be done, whatever the other side does.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    /// `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Deadline { start: Instant::now(), limit }
    }

    /// The time left; `None` when there is none.
    fn left(&self) -> Option<Duration> {
        self.limit.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
    }
}

/// Takes an answer as it comes. An error ends the exchange.
pub trait Receiver {
    /// Status and headers; called once, before any of the body.
    fn head(&mut self, head: &Head<'_>) -> io::Result<()>;
    /// A piece of the body.
    fn body(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// A piece of what the site wrote to stderr; may come before the head.
    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Sends `request` to `address` over a connection of its own, and hands the answer to `receiver` as it comes. It is
/// never sent twice.
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

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    address: Address,
    decoder: Decoder,
}

impl Connection {
    /// Connects; a wildcard address stands for this host.
    pub fn open(address: &Address, deadline: Deadline) -> Result<Self, Error> {
        let address = address.to_dial();
        let timed_out =
            || Error::Deadline { step: Step::Connect, address: address.clone(), limit: deadline.limit };
        let left = deadline.left().ok_or_else(timed_out)?;
        let connected = match &address {
            Address::Inet(socket) => TcpStream::connect_timeout(socket, left).and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }),
            Address::Unix(path) => connect_unix(path, left),
        };
        let socket = connected.map_err(|cause| match cause.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => timed_out(),
            _ => Error::Connect { address: address.clone(), cause },
        })?;
        Ok(Self::over(socket, address))
    }

    /// Over a socket that is connected to `address`.
    pub fn over(socket: OwnedFd, address: Address) -> Self {
        Connection { socket, address, decoder: Decoder::default() }
    }

    /// Sends a BEGIN_REQUEST packet and its body while it takes the answer.
    ///
    /// The deadline covers the other side, not `body` and `receiver`: they must not block.
    pub fn exchange(
        mut self,
        packet: &[u8],
        body: &mut Body<'_>,
        deadline: Deadline,
        receiver: &mut dyn Receiver,
    ) -> Result<(), Error> {
        let mut outgoing = Outgoing { packet, body, packet_sent: 0, body_sent: 0, state: Sending::Possible };
        loop {
            while outgoing.state == Sending::Possible {
                self.time_left(Step::Send, deadline)?;
                self.send_some(&mut outgoing)?;
            }
            if self.wait(&mut outgoing, deadline)? && self.receive(receiver)? {
                return Ok(());
            }
        }
    }

    /// One send of as much as the socket takes.
    fn send_some(&self, outgoing: &mut Outgoing<'_, '_>) -> Result<(), Error> {
        let bytes = outgoing.next_bytes().map_err(Error::Body)?;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match socket::send(self.socket.as_raw_fd(), bytes, flags) {
            Ok(length) => outgoing.advance(length),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => outgoing.state = Sending::Blocked,
            // The answer may be here already; what is received tells how this ends.
            Err(Errno::EPIPE | Errno::ECONNRESET) => outgoing.state = Sending::Refused,
            Err(errno) => return Err(self.broken(Step::Send, errno)),
        }
        Ok(())
    }

    /// Waits until something can be done; true when there is something to receive.
    fn wait(&self, outgoing: &mut Outgoing<'_, '_>, deadline: Deadline) -> Result<bool, Error> {
        let (step, events) = match outgoing.state {
            Sending::Possible | Sending::Blocked => (Step::Send, PollFlags::POLLIN | PollFlags::POLLOUT),
            Sending::Done | Sending::Refused => (Step::Answer, PollFlags::POLLIN),
        };
        let left = self.time_left(step, deadline)?;
        // Rounded up, lest the last millisecond becomes a busy loop.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut socket = [PollFd::new(self.socket.as_fd(), events)];
        match poll(&mut socket, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(self.broken(step, errno)),
        }
        let [socket] = socket;
        let ready = socket.revents().unwrap_or(PollFlags::empty());
        if outgoing.state == Sending::Blocked && ready.contains(PollFlags::POLLOUT) {
            outgoing.state = Sending::Possible;
        }
        Ok(ready.intersects(!PollFlags::POLLOUT))
    }

    /// One receive, and all the events that it completes; true when the answer is complete.
    fn receive(&mut self, receiver: &mut dyn Receiver) -> Result<bool, Error> {
        let closed = || Error::Closed { address: self.address.clone() };
        match recv(self.socket.as_raw_fd(), self.decoder.space(), MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::ECONNRESET) => return Err(closed()),
            Ok(length) => self.decoder.filled(length),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(self.broken(Step::Answer, errno)),
        }
        let broken = |cause| Error::Answer { address: self.address.clone(), cause };
        while let Some(event) = self.decoder.next().map_err(broken)? {
            match event {
                Event::Closing => return Err(closed()),
                Event::End => return Ok(true),
                Event::WorkerPid(_) | Event::Received => Ok(()),
                Event::Head(head) => receiver.head(&head),
                Event::Body(bytes) => receiver.body(bytes),
                Event::Stderr(bytes) => receiver.stderr(bytes),
            }
            .map_err(Error::Output)?;
        }
        Ok(false)
    }

    fn time_left(&self, step: Step, deadline: Deadline) -> Result<Duration, Error> {
        deadline.left().ok_or_else(|| Error::Deadline {
            step,
            address: self.address.clone(),
            limit: deadline.limit,
        })
    }

    fn broken(&self, step: Step, errno: Errno) -> Error {
        Error::Broken { step, address: self.address.clone(), cause: errno.into() }
    }
}

#[derive(PartialEq, Eq)]
enum Sending {
    Possible,
    Blocked,
    Done,
    Refused,
}

/// A packet and its body on their way out.
struct Outgoing<'a, 'b> {
    packet: &'a [u8],
    body: &'a mut Body<'b>,
    packet_sent: usize,
    body_sent: u64,
    state: Sending,
}

impl Outgoing<'_, '_> {
    fn next_bytes(&mut self) -> io::Result<&[u8]> {
        match self.packet.get(self.packet_sent..) {
            Some(rest @ [_, ..]) => Ok(rest),
            _ => self.body.chunk(self.body_sent),
        }
    }

    fn advance(&mut self, length: usize) {
        if self.packet_sent < self.packet.len() {
            self.packet_sent += length;
        } else {
            self.body.consume(length);
            self.body_sent += length as u64;
        }
        if self.packet_sent == self.packet.len() && self.body_sent >= self.body.length().unwrap_or(0) {
            self.state = Sending::Done;
        }
    }
}

/// connect(2) waits for at most the send timeout when a unix socket's backlog is full.
fn connect_unix(path: &Path, limit: Duration) -> io::Result<OwnedFd> {
    let stream = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let micros = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX).max(1);
    setsockopt(&stream, sockopt::SendTimeout, &TimeVal::microseconds(micros))?;
    connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(stream)
}
