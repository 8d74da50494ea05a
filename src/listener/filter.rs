//! Which listener of a group gets a new connection, as a classic BPF program (linux/filter.h) that looks at
//! the packet's source.
//!
//! Each network is a block that ends the program when the source is in it, so no jump leads further than its
//! block, and the program has no length that a jump of 8 bits could not cross.

use std::net::{IpAddr, Ipv6Addr};

use crate::clients::{Clients, Network};
use crate::sys::BpfInstruction;

/// The listener that nobody accepts from.
pub const PARKING: u32 = 0;

const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_MEMORY: u16 = 0x60; // BPF_LD | BPF_MEM
const STORE: u16 = 0x02; // BPF_ST
const SHIFT_RIGHT: u16 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// The network header, wherever it starts: SKF_NET_OFF.
const NETWORK_HEADER: u32 = libc::SKF_NET_OFF.cast_unsigned();
const VERSION: u32 = NETWORK_HEADER; // in the upper half of the first byte of both
const TTL: u32 = NETWORK_HEADER + 8; // of v4
const HOP_LIMIT: u32 = NETWORK_HEADER + 7; // of v6
const SOURCE_V4: u32 = NETWORK_HEADER + 12;
const SOURCE_V6: u32 = NETWORK_HEADER + 8;

/// Everybody goes to `listener`.
pub fn for_everybody(listener: u32) -> Vec<BpfInstruction> {
    vec![plain(RETURN, listener)]
}

/// `allowed`, the loopback and `own` go to `listener`, all others to [`PARKING`]. A load beyond a packet's end
/// ends the program with 0, which is the same.
pub fn for_clients(allowed: &Clients, own: Option<IpAddr>, listener: u32) -> Vec<BpfInstruction> {
    let networks = Network::LOOPBACK.into_iter().chain(own.map(Network::only)).chain(allowed.iter());
    let (v4, v6): (Vec<_>, Vec<_>) = networks.partition(|network| network.first().is_ipv4());
    let v4 = [source_in(&v4, listener), vec![plain(RETURN, PARKING)]].concat();
    let v6 = [source_in(&v6, listener), vec![plain(RETURN, PARKING)]].concat();
    [by_version(&v4, plain(RETURN, PARKING)), v4, v6].concat()
}

/// Who connects from this host itself, the loopback or `own`, with a time to live of `ttl` goes to `listener`; all
/// others go where `others` says.
pub fn for_nearest(
    ttl: u32,
    own: Option<IpAddr>,
    listener: u32,
    others: &[BpfInstruction],
) -> Vec<BpfInstruction> {
    let networks = Network::LOOPBACK.into_iter().chain(own.map(Network::only));
    let (v4, v6): (Vec<_>, Vec<_>) = networks.partition(|network| network.first().is_ipv4());
    let v6 = if_byte(HOP_LIMIT, ttl, source_in(&v6, listener));
    let beyond_v6 = length(&v6);
    let v4 = [if_byte(TTL, ttl, source_in(&v4, listener)), vec![plain(JUMP, beyond_v6)]].concat();
    [by_version(&v4, plain(JUMP, 1 + length(&v4) + beyond_v6)), v4, v6, others.to_vec()].concat()
}

/// What stands before `v4` and what is for v6, so that a packet comes to its own; `neither` is for what is none of them.
fn by_version(v4: &[BpfInstruction], neither: BpfInstruction) -> Vec<BpfInstruction> {
    vec![
        plain(LOAD_BYTE, VERSION),
        plain(SHIFT_RIGHT, 4),
        jump(IF_EQUAL, 4, 3, 0),
        jump(IF_EQUAL, 6, 1, 0),
        neither,
        plain(JUMP, length(v4)),
    ]
}

/// Loads the source, and returns `listener` if it is in one of `networks`, which are of one family.
fn source_in(networks: &[Network], listener: u32) -> Vec<BpfInstruction> {
    let load: Vec<_> = match networks.first().map(|network| network.first()) {
        Some(IpAddr::V4(_)) => vec![plain(LOAD_WORD, SOURCE_V4)],
        Some(IpAddr::V6(_)) => {
            (0..4).flat_map(|word| [plain(LOAD_WORD, SOURCE_V6 + 4 * word), plain(STORE, word)]).collect()
        }
        None => Vec::new(),
    };
    let blocks = networks.iter().flat_map(|network| block(*network, listener));
    load.into_iter().chain(blocks).collect()
}

/// Skips `then` unless a byte is `wanted`.
fn if_byte(at: u32, wanted: u32, then: Vec<BpfInstruction>) -> Vec<BpfInstruction> {
    let skip = plain(JUMP, length(&then));
    [vec![plain(LOAD_BYTE, at), jump(IF_EQUAL, wanted, 1, 0), skip], then].concat()
}

fn length(instructions: &[BpfInstruction]) -> u32 {
    u32::try_from(instructions.len()).unwrap_or(u32::MAX)
}

fn block(network: Network, listener: u32) -> Vec<BpfInstruction> {
    match (network.first(), network.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let mut block = within(first.to_bits(), last.to_bits(), 1);
            block.push(plain(RETURN, listener));
            block
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => block_v6(words(first), words(last), listener),
        // A network is of one family.
        _ => Vec::new(),
    }
}

/// From the last word back, as each must know how far it is to the end of the block.
fn block_v6(first: [u32; 4], last: [u32; 4], listener: u32) -> Vec<BpfInstruction> {
    let mut block = vec![plain(RETURN, listener)];
    for (number, (low, high)) in (0..4).zip(first.into_iter().zip(last)).rev() {
        if (low, high) == (0, u32::MAX) {
            continue; // Whatever is in there.
        }
        let beyond = u8::try_from(block.len()).unwrap_or(u8::MAX);
        let mut test = vec![plain(LOAD_MEMORY, number)];
        test.extend(within(low, high, beyond));
        test.append(&mut block);
        block = test;
    }
    block
}

/// Skips `beyond` instructions unless the number at hand is one from `low` to `high`.
fn within(low: u32, high: u32, beyond: u8) -> Vec<BpfInstruction> {
    if low == high {
        return vec![jump(IF_EQUAL, low, 0, beyond)];
    }
    vec![jump(IF_AT_LEAST, low, 0, beyond + 1), jump(IF_GREATER, high, beyond, 0)]
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h] = address.segments().map(u32::from);
    [a << 16 | b, c << 16 | d, e << 16 | f, g << 16 | h]
}

fn plain(code: u16, k: u32) -> BpfInstruction {
    BpfInstruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> BpfInstruction {
    BpfInstruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests;
