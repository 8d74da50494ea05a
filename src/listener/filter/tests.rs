use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::clients::MOST;

const SERVING: u32 = 2;

/// What the kernel does with the instructions that a program has: linux/filter.h, net/core/filter.c. A load
/// beyond the packet returns 0, everything that the kernel's check would refuse panics.
fn run(program: &[BpfInstruction], packet: &[u8]) -> u32 {
    let (mut accumulator, mut memory, mut next) = (0_u32, [None; 16], 0);
    loop {
        let BpfInstruction { code, jt, jf, k } = program[next];
        next += 1;
        let mut branch = |holds: bool| next += usize::from(if holds { jt } else { jf });
        match code {
            0x30 | 0x20 => {
                let start = usize::try_from(k.wrapping_sub((-0x10_0000_i32).cast_unsigned())).unwrap();
                let length = if code == 0x30 { 1 } else { 4 };
                let Some(bytes) = packet.get(start..start + length) else { return 0 };
                accumulator = bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            }
            0x60 => accumulator = memory[k as usize].expect("nothing is read that was not stored"),
            0x02 => memory[k as usize] = Some(accumulator),
            0x74 => accumulator >>= k,
            0x05 => next += k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x06 => return k,
            code => panic!("no instruction: {code:#x}"),
        }
    }
}

/// The same question in the plainest way: the bits of one after the other.
fn starts_with(address: IpAddr, network: &str) -> bool {
    let (first, prefix) = network.split_once('/').unwrap();
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().iter().map(|byte| format!("{byte:08b}")).collect::<String>(),
        IpAddr::V6(address) => address.octets().iter().map(|byte| format!("{byte:08b}")).collect(),
    };
    let (address, first) = (bits(address), bits(first.parse().unwrap()));
    let prefix: usize = prefix.parse().unwrap();
    address.len() == first.len() && address[..prefix] == first[..prefix]
}

/// The first packet of a connection from `source`, from its network header on.
fn packet(source: IpAddr) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => [&[0x45; 12][..], &source.octets(), &[0; 24]].concat(),
        IpAddr::V6(source) => [&[0x60; 8][..], &source.octets(), &[0; 36]].concat(),
    }
}

/// Few bits are set, so that addresses are near each other, and networks contain some.
fn address() -> impl Strategy<Value = IpAddr> {
    let sparse = (0..8_u32, 0..32_u32, 0..32_u32).prop_map(|(low, one, other)| low | 1 << one | 1 << other);
    prop_oneof![
        sparse.clone().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        (sparse.clone(), 0..4).prop_map(|(bits, word)| {
            IpAddr::V6(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(bits) << (word * 32)))
        }),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits | 1 << 127))),
    ]
}

/// A network that a near address is in, as a person writes it.
fn network() -> impl Strategy<Value = String> {
    (address(), 0..=128_u32).prop_map(|(address, prefix)| match address {
        IpAddr::V4(address) => {
            let prefix = prefix.min(32);
            let free = u64::from(u32::MAX) >> prefix;
            format!("{}/{prefix}", Ipv4Addr::from(address.to_bits() & !(free as u32)))
        }
        IpAddr::V6(address) => {
            let free = u128::MAX.checked_shr(prefix).unwrap_or(0);
            format!("{}/{prefix}", Ipv6Addr::from(address.to_bits() & !free))
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn the_program_agrees_with_the_plain_question(
        networks in proptest::collection::vec(network(), 1..12),
        own in proptest::option::of(address()),
        sources in proptest::collection::vec(address(), 8),
    ) {
        let clients: Clients = networks.join(" ").parse().unwrap();
        let program = for_clients(&clients, own, SERVING);
        let always = ["127.0.0.0/8", "::1/128"].map(str::to_owned);
        for source in sources.into_iter().chain(clients.iter().flat_map(|network| [network.first(), network.last()])) {
            let allowed = networks.iter().chain(&always).any(|network| starts_with(source, network))
                || own == Some(source);
            let expected = if allowed { SERVING } else { PARKING };
            prop_assert_eq!(run(&program, &packet(source)), expected, "{} of {:?}", source, networks);
        }
    }

    /// Who is near and of this host goes to the standby; all others go where they went before.
    #[test]
    fn the_nearest_have_a_way_of_their_own(
        own in proptest::option::of(address()),
        sources in proptest::collection::vec(address(), 8),
        ttl in prop_oneof![Just(255_u8), any::<u8>()],
    ) {
        const STANDBY: u32 = 1;
        let clients: Clients = "10.0.0.0/8 fd00::/9".parse().unwrap();
        for others in [for_everybody(SERVING), for_clients(&clients, own, SERVING)] {
            let program = for_nearest(255, own, STANDBY, &others);
            let of_this_host = ["127.0.0.1", "127.9.8.7", "::1"].map(|source| source.parse().unwrap());
            for source in sources.iter().copied().chain(of_this_host).chain(own) {
                let mut packet = packet(source);
                packet[if source.is_ipv4() { 8 } else { 7 }] = ttl;
                let is_own = of_this_host.contains(&source) || starts_with(source, "127.0.0.0/8") || own == Some(source);
                let expected = if ttl == 255 && is_own { STANDBY } else { run(&others, &packet) };
                prop_assert_eq!(run(&program, &packet), expected, "{} with {}", source, ttl);
            }
        }
    }

    #[test]
    fn no_packet_is_too_short_or_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let clients = "10.0.0.5".parse().unwrap();
        let index = run(&for_clients(&clients, None, SERVING), &bytes);
        prop_assert!(index == SERVING || index == PARKING);
        let nearest = run(&for_nearest(255, None, 1, &for_everybody(SERVING)), &bytes);
        prop_assert!(nearest <= SERVING);
        let version = bytes.first().map(|byte| byte >> 4);
        prop_assert!(version == Some(4) || version == Some(6) || index == PARKING);
    }
}

#[test]
fn the_longest_list_fits_the_kernels_limits() {
    const MOST_INSTRUCTIONS: usize = 4096; // BPF_MAXINSNS
    let odd = (0..MOST).map(|n| format!("fd00:1:2:3:4:5:6:{n:x}")).collect::<Vec<_>>().join(",");
    let ranges = (0..MOST).map(|n| format!("fd00:1:2:3:4:5:{n:x}::/113")).collect::<Vec<_>>().join(",");
    for list in [odd, ranges] {
        let program = for_clients(&list.parse().unwrap(), None, SERVING);
        assert!(program.len() < MOST_INSTRUCTIONS, "{}", program.len());
        // Not in a group yet, so the kernel only looks at the program.
        let fresh = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet6,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        nix::sys::socket::setsockopt(&fresh, nix::sys::socket::sockopt::ReusePort, &true).unwrap();
        crate::sys::attach_reuseport_program(std::os::fd::AsFd::as_fd(&fresh), &program).unwrap();
    }
}
