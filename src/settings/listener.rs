//! How lsphp gets its listener.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Sourced;
use super::identity::Gid;
use super::reader::Reader;
use super::variable;
use crate::address::Address;
use crate::clients::Clients;

/// What makes cac-lsphp open the listener; none of it leaves it to lsphp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    pub backlog: Option<Sourced<u32>>,
    pub allowed_clients: Option<Sourced<Clients>>,
    pub socket_mode: Option<Sourced<SocketMode>>,
    pub socket_gid: Option<Sourced<Gid>>,
    /// `LISTEN_FDS` says so: it is descriptor 3.
    pub handed_over: bool,
    /// Seconds without a connection after which the container ends; 0: never.
    pub idle_exit: Sourced<u32>,
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
        self.sources().next().is_some()
    }

    /// What contradicts the address, one line each.
    pub fn faults(&self, listen: &Address) -> Vec<String> {
        let mut faults = Vec::new();
        if self.handed_over {
            faults.extend(self.sources().map(|source| {
                format!("{source} is refused: a listener that was handed over (LISTEN_FDS) is used as it is; set that where it is opened")
            }));
        } else if self.idle_exit.value > 0 {
            faults.push(format!(
                "{} is refused: without a listener that was handed over (LISTEN_FDS) nothing would start the site again; unset it",
                self.idle_exit.source
            ));
        }
        if self.handed_over {
            return faults;
        }
        match listen {
            Address::Unix(path) => faults.extend(self.of_an_address().map(|source| format!(
                "{source} is refused: CAC_LISTEN is the socket {}, whose peers have no addresses; set CAC_SOCKET_GID, or listen on ADDRESS:PORT",
                path.display()
            ))),
            Address::Inet(address) => faults.extend(self.of_a_socket().map(|source| {
                format!("{source} is refused: CAC_LISTEN is {address} and no socket's path; correct that, or unset it")
            })),
        }
        faults
    }

    fn sources(&self) -> impl Iterator<Item = &str> {
        let backlog = self.backlog.iter().map(|backlog| backlog.source.as_str());
        backlog.chain(self.of_an_address()).chain(self.of_a_socket())
    }

    fn of_an_address(&self) -> impl Iterator<Item = &str> {
        self.allowed_clients.iter().map(|clients| clients.source.as_str())
    }

    fn of_a_socket(&self) -> impl Iterator<Item = &str> {
        let mode = self.socket_mode.iter().map(|mode| mode.source.as_str());
        mode.chain(self.socket_gid.iter().map(|gid| gid.source.as_str()))
    }
}

/// Who may connect to a unix socket: whoever may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SocketMode(u32);

/// No mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not three or four octal digits up to 0777")]
pub struct NotAMode;

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
    type Err = NotAMode;

    fn from_str(text: &str) -> Result<Self, NotAMode> {
        if !matches!(text.len(), 3 | 4) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAMode);
        }
        match u32::from_str_radix(text, 8) {
            Ok(bits @ 0..=0o777) => Ok(Self(bits)),
            _ => Err(NotAMode),
        }
    }
}

impl TryFrom<String> for SocketMode {
    type Error = NotAMode;

    fn try_from(text: String) -> Result<Self, NotAMode> {
        text.parse()
    }
}

impl From<SocketMode> for String {
    fn from(mode: SocketMode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
