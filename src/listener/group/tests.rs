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

/// As a child has between fork and exec.
#[test]
fn a_copy_of_the_spare_listener_keeps_no_number() {
    let mut group = Group::open("127.0.0.1:0".parse().unwrap(), 511, None).unwrap();
    let (old, address) = (group.join().unwrap(), group.address);
    let new = group.join().unwrap();
    group.leave(old).unwrap();
    let _copy = group.spare.as_ref().unwrap().try_clone().unwrap();
    let newest = group.join().unwrap();
    connect(address).unwrap();
    assert_eq!((new.queue().unwrap(), newest.queue().unwrap()), (0, 1));
}

#[test]
fn a_standby_gets_only_what_this_host_sends_it_until_it_takes_over() {
    let allowed = || Some("10.9.0.2".parse().unwrap());
    for (address, allowed) in [
        ("127.0.0.1:0", None),
        ("0.0.0.0:0", allowed()),
        ("[::]:0", None),
        ("[::]:0", allowed()),
        ("[::1]:0", allowed()),
    ] {
        let mut group = Group::open(address.parse().unwrap(), 511, allowed).unwrap();
        group.join_standby().expect_err("nobody serves beside whom it could wait");
        let ip =
            if group.address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let dialled = SocketAddr::new(ip, group.address.port());
        let mut serving = group.join().unwrap();
        for round in 0..20 {
            let standby = group.join_standby().unwrap();
            let visitors: Vec<_> = (0..5).map(|_| connect(dialled).unwrap()).collect();
            let warming: Vec<_> = (0..3).map(|_| connect_as_nearest(group.address).unwrap()).collect();
            let queues = (serving.queue().unwrap(), standby.queue().unwrap());
            assert_eq!(queues, (5, 3), "{address} {round}");
            accepts(&serving);
            accepts(&standby);
            drop((visitors, warming));
            if round % 3 == 0 {
                group.dismiss(standby).unwrap();
                drop(connect_as_nearest(group.address).unwrap());
                assert_eq!(accepts(&serving), 1, "{address} {round}: nobody else is there");
                continue;
            }
            group.take_over().unwrap();
            let later: Vec<_> = (0..5).map(|_| connect(dialled).unwrap()).collect();
            assert_eq!(accepts(&standby), later.len(), "{address} {round}");
            group.leave(std::mem::replace(&mut serving, standby)).unwrap();
            drop(connect(dialled).unwrap());
            assert_eq!(accepts(&serving), 1, "{address} {round}");
        }
        let standby = group.join_standby().unwrap();
        group.park().unwrap();
        group.dismiss(standby).unwrap();
        connect(dialled).expect_err("a stop goes on");
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

/// As whoever joins a group must have its owner's uid, another one's cannot.
fn without_new_sockets<T>(act: impl FnOnce() -> T) -> T {
    let own = nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
    let result = act();
    nix::unistd::setfsuid(own);
    result
}

#[test]
fn one_leaves_also_where_nothing_can_be_put_in_its_place() {
    for leaves_after in [1, 2] {
        let mut group = Group::open("127.0.0.1:0".parse().unwrap(), 511, None).unwrap();
        let (address, mut old) = (group.address, group.join().unwrap());
        for _ in 1..leaves_after {
            let new = group.join().unwrap();
            group.leave(std::mem::replace(&mut old, new)).unwrap();
        }
        let new = group.join().unwrap();
        let lsphps = TcpListener::from(old.socket.try_clone().unwrap());
        lsphps.set_nonblocking(true).unwrap();
        without_new_sockets(|| group.leave(old)).expect_err("this test needs root");
        assert_eq!(lsphps.accept().unwrap_err().raw_os_error(), Some(libc::EINVAL), "it is over");
        let mut serving = new;
        for _ in 0..3 {
            without_new_sockets(|| group.join()).expect_err("nor can anybody join");
            (0..20).for_each(|_| drop(connect(address).unwrap()));
            assert_eq!(accepts(&serving), 20, "nothing goes astray");
            let next = group.join().unwrap();
            group.leave(std::mem::replace(&mut serving, next)).unwrap();
        }
        group.park().unwrap();
        without_new_sockets(|| group.leave(serving)).expect("a stop needs nothing in its place");
    }
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
