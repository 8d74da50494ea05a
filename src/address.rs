//! Where lsphp listens: the address that `-b` takes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::as_text::serde_as_text;

/// The longest path `sockaddr_un` holds besides its NUL (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// An address that lsphp can listen on. `Display` gives it back in the form that `-b` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port other than 0.
    Inet(SocketAddr),
    /// A unix socket's absolute path.
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address {text:?}: {fault}; give 0.0.0.0:9000, [::]:9000 or a socket's absolute path")]
pub struct AddressError {
    text: String,
    fault: &'static str,
}

impl Address {
    /// The address to connect to: one that stands for every interface becomes the loopback one.
    pub fn to_dial(&self) -> Address {
        match self {
            Address::Inet(socket) if socket.ip().is_unspecified() => {
                let loopback: IpAddr = match socket {
                    SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                };
                Address::Inet(SocketAddr::new(loopback, socket.port()))
            }
            other => other.clone(),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = if text.starts_with('/') { parse_path(text) } else { parse_inet(text) };
        parsed.map_err(|fault| AddressError { text: text.to_owned(), fault })
    }
}

serde_as_text!(Address);

fn parse_path(text: &str) -> Result<Address, &'static str> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        Err("a control character in the socket's path")
    } else if text.len() > LONGEST_SOCKET_PATH {
        Err("a socket's path has at most 107 bytes")
    } else if text.ends_with('/') || Path::new(text).file_name().is_none() {
        Err("the path of a directory, not of a socket")
    } else {
        Ok(Address::Unix(PathBuf::from(text)))
    }
}

fn parse_inet(text: &str) -> Result<Address, &'static str> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let socket: SocketAddr = numeric.parse().map_err(|_| "not an IP address with a port")?;
    if socket.port() == 0 { Err("port 0 cannot be listened on") } else { Ok(Address::Inet(socket)) }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(socket) => socket.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_what_lsphp_takes() {
        for (text, dialled) in [
            ("0.0.0.0:9000", "127.0.0.1:9000"),
            ("[::]:9000", "[::1]:9000"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("10.1.2.3:65535", "10.1.2.3:65535"),
            ("[2001:db8::1]:9000", "[2001:db8::1]:9000"),
            ("/run/lsphp.sock", "/run/lsphp.sock"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.to_dial().to_string(), dialled);
        }
        assert_eq!("localhost:9000".parse::<Address>().unwrap().to_string(), "127.0.0.1:9000");
    }

    #[test]
    fn refuses_nonsense() {
        let long = format!("/{}", "s".repeat(LONGEST_SOCKET_PATH));
        for text in [
            "",
            " ",
            "9000",
            ":9000",
            "0.0.0.0",
            "0.0.0.0:",
            "0.0.0.0:0",
            "0.0.0.0:65536",
            "0.0.0.0:-1",
            "0.0.0.0:9000 ",
            "256.0.0.1:9000",
            "::1:9000",
            "[::1]",
            "example.com:9000",
            "localhost",
            "localhost:",
            "http://127.0.0.1:9000",
            "relative.sock",
            "/",
            "/run/",
            "/run/..",
            "/run/a\nb",
            "/run/a\0b",
            &long,
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("give 0.0.0.0:9000") && !error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_given_back(text in ".*") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
