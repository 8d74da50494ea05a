//! Who may connect: addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::as_text::serde_as_text;

/// As many as a program for the kernel holds on every machine: 14 instructions each at most, and
/// `net.core.optmem_max` has room for 2,500 (20 KiB, the kernel's default before Linux 6.7).
pub const MOST: usize = 128;

/// An address, or all that start with the same bits. IPv4 addresses that are mapped into IPv6 are IPv4's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// The peers that may connect; at least one, at most [`MOST`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Network>")]
pub struct Clients(Vec<Network>);

/// No network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network, or none or more than {MOST} of them")]
pub struct NotANetwork;

impl Network {
    /// 127.0.0.0/8 and ::1.
    pub const LOOPBACK: [Self; 2] = [
        Self { first: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
        Self { first: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    ];

    /// One address.
    pub fn only(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, prefix: width(first) }
    }

    pub fn first(self) -> IpAddr {
        self.first
    }

    pub fn last(self) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from(first.to_bits() | free_v4(self.prefix)).into(),
            IpAddr::V6(first) => Ipv6Addr::from(first.to_bits() | free_v6(self.prefix)).into(),
        }
    }

    fn free_bits_are_clear(self) -> bool {
        match self.first {
            IpAddr::V4(first) => first.to_bits() & free_v4(self.prefix) == 0,
            IpAddr::V6(first) => first.to_bits() & free_v6(self.prefix) == 0,
        }
    }
}

/// The bits behind the prefix.
fn free_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

fn free_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// Bits behind the prefix are a mistake: whoever writes 10.0.0.5/8 did not mean all of 10.0.0.0/8.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let first = written.to_canonical();
        let Some(prefix) = prefix else { return Ok(Self::only(first)) };
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotANetwork);
        }
        let prefix: u8 = prefix.parse().map_err(|_| NotANetwork)?;
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
        let mapping = width(written) - width(first);
        let network = Self { first, prefix: prefix.checked_sub(mapping).ok_or(NotANetwork)? };
        if network.prefix <= width(first) && network.free_bits_are_clear() {
            Ok(network)
        } else {
            Err(NotANetwork)
        }
    }
}

serde_as_text!(Network);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        if self.prefix < width(self.first) { write!(f, "/{}", self.prefix) } else { Ok(()) }
    }
}

impl Clients {
    pub fn iter(&self) -> impl Iterator<Item = Network> {
        self.0.iter().copied()
    }
}

impl FromStr for Clients {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let names = text.split(|character: char| character == ',' || character.is_ascii_whitespace());
        names.filter(|name| !name.is_empty()).map(str::parse).collect::<Result<Vec<_>, _>>()?.try_into()
    }
}

impl TryFrom<Vec<Network>> for Clients {
    type Error = NotANetwork;

    fn try_from(networks: Vec<Network>) -> Result<Self, NotANetwork> {
        if networks.is_empty() || networks.len() > MOST { Err(NotANetwork) } else { Ok(Self(networks)) }
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, network) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            network.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_and_networks() {
        for (text, first, last) in [
            ("10.0.0.5", "10.0.0.5", "10.0.0.5"),
            ("172.30.0.0/24", "172.30.0.0", "172.30.0.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("10.0.0.6/31", "10.0.0.6", "10.0.0.7"),
            ("::1", "::1", "::1"),
            ("fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::ffff:10.0.0.0/104", "10.0.0.0", "10.255.255.255"),
            ("::ffff:10.0.0.5", "10.0.0.5", "10.0.0.5"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(
                (network.first(), network.last()),
                (first.parse().unwrap(), last.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "ols",
            "ols.example.com",
            "localhost",
            "10.0.0",
            "10.0.0.5/33",
            "10.0.0.5/",
            "10.0.0.5/-1",
            "10.0.0.5/+8",
            "10.0.0.0/8/8",
            "10.0.0.5/8",
            "fd00::1/64",
            "::/129",
            "::ffff:10.0.0.0/95",
            "fe80::1%eth0",
            "10.0.0.5:9000",
            "[::1]",
            "10.0.0.1-10.0.0.9",
            "*",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists() {
        let clients: Clients = "10.0.0.5, 172.30.0.0/24\tfd00::/64,,::1 ".parse().unwrap();
        assert_eq!(clients.to_string(), "10.0.0.5, 172.30.0.0/24, fd00::/64, ::1");
        for text in [",", " , ", "10.0.0.5, ols", "10.0.0.5; 10.0.0.6"] {
            assert!(text.parse::<Clients>().is_err(), "{text}");
        }
        assert!(vec!["10.0.0.5"; MOST].join(",").parse::<Clients>().is_ok());
        assert!(vec!["10.0.0.5"; MOST + 1].join(",").parse::<Clients>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_given_back(text in ".*|[0-9a-f:.]{1,20}(/[0-9]{1,3})?") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
            }
        }
    }
}
