//! How lsphp gets its listener.

use std::fmt;
use std::str::FromStr;

use super::reader::Reader;
use super::{AllGiven, Given, Source, variable};
use crate::address::Address;
use crate::as_text::serde_as_text;
use crate::clients::Clients;
use crate::fault::Fault;
use crate::identity::Gid;

/// What makes cac-lsphp open the listener; none of it leaves it to lsphp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    pub backlog: Option<u32>,
    pub allowed_clients: Option<Clients>,
    pub socket_mode: Option<SocketMode>,
    pub socket_gid: Option<Gid>,
    /// `LISTEN_FDS` says so: it is descriptor 3.
    pub handed_over: bool,
    /// Seconds without a connection after which the container ends; 0: never.
    pub idle_exit: u32,
}

impl ListenerOptions {
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            backlog: reader.optional_number(&variable::BACKLOG),
            allowed_clients: reader.text(&variable::ALLOWED_CLIENTS, |text| text.parse().ok()),
            socket_mode: reader.text(&variable::SOCKET_MODE, |text| text.parse().ok()),
            socket_gid: reader.text(&variable::SOCKET_GID, |text| text.parse().ok()),
            handed_over: reader.handed_over(),
            idle_exit: reader.number(&variable::IDLE_EXIT),
        }
    }

    /// Where one is to be opened that is not like lsphp's own.
    pub fn is_special(&self) -> bool {
        self.backlog.is_some()
            || self.allowed_clients.is_some()
            || self.socket_mode.is_some()
            || self.socket_gid.is_some()
    }

    /// What contradicts the address.
    pub fn faults<'g>(&self, listen: &Address, given: &'g AllGiven) -> Vec<Fault> {
        let source = |given: Option<&'g Given>| given.map(|given| &given.source);
        let backlog = source(given.get(&variable::BACKLOG));
        let clients = source(given.get(&variable::ALLOWED_CLIENTS));
        let socket = [given.get(&variable::SOCKET_MODE), given.get(&variable::SOCKET_GID)];
        let socket = socket.into_iter().filter_map(source);
        let refused =
            |source: &Source, cause: String, hint: &'static str| Fault::new("reading", source, cause, hint);
        if self.handed_over {
            let cause = "a listener that was handed over (LISTEN_FDS) is used as it is";
            let special = backlog.into_iter().chain(clients).chain(socket);
            return special
                .map(|source| refused(source, cause.to_owned(), "set it where the listener is opened"))
                .collect();
        }
        let mut faults = Vec::new();
        if let Some(given) = given.get(&variable::IDLE_EXIT).filter(|_| self.idle_exit > 0) {
            let cause = "only a listener that was handed over (LISTEN_FDS) would start the site again";
            faults.push(refused(&given.source, cause.to_owned(), "unset it"));
        }
        match listen {
            Address::Unix(path) => {
                let cause =
                    format!("CAC_LISTEN is the socket {}, whose peers have no addresses", path.display());
                let hint = "set CAC_SOCKET_GID, or listen on ADDRESS:PORT";
                faults.extend(clients.map(|source| refused(source, cause, hint)));
            }
            Address::Inet(address) => {
                let cause = format!("CAC_LISTEN is {address} and not the path of a socket");
                let hint = "make that a socket's path, or unset this";
                faults.extend(socket.map(|source| refused(source, cause.clone(), hint)));
            }
        }
        faults
    }
}

/// Who may connect to a unix socket: whoever may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMode(u32);

impl SocketMode {
    /// The site and the front end's group.
    pub const DEFAULT: Self = Self(0o660);

    pub fn bits(self) -> u32 {
        self.0
    }

    pub fn lets_everybody_in(self) -> bool {
        self.0 & 0o002 != 0
    }
}

impl FromStr for SocketMode {
    type Err = ();

    /// Three or four octal digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        if !matches!(text.len(), 3 | 4) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        match u32::from_str_radix(text, 8) {
            Ok(bits @ 0..=0o777) => Ok(Self(bits)),
            _ => Err(()),
        }
    }
}

serde_as_text!(SocketMode);

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
