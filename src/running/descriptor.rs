//! A TCP socket of a site's, looked at from the host by a descriptor of our own for it (pidfd_getfd(2)): that takes the
//! kernel microseconds, where its tables take it a walk over all connections of the machine.
//!
//! It is let go of at once, since while it is held it stays open whoever closes it, and left as it is, unless closing it
//! would take time.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::{AsFd, RawFd};
use std::path::Path;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::stat::{FileStat, fstat};

use super::sock_diag::{CLOSE_WAIT, ESTABLISHED, LISTEN};
use super::socket::{Connection, Listener};
use crate::address::Address;
use crate::sys;

/// Descriptors of a process that are looked at, of which it may have any number. A worker's connection has one of the
/// lowest: it is accepted before a script can open anything; and so has lsphp's listener.
const MOST_DESCRIPTORS: usize = 128;

/// The sockets of process `pid`: descriptors and inodes.
///
/// # Errors
/// It may not be looked at, or is gone.
pub fn sockets(proc: &Path, pid: u32) -> io::Result<Vec<(RawFd, u64)>> {
    let descriptors = std::fs::read_dir(proc.join(format!("{pid}/fd")))?;
    let mut sockets = Vec::new();
    for descriptor in descriptors.take(MOST_DESCRIPTORS).flatten() {
        let number = descriptor.file_name().to_str().and_then(|name| name.parse().ok());
        match std::fs::read_link(descriptor.path()) {
            Ok(target) => sockets.extend(number.zip(socket_inode(&target))),
            // Whoever has its uid may see their numbers, and not what they are.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
            // It was closed in between.
            Err(_) => {}
        }
    }
    Ok(sockets)
}

/// The TCP sockets that process `pid` may accept from, as far as they may be looked at.
pub(super) fn listeners(proc: &Path, pid: u32) -> Vec<Listener> {
    let sockets = sockets(proc, pid).unwrap_or_default().into_iter();
    sockets.filter_map(|(descriptor, _)| listener(proc, pid, descriptor).ok()?).collect()
}

fn listener(proc: &Path, pid: u32, descriptor: RawFd) -> io::Result<Option<Listener>> {
    let Some(socket) = Socket::of(proc, pid, descriptor)? else { return Ok(None) };
    Ok(socket.look().filter(|seen| seen.info.tcpi_state == LISTEN).map(|seen| Listener {
        address: seen.local,
        uid: Some(seen.status.st_uid),
        waiting: Some(seen.info.tcpi_unacked),
        backlog: Some(seen.info.tcpi_sacked),
        inode: Some(seen.status.st_ino),
    }))
}

/// The connection that process `pid` has as `descriptor`; `None`: that is none.
///
/// # Errors
/// That may not be looked at, see [`sys::descriptor_of`].
pub(super) fn connection(proc: &Path, pid: u32, descriptor: RawFd) -> io::Result<Option<Connection>> {
    let Some(socket) = Socket::of(proc, pid, descriptor)? else { return Ok(None) };
    let is_connected = |seen: &Seen| [ESTABLISHED, CLOSE_WAIT].contains(&seen.info.tcpi_state);
    let seen = socket.look().filter(is_connected);
    Ok(seen.map(|seen| Connection { local: seen.local, inode: seen.status.st_ino }))
}

/// `socket:[4711]`
fn socket_inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Any kind of socket: only the questions are TCP's.
struct Socket(TcpStream);

struct Seen {
    local: Address,
    info: libc::tcp_info,
    status: FileStat,
}

impl Socket {
    /// `None`: it is none. Nothing else is taken: what a file does when it is closed may take as long as its owner likes.
    fn of(proc: &Path, pid: u32, descriptor: RawFd) -> io::Result<Option<Self>> {
        let target = std::fs::read_link(proc.join(format!("{pid}/fd/{descriptor}")))?;
        if socket_inode(&target).is_none() {
            return Ok(None);
        }
        Ok(Some(Self(sys::descriptor_of(pid, descriptor)?.into())))
    }

    /// `None`: it is not TCP's.
    fn look(&self) -> Option<Seen> {
        let info = sys::tcp_info(self.0.as_fd()).ok()?;
        Some(Seen { local: Address::Inet(self.0.local_addr().ok()?), info, status: fstat(&self.0).ok()? })
    }
}

impl Drop for Socket {
    /// Should the site have closed it meanwhile, this is the last one: that would wait for its peer, for as long as the
    /// site has asked for.
    fn drop(&mut self) {
        let waits = |linger: libc::linger| linger.l_onoff != 0 && linger.l_linger > 0;
        if getsockopt(&self.0, sockopt::Linger).is_ok_and(waits) {
            let _ = setsockopt(&self.0, sockopt::Linger, &libc::linger { l_onoff: 0, l_linger: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    const PROC: &str = "/proc";

    fn own_connection(descriptor: RawFd) -> Option<Connection> {
        connection(Path::new(PROC), std::process::id(), descriptor).unwrap()
    }

    #[test]
    fn a_connection_is_told_from_all_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let of = |socket: &dyn AsRawFd| own_connection(socket.as_raw_fd());
        let found = of(&accepted).unwrap();
        assert_eq!((found.local, found.inode), (Address::Inet(address), fstat(&accepted).unwrap().st_ino));
        assert_eq!(of(&client).unwrap().local, Address::Inet(client.local_addr().unwrap()));
        drop(client);
        assert!(of(&accepted).is_some(), "its peer is gone");
        assert_eq!(of(&listener), None);
        let queued = TcpStream::connect(address).unwrap();
        let own = listeners(Path::new(PROC), std::process::id());
        let [found] =
            &own.iter().filter(|found| found.address == Address::Inet(address)).collect::<Vec<_>>()[..]
        else {
            panic!("{own:?}")
        };
        let status = fstat(&listener).unwrap();
        assert_eq!((found.uid, found.inode), (Some(status.st_uid), Some(status.st_ino)));
        assert_eq!((found.waiting, found.backlog), (Some(1), Some(128)), "std's backlog");
        drop(queued);
        assert_eq!(of(&std::os::unix::net::UnixDatagram::unbound().unwrap()), None);
        assert_eq!(of(&std::net::UdpSocket::bind("127.0.0.1:0").unwrap()), None);
        assert_eq!(of(&tempfile::tempfile().unwrap()), None, "no socket");
        assert!(connection(Path::new(PROC), std::process::id(), RawFd::MAX).is_err(), "not open");
        assert!(connection(Path::new(PROC), (4 << 20) + 1, 0).is_err(), "no process");
    }

    /// Else who closes one just when it is looked at would keep us.
    #[test]
    fn no_close_of_ours_waits_for_a_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        setsockopt(&accepted, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 60 }).unwrap();
        assert!(own_connection(accepted.as_raw_fd()).is_some());
        assert_eq!(getsockopt(&accepted, sockopt::Linger).unwrap().l_onoff, 0);
    }

    #[test]
    fn only_a_socket_has_an_inode() {
        for (target, inode) in [
            ("socket:[4711]", Some(4711)),
            ("pipe:[4711]", None),
            ("/home/alice/socket:[4711]", None),
            ("socket:[]", None),
            ("socket:[4711", None),
        ] {
            assert_eq!(socket_inode(Path::new(target)), inode, "{target}");
        }
    }
}
