//! `cac-lsphp request` and the client behind it, against servers that misbehave in every way.

mod fake_lsphp;

use std::fs::File;
use std::io::{BufReader, Write};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cac_lsphp::lsapi::{Body, Client, Deadline, Error, Request};
use fake_lsphp::{Act, FakeLsphp, answer, big_endian, head, packet};

/// More than the buffers of a socket hold, so that a server that does not read blocks the sender.
const LARGE: usize = 32 << 20;

fn request(address: &str, arguments: &[&str]) -> Output {
    command(address, arguments).output().unwrap()
}

fn command(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cac-lsphp"));
    command.args(["request", "--addr", address]).args(arguments).stdin(Stdio::null());
    command.env_remove("CAC_LISTEN").env_remove("user");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code 71 and one line on stderr that has `cause`.
fn assert_fails(name: &str, output: &Output, cause: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{name}: {stderr}");
    assert_eq!(stderr.matches(cause).count(), 1, "{name}: {stderr}");
    assert!(stderr.starts_with("cac-lsphp: ") && stderr.contains(';'), "{name}: {stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "{name}: {stderr}");
}

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
fn sends_what_the_arguments_say() {
    let lsphp = FakeLsphp::new([Act::Read, Act::Write(answer(b"")), Act::Close]);
    let arguments = [
        "-H",
        "X-One: 1",
        "-H",
        "x-one:2",
        "-H",
        "User-Agent: me",
        "-d",
        "a=b",
        "-e",
        "HTTPS=on",
        "-e",
        "E=x=y",
        "--root",
        "/srv",
        "http://example.com/d/?q=1",
    ];
    assert_eq!(request(&lsphp.address, &arguments).status.code(), Some(0));
    let (request, body) = lsphp.requests().remove(0);
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    assert_eq!(text(&request.method), "POST");
    assert_eq!(text(&request.script_filename), "/srv/d/index.php");
    assert_eq!(text(&request.script_name), "/d/index.php");
    assert_eq!(text(&request.query_string), "q=1");
    let headers = [
        pair("X-One", "1, 2"),
        pair("User-Agent", "me"),
        pair("Host", "example.com"),
        pair("Accept", "*/*"),
        pair("Content-Type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(request.headers, headers);
    for variable in [pair("HTTPS", "on"), pair("E", "x=y"), pair("DOCUMENT_ROOT", "/srv")] {
        assert!(request.environment.contains(&variable));
    }
    assert_eq!(body, b"a=b");
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
        assert_fails(name, &request(&lsphp.address, &["--body-only", "--timeout", "10s", "/i.php"]), cause);
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
    for (name, acts, arguments, step) in [
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
    ] {
        let lsphp = FakeLsphp::new(acts);
        let start = Instant::now();
        let mut all = vec!["--body-only", "--timeout", "300ms"];
        all.extend(arguments);
        let output = request(&lsphp.address, &all);
        let time = start.elapsed();
        assert!(time >= Duration::from_millis(300) && time < Duration::from_secs(2), "{name}: {time:?}");
        assert_fails(name, &output, &format!("{step} {}: not done after 0.3 s", lsphp.address));
    }
}

#[test]
fn the_deadline_holds_for_connecting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.sock");
    for full in [fake_lsphp::full_tcp_backlog(), fake_lsphp::full_unix_backlog(&path)] {
        let start = Instant::now();
        let output = request(&full.address, &["--timeout", "300ms", "/i.php"]);
        assert!(start.elapsed() < Duration::from_secs(2));
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

#[test]
fn a_server_that_answers_before_it_has_read_the_body_is_heard() {
    let body = vec![b'x'; LARGE];
    for after in [Act::Hold, Act::Close] {
        let lsphp = FakeLsphp::new([Act::ReadPacket, Act::Write(answer(b"early")), after]);
        let mut client = Client::new(lsphp.address.parse().unwrap());
        let deadline = Deadline::after(Duration::from_secs(10));
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
    let deadline = Deadline::after(Duration::from_secs(20));
    let response = client.fetch(&Request::new("POST", "/f", "/n"), Body::Bytes(&body), deadline).unwrap();
    assert_eq!(response.body.len(), 1024 * 16384);
}

#[test]
fn bodies_of_any_size_from_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("body");
    let body: Vec<u8> = (0..LARGE).map(|index| (index / 3) as u8).collect();
    std::fs::write(&path, &body).unwrap();
    let from_file = format!("@{}", path.display());

    let serve = || FakeLsphp::new([Act::Read, Act::Write(answer(b"")), Act::Close]);
    let lsphp = serve();
    assert!(request(&lsphp.address, &["-d", &from_file, "/i.php"]).status.success());
    assert!(lsphp.requests()[0].1 == body, "from a file");

    let lsphp = serve();
    let from_stdin =
        command(&lsphp.address, &["-d", "@-", "/i.php"]).stdin(File::open(&path).unwrap()).output();
    assert!(from_stdin.unwrap().status.success());
    assert!(lsphp.requests()[0].1 == body, "from stdin that is a file");

    let lsphp = serve();
    let mut child = command(&lsphp.address, &["-d", "@-", "/i.php"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&body).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(lsphp.requests()[0].1 == body, "from stdin that is a pipe");

    assert_fails("no such file", &request("127.0.0.1:1", &["-d", "@/nonexistent", "/i.php"]), "/nonexistent");
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
            let deadline = Deadline::after(Duration::from_secs(10));
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
            Deadline::after(Duration::from_secs(10)),
        )
    };
    assert_eq!(fetch().unwrap().body, b"1");
    assert!(matches!(fetch(), Err(Error::Closed { .. })));
}

#[test]
fn a_reader_of_the_output_that_leaves_is_no_error() {
    let lsphp = FakeLsphp::new([Act::Read, Act::Endless]);
    let mut child = command(&lsphp.address, &["--timeout", "10s", "/i.php"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn wrong_usage_is_64() {
    for (arguments, cause) in [
        (vec![], "TARGET"),
        (vec!["index.php"], "--root"),
        (vec!["http://h/i.php"], "--root"),
        (vec!["--root", "/srv", "ftp://h/i.php"], "neither"),
        (vec!["-H", "no colon", "/i.php"], "no colon"),
        (vec!["-H", "X: a\r\nY: b", "/i.php"], "0x0d"),
        (vec!["-H", "Content-Length: 5", "/i.php"], "Content-Length"),
        (vec!["-e", "NAME", "/i.php"], "NAME=VALUE"),
        (vec!["-e", "SCRIPT_NAME=/x", "/i.php"], "SCRIPT_NAME"),
        (vec!["-X", "GE T", "/i.php"], "GE T"),
        (vec!["--timeout", "0", "/i.php"], "1ms"),
        (vec!["--addr", "nonsense", "/i.php"], "0.0.0.0:9000"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_cac-lsphp"))
            .arg("request")
            .args(&arguments)
            .env_remove("user")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(cause), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_address_and_the_user_come_from_the_environment() {
    let lsphp = FakeLsphp::new([Act::Read, Act::Write(answer(b"")), Act::Close]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cac-lsphp"));
    let listen = lsphp.address.replace("127.0.0.1", "0.0.0.0");
    command.args(["request", "http://h/"]).env("CAC_LISTEN", listen).env("user", "alice");
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    assert_eq!(text(&lsphp.requests()[0].0.script_filename), "/home/alice/public_html/index.php");

    command.env("CAC_LISTEN", "nonsense");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("CAC_LISTEN"));
}

fn file_of(length: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(length as u64).unwrap();
    file
}
