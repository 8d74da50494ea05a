//! A server that does what a test tells it, in a thread; the packets are written by hand here, so
//! that a mistake in the program's codec cannot hide.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cac_lsphp::lsapi::Request;

use crate::begin_request;

/// One thing to do on a connection.
pub enum Act {
    /// Read a request and its body, and remember them.
    Read,
    /// Read the BEGIN_REQUEST packet only.
    ReadPacket,
    /// Read the body of the packet that was read before.
    ReadBody,
    Write(Vec<u8>),
    /// Write byte by byte, with a pause before each.
    Dribble(Vec<u8>, Duration),
    /// Write an answer that does not end, as fast as it is taken.
    Endless,
    /// Do nothing more, and keep the connection open.
    Hold,
    Close,
}

type Requests = Arc<Mutex<Vec<(Request, Vec<u8>)>>>;

pub struct FakeLsphp {
    pub address: String,
    requests: Requests,
}

impl FakeLsphp {
    /// Accepts one connection.
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Requests::default();
        let seen = Arc::clone(&requests);
        let acts: Vec<Act> = acts.into_iter().collect();
        std::thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                serve(stream, acts, &seen);
            }
        });
        FakeLsphp { address, requests }
    }

    pub fn requests(&self) -> Vec<(Request, Vec<u8>)> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// Ends early when the client has gone, which is what many tests make it do.
fn serve(mut stream: TcpStream, acts: Vec<Act>, seen: &Requests) {
    let mut body_length = 0;
    for act in acts {
        let done = match act {
            Act::Read => read_packet(&mut stream).and_then(|(request, length)| {
                let mut body = vec![0; length];
                stream.read_exact(&mut body)?;
                seen.lock().unwrap().push((request, body));
                Ok(())
            }),
            Act::ReadPacket => read_packet(&mut stream).map(|(_, length)| body_length = length),
            Act::ReadBody => {
                std::io::copy(&mut (&mut stream).take(body_length as u64), &mut std::io::sink()).map(drop)
            }
            Act::Write(bytes) => stream.write_all(&bytes),
            Act::Dribble(bytes, pause) => bytes.iter().try_for_each(|byte| {
                std::thread::sleep(pause);
                stream.write_all(&[*byte])
            }),
            Act::Endless => {
                let packets = packet(4, &[b'x'; 16384]);
                let mut sent = stream.write_all(&head(200, &[]));
                while sent.is_ok() {
                    sent = stream.write_all(&packets);
                }
                sent
            }
            Act::Hold => {
                // Until the client gives up; a read would make room for more of the body.
                while stream.peer_addr().is_ok() && !has_hung_up(&stream) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
            Act::Close => return,
        };
        if done.is_err() {
            return;
        }
    }
}

fn has_hung_up(stream: &TcpStream) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut socket = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    poll(&mut socket, PollTimeout::ZERO).unwrap();
    socket[0].revents().unwrap().intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
}

fn read_packet(stream: &mut TcpStream) -> std::io::Result<(Request, usize)> {
    let mut packet = vec![0; 8];
    stream.read_exact(&mut packet)?;
    let length = i32::from_le_bytes(*packet[4..].first_chunk().unwrap());
    packet.resize(length as usize, 0);
    stream.read_exact(&mut packet[8..])?;
    let (request, body) = begin_request::parse(&packet).unwrap();
    Ok((request, body.unwrap_or(0) as usize))
}

/// A packet in little endian.
pub fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as i32 + 8).to_le_bytes();
    [&[b'L', b'S', kind, 0], &length[..], payload].concat()
}

pub fn head(status: i32, lines: &[&str]) -> Vec<u8> {
    let mut payload = [(lines.len() as i32).to_le_bytes(), status.to_le_bytes()].concat();
    payload.extend(lines.iter().flat_map(|line| (line.len() as u16 + 1).to_le_bytes()));
    payload.extend(lines.iter().flat_map(|line| [line.as_bytes(), b"\0"].concat()));
    packet(3, &payload)
}

/// A whole answer.
pub fn answer(body: &[u8]) -> Vec<u8> {
    [packet(7, b""), head(0, &["A: b"]), packet(4, body), packet(5, b"")].concat()
}

/// The same packets with their integers the other way round.
pub fn big_endian(mut packets: &[u8]) -> Vec<u8> {
    let mut swapped = Vec::new();
    while !packets.is_empty() {
        let length = i32::from_le_bytes(*packets[4..].first_chunk().unwrap()) as usize;
        let (packet, rest) = packets.split_at(length);
        let mut packet = packet.to_vec();
        packet[3] = 1;
        packet[4..8].reverse();
        if packet[2] == 3 {
            let count = packet[8] as usize;
            packet[8..12].reverse();
            packet[12..16].reverse();
            packet[16..16 + 2 * count].chunks_mut(2).for_each(<[u8]>::reverse);
        }
        swapped.extend(packet);
        packets = rest;
    }
    swapped
}

/// A listener that accepts nothing and whose queue is full; lives as long as this does.
pub struct FullBacklog {
    pub address: String,
    _sockets: Vec<OwnedFd>,
}

pub fn full_tcp_backlog() -> FullBacklog {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener.into()];
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        sockets.push(stream.into());
    }
    FullBacklog { address: address.to_string(), _sockets: sockets }
}

pub fn full_unix_backlog(path: &Path) -> FullBacklog {
    let listener = UnixListener::bind(path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let sockets = vec![listener.into(), UnixStream::connect(path).unwrap().into()];
    FullBacklog { address: path.to_str().unwrap().to_owned(), _sockets: sockets }
}
