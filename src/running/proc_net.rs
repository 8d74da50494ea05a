//! `/proc/net/tcp`, `tcp6` and `unix`, line by line: they have a line for every connection, behind those of the
//! listeners. They do not show how many may wait.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::socket::{Connection, Family, Listener};
use crate::address::Address;

const TCP_LISTEN: &str = "0A";
/// TCP_ESTABLISHED and TCP_CLOSE_WAIT.
const TCP_CONNECTED: [&str; 2] = ["01", "08"];
/// `__SO_ACCEPTCON` in the flags of `/proc/net/unix`.
const ACCEPTS: u32 = 1 << 16;
/// SS_CONNECTED.
const UNIX_CONNECTED: &[u8] = b"03";

/// Bytes of a line of `/proc/net/tcp`.
const TCP_LINE: usize = 150;
/// Bytes that are read at once where every line is wanted.
const MANY_LINES: usize = 16 << 10;

type Parse<T> = fn(&[u8]) -> Option<T>;

/// Hands every listening socket of `family` to `see` until that has seen enough. Of TCP they are the first rows, and
/// no more is read: the kernel makes up what it is asked for, and looks through all connections of the machine for it.
/// That it does for the last listener too, because it looks for the next row before it gives one (`seq_read_iter` of its
/// seq_file.c).
pub(super) fn listeners(
    proc: &Path,
    family: Family,
    see: &mut dyn FnMut(Listener) -> ControlFlow<()>,
) -> io::Result<()> {
    if family == Family::Unix {
        return rows(proc, family, MANY_LINES, unix_line, see);
    }
    // What is no listener any more ends the search, but for the head of the table.
    let mut rest = 1;
    rows(proc, family, TCP_LINE, |line| Some(tcp_line(line)), &mut |listener| match listener {
        Some(listener) => see(listener),
        None if rest > 0 => {
            rest -= 1;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    })
}

/// Hands every connection of `family` to `see` until that has seen enough.
pub(super) fn connections(
    proc: &Path,
    family: Family,
    see: &mut dyn FnMut(Connection) -> ControlFlow<()>,
) -> io::Result<()> {
    rows(proc, family, MANY_LINES, if family == Family::Unix { unix_connection } else { tcp_connection }, see)
}

fn rows<T>(
    proc: &Path,
    family: Family,
    at_once: usize,
    parse: Parse<T>,
    see: &mut dyn FnMut(T) -> ControlFlow<()>,
) -> io::Result<()> {
    let name = match family {
        Family::Inet { .. } => "net/tcp",
        Family::Inet6 { .. } => "net/tcp6",
        Family::Unix => "net/unix",
    };
    let file = match File::open(proc.join(name)) {
        // A kernel without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound && matches!(family, Family::Inet6 { .. }) => {
            return Ok(());
        }
        file => file?,
    };
    let mut file = BufReader::with_capacity(at_once, file);
    let mut line = Vec::with_capacity(256);
    while file.read_until(b'\n', &mut line)? > 0 {
        if parse(&line).is_some_and(|row| see(row).is_break()) {
            break;
        }
        line.clear();
    }
    Ok(())
}

/// `0: 0100007F:2328 00000000:0000 0A 00000000:00000003 00:00000000 00000000 61045 …`: number,
/// local and remote address, state, send and receive queue, timer, retransmissions, uid, timeouts, inode. Of a
/// listening socket the receive queue is what waits to be accepted.
fn tcp_line(line: &[u8]) -> Option<Listener> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    if state != TCP_LISTEN {
        return None;
    }
    let (_, waiting) = fields.next()?.split_once(':')?;
    Some(Listener {
        address: Address::Inet(socket_address(local)?),
        uid: fields.nth(2)?.parse().ok(),
        waiting: Some(u32::from_str_radix(waiting, 16).ok()?),
        backlog: None,
        inode: fields.nth(1).and_then(|inode| inode.parse().ok()),
    })
}

/// The same of a connection; the inode is the last of these fields, behind uid and timeout.
fn tcp_connection(line: &[u8]) -> Option<Connection> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    if !TCP_CONNECTED.contains(&state) {
        return None;
    }
    Some(Connection { local: Address::Inet(socket_address(local)?), inode: fields.nth(5)?.parse().ok()? })
}

/// `0100007F:2328`: the address as 32-bit words in the machine's byte order.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut words = [0; 4];
    let mut used = words.iter_mut();
    for word in ip.as_bytes().chunks(8) {
        *used.next()? = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
    }
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(a).into(),
        32 => {
            let bytes = [a, b, c, d].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `ffff…: 00000002 00000000 00010000 0001 01 22881 /run/lsphp.sock`: number, references, protocol,
/// flags, type, state, inode, path. Neither uid nor queue.
fn unix_line(line: &[u8]) -> Option<Listener> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let flags = line.split(|byte| *byte == b' ').nth(3)?;
    if u32::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()? & ACCEPTS == 0 {
        return None;
    }
    let (_, _, path) = unix_fields(line)?;
    Some(Listener {
        address: Address::Unix(path.into()),
        uid: None,
        waiting: None,
        backlog: None,
        inode: None,
    })
}

fn unix_connection(line: &[u8]) -> Option<Connection> {
    let (state, inode, path) = unix_fields(line.strip_suffix(b"\n").unwrap_or(line))?;
    (state == UNIX_CONNECTED).then(|| Connection { local: Address::Unix(path.into()), inode })
}

/// State, inode and path. The inode is padded with blanks, and the path may hold some; an abstract name
/// starts with `@`.
fn unix_fields(line: &[u8]) -> Option<(&[u8], u64, &OsStr)> {
    let (mut rest, mut fields) = (line, [line; 7]);
    for field in &mut fields {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        *field = rest.get(..end)?;
        rest = rest.get(end..)?.trim_ascii_start();
    }
    let path = Some(rest).filter(|path| path.starts_with(b"/"))?;
    let [.., state, inode] = fields;
    Some((state, std::str::from_utf8(inode).ok()?.parse().ok()?, OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests;
