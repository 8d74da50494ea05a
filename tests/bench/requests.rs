//! Requests over one connection, by the library's client and by the least that could do it.
//!
//!     requests client|minimal ADDRESS SCRIPT COUNT
//!
//! Prints nanoseconds a request; with a COUNT of 0 one request and its body, as `cac-lsphp request` does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cac_lsphp::lsapi::{Address, Body, Client, Deadline, Request};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [who, address, script, count] = arguments.as_slice() else {
        println!("usage: requests client|minimal ADDRESS SCRIPT COUNT");
        return;
    };
    let count: u32 = count.parse().expect("COUNT is a number");
    let mut send: Box<dyn FnMut() -> Vec<u8>> = match who.as_str() {
        "client" => Box::new(client(address, script)),
        _ => Box::new(minimal(address, script)),
    };
    if count == 0 {
        io::stdout().write_all(&send()).expect("stdout is open");
        return;
    }
    send(); // forks the worker, compiles the script
    let start = Instant::now();
    (0..count).for_each(|_| drop(send()));
    println!("{}", start.elapsed().as_nanos() / u128::from(count));
}

fn request(script: &str) -> Request {
    Request::new("GET", script, "/bench.php")
}

fn client(address: &str, script: &str) -> impl FnMut() -> Vec<u8> {
    let mut client = Client::new(address.parse::<Address>().expect("an address"));
    let request = request(script);
    move || {
        let deadline = Deadline::after(Duration::from_secs(30));
        client.fetch(&request, Body::None, deadline).expect("an answer").body
    }
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
