//! The client below the command, against servers that answer early or at length.

use std::time::Duration;

use cac_lsphp::lsapi::{self, Body, Deadline, Request};

use crate::LARGE;
use crate::client::Response;
use crate::fake_lsphp::{Act, FakeLsphp, answer, head, packet};

fn post(lsphp: &FakeLsphp, mut body: &[u8]) -> Response {
    let (address, deadline) = (lsphp.address.parse().unwrap(), Deadline::after(Duration::from_secs(60)));
    let mut response = Response::default();
    let request = Request::new("POST", "/f", "/n");
    let body = Body::Reader { length: body.len() as u64, source: &mut body };
    lsapi::send(&address, &request, body, deadline, &mut response).unwrap();
    response
}

#[test]
fn a_server_that_answers_before_it_has_read_the_body_is_heard() {
    for after in [Act::Hold, Act::Close] {
        let lsphp = FakeLsphp::new([Act::ReadPacket, Act::Write(answer(b"early")), after]);
        assert_eq!(post(&lsphp, &vec![b'x'; LARGE]).body, b"early");
    }
}

#[test]
fn a_long_answer_and_a_long_body_do_not_block_each_other() {
    let long: Vec<u8> = vec![packet(4, &[b'y'; 16384]); 1024].concat();
    let bytes = [head(200, &[]), long, packet(5, b"")].concat();
    let lsphp = FakeLsphp::new([Act::ReadPacket, Act::Write(bytes), Act::ReadBody, Act::Close]);
    assert_eq!(post(&lsphp, &vec![b'x'; LARGE]).body.len(), 1024 * 16384);
}
