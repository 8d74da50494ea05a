//! The client below the command: many requests, and workers that come and go.

use std::io::BufReader;
use std::time::Duration;

use cac_lsphp::lsapi::{Body, Client, Deadline, Error, Request};

use crate::fake_lsphp::{Act, FakeLsphp, answer, head, packet};
use crate::{LARGE, file_of};

#[test]
fn a_server_that_answers_before_it_has_read_the_body_is_heard() {
    let body = vec![b'x'; LARGE];
    for after in [Act::Hold, Act::Close] {
        let lsphp = FakeLsphp::new([Act::ReadPacket, Act::Write(answer(b"early")), after]);
        let mut client = Client::new(lsphp.address.parse().unwrap());
        let deadline = Deadline::after(Duration::from_secs(60));
        let response = client.fetch(&Request::new("POST", "/f", "/n"), Body::Bytes(&body), deadline).unwrap();
        assert_eq!(response.body, b"early");
    }
}

#[test]
fn a_long_answer_and_a_long_body_do_not_block_each_other() {
    let long: Vec<u8> = vec![packet(4, &[b'y'; 16384]); 1024].concat();
    let bytes = [head(200, &[]), long, packet(5, b"")].concat();
    let lsphp = FakeLsphp::new([Act::ReadPacket, Act::Write(bytes), Act::ReadBody, Act::Close]);
    let mut client = Client::new(lsphp.address.parse().unwrap());
    let body = vec![b'x'; LARGE];
    let deadline = Deadline::after(Duration::from_secs(60));
    let response = client.fetch(&Request::new("POST", "/f", "/n"), Body::Bytes(&body), deadline).unwrap();
    assert_eq!(response.body.len(), 1024 * 16384);
}

#[test]
fn a_worker_that_leaves_between_requests_is_replaced() {
    let polite = [answer(b"1"), packet(8, b"")].concat();
    let late = Duration::from_millis(50);
    for (name, first) in [
        ("says so with its answer", vec![Act::Read, Act::Write(polite), Act::Close]),
        (
            "says so later",
            vec![
                Act::Read,
                Act::Write(answer(b"1")),
                Act::Sleep(late),
                Act::Write(packet(8, b"")),
                Act::Close,
            ],
        ),
        ("says nothing", vec![Act::Read, Act::Write(answer(b"1")), Act::Close]),
        (
            "leaves with the request unread",
            vec![Act::Read, Act::Write(answer(b"1")), Act::ReadPacket, Act::Close],
        ),
    ] {
        let second =
            vec![Act::Read, Act::Write(answer(b"2")), Act::Read, Act::Write(answer(b"3")), Act::Close];
        let lsphp = FakeLsphp::with_connections([first, second]);
        let mut client = Client::new(lsphp.address.parse().unwrap());
        let file = file_of(300_000);
        for expected in [b"1", b"2", b"3"] {
            let mut reader = BufReader::new(file.reopen().unwrap());
            let body = Body::Reader { source: &mut reader, length: 300_000 };
            let deadline = Deadline::after(Duration::from_secs(60));
            let response = client.fetch(&Request::new("POST", "/f", "/n"), body, deadline);
            assert_eq!(response.unwrap_or_else(|error| panic!("{name}: {error}")).body, expected, "{name}");
        }
        let requests = lsphp.requests();
        assert_eq!(requests.iter().filter(|(_, body)| body.len() == 300_000).count(), 3, "{name}");
    }
}

#[test]
fn a_request_that_was_taken_is_never_sent_again() {
    let first = vec![Act::Read, Act::Write(answer(b"1")), Act::Read, Act::Write(packet(7, b"")), Act::Close];
    let lsphp = FakeLsphp::with_connections([first, vec![Act::Read, Act::Write(answer(b"2"))]]);
    let mut client = Client::new(lsphp.address.parse().unwrap());
    let mut fetch = || {
        client.fetch(
            &Request::new("POST", "/f", "/n"),
            Body::Bytes(b"x"),
            Deadline::after(Duration::from_secs(60)),
        )
    };
    assert_eq!(fetch().unwrap().body, b"1");
    assert!(matches!(fetch(), Err(Error::Closed { .. })));
}
