//! Requests over one connection, by the least that could make them.
//!
//!     requests ADDRESS[,ADDRESS...] SCRIPT COUNT
//!
//! Prints nanoseconds a request, a line an address, after COUNT requests rounded up to hundreds; with a
//! COUNT of 0 one request and its body, as `cac-lsphp request` does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use cac_lsphp::lsapi::Request;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address, script, count] = arguments.as_slice() else {
        println!("usage: requests ADDRESS SCRIPT COUNT");
        return;
    };
    let count: usize = count.parse().expect("COUNT is a number");
    let mut senders: Vec<Sender<'_>> =
        address.split(',').map(|address| Box::new(minimal(address, script)) as _).collect();
    if count == 0 {
        let bodies = senders.iter_mut().flat_map(|send| send());
        io::stdout().write_all(&bodies.collect::<Vec<u8>>()).expect("stdout is open");
        return;
    }
    for nanoseconds in medians(&mut senders, count) {
        println!("{nanoseconds}");
    }
}

type Sender<'a> = Box<dyn FnMut() -> Vec<u8> + 'a>;

/// Nanoseconds a request, each sender's median of blocks of requests. They take turns block by block,
/// so that a noisy machine is noisy for all of them.
fn medians(senders: &mut [Sender<'_>], count: usize) -> Vec<u128> {
    const BLOCK: usize = 100;
    for send in &mut *senders {
        send(); // forks the worker, compiles the script
    }
    let mut samples = vec![Vec::new(); senders.len()];
    for _ in 0..count.div_ceil(BLOCK) {
        for (send, samples) in senders.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            (0..BLOCK).for_each(|_| drop(send()));
            samples.push(start.elapsed().as_nanos() / BLOCK as u128);
        }
    }
    let median = |samples: &mut Vec<u128>| {
        let middle = samples.len() / 2;
        *samples.select_nth_unstable(middle).1
    };
    samples.iter_mut().map(median).collect()
}

/// With what the front end sends and the normaliser looks at.
fn request(script: &str) -> Request {
    let mut request = Request::new("GET", script, "/bench.php");
    let root = script.trim_end_matches("/bench.php");
    request.environment.push(("DOCUMENT_ROOT".into(), root.into()));
    request
}

/// A packet that is ready, one write, and reads until RESP_END: nothing is checked.
fn minimal(address: &str, script: &str) -> impl FnMut() -> Vec<u8> {
    let mut packet = Vec::new();
    request(script).encode(None, &mut packet).expect("it fits a packet");
    let mut stream = TcpStream::connect(address).expect("a listener");
    stream.set_nodelay(true).expect("a TCP connection");
    let mut buffer = vec![0; 1 << 16];
    move || {
        const RESP_STREAM: u8 = 4;
        const RESP_END: u8 = 5;
        stream.write_all(&packet).expect("a connection");
        let (mut filled, mut at, mut body) = (0, 0, Vec::new());
        loop {
            while filled < at + 8 {
                filled += stream.read(&mut buffer[filled..]).expect("an answer");
            }
            let length = u32::from_le_bytes(buffer[at + 4..at + 8].try_into().expect("4 bytes")) as usize;
            while filled < at + length {
                filled += stream.read(&mut buffer[filled..]).expect("an answer");
            }
            match buffer[at + 2] {
                RESP_STREAM => body.extend_from_slice(&buffer[at + 8..at + length]),
                RESP_END => return body,
                _ => {}
            }
            at += length;
        }
    }
}
