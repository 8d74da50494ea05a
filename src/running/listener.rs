//! Who holds the address that the site listens on, and how many connections wait there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use super::place::Place;
use super::record::ListenerRecord;
use super::socket::{Family, Listener, Queue};
use super::{descriptor, netlink, proc_net};
use crate::address::Address;
use crate::root::Root;

/// Who listens where the site should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The site, with this queue; `None`: the kernel does not say.
    Site(Option<Queue>),
    Other {
        uid: u32,
    },
    Nobody,
}

/// Looks for the listener `wanted` in the site's network namespace, from the host first among the sockets of its lsphp
/// processes `parents`, oldest first.
///
/// # Errors
/// Neither netlink nor the tables in `/proc` can be read.
pub fn find(place: &Place, wanted: &ListenerRecord, parents: &[u32]) -> io::Result<Holder> {
    let mut search = Search { wanted, root: &place.root, holder: Holder::Nobody };
    let asked = if place.is_outside() { parents } else { &[] };
    let held = asked.iter().rev().flat_map(|pid| descriptor::listeners(&place.proc, *pid));
    for listener in held {
        if search.see(&listener).is_break() {
            return Ok(search.holder);
        }
    }
    for family in families(&wanted.address) {
        let mut see = |listener| search.see(&listener);
        // Netlink is not everywhere: old kernels, seccomp, gVisor, or a network that may not be entered.
        let is_told = netlink::listeners(place, family, &mut see).is_ok();
        if !is_told {
            proc_net::listeners(&place.tables(), family, &mut see)?;
        }
        if matches!(search.holder, Holder::Site(_)) {
            break;
        }
    }
    Ok(search.holder)
}

/// The table that must have the listener, then the one that may have somebody else's on its port.
pub(super) fn families(listen: &Address) -> Vec<Family> {
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
    wanted: &'a ListenerRecord,
    root: &'a Root,
    /// Of those that were seen.
    holder: Holder,
}

impl Search<'_> {
    fn see(&mut self, listener: &Listener) -> ControlFlow<()> {
        let is_same = is_same(&listener.address, &self.wanted.address);
        if !is_same && !overlaps(&listener.address, &self.wanted.address) {
            return ControlFlow::Continue(());
        }
        match owner(listener, self.root) {
            Some(uid) if uid == self.wanted.uid && is_same && self.serves(listener) => {
                self.holder = Holder::Site(self.queue(listener));
                return ControlFlow::Break(());
            }
            Some(uid) if uid != self.wanted.uid => self.holder = Holder::Other { uid },
            // The site listens elsewhere, or its socket cannot be reached any more.
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Nobody accepts from the two that may be beside it in a group: the parking one, and a spare one that has no
    /// backlog.
    fn serves(&self, listener: &Listener) -> bool {
        let is_parking = self.wanted.parking.is_some() && listener.inode == self.wanted.parking;
        !is_parking && listener.backlog != Some(0)
    }

    fn queue(&self, listener: &Listener) -> Option<Queue> {
        let limit = listener.backlog.unwrap_or(self.wanted.backlog);
        listener.waiting.map(|length| Queue { length, limit })
    }
}

/// Who listens; nobody, if that is a unix socket without a file to connect to. The file belongs to
/// who made it, should the kernel not tell more.
fn owner(listener: &Listener, root: &Root) -> Option<u32> {
    match &listener.address {
        Address::Unix(path) => {
            let owner = root.owner(path)?;
            Some(listener.uid.unwrap_or(owner))
        }
        Address::Inet(_) => listener.uid,
    }
}

/// Flow label and scope are not part of what is listened on.
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
    use std::path::Path;

    use super::*;

    const SITE: u32 = 61045;

    fn wanted(listen: &str) -> ListenerRecord {
        let address = listen.parse().unwrap();
        ListenerRecord { address, backlog: 10, uid: SITE, parking: Some(7), handed_over: None }
    }

    /// Who holds `listen` among `listeners`.
    fn seen(listen: &str, listeners: &[(&str, u32)]) -> Holder {
        let (wanted, root) = (wanted(listen), Root::own(Path::new("/")));
        let mut search = Search { wanted: &wanted, root: &root, holder: Holder::Nobody };
        for (address, uid) in listeners {
            let address = address.parse().unwrap();
            let (waiting, backlog, inode) = (Some(3), Some(511), Some(8));
            let listener = Listener { address, uid: Some(*uid), waiting, backlog, inode };
            if search.see(&listener).is_break() {
                break;
            }
        }
        search.holder
    }

    fn site() -> Holder {
        Holder::Site(Some(Queue { length: 3, limit: 511 }))
    }

    fn other(uid: u32) -> Holder {
        Holder::Other { uid }
    }

    #[test]
    fn the_address_and_the_uid_must_be_the_sites() {
        for (listen, listeners, expected) in [
            ("0.0.0.0:9000", &[("0.0.0.0:9000", SITE)][..], site()),
            ("[::]:9000", &[("[::]:9000", SITE)], site()),
            ("127.0.0.1:9000", &[("127.0.0.2:9000", 7), ("127.0.0.1:9000", SITE)], site()),
            ("0.0.0.0:9000", &[("0.0.0.0:9000", 0), ("0.0.0.0:9000", SITE)], site()),
            ("0.0.0.0:9000", &[], Holder::Nobody),
            ("0.0.0.0:9000", &[("0.0.0.0:9001", SITE)], Holder::Nobody),
            ("0.0.0.0:9000", &[("127.0.0.1:9000", SITE)], Holder::Nobody),
            ("0.0.0.0:9000", &[("0.0.0.0:9000", 0)], other(0)),
            ("0.0.0.0:9000", &[("[::]:9000", 33)], other(33)),
            ("0.0.0.0:9000", &[("127.0.0.1:9000", 33)], other(33)),
            ("10.0.0.1:9000", &[("0.0.0.0:9000", 33)], other(33)),
            ("10.0.0.1:9000", &[("10.0.0.2:9000", 33)], Holder::Nobody),
        ] {
            assert_eq!(seen(listen, listeners), expected, "{listen} {listeners:?}");
        }
    }

    #[test]
    fn a_unix_socket_needs_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock").display().to_string();
        let beside = directory.path().join("b.sock").display().to_string();
        assert_eq!(seen(&path, &[(&path, SITE)]), Holder::Nobody);
        std::fs::write(&path, "").unwrap();
        assert_eq!(seen(&path, &[(&beside, SITE), (&path, SITE)]), site());
        assert_eq!(seen(&path, &[(&path, 0)]), other(0));
    }

    /// However short the serving one's queue is.
    #[test]
    fn of_a_group_the_serving_listener_is_found() {
        let (root, wanted) =
            (Root::own(Path::new("/")), ListenerRecord { backlog: 1, ..wanted("0.0.0.0:9000") });
        let mut search = Search { wanted: &wanted, root: &root, holder: Holder::Nobody };
        for (inode, backlog, waiting) in [(7, 1, 2), (8, 0, 0), (9, 1, 1)] {
            let (address, uid) = (wanted.address.clone(), Some(SITE));
            let (waiting, backlog, inode) = (Some(waiting), Some(backlog), Some(inode));
            let found = search.see(&Listener { address, uid, waiting, backlog, inode }).is_break();
            assert_eq!(found, inode == Some(9));
        }
        assert_eq!(search.holder, Holder::Site(Some(Queue { length: 1, limit: 1 })));
    }

    #[test]
    fn a_table_without_the_backlog_has_it_from_the_record() {
        let (wanted, root) = (wanted("0.0.0.0:9000"), Root::own(Path::new("/")));
        let mut search = Search { wanted: &wanted, root: &root, holder: Holder::Nobody };
        let (address, uid) = (wanted.address.clone(), Some(SITE));
        let mut listener = Listener { address, uid, waiting: Some(3), backlog: None, inode: None };
        let _ = search.see(&listener);
        assert_eq!(search.holder, Holder::Site(Some(Queue { length: 3, limit: 10 })));
        listener.waiting = None;
        let _ = search.see(&listener);
        assert_eq!(search.holder, Holder::Site(None));
    }
}
