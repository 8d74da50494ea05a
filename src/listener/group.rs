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
use crate::sys;

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
    slot: Slot,
}

impl AsFd for Member {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Member {
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
    /// `None`: everybody.
    allowed: Option<Clients>,
    parking: OwnedFd,
    /// Holds the slot that no generation has.
    spare: Option<OwnedFd>,
    /// Where the next listener goes.
    vacant: Slot,
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
        let group = Self { address, backlog, allowed, parking, spare: None, vacant: Slot::One };
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
        // Should nobody have its number yet, as in a new group, the program is there before it.
        if self.spare.is_none() {
            self.steer(self.vacant.index())?;
        }
        sys::start_listening(socket.as_fd(), self.backlog)?;
        // It is the last of the group: without the spare one it takes its number.
        self.spare = None;
        let slot = self.vacant;
        self.steer(slot.index())?;
        self.vacant = slot.other();
        Ok(Member { socket, slot })
    }

    /// Gives what root has opened to the site: sockets of one group must have one owner.
    pub fn chown(&self, first: &Member, uid: Uid, gid: Gid) -> io::Result<()> {
        super::chown([&self.parking, &first.socket], uid, gid)
    }

    /// No listener gets a new connection from now on.
    pub fn park(&self) -> io::Result<()> {
        sys::attach_reuseport_program(self.parking.as_fd(), &filter::for_everybody(filter::PARKING))
    }

    /// Takes `listener` out: whoever accepts from it, in whatever process, finds that it is over.
    pub fn leave(&mut self, listener: Member) -> io::Result<()> {
        // Only where the other slot is taken does a number move when this one goes.
        let spare = bound(self.address)?;
        sys::start_listening(spare.as_fd(), SPARE_BACKLOG)?;
        shutdown(listener.socket.as_raw_fd(), Shutdown::Read)?;
        self.spare = Some(spare);
        self.vacant = listener.slot;
        Ok(())
    }

    fn steer(&self, index: u32) -> io::Result<()> {
        let program = match &self.allowed {
            None => filter::for_everybody(index),
            Some(allowed) => {
                let own = Some(self.address.ip()).filter(|ip| !ip.is_unspecified());
                filter::for_clients(allowed, own, index)
            }
        };
        sys::attach_reuseport_program(self.parking.as_fd(), &program)
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
    (0..=PARKING_BACKLOG).try_for_each(|_| connect_from_here(address))
}

/// A container without IPv6 has no ::1, but may listen on [::].
fn connect_from_here(address: SocketAddr) -> io::Result<()> {
    let dial = |ip: IpAddr| connect_as_nearest(SocketAddr::new(ip, address.port()));
    match address.ip() {
        ip if !ip.is_unspecified() => dial(ip),
        IpAddr::V4(_) => dial(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => dial(Ipv6Addr::LOCALHOST.into()).or_else(|_| dial(Ipv4Addr::LOCALHOST.into())),
    }
}

fn connect_as_nearest(address: SocketAddr) -> io::Result<()> {
    let socket = tcp_socket(address)?;
    match address {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Ttl, &NEAREST)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6Ttl, &NEAREST)?,
    }
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(1))?;
    Ok(connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// The socket takes what comes, as lsphp would.
    fn accepts(listener: &Member) -> usize {
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
            let mut group = Group::open(address.parse().unwrap(), 511, None).unwrap();
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
        let mut group = Group::open("127.0.0.1:0".parse().unwrap(), 511, None).unwrap();
        let listener = group.join().unwrap();
        let lsphps = TcpListener::from(listener.socket.try_clone().unwrap());
        let accepting = std::thread::spawn(move || lsphps.accept().map(drop));
        std::thread::sleep(Duration::from_millis(50));
        group.leave(listener).unwrap();
        assert_eq!(accepting.join().unwrap().unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    /// Runs `test` in a network namespace of its own, where the loopback has these addresses too.
    fn in_own_network(addresses: &[&str], test: impl FnOnce() + Send + 'static) {
        let addresses: Vec<_> = addresses.iter().map(|address| (*address).to_owned()).collect();
        let thread = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("this test needs root");
            let ip = |arguments: &[&str]| {
                let status = std::process::Command::new("busybox").arg("ip").args(arguments).status();
                assert!(status.expect("busybox is installed").success(), "{arguments:?}");
            };
            ip(&["link", "set", "lo", "up"]);
            addresses.iter().for_each(|address| ip(&["addr", "add", address, "dev", "lo"]));
            test();
        });
        thread.join().unwrap();
    }

    /// Connects as `source` would, which must be an address of this network.
    fn connect_as(source: &str, address: SocketAddr) -> io::Result<()> {
        let source: IpAddr = source.parse().unwrap();
        let socket = tcp_socket(address)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(300))?;
        Ok(nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?)
    }

    #[test]
    fn only_who_is_allowed_gets_an_answer() {
        const OTHERS: [&str; 6] =
            ["10.9.0.1/32", "10.9.0.2/32", "10.9.1.3/32", "fd09::1/128", "fd09::2/128", "fd09:0:0:1::3/128"];
        in_own_network(&OTHERS, || {
            for (listen, dialled, allowed, refused) in [
                ("0.0.0.0:9000", "10.9.0.1:9000", &["10.9.0.2", "127.0.0.1"][..], &["10.9.1.3"][..]),
                ("10.9.0.1:9001", "10.9.0.1:9001", &["10.9.0.2", "10.9.0.1"], &["10.9.1.3"]),
                ("[::]:9002", "10.9.0.1:9002", &["10.9.0.2", "127.0.0.1"], &["10.9.1.3", "10.9.0.1"]),
                ("[::]:9003", "[fd09::1]:9003", &["fd09::2", "::1"], &["fd09:0:0:1::3", "fd09::1"]),
                ("[fd09::1]:9004", "[fd09::1]:9004", &["fd09::2", "fd09::1"], &["fd09:0:0:1::3"]),
            ] {
                let clients = "10.9.0.2, fd09::2".parse().unwrap();
                let mut group = Group::open(listen.parse().unwrap(), 511, Some(clients)).unwrap();
                let dialled: SocketAddr = dialled.parse().unwrap();
                let silent = |source: &str, when: &str| {
                    let error = connect_as(source, dialled).expect_err("no answer").raw_os_error();
                    assert_eq!(
                        error,
                        Some(libc::EINPROGRESS),
                        "{listen} from {source} {when}: not refused either"
                    );
                };
                silent(allowed[0], "before anybody serves");
                let mut serving = group.join().unwrap();
                for round in 1..=3 {
                    for source in allowed {
                        connect_as(source, dialled)
                            .unwrap_or_else(|error| panic!("{listen} from {source}: {error}"));
                    }
                    refused.iter().for_each(|source| silent(source, "while somebody serves"));
                    assert_eq!(serving.queue().unwrap() as usize, allowed.len(), "{listen} {round}");
                    let next = group.join().unwrap();
                    refused.iter().for_each(|source| silent(source, "while two are there"));
                    group.leave(serving).unwrap();
                    serving = next;
                }
                group.park().unwrap();
                silent(allowed[0], "when all is parked");
            }
        });
    }

    /// As in a container that Docker made without IPv6.
    #[test]
    fn both_families_are_listened_on_without_ipv6() {
        in_own_network(&[], || {
            std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
            assert!(connect_as("::1", "[::1]:9000".parse().unwrap()).is_err());
            let mut group = Group::open("[::]:9000".parse().unwrap(), 511, None).unwrap();
            let serving = group.join().unwrap();
            connect_as("127.0.0.1", "127.0.0.1:9000".parse().unwrap()).unwrap();
            assert_eq!(serving.queue().unwrap(), 1);
        });
    }
}
