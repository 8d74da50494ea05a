//! Which workers hold a connection of the front end's.
//!
//! The descriptors are read here, not by the procfs crate, which reads all of them: a site may have any number.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::Path;

use super::descriptor::{self, sockets};
use super::listener::families;
use super::place::Place;
use super::socket::Connection;
use super::{netlink, proc_net};
use crate::address::Address;

/// Connections that are looked at. The front end keeps at most `maxConns` of them for each of its processes.
const MOST_CONNECTIONS: usize = 10_000;

/// The sockets that are connected to one address. From the host each of a worker's is asked. Else they are looked for when
/// a worker has one that may be: to find them the kernel looks through all connections of the machine.
#[derive(Debug, Default)]
pub struct Connections<'a> {
    /// `None`: there are none.
    of: Option<(&'a Place, &'a Address)>,
    parents: &'a [u32],
    /// Sockets that every worker has from its parent, such as the listener.
    inherited: OnceCell<BTreeSet<u64>>,
    inodes: OnceCell<BTreeSet<u64>>,
}

impl<'a> Connections<'a> {
    /// Those to `listen` in the site's network namespace, where `parents` fork the workers. Where neither netlink
    /// nor the tables in `/proc` can be read, none are known.
    pub fn of(place: &'a Place, listen: &'a Address, parents: &'a [u32]) -> Self {
        Self { of: Some((place, listen)), parents, ..Self::default() }
    }

    fn is_inherited(&self, proc: &Path, inode: u64) -> bool {
        let held = || self.parents.iter().flat_map(|pid| sockets(proc, *pid).unwrap_or_default());
        self.inherited.get_or_init(|| held().map(|(_, inode)| inode).collect()).contains(&inode)
    }

    /// Whether process `pid` in `proc` holds one of them.
    pub fn are_held_by(&self, proc: &Path, pid: u32) -> bool {
        let Some((place, listen)) = self.of else { return false };
        let sockets = sockets(proc, pid).unwrap_or_default().into_iter();
        let mut own = sockets.filter(|(_, inode)| !self.is_inherited(proc, *inode));
        own.any(|(descriptor, inode)| {
            let asked = place.is_outside() && matches!(listen, Address::Inet(_));
            let told = asked.then(|| descriptor::connection(proc, pid, descriptor));
            match told {
                Some(Ok(connection)) => connection.is_some_and(|connection| is_one(&connection, listen)),
                // It was closed in between.
                Some(Err(error)) if !cannot_ask(&error) => false,
                _ => self.inodes.get_or_init(|| find(place, listen).unwrap_or_default()).contains(&inode),
            }
        })
    }
}

/// An old kernel, or a seccomp profile.
fn cannot_ask(error: &io::Error) -> bool {
    [ErrorKind::PermissionDenied, ErrorKind::Unsupported].contains(&error.kind())
}

fn find(place: &Place, listen: &Address) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for family in families(listen) {
        let mut see = |connection| see(&mut inodes, &connection, listen);
        // Netlink is not everywhere, see there.
        let is_told = netlink::connections(place, family, &mut see).is_ok();
        if !is_told {
            proc_net::connections(&place.tables(), family, &mut see)?;
        }
    }
    Ok(inodes)
}

fn see(inodes: &mut BTreeSet<u64>, connection: &Connection, listen: &Address) -> ControlFlow<()> {
    // What nobody has accepted yet has no inode.
    if is_one(connection, listen) && connection.inode > 0 {
        inodes.insert(connection.inode);
    }
    if inodes.len() < MOST_CONNECTIONS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn is_one(connection: &Connection, listen: &Address) -> bool {
    match (&connection.local, listen) {
        (Address::Inet(local), Address::Inet(listen)) => local.port() == listen.port(),
        (local, listen) => local == listen,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    /// Whether this process holds one; the host must see the same.
    fn held(listen: &Address) -> bool {
        let (proc, own) = (Path::new("/proc"), std::process::id());
        let places = [Place::inside(Path::new("/"), own), Place::outside(proc, own).unwrap()];
        let [inside, outside] =
            places.map(|place| Connections::of(&place, listen, &[]).are_held_by(proc, own));
        assert_eq!(inside, outside);
        inside
    }

    #[test]
    fn an_accepted_connection_is_held_and_a_waiting_one_is_not() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let address = listener.local_addr().unwrap();
            let listen = Address::Inet(address);
            let client = TcpStream::connect(address).unwrap();
            assert!(!held(&listen), "nobody has accepted it");
            let accepted = listener.accept().unwrap();
            assert!(held(&listen));
            drop(client);
            assert!(held(&listen), "its peer is gone");
            drop(accepted);
            assert!(!held(&listen));
        }
    }

    #[test]
    fn a_unix_socket_is_known_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lsphp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let listen = Address::Unix(path.clone());
        let _client = UnixStream::connect(&path).unwrap();
        assert!(!held(&listen), "nobody has accepted it");
        let _accepted = listener.accept().unwrap();
        assert!(held(&listen));
    }

    #[test]
    fn both_tables_say_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = Address::Inet(listener.local_addr().unwrap());
        let _clients: Vec<_> =
            (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        let _accepted: Vec<_> = (0..2).map(|_| listener.accept().unwrap()).collect();
        let own = std::process::id();
        let (inside, outside) =
            (Place::inside(Path::new("/"), own), Place::outside(Path::new("/proc"), own).unwrap());
        let from_tables = find(&outside, &listen).unwrap();
        assert_eq!(from_tables.len(), 2);
        assert_eq!(find(&inside, &listen).unwrap(), from_tables);
    }
}
