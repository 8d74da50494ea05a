//! One address, several listeners: the reuseport group in which generations follow one another.
//!
//! The kernel numbers the sockets of a group in the order in which they listen; when one leaves, the last
//! takes its number (seen). A program on the group says which number gets a new connection:
//!
//! ```text
//! 0  parking: full, so that a SYN gets no answer and is repeated by its kernel;
//!    everybody who is not allowed to connect gets there too
//! 1  ┐ two slots: the serving listener, and either the one before it or a spare one,
//! 2  ┘ which only keeps the numbers from moving
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, SockaddrStorage, bind, connect, getsockname, setsockopt,
    shutdown, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::{Listener, filter};
use crate::clients::Clients;
use crate::identity::{Gid, Uid};
use crate::sys::{self, BpfInstruction};

/// With 0 a kernel takes every SYN for a flood, and says so in the host's log.
const PARKING_BACKLOG: u32 = 1;

/// No SYN gets there; a check tells it from the serving one by this.
const SPARE_BACKLOG: u32 = 0;

/// The time to live of a packet that no router has forwarded and whose sender asked for the most; an ordinary
/// one starts with 64 or 128.
const NEAREST: i32 = 255;

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
pub struct Member {
    socket: OwnedFd,
}

impl AsFd for Member {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Member {
    /// Connections that nobody has accepted yet.
    pub fn queue(&self) -> io::Result<u32> {
        Ok(sys::tcp_info(self.socket.as_fd())?.tcpi_unacked)
    }
}

/// The group of an address.
#[derive(Debug)]
pub struct Group {
    address: SocketAddr,
    backlog: u32,
    /// `None`: everybody.
    allowed: Option<Clients>,
    parking: OwnedFd,
    /// Holds the slot that no generation has.
    spare: Option<OwnedFd>,
    /// Where the listener is that joined last; `None`: none has yet.
    latest: Option<Slot>,
    is_parked: bool,
}

impl Group {
    /// Makes the parking listener, from which on nobody is refused: who connects before [`Group::join`] tries
    /// again after a second.
    pub fn open(address: SocketAddr, backlog: u32, allowed: Option<Clients>) -> io::Result<Self> {
        let parking = bound(address)?;
        // Whoever got into its queue before it is full would wait there for ever.
        sys::accept_only_ttl(parking.as_fd(), NEAREST, address.is_ipv6())?;
        sys::start_listening(parking.as_fd(), PARKING_BACKLOG)?;
        // With port 0 the kernel chose one, which the others must share.
        let address = address_of(&parking)?;
        fill(address)?;
        let mut group =
            Self { address, backlog, allowed, parking, spare: None, latest: None, is_parked: false };
        group.park()?;
        Ok(group)
    }

    /// Of the parking listener.
    pub fn parking_inode(&self) -> io::Result<u64> {
        super::inode(&self.parking)
    }

    /// What lsphp needs of it, where nothing of ours stays.
    pub fn hand_over(self, first: Member) -> Listener {
        Listener { serving: first.socket, parking: Some(self.parking) }
    }

    /// A new listener that gets every new connection from now on.
    pub fn join(&mut self) -> io::Result<Member> {
        let socket = bound(self.address)?;
        let vacant = self.latest.map_or(Slot::One, Slot::other);
        // Nobody has that number yet in a new group: the program can be there before it.
        if self.latest.is_none() {
            self.steer(vacant)?;
        }
        let member = self.admit(socket, &self.program(vacant))?;
        self.latest = Some(vacant);
        Ok(member)
    }

    /// A new listener that only [`connect_as_nearest`] reaches until [`Group::take_over`]. The other slot must be
    /// vacant.
    pub fn join_standby(&mut self) -> io::Result<Member> {
        let serving = self.latest.ok_or_else(|| io::Error::other("nobody serves"))?;
        let socket = bound(self.address)?;
        let (standby, others) = (serving.other().index(), self.program(serving));
        let program = filter::for_nearest(NEAREST.cast_unsigned(), self.own(), standby, &others);
        self.admit(socket, &program)
    }

    /// Has `socket` listen with the number of the spare one, by `program`.
    fn admit(&mut self, socket: OwnedFd, program: &[BpfInstruction]) -> io::Result<Member> {
        sys::start_listening(socket.as_fd(), self.backlog)?;
        self.remove_spare(); // the last of the group takes its number
        self.is_parked = false;
        if let Err(cause) = sys::attach_reuseport_program(self.parking.as_fd(), program) {
            self.spare = Some(socket); // or the number of the one that serves on would move
            return Err(cause);
        }
        Ok(Member { socket })
    }

    /// The standby gets every new connection from now on.
    pub fn take_over(&mut self) -> io::Result<()> {
        let standby = self.latest.map_or(Slot::One, Slot::other);
        self.steer(standby)?;
        self.latest = Some(standby);
        Ok(())
    }

    /// The standby leaves without having taken over.
    pub fn dismiss(&mut self, standby: Member) -> io::Result<()> {
        let steered = match (self.is_parked, self.latest) {
            (false, Some(serving)) => self.steer(serving),
            _ => Ok(()),
        };
        self.leave(standby).and(steered)
    }

    /// Gives what root has opened to the site: sockets of one group must have one owner.
    pub fn chown(&self, first: &Member, uid: Uid, gid: Gid) -> io::Result<()> {
        super::chown([&self.parking, &first.socket], uid, gid)
    }

    /// No listener gets a new connection from now on.
    pub fn park(&mut self) -> io::Result<()> {
        self.is_parked = true;
        sys::attach_reuseport_program(self.parking.as_fd(), &filter::for_everybody(filter::PARKING))
    }

    /// Takes `listener` out: whoever accepts from it, in whatever process, finds that it is over.
    ///
    /// # Errors
    /// It is out all the same. Where nothing could be put in its place, new connections of that moment may have
    /// gone astray, and are repeated by their kernel.
    pub fn leave(&mut self, listener: Member) -> io::Result<()> {
        let leave = || Ok(shutdown(listener.socket.as_raw_fd(), Shutdown::Read)?);
        if self.is_parked {
            return leave(); // no number counts any more
        }
        // Only where the other slot is taken does a number move when this one goes.
        let spare = bound(self.address)
            .and_then(|spare| sys::start_listening(spare.as_fd(), SPARE_BACKLOG).map(|()| spare));
        let left = leave();
        match spare {
            Ok(spare) => self.spare = Some(spare),
            Err(cause) => {
                self.latest = Some(Slot::One);
                self.steer(Slot::One)?;
                return Err(cause);
            }
        }
        left
    }

    /// At once: closing it would wait for a child that has been forked and not yet executed, which has a copy.
    fn remove_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            let _ = shutdown(spare.as_raw_fd(), Shutdown::Read); // it listens
        }
    }

    fn steer(&mut self, slot: Slot) -> io::Result<()> {
        self.is_parked = false;
        sys::attach_reuseport_program(self.parking.as_fd(), &self.program(slot))
    }

    /// By which `slot` gets every new connection that is allowed.
    fn program(&self, slot: Slot) -> Vec<BpfInstruction> {
        let index = slot.index();
        match &self.allowed {
            None => filter::for_everybody(index),
            Some(allowed) => filter::for_clients(allowed, self.own(), index),
        }
    }

    fn own(&self) -> Option<IpAddr> {
        Some(self.address.ip()).filter(|ip| !ip.is_unspecified())
    }
}

/// A listener that shares its address with none.
pub fn open_alone(address: SocketAddr, backlog: u32) -> io::Result<Listener> {
    let socket = tcp_socket(address)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    sys::start_listening(socket.as_fd(), backlog)?;
    Ok(Listener { serving: socket, parking: None })
}

fn tcp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?)
}

fn bound(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

fn address_of(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let v4 = name.as_sockaddr_in().map(|name| SocketAddr::from(*name));
    let address = v4.or_else(|| name.as_sockaddr_in6().map(|name| SocketAddr::from(*name)));
    address.ok_or_else(|| io::Error::other("the socket has no address"))
}

/// As many connections of our own as its queue takes: what is closed stays queued.
fn fill(address: SocketAddr) -> io::Result<()> {
    (0..=PARKING_BACKLOG).try_for_each(|_| connect_as_nearest(address).map(drop))
}

/// Connects from this host to a group's `address`, so that the packet's time to live says so, within a second.
///
/// A container without IPv6 has no ::1, but may listen on [::].
pub fn connect_as_nearest(address: SocketAddr) -> io::Result<OwnedFd> {
    let dial = |ip: IpAddr| connect_with_nearest_ttl(SocketAddr::new(ip, address.port()));
    match address.ip() {
        ip if !ip.is_unspecified() => dial(ip),
        IpAddr::V4(_) => dial(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => dial(Ipv6Addr::LOCALHOST.into()).or_else(|_| dial(Ipv4Addr::LOCALHOST.into())),
    }
}

fn connect_with_nearest_ttl(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    match address {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Ttl, &NEAREST)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6Ttl, &NEAREST)?,
    }
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(1))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
