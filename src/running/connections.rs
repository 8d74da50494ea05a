//! Which workers hold a connection of the front end's.
//!
//! The descriptors are read here, not by the procfs crate, which reads all of them: a site may have any number.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::listener::families;
use super::socket::Connection;
use super::{netlink, proc_net};
use crate::address::Address;

/// Connections that are looked at. The front end keeps at most `maxConns` of them for each of its processes.
const MOST_CONNECTIONS: usize = 10_000;

/// Descriptors of a worker that are looked at. Its connection has one of the lowest: it is accepted before a
/// script can open anything.
const MOST_DESCRIPTORS: usize = 128;

/// The sockets that are connected to one address.
#[derive(Debug, Default)]
pub struct Connections {
    inodes: BTreeSet<u64>,
}

impl Connections {
    /// Finds those to `listen` in this network namespace.
    ///
    /// # Errors
    /// Neither netlink nor the tables in `proc` can be read.
    pub fn find(proc: &Path, listen: &Address) -> io::Result<Self> {
        let mut found = Self::default();
        for family in families(listen) {
            let mut see = |connection| found.see(&connection, listen);
            // Netlink is not everywhere: old kernels, seccomp, gVisor.
            netlink::connections(family, &mut see)
                .or_else(|_| proc_net::connections(proc, family, &mut see))?;
        }
        Ok(found)
    }

    fn see(&mut self, connection: &Connection, listen: &Address) -> ControlFlow<()> {
        let is_ours = match (&connection.local, listen) {
            (Address::Inet(local), Address::Inet(listen)) => local.port() == listen.port(),
            (local, listen) => local == listen,
        };
        // What nobody has accepted yet has no inode.
        if is_ours && connection.inode > 0 {
            self.inodes.insert(connection.inode);
        }
        if self.inodes.len() < MOST_CONNECTIONS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Whether the process with the directory `process` in `/proc` has one of them open.
    pub fn are_held_by(&self, process: &Path) -> bool {
        let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { return false };
        descriptors.take(MOST_DESCRIPTORS).flatten().any(|descriptor| {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            socket_inode(&target).is_some_and(|inode| self.inodes.contains(&inode))
        })
    }
}

/// `socket:[4711]`
fn socket_inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    const PROC: &str = "/proc";

    fn held(listen: &Address) -> bool {
        Connections::find(Path::new(PROC), listen).unwrap().are_held_by(Path::new("/proc/self"))
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
        let mut from_proc = Connections::default();
        for family in families(&listen) {
            let mut see = |connection| from_proc.see(&connection, &listen);
            proc_net::connections(Path::new(PROC), family, &mut see).unwrap();
        }
        assert_eq!(from_proc.inodes.len(), 2);
        assert_eq!(Connections::find(Path::new(PROC), &listen).unwrap().inodes, from_proc.inodes);
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
