//! Servers that break the rules of the protocol, or take their time.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::fake_lsphp::{Act, FakeLsphp, answer, full_tcp_backlog, full_unix_backlog, head, packet};
use crate::{LARGE, assert_fails, command, file_of, request, text};

#[test]
fn broken_answers_are_one_line() {
    let good = answer(b"0123456789");
    let before_end = &good[..good.len() - 8];
    let closed = "connection was closed before its end";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", b"".to_vec(), closed),
        ("half a packet's header", good[..5].to_vec(), closed),
        ("half a head", good[..30].to_vec(), closed),
        ("half a body", before_end[..before_end.len() - 5].to_vec(), closed),
        ("no end", before_end.to_vec(), closed),
        ("a head of 2 GiB", b"LS\x03\0\xff\xff\xff\x7f".to_vec(), "2147483647 bytes"),
        ("a body packet of 1 GiB", [before_end, b"LS\x04\0\0\0\0\x40"].concat(), "1073741824 bytes"),
        ("a negative length", b"LS\x07\0\xff\xff\xff\xff".to_vec(), "length as -1"),
        ("a negative length, big endian", b"LS\x07\x01\xff\xff\xff\xfe".to_vec(), "length as -2"),
        ("a length below the header's", b"LS\x07\0\x07\0\0\0".to_vec(), "length as 7"),
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "48 54 instead of"),
        ("an unknown type", b"LS\x63\0\x08\0\0\0".to_vec(), "type 99"),
        ("a body before the head", packet(4, b"x"), "ResponseStream packet where it cannot be"),
        ("an end before the head", packet(5, b""), "ResponseEnd packet where it cannot be"),
        ("two heads", [head(200, &[]), head(200, &[])].concat(), "ResponseHeader packet where"),
        ("a request", packet(1, b""), "BeginRequest packet where"),
        ("an internal error", packet(9, b""), "internal error"),
        ("a status below 100", head(42, &[]), "status 42"),
        ("a negative count of lines", packet(3, &[0xff; 8]), "do not fit"),
    ];
    for (name, bytes, cause) in cases {
        let lsphp = FakeLsphp::new([Act::Read, Act::Write(bytes), Act::Close]);
        assert_fails(name, &request(&lsphp.address, &["--body-only", "--timeout", "60s", "/i.php"]), cause);
    }
    let lsphp = FakeLsphp::new([Act::Close]);
    assert_fails("closed at once", &request(&lsphp.address, &["/i.php"]), closed);
}

#[test]
fn the_deadline_holds_against_slow_servers() {
    let file = file_of(LARGE);
    let large = format!("@{}", file.path().display());
    let dribble = |bytes: Vec<u8>| Act::Dribble(bytes, Duration::from_millis(20));
    let endless = [head(200, &[]), packet(4, &[b'x'; 10_000])].concat();
    let cases = [
        ("silent", vec![Act::Read, Act::Hold], vec!["/i.php"], "answer from"),
        (
            "stops after the head",
            vec![Act::Read, Act::Write(head(200, &[])), Act::Hold],
            vec!["/i.php"],
            "answer from",
        ),
        ("dribbles", vec![Act::Read, dribble(endless)], vec!["/i.php"], "answer from"),
        ("does not read", vec![Act::Hold], vec!["-d", &large, "/i.php"], "request to"),
        ("never ends", vec![Act::Read, Act::Endless], vec!["/i.php"], "answer from"),
    ];
    // At once: the time is long enough for a busy machine to get to the step.
    std::thread::scope(|scope| {
        for (name, acts, arguments, step) in cases {
            scope.spawn(move || {
                let lsphp = FakeLsphp::new(acts);
                let all = [&["--body-only", "--timeout", "2s"], &arguments[..]].concat();
                let (output, waits) = traced(&lsphp.address, &all);
                // Each wait is bounded by what is left of the time, rounded up or down, so the whole is.
                assert!(!waits.is_empty() && waits[0] <= 2001, "{name}: {waits:?}");
                assert!(waits.is_sorted_by(|earlier, later| earlier + 1 >= *later), "{name}: {waits:?}");
                assert_fails(name, &output, &format!("{step} {}: not done after 2 s", lsphp.address));
            });
        }
    });
}

/// A request under strace, and the milliseconds that each of its polls was ready to wait.
fn traced(address: &str, arguments: &[&str]) -> (Output, Vec<i64>) {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let request = command(address, arguments);
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "trace=poll", "-o"]).arg(trace.path());
    strace.arg(request.get_program()).args(request.get_args()).stdin(Stdio::null());
    let output = strace.stdout(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("running strace: {error}; run scripts/test"));
    let trace = std::fs::read_to_string(trace.path()).unwrap();
    let on_socket = trace.lines().filter(|line| line.starts_with("poll([{fd=") && line.contains("], 1, "));
    let waits = on_socket.map(|line| line.split("], 1, ").nth(1).unwrap());
    (output, waits.map(|rest| rest.split(')').next().unwrap().parse().unwrap()).collect())
}

#[test]
fn the_deadline_holds_for_connecting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.sock");
    for full in [full_tcp_backlog(), full_unix_backlog(&path)] {
        let output = request(&full.address, &["--timeout", "300ms", "/i.php"]);
        assert_fails("full backlog", &output, "connect to lsphp at");
        assert!(text(&output.stderr).contains("not done after 0.3 s"));
    }
}

#[test]
fn nobody_there_is_one_line() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_fails("no listener", &request(&free, &["/i.php"]), "Connection refused");
    assert_fails("no socket", &request("/nonexistent/lsphp.sock", &["/i.php"]), "No such file");
}
