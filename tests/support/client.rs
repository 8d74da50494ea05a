//! A client as a front end is one: it keeps its connection between requests, and makes a new one when the
//! worker has left, as it does after its last request, after idle time, or to let others have their turn.
#![allow(dead_code)] // each test binary uses a part of this

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cac_lsphp::address::Address;
use cac_lsphp::lsapi::response::{Decoder, Event, Head};
use cac_lsphp::lsapi::{Receiver, Request};
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

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

/// How an exchange ended that did not fail.
enum Outcome {
    Answered(Response),
    /// The worker left without having read the request.
    NotTaken,
}

#[derive(Debug)]
pub struct Client {
    address: Address,
    kept: Option<File>,
}

impl Client {
    pub fn new(address: Address) -> Self {
        Client { address: address.to_dial(), kept: None }
    }

    /// Sends one request and keeps the whole answer in memory; no single wait is longer than `patience`.
    pub fn fetch(
        &mut self,
        request: &Request,
        body: Option<&[u8]>,
        patience: Duration,
    ) -> io::Result<Response> {
        let packet = packet(request, body)?;
        let bytes = [&packet, body.unwrap_or_default()];
        if let Some(kept) = self.kept.take()
            && let Outcome::Answered(response) = self.exchange(kept, bytes, patience)?
        {
            return Ok(response);
        }
        let fresh = self.connect(patience)?;
        self.fetch_over(fresh, request, body, patience)
    }

    /// The same over a connection that was made for it, and over no other.
    pub fn fetch_over(
        &mut self,
        fresh: File,
        request: &Request,
        body: Option<&[u8]>,
        patience: Duration,
    ) -> io::Result<Response> {
        let packet = packet(request, body)?;
        match self.exchange(fresh, [&packet, body.unwrap_or_default()], patience)? {
            Outcome::Answered(response) => Ok(response),
            Outcome::NotTaken => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    pub fn connect(&self, patience: Duration) -> io::Result<File> {
        Ok(File::from(match &self.address {
            Address::Inet(socket) => {
                let stream = TcpStream::connect_timeout(socket, patience)?;
                stream.set_nodelay(true)?;
                OwnedFd::from(stream)
            }
            Address::Unix(path) => OwnedFd::from(UnixStream::connect(path)?),
        }))
    }

    /// Writes in a thread of its own while it reads: an answer may begin before the body has ended.
    fn exchange(&mut self, stream: File, bytes: [&[u8]; 2], patience: Duration) -> io::Result<Outcome> {
        let limit = TimeVal::milliseconds(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&stream, sockopt::ReceiveTimeout, &limit)?;
        setsockopt(&stream, sockopt::SendTimeout, &limit)?;
        let (written, read) = std::thread::scope(|scope| {
            let write = || bytes.iter().try_for_each(|bytes| (&stream).write_all(bytes));
            let writer = (!bytes[1].is_empty()).then(|| scope.spawn(write));
            let at_once = if writer.is_none() { write() } else { Ok(()) };
            let read = read_answer(&stream);
            if read.is_err() {
                let _ = shutdown(stream.as_raw_fd(), Shutdown::Both); // so that the writer ends
            }
            (writer.map_or(at_once, |writer| writer.join().unwrap()), read)
        });
        let (outcome, is_open) = read?;
        if is_open && written.is_ok() {
            self.kept = Some(stream);
        }
        Ok(outcome)
    }
}

fn packet(request: &Request, body: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let mut packet = Vec::new();
    let length = body.map(|body| body.len() as u64);
    request.encode(length, &mut packet).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(packet)
}

/// The answer, and whether another may follow it.
fn read_answer(mut stream: &File) -> io::Result<(Outcome, bool)> {
    let (mut decoder, mut response, mut is_begun) = (Decoder::default(), Response::default(), false);
    loop {
        while let Some(event) = decoder.next().map_err(io::Error::other)? {
            match event {
                Event::WorkerPid(_) => continue,
                Event::Closing if !is_begun => return Ok((Outcome::NotTaken, false)),
                Event::Closing => return Err(ErrorKind::UnexpectedEof.into()),
                // Bytes after the end are CONN_CLOSE.
                Event::End => return Ok((Outcome::Answered(response), !decoder.has_rest())),
                Event::Received => {}
                Event::Head(head) => response.head(&head)?,
                Event::Body(bytes) => response.body(bytes)?,
                Event::Stderr(bytes) => response.stderr(bytes)?,
            }
            is_begun = true;
        }
        match stream.read(decoder.space()) {
            Ok(0) if is_begun => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(0) => return Ok((Outcome::NotTaken, false)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !is_begun => {
                return Ok((Outcome::NotTaken, false));
            }
            Ok(length) => decoder.filled(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
