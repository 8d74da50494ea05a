//! The listener where cac-lsphp opens it, for lsphp to have as its descriptor 0.
//!
//! [`group`] is an address that several listeners share, one of which never answers; [`filter`] the program
//! that says which of them gets a new connection; [`inherited`] what systemd or podman hands over; [`unix`] a
//! socket in the file system.

mod filter;
pub mod group;
pub mod inherited;
pub mod unix;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::identity::{Gid, Uid};

/// What lsphp gets.
#[derive(Debug)]
pub struct Listener {
    /// Its descriptor 0.
    pub serving: OwnedFd,
    /// Its descriptor 3, where the two make a group.
    pub parking: Option<OwnedFd>,
}

impl Listener {
    /// Gives what root has opened to the site, so that it is seen as the site's.
    pub fn chown(&self, uid: Uid, gid: Gid) -> io::Result<()> {
        chown([&self.serving].into_iter().chain(&self.parking), uid, gid)
    }
}

/// What tells a socket from others in the kernel's tables.
pub fn inode(socket: &impl AsFd) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(socket)?.st_ino)
}

fn chown<'a>(sockets: impl IntoIterator<Item = &'a OwnedFd>, uid: Uid, gid: Gid) -> io::Result<()> {
    sockets
        .into_iter()
        .try_for_each(|socket| std::os::unix::fs::fchown(socket, Some(uid.as_raw()), Some(gid.as_raw())))
}
