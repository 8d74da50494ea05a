//! The messages of sock_diag(7) as bytes in and bytes out: questions about sockets, and the
//! kernel's answers. Integers are in the machine's byte order, ports and addresses in the
//! network's.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::socket::{Connection, Family, Listener, States};
use crate::address::Address;

const HEADER: usize = 16; // struct nlmsghdr
const INET_ROW: usize = 72; // struct inet_diag_msg
const UNIX_ROW: usize = 16; // struct unix_diag_msg
const ATTRIBUTE_HEADER: usize = 4; // struct nlattr
const ALIGNMENT: usize = 4;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP: every socket that fits.
const DUMP: u16 = 0x301;

const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// TCP_ESTABLISHED, TCP_CLOSE_WAIT and TCP_LISTEN; unix sockets use the same numbers.
pub(super) const ESTABLISHED: u8 = 1;
pub(super) const CLOSE_WAIT: u8 = 8;
pub(super) const LISTEN: u8 = 10;
/// UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID
const SHOW: u32 = 0x01 | 0x10 | 0x40;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_UID: u16 = 7;

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Listener(Listener),
    Connection(Connection),
    /// Something that was not asked for.
    Other,
    /// The end of the answer.
    Done,
    /// The kernel's errno.
    Error(i32),
}

/// Bytes that are not an answer of sock_diag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's answer makes no sense")]
pub struct Malformed;

/// Asks for every socket of `family` in one of `states`; of TCP's those at its port.
pub(super) fn request(family: Family, states: States) -> Vec<u8> {
    let mut body = Vec::with_capacity(INET_ROW);
    let states: u32 = match states {
        States::Listening => 1 << LISTEN,
        States::Connected => 1 << ESTABLISHED | 1 << CLOSE_WAIT,
    };
    match family {
        Family::Inet { port } => inet_request(AF_INET, port, states, &mut body),
        Family::Inet6 { port } => inet_request(AF_INET6, port, states, &mut body),
        Family::Unix => unix_request(states, &mut body),
    }
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.extend([0; 8]); // sequence number and port id: one question a socket
    message.extend(body);
    message
}

/// struct inet_diag_req_v2
fn inet_request(family: u8, port: u16, states: u32, body: &mut Vec<u8>) {
    body.extend([family, IPPROTO_TCP, 0, 0]);
    body.extend(states.to_ne_bytes());
    body.extend(port.to_be_bytes());
    body.extend([0; 46]); // any peer, address, interface and cookie
}

/// struct unix_diag_req
fn unix_request(states: u32, body: &mut Vec<u8>) {
    body.extend([AF_UNIX, 0, 0, 0]);
    body.extend(states.to_ne_bytes());
    body.extend([0; 4]); // any inode
    body.extend(SHOW.to_ne_bytes());
    body.extend([0; 8]); // any cookie
}

/// Takes the first message from `bytes`, which starts at a message's header.
pub fn take_message(bytes: &mut &[u8]) -> Result<Message, Malformed> {
    let length = usize::try_from(u32_at(bytes, 0)?).map_err(|_| Malformed)?;
    let kind = u16_at(bytes, 4)?;
    let payload = bytes.get(HEADER..length).ok_or(Malformed)?;
    *bytes = bytes.get(aligned(length)..).unwrap_or_default();
    match kind {
        SOCK_DIAG_BY_FAMILY => row(payload),
        NLMSG_ERROR => Ok(Message::Error(errno(payload)?)),
        NLMSG_DONE => match errno(payload)? {
            0 => Ok(Message::Done),
            errno => Ok(Message::Error(errno)),
        },
        _ => Ok(Message::Other),
    }
}

fn row(payload: &[u8]) -> Result<Message, Malformed> {
    let family = *payload.first().ok_or(Malformed)?;
    let state = match family {
        AF_UNIX => *payload.get(2).ok_or(Malformed)?,
        _ => *payload.get(1).ok_or(Malformed)?,
    };
    let local = match family {
        AF_INET => Some(inet_address(payload, Ipv4Addr::from(array_at::<4>(payload, 8)?).into())?),
        AF_INET6 => Some(inet_address(payload, Ipv6Addr::from(array_at::<16>(payload, 8)?).into())?),
        _ => None,
    };
    Ok(match (local, state) {
        (Some(local), LISTEN) => Message::Listener(inet_listener(payload, local)?),
        (Some(local), ESTABLISHED | CLOSE_WAIT) => {
            Message::Connection(Connection { local, inode: u32_at(payload, 68)?.into() })
        }
        (None, LISTEN | ESTABLISHED) if family == AF_UNIX => unix_row(payload, state)?,
        _ => Message::Other,
    })
}

fn inet_address(payload: &[u8], ip: IpAddr) -> Result<Address, Malformed> {
    Ok(Address::Inet(SocketAddr::new(ip, u16::from_be_bytes(array_at(payload, 4)?))))
}

/// struct inet_diag_msg: of a listening socket the receive queue is what waits to be accepted and
/// the send queue how many may.
fn inet_listener(payload: &[u8], address: Address) -> Result<Listener, Malformed> {
    payload.get(..INET_ROW).ok_or(Malformed)?;
    Ok(Listener {
        address,
        uid: Some(u32_at(payload, 64)?),
        waiting: Some(u32_at(payload, 56)?),
        backlog: Some(u32_at(payload, 60)?),
        inode: Some(u32_at(payload, 68)?.into()),
    })
}

/// struct unix_diag_msg and its attributes; a socket without a path is none that lsphp has.
fn unix_row(payload: &[u8], state: u8) -> Result<Message, Malformed> {
    let mut attributes = payload.get(UNIX_ROW..).ok_or(Malformed)?;
    let (mut path, mut uid, mut waiting, mut backlog) = (None, None, None, None);
    while !attributes.is_empty() {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE_HEADER..length).ok_or(Malformed)?;
        match u16_at(attributes, 2)? {
            UNIX_DIAG_NAME => path = socket_path(value),
            UNIX_DIAG_RQLEN => (waiting, backlog) = (Some(u32_at(value, 0)?), Some(u32_at(value, 4)?)),
            UNIX_DIAG_UID => uid = Some(u32_at(value, 0)?),
            _ => {}
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    let inode = u32_at(payload, 4)?.into();
    Ok(match path.map(Address::Unix) {
        None => Message::Other,
        Some(address) if state == LISTEN => {
            Message::Listener(Listener { address, uid, waiting, backlog, inode: None })
        }
        Some(local) => Message::Connection(Connection { local, inode }),
    })
}

/// A name in the file system ends at a NUL, if there is one; an abstract name starts with one.
fn socket_path(name: &[u8]) -> Option<PathBuf> {
    let path = name.split(|byte| *byte == 0).next()?;
    (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// The errno at the start of an error, or of the end of an answer; the kernel has it negative.
fn errno(payload: &[u8]) -> Result<i32, Malformed> {
    Ok(i32::from_ne_bytes(array_at(payload, 0)?).saturating_neg())
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

fn u16_at(bytes: &[u8], start: usize) -> Result<u16, Malformed> {
    Ok(u16::from_ne_bytes(array_at(bytes, start)?))
}

fn u32_at(bytes: &[u8], start: usize) -> Result<u32, Malformed> {
    Ok(u32::from_ne_bytes(array_at(bytes, start)?))
}

fn array_at<const N: usize>(bytes: &[u8], start: usize) -> Result<[u8; N], Malformed> {
    bytes.get(start..).and_then(|rest| rest.first_chunk()).copied().ok_or(Malformed)
}

#[cfg(test)]
mod tests;
