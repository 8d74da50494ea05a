use std::net::{TcpListener, TcpStream};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// A program that another test starts has every descriptor until its exec, also of a listener that is closed here
/// meanwhile: as long it stays in its group, whose members move up when it goes.
static STARTS: RwLock<()> = RwLock::new(());

fn nothing_starts() -> RwLockReadGuard<'static, ()> {
    STARTS.read().unwrap_or_else(PoisonError::into_inner)
}

/// However busy the machine is: whom nobody answers waits for good.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who shall get no answer is not waited for as long.
const SILENCE: Duration = Duration::from_millis(300);

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&address, PATIENCE).unwrap()
}

/// What waits in its queue, once that is as many: a client hears that it is connected before the listener does.
fn queued(listener: &Member, expected: usize) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.queue().unwrap() as usize {
            fewer if fewer < expected && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            length => return length,
        }
    }
}

/// Takes all of it, as lsphp would.
fn accepts(listener: &Member, expected: usize) -> usize {
    queued(listener, expected);
    let listener = TcpListener::from(listener.socket.try_clone().unwrap());
    listener.set_nonblocking(true).unwrap();
    std::iter::from_fn(|| listener.accept().ok()).count()
}

fn is_silent(address: SocketAddr) -> bool {
    let kind = TcpStream::connect_timeout(&address, SILENCE).map_err(|error| error.kind());
    matches!(kind, Err(io::ErrorKind::TimedOut)) // not refused either
}

#[test]
fn each_listener_gets_what_comes_in_its_time_and_nothing_goes_astray() {
    in_own_network(&[], || {
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
            assert!(is_silent(dialled), "{address}: nobody serves yet");
            let mut old = group.join().unwrap();
            for _ in 0..20 {
                let clients: Vec<_> = (0..10).map(|_| connect(dialled)).collect();
                let new = group.join().unwrap();
                let later: Vec<_> = (0..10).map(|_| connect(dialled)).collect();
                assert_eq!((queued(&old, 10), queued(&new, 10)), (10, 10), "{address}");
                assert_eq!(accepts(&old, clients.len()), clients.len());
                group.leave(old).unwrap();
                let last: Vec<_> = (0..10).map(|_| connect(dialled)).collect();
                let both = later.len() + last.len();
                assert_eq!(accepts(&new, both), both, "{address}");
                old = new;
            }
            group.park().unwrap();
            assert!(is_silent(dialled), "{address}: nobody answers");
            assert_eq!(old.queue().unwrap(), 0);
        }
    });
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
    connect(address);
    assert_eq!((new.queue().unwrap(), newest.queue().unwrap()), (0, 1));
}

#[test]
fn a_standby_gets_only_what_this_host_sends_it_until_it_takes_over() {
    in_own_network(&[], || {
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
                let visitors: Vec<_> = (0..5).map(|_| connect(dialled)).collect();
                let warming: Vec<_> = (0..3).map(|_| connect_as_nearest(group.address).unwrap()).collect();
                let accepted = (accepts(&serving, 5), accepts(&standby, 3));
                assert_eq!(accepted, (5, 3), "{address} {round}");
                drop((visitors, warming));
                if round % 3 == 0 {
                    group.dismiss(standby).unwrap();
                    drop(connect_as_nearest(group.address).unwrap());
                    assert_eq!(accepts(&serving, 1), 1, "{address} {round}: nobody else is there");
                    continue;
                }
                group.take_over().unwrap();
                let later: Vec<_> = (0..5).map(|_| connect(dialled)).collect();
                assert_eq!(accepts(&standby, later.len()), later.len(), "{address} {round}");
                group.leave(std::mem::replace(&mut serving, standby)).unwrap();
                drop(connect(dialled));
                assert_eq!(accepts(&serving, 1), 1, "{address} {round}");
            }
            let standby = group.join_standby().unwrap();
            group.park().unwrap();
            group.dismiss(standby).unwrap();
            assert!(is_silent(dialled), "a stop goes on");
        }
    });
}

#[test]
fn who_accepts_from_one_that_left_learns_it() {
    let _until_the_end = nothing_starts();
    let mut group = Group::open("127.0.0.1:0".parse().unwrap(), 511, None).unwrap();
    let listener = group.join().unwrap();
    let lsphps = TcpListener::from(listener.socket.try_clone().unwrap());
    let accepting = thread::spawn(move || lsphps.accept().map(drop));
    thread::sleep(Duration::from_millis(50));
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
    in_own_network(&[], || {
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
                (0..20).for_each(|_| drop(connect(address)));
                assert_eq!(accepts(&serving, 20), 20, "nothing goes astray");
                let next = group.join().unwrap();
                group.leave(std::mem::replace(&mut serving, next)).unwrap();
            }
            group.park().unwrap();
            without_new_sockets(|| group.leave(serving)).expect("a stop needs nothing in its place");
        }
    });
}

/// Runs `test` in a network namespace of its own, where the loopback has these addresses too, and where the machine's
/// table of connections is not full of those of others.
fn in_own_network(addresses: &[&str], test: impl FnOnce() + Send + 'static) {
    let addresses: Vec<_> = addresses.iter().map(|address| (*address).to_owned()).collect();
    let thread = thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("this test needs root");
        let ip = |arguments: &[&str]| {
            let status = std::process::Command::new("busybox").arg("ip").args(arguments).status();
            assert!(status.expect("busybox is installed").success(), "{arguments:?}");
        };
        let starting = STARTS.write().unwrap_or_else(PoisonError::into_inner);
        ip(&["link", "set", "lo", "up"]);
        addresses.iter().for_each(|address| ip(&["addr", "add", address, "dev", "lo"]));
        drop(starting);
        let _until_the_end = nothing_starts();
        test();
    });
    thread.join().unwrap();
}

/// Connects as `source` would, which must be an address of this network.
fn connect_as(source: &str, address: SocketAddr, patience: Duration) -> io::Result<()> {
    let source: IpAddr = source.parse().unwrap();
    let socket = tcp_socket(address)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    let patience = TimeVal::milliseconds(i64::try_from(patience.as_millis()).unwrap());
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    Ok(nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?)
}

#[test]
fn only_who_is_allowed_gets_an_answer() {
    const OTHERS: [&str; 6] =
        ["10.9.0.1/32", "10.9.0.2/32", "10.9.1.3/32", "fd09::1/128", "fd09::2/128", "fd09:0:0:1::3/128"];
    let rows = [
        ("0.0.0.0:9000", "10.9.0.1:9000", &["10.9.0.2", "127.0.0.1"][..], &["10.9.1.3"][..]),
        ("10.9.0.1:9001", "10.9.0.1:9001", &["10.9.0.2", "10.9.0.1"], &["10.9.1.3"]),
        ("[::]:9002", "10.9.0.1:9002", &["10.9.0.2", "127.0.0.1"], &["10.9.1.3", "10.9.0.1"]),
        ("[::]:9003", "[fd09::1]:9003", &["fd09::2", "::1"], &["fd09:0:0:1::3", "fd09::1"]),
        ("[fd09::1]:9004", "[fd09::1]:9004", &["fd09::2", "fd09::1"], &["fd09:0:0:1::3"]),
    ];
    // Beside one another: most of it is waiting for an answer that does not come.
    in_own_network(&OTHERS, move || {
        thread::scope(|scope| {
            for (listen, dialled, allowed, refused) in rows {
                scope.spawn(move || only_allowed_get_an_answer(listen, dialled, allowed, refused));
            }
        });
    });
}

fn only_allowed_get_an_answer(listen: &str, dialled: &str, allowed: &[&str], refused: &[&str]) {
    let clients = "10.9.0.2, fd09::2".parse().unwrap();
    let mut group = Group::open(listen.parse().unwrap(), 511, Some(clients)).unwrap();
    let dialled: SocketAddr = dialled.parse().unwrap();
    let silent = |source: &str, when: &str| {
        let error = connect_as(source, dialled, SILENCE).expect_err("no answer").raw_os_error();
        assert_eq!(error, Some(libc::EINPROGRESS), "{listen} from {source} {when}: not refused either");
    };
    silent(allowed[0], "before anybody serves");
    let mut serving = group.join().unwrap();
    for round in 1..=3 {
        for source in allowed {
            connect_as(source, dialled, PATIENCE)
                .unwrap_or_else(|error| panic!("{listen} from {source}: {error}"));
        }
        refused.iter().for_each(|source| silent(source, "while somebody serves"));
        assert_eq!(queued(&serving, allowed.len()), allowed.len(), "{listen} {round}");
        let next = group.join().unwrap();
        refused.iter().for_each(|source| silent(source, "while two are there"));
        group.leave(serving).unwrap();
        serving = next;
    }
    group.park().unwrap();
    silent(allowed[0], "when all is parked");
}

/// As in a container that Docker made without IPv6.
#[test]
fn both_families_are_listened_on_without_ipv6() {
    in_own_network(&[], || {
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        assert!(connect_as("::1", "[::1]:9000".parse().unwrap(), SILENCE).is_err());
        let mut group = Group::open("[::]:9000".parse().unwrap(), 511, None).unwrap();
        let serving = group.join().unwrap();
        connect_as("127.0.0.1", "127.0.0.1:9000".parse().unwrap(), PATIENCE).unwrap();
        assert_eq!(queued(&serving, 1), 1);
    });
}
