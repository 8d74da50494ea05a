//! A client that is there before the site is.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::Network;
use crate::support::{Client, PATIENCE, Site, as_front_end, docker, text, wait_until};

/// Connections at once, as soon as the first one was answered the handshake.
const CLIENTS: usize = 5;

/// Until the listener is there nobody answers, or the kernel refuses; from its first answer on neither happens.
fn connected(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = TcpStream::connect_timeout(&address, PATIENCE) {
        let expected = [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::TimedOut];
        assert!(expected.contains(&error.kind()) && Instant::now() < deadline, "{address}: {error}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn is_answered(address: SocketAddr, what: &str) {
    let mut client = Client::new(address.to_string().parse().unwrap());
    let answer = client.fetch(&as_front_end("index.php"), None, PATIENCE);
    let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"served"[..]), "{what}");
}

/// Starts one site again and again, in a container that keeps its address. Without a value this machine is named.
fn starts(rounds: usize, name: &str, value: Option<&str>) {
    let network = Network::new();
    let [gateway, own] = [1, 9].map(|member| network.member(member)[0].clone());
    let options = ["--network", &network.name, "--ip", &own];
    let value = value.unwrap_or(&gateway);
    let site =
        Site::new().page("index.php", "<?php echo 'served';").options(options).env(name, value).start();
    let address: SocketAddr = format!("{own}:9000").parse().unwrap();
    for round in 0..rounds {
        text(docker(["kill", &site.name]));
        wait_until(|| if site.is_running() { Err("running after a kill".to_owned()) } else { Ok(()) });
        thread::scope(|scope| {
            scope.spawn(|| {
                connected(address);
                thread::scope(|scope| {
                    for client in 0..CLIENTS {
                        let what = format!("{name}, start {round}, client {client}");
                        scope.spawn(move || is_answered(address, &what));
                    }
                });
            });
            text(docker(["start", &site.name]));
        });
    }
}

fn both(rounds: usize) {
    thread::scope(|scope| {
        scope.spawn(|| starts(rounds, "CAC_BACKLOG", Some("511")));
        scope.spawn(|| starts(rounds, "CAC_ALLOWED_CLIENTS", None));
    });
}

#[test]
fn nobody_is_refused_who_comes_while_a_site_starts() {
    both(10);
}

/// The same for longer: a minute or more.
#[test]
#[ignore = "100 starts take minutes; run by hand: scripts/test --test listener -- --ignored"]
fn nobody_is_refused_in_100_starts() {
    both(50);
}
