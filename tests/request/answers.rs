//! What the command shows of an answer.

use std::process::Stdio;

use crate::fake_lsphp::{Act, FakeLsphp, big_endian, head, packet};
use crate::{command, request, text};

#[test]
fn shows_status_headers_and_body() {
    let bytes = [
        packet(6, b"\0PID\x01\x02\0\0"),
        packet(6, b"a warning\n"),
        head(404, &["Content-Type: text/plain", "Set-Cookie: a=b", "Set-Cookie: c=d"]),
        packet(4, b"not \0"),
        packet(6, b"another\n"),
        packet(4, b"\xff here"),
        packet(5, b""),
    ];
    let lsphp = FakeLsphp::new([Act::Read, Act::Write(bytes.concat()), Act::Close]);
    let output = request(&lsphp.address, &["/i.php"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "a warning\nanother\n");
    let head = "HTTP/1.1 404\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n";
    assert_eq!(output.stdout, [head.as_bytes(), b"not \0\xff here"].concat());

    let lsphp = FakeLsphp::new([Act::Read, Act::Write(bytes.concat()), Act::Close]);
    assert_eq!(request(&lsphp.address, &["--body-only", "/i.php"]).stdout, b"not \0\xff here");
}

#[test]
fn answers_in_big_endian_are_read_too() {
    let bytes = [packet(7, b""), head(301, &["Location: /x"]), packet(4, b"moved"), packet(5, b"")];
    let lsphp = FakeLsphp::new([Act::Read, Act::Write(big_endian(&bytes.concat())), Act::Close]);
    let output = request(&lsphp.address, &["/i.php"]);
    assert_eq!(text(&output.stdout), "HTTP/1.1 301\r\nLocation: /x\r\n\r\nmoved");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_reader_of_the_output_that_leaves_is_no_error() {
    let lsphp = FakeLsphp::new([Act::Read, Act::Endless]);
    let mut child = command(&lsphp.address, &["--timeout", "60s", "/i.php"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
