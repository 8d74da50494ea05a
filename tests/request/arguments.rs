//! What the command sends, and what it refuses to.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::fake_lsphp::{Act, FakeLsphp, answer};
use crate::{LARGE, assert_fails, command, request, text};

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
