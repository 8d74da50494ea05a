//! Asks the kernel for sockets over netlink: what it takes to find the listening ones does not grow with the
//! number of connections, and any user may ask.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::place::Place;
use super::sock_diag::{self, Message};
use super::socket::{Connection, Family, Listener, States};

/// The kernel fills at most this much at once (NLMSG_GOODSIZE, before a reader has asked for more).
const ANSWER: usize = 8 << 10;

/// Hands every listening socket of `family` to `see` until that has seen enough.
pub(super) fn listeners(
    place: &Place,
    family: Family,
    see: &mut dyn FnMut(Listener) -> ControlFlow<()>,
) -> io::Result<()> {
    ask(place, family, States::Listening, &mut |message| match message {
        Message::Listener(listener) => see(listener),
        _ => ControlFlow::Continue(()),
    })
}

/// Hands every connection of `family` to `see` until that has seen enough.
pub(super) fn connections(
    place: &Place,
    family: Family,
    see: &mut dyn FnMut(Connection) -> ControlFlow<()>,
) -> io::Result<()> {
    ask(place, family, States::Connected, &mut |message| match message {
        Message::Connection(connection) => see(connection),
        _ => ControlFlow::Continue(()),
    })
}

fn ask(
    place: &Place,
    family: Family,
    states: States,
    see: &mut dyn FnMut(Message) -> ControlFlow<()>,
) -> io::Result<()> {
    let protocol = SockProtocol::NetlinkSockDiag;
    let socket = place.in_its_network(|| {
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
    })??;
    send(socket.as_raw_fd(), &sock_diag::request(family, states), MsgFlags::empty())?;
    let mut buffer = [0; ANSWER];
    loop {
        // The kernel answers while it is asked, so there is nothing to wait for.
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        let mut bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Err(Errno::EBADMSG.into());
        }
        while !bytes.is_empty() {
            match sock_diag::take_message(&mut bytes).map_err(io::Error::other)? {
                Message::Done => return Ok(()),
                Message::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
                row => {
                    if see(row).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
}
