//! One address, several listeners: the reuseport group in which generations follow one another.
//!
//! The kernel numbers the sockets of a group in the order in which they listen; when one leaves, the last
//! takes its number (seen). A program on the group says which number gets a new connection:
//!
//! ```text
//! 0  parking: full, so that a SYN gets no answer and is repeated by its kernel
//! 1  ┐ two slots: the serving listener, and either the one before it or a spare one,
//! 2  ┘ which only keeps the numbers from moving
//! ```

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, shutdown, socket, sockopt,
};

use crate::settings::identity::{Gid, Uid};
use crate::sys;

/// The queue of a listener that we open: with lsphp's own of 10 the kernel drops connects of a front end with many
/// processes, which come again after seconds.
pub const BACKLOG: u32 = 511;

/// The queue that the kernel makes of a wanted one: `net.core.somaxconn` at most.
pub fn effective(backlog: u32) -> u32 {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
    most.and_then(|most| most.trim().parse().ok()).map_or(backlog, |most: u32| backlog.min(most))
}

/// Where a listener stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    One,
    Two,
}

impl Slot {
    fn index(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }
}

/// A generation's listener.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    slot: Slot,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener {
    /// Connections that nobody has accepted yet.
    pub fn queue(&self) -> io::Result<u32> {
        sys::tcp_accept_queue(self.socket.as_fd())
    }
}

/// The group of an address.
#[derive(Debug)]
pub struct Group {
    address: SocketAddr,
    backlog: u32,
    parking: OwnedFd,
    /// Holds the slot that no generation has.
    spare: Option<OwnedFd>,
    /// Where the next listener goes.
    vacant: Slot,
}

impl Group {
    /// Makes the parking listener and the spare one.
    pub fn open(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let parking = bound(address)?;
        start_listening(&parking, 0)?;
        // With port 0 the kernel chose one, which the others must share.
        let address = address_of(&parking)?;
        fill(address)?;
        let group = Self { address, backlog, parking, spare: None, vacant: Slot::One };
        group.steer(0)?;
        Ok(group)
    }

    /// A new listener that gets every new connection from now on.
    pub fn join(&mut self) -> io::Result<Listener> {
        let socket = bound(self.address)?;
        start_listening(&socket, self.backlog)?;
        // It is the last of the group: without the spare one it takes its number.
        self.spare = None;
        let slot = self.vacant;
        self.steer(slot.index())?;
        self.vacant = slot.other();
        Ok(Listener { socket, slot })
    }

    /// Gives what root has opened to the site: sockets of one group must have one owner.
    pub fn give_to(&self, first: &Listener, uid: Uid, gid: Gid) -> io::Result<()> {
        for socket in [&self.parking, &first.socket] {
            std::os::unix::fs::fchown(socket, Some(uid.as_raw()), Some(gid.as_raw()))?;
        }
        Ok(())
    }

    /// No listener gets a new connection from now on.
    pub fn park(&self) -> io::Result<()> {
        self.steer(0)
    }

    /// Takes `listener` out: whoever accepts from it, in whatever process, finds that it is over.
    pub fn leave(&mut self, listener: Listener) -> io::Result<()> {
        // Only where the other slot is taken does a number move when this one goes.
        let spare = bound(self.address)?;
        start_listening(&spare, 1)?;
        shutdown(listener.socket.as_raw_fd(), Shutdown::Read)?;
        self.spare = Some(spare);
        self.vacant = listener.slot;
        Ok(())
    }

    fn steer(&self, index: u32) -> io::Result<()> {
        sys::attach_reuseport_program(self.parking.as_fd(), &[sys::bpf_return(index)])
    }
}

fn bound(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

fn start_listening(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    Ok(listen(socket, Backlog::new(backlog)?)?)
}

fn address_of(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let v4 = name.as_sockaddr_in().map(|name| SocketAddr::from(*name));
    let address = v4.or_else(|| name.as_sockaddr_in6().map(|name| SocketAddr::from(*name)));
    address.ok_or_else(|| io::Error::other("the socket has no address"))
}

/// One connection of our own fills a backlog of 0: what is closed stays queued.
fn fill(address: SocketAddr) -> io::Result<()> {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        ip if ip.is_ipv4() => std::net::Ipv4Addr::LOCALHOST.into(),
        _ => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), std::time::Duration::from_secs(1))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// The socket takes what comes, as lsphp would.
    fn accepts(listener: &Listener) -> usize {
        let listener = TcpListener::from(listener.socket.try_clone().unwrap());
        listener.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| listener.accept().ok()).count()
    }

    fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&address, Duration::from_millis(500))
    }

    #[test]
    fn each_listener_gets_what_comes_in_its_time_and_nothing_goes_astray() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::1]:0"] {
            let mut group = Group::open(address.parse().unwrap(), 511).unwrap();
            let dialled = SocketAddr::new(
                if group.address.is_ipv4() {
                    [127, 0, 0, 1].into()
                } else {
                    std::net::Ipv6Addr::LOCALHOST.into()
                },
                group.address.port(),
            );
            assert!(connect(dialled).is_err(), "{address}: nobody serves yet");
            let mut old = group.join().unwrap();
            for _ in 0..20 {
                let clients: Vec<_> = (0..10).map(|_| connect(dialled).unwrap()).collect();
                let new = group.join().unwrap();
                let later: Vec<_> = (0..10).map(|_| connect(dialled).unwrap()).collect();
                assert_eq!((old.queue().unwrap(), new.queue().unwrap()), (10, 10), "{address}");
                assert_eq!(accepts(&old), clients.len());
                group.leave(old).unwrap();
                let last: Vec<_> = (0..10).map(|_| connect(dialled).unwrap()).collect();
                assert_eq!(accepts(&new), later.len() + last.len(), "{address}");
                old = new;
            }
            group.park().unwrap();
            let parked = connect(dialled).expect_err("nobody answers");
            assert_eq!(parked.kind(), io::ErrorKind::TimedOut, "{address}: not refused either");
            assert_eq!(old.queue().unwrap(), 0);
        }
    }

    #[test]
    fn who_accepts_from_one_that_left_learns_it() {
        let mut group = Group::open("127.0.0.1:0".parse().unwrap(), 511).unwrap();
        let listener = group.join().unwrap();
        let lsphps = TcpListener::from(listener.socket.try_clone().unwrap());
        let accepting = std::thread::spawn(move || lsphps.accept().map(drop));
        std::thread::sleep(Duration::from_millis(50));
        group.leave(listener).unwrap();
        assert_eq!(accepting.join().unwrap().unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
