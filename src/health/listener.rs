//! Whether the site listens where it should, and how many connections wait there.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::record::Record;
use super::{Reason, netlink, proc_net};
use crate::address::Address;

/// A socket in LISTEN state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: Address,
    /// Who made it; `None`: the kernel does not say.
    pub uid: Option<u32>,
    /// `None`: the kernel does not say.
    pub queue: Option<Queue>,
}

/// Connections that wait to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Queue {
    pub length: u32,
    /// The backlog: one more than this may wait (the kernel compares with "greater").
    pub limit: u32,
}

impl Queue {
    /// No room for more: the next connections time out, though lsphp does what it can.
    pub fn is_saturated(self) -> bool {
        self.length >= self.limit
    }
}

/// The kernel's tables of listening sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Inet { port: u16 },
    Inet6 { port: u16 },
    Unix,
}

/// Finds the site's listener in this network namespace; its queue, where the kernel tells.
pub(super) fn find(proc: &Path, record: &Record) -> Result<Option<Queue>, Reason> {
    let mut search = Search { record, found: None, other_uid: None };
    for family in families(&record.listen) {
        // Netlink is not everywhere: old kernels, seccomp, gVisor.
        let asked = netlink::listeners(family, &mut |listener| search.see(listener));
        let asked =
            asked.or_else(|_| proc_net::listeners(proc, family, &mut |listener| search.see(listener)));
        asked.map_err(|error| Reason::Unreadable { file: "/proc/net".into(), cause: error.to_string() })?;
        if let Some(queue) = search.found {
            return Ok(queue);
        }
    }
    let listen = record.listen.clone();
    Err(match search.other_uid {
        Some(uid) => Reason::ListeningAsOther { listen, uid, wanted: record.uid },
        None => Reason::NotListening { listen },
    })
}

/// The table that must have the listener, then the one that may have somebody else's on its port.
fn families(listen: &Address) -> Vec<Family> {
    match listen {
        Address::Unix(_) => vec![Family::Unix],
        Address::Inet(socket) => {
            let port = socket.port();
            let mut families = vec![Family::Inet { port }, Family::Inet6 { port }];
            if socket.is_ipv6() {
                families.reverse();
            }
            families
        }
    }
}

struct Search<'a> {
    record: &'a Record,
    /// The site's listener was seen, with this queue.
    found: Option<Option<Queue>>,
    /// Somebody else's was.
    other_uid: Option<u32>,
}

impl Search<'_> {
    fn see(&mut self, listener: Listener) -> ControlFlow<()> {
        let is_same = is_same(&listener.address, &self.record.listen);
        if !is_same && !overlaps(&listener.address, &self.record.listen) {
            return ControlFlow::Continue(());
        }
        match owner(&listener) {
            Some(uid) if uid == self.record.uid && is_same => {
                self.found = Some(listener.queue);
                return ControlFlow::Break(());
            }
            Some(uid) if uid != self.record.uid => self.other_uid = Some(uid),
            // The site listens elsewhere, or its socket cannot be reached any more.
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Who listens; nobody, if that is a unix socket without a file to connect to. The file belongs to
/// who made it, should the kernel not tell more.
fn owner(listener: &Listener) -> Option<u32> {
    match &listener.address {
        Address::Unix(path) => {
            let file = std::fs::symlink_metadata(path).ok()?;
            Some(listener.uid.unwrap_or(file.uid()))
        }
        Address::Inet(_) => listener.uid,
    }
}

/// Flow label and scope are no part of what is listened on.
fn is_same(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Inet(one), Address::Inet(other)) => (one.ip(), one.port()) == (other.ip(), other.port()),
        _ => one == other,
    }
}

/// Whether one of the two takes connections that are meant for the other.
fn overlaps(one: &Address, other: &Address) -> bool {
    let (Address::Inet(one), Address::Inet(other)) = (one, other) else { return one == other };
    let takes_all = |socket: &SocketAddr, other: &SocketAddr| match socket.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && other.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    one.port() == other.port() && (takes_all(one, other) || takes_all(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: u32 = 61045;
    const QUEUE: Queue = Queue { length: 3, limit: 10 };

    fn record(listen: &str) -> Record {
        Record {
            pid: 1,
            start_ticks: 1,
            pid_namespace: "pid:[1]".into(),
            events: crate::cgroup::EventFiles::default(),
            uid: SITE,
            listen: listen.parse().unwrap(),
            workers: 7,
            lsphp: "/opt/lsphp".into(),
        }
    }

    /// Whether the site listens, and who else does.
    fn seen(listen: &str, listeners: &[(&str, u32)]) -> (bool, Option<u32>) {
        let record = record(listen);
        let mut search = Search { record: &record, found: None, other_uid: None };
        for (address, uid) in listeners {
            let address = address.parse().unwrap();
            if search.see(Listener { address, uid: Some(*uid), queue: Some(QUEUE) }).is_break() {
                break;
            }
        }
        (search.found == Some(Some(QUEUE)), search.other_uid)
    }

    #[test]
    fn the_address_and_the_uid_must_be_the_sites() {
        for (listen, listeners, expected) in [
            ("0.0.0.0:9000", &[("0.0.0.0:9000", SITE)][..], (true, None)),
            ("[::]:9000", &[("[::]:9000", SITE)], (true, None)),
            ("127.0.0.1:9000", &[("127.0.0.2:9000", 7), ("127.0.0.1:9000", SITE)], (true, None)),
            ("0.0.0.0:9000", &[("0.0.0.0:9000", 0), ("0.0.0.0:9000", SITE)], (true, Some(0))),
            ("0.0.0.0:9000", &[], (false, None)),
            ("0.0.0.0:9000", &[("0.0.0.0:9001", SITE)], (false, None)),
            ("0.0.0.0:9000", &[("127.0.0.1:9000", SITE)], (false, None)),
            ("0.0.0.0:9000", &[("0.0.0.0:9000", 0)], (false, Some(0))),
            ("0.0.0.0:9000", &[("[::]:9000", 33)], (false, Some(33))),
            ("0.0.0.0:9000", &[("127.0.0.1:9000", 33)], (false, Some(33))),
            ("10.0.0.1:9000", &[("0.0.0.0:9000", 33)], (false, Some(33))),
            ("10.0.0.1:9000", &[("10.0.0.2:9000", 33)], (false, None)),
        ] {
            assert_eq!(seen(listen, listeners), expected, "{listen} {listeners:?}");
        }
    }

    #[test]
    fn a_unix_socket_needs_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock").display().to_string();
        let beside = directory.path().join("b.sock").display().to_string();
        assert_eq!(seen(&path, &[(&path, SITE)]), (false, None));
        std::fs::write(&path, "").unwrap();
        assert_eq!(seen(&path, &[(&beside, SITE), (&path, SITE)]), (true, None));
        assert_eq!(seen(&path, &[(&path, 0)]), (false, Some(0)));
    }

    #[test]
    fn a_queue_is_saturated_from_its_limit_on() {
        for (length, saturated) in [(0, false), (9, false), (10, true), (11, true)] {
            assert_eq!(Queue { length, limit: 10 }.is_saturated(), saturated, "{length}");
        }
    }
}
