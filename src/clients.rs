//! Who may connect: addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::as_text::serde_as_text;

/// As many as a program for the kernel holds on every machine: 14 instructions each at most, and
/// `net.core.optmem_max` has room for 2,500 (20 KiB, the kernel's default before Linux 6.7).
pub const MOST: usize = 128;

/// An address, or all that start with the same bits. IPv4 addresses that are mapped into IPv6 are IPv4's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// The peers that may connect; at least one, at most [`MOST`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Network>")]
pub struct Clients(Vec<Network>);

/// What cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network, or none or more than {MOST} of them")]
pub struct NotANetwork;

impl Network {
    /// 127.0.0.0/8 and ::1.
    pub const LOOPBACK: [Self; 2] = [
        Self(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8))),
        Self(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))),
    ];

    /// One address.
    pub fn only(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }

    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    pub fn last(self) -> IpAddr {
        self.0.broadcast()
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// Bits behind the prefix are a mistake: whoever writes 10.0.0.5/8 did not mean all of 10.0.0.0/8.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        if !text.contains('/') {
            return text.parse().map(Self::only).map_err(|_| NotANetwork);
        }
        let network = text.parse().ok().and_then(canonical).ok_or(NotANetwork)?;
        if network == network.trunc() { Ok(Self(network)) } else { Err(NotANetwork) }
    }
}

/// ::ffff:10.0.0.0/104 is 10.0.0.0/8.
fn canonical(network: IpNet) -> Option<IpNet> {
    match network.addr().to_canonical() {
        IpAddr::V4(mapped) if network.addr().is_ipv6() => {
            Ipv4Net::new(mapped, network.prefix_len().checked_sub(96)?).ok().map(IpNet::V4)
        }
        _ => Some(network),
    }
}

serde_as_text!(Network);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_one = self.0.prefix_len() == self.0.max_prefix_len();
        if is_one { self.0.addr().fmt(f) } else { self.0.fmt(f) }
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
        f.write_str(&self.0.iter().map(Network::to_string).collect::<Vec<_>>().join(", "))
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
