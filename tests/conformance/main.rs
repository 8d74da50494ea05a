//! Random requests through real PHP: what `$_SERVER` and `php://input` say must be what was sent,
//! and what PHP answers must be what arrives.

#[path = "../support/known_headers.rs"]
mod known_headers;
#[path = "../support/mod.rs"]
mod support;

mod case;
mod echo;
mod real_lsphp;

use std::process::Command;
use std::time::Duration;

use cac_lsphp::lsapi::{self, Body, Deadline};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

use case::{Case, case};
use echo::Echo;
use real_lsphp::RealLsphp;
use support::Response;

fn check(case: &Case, script: &str, response: &Response) -> Result<(), TestCaseError> {
    let header =
        format!("X-Echo: q{}", case.query.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    prop_assert_eq!(response.status, case.status);
    prop_assert!(response.headers.contains(&header.into_bytes()), "no X-Echo in {:?}", response.headers);
    let log = String::from_utf8_lossy(&response.stderr);
    prop_assert_eq!(log.trim_end(), &case.log);

    let Some(echo) = Echo::parse(&response.body) else {
        let start = &response.body[..response.body.len().min(200)];
        return Err(TestCaseError::fail(format!("no echo: {}", start.escape_ascii())));
    };
    let (seen, sent) = (echo.of_request(), case.variables(script));
    for name in seen.keys().chain(sent.keys()) {
        prop_assert_eq!(readable(seen.get(name)), readable(sent.get(name)), "{} differs", name);
    }
    prop_assert_eq!(echo.ini, case.ini.as_bytes());
    // Not assert_eq: nobody wants to read 8 MiB.
    prop_assert!(echo.body == case.body().unwrap_or_default(), "another body, of {} bytes", echo.body.len());
    Ok(())
}

fn readable(value: Option<&Vec<u8>>) -> Option<String> {
    value.map(|value| value.escape_ascii().to_string())
}

fn run(lsphp: &RealLsphp, cases: u32) {
    let script = lsphp.script("echo.php", echo::SCRIPT);
    let address = lsphp.address().parse().unwrap();
    let config =
        ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..Default::default() };
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let body = case.body();
        let mut body = body.as_deref();
        let body = body.as_mut().map_or(Body::None, |bytes| {
            let length = bytes.len() as u64;
            Body::Reader { source: bytes, length }
        });
        let (request, mut response) = (case.request(&script), Response::default());
        lsapi::send(&address, &request, body, Deadline::after(Duration::from_secs(60)), &mut response)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        check(&case, &script, &response)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nsmallest such request: {case:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Workers leave after 100 requests, in between. That they listen on after a connection is not lsphp's default,
/// but has one worker serve many requests: what one of them leaves behind, the next would see.
#[test]
fn a_thousand_random_requests_come_back_as_sent() {
    run(
        &RealLsphp::start("127.0.0.1", &[("PHP_LSAPI_MAX_REQUESTS", "100"), ("LSAPI_KEEP_LISTEN", "1")]),
        1000,
    );
}

#[test]
fn so_they_do_over_a_unix_socket_and_ipv6() {
    for host in ["unix", "[::1]"] {
        run(&RealLsphp::start(host, &[]), 50);
    }
}

#[test]
fn the_command_shows_what_php_answers() {
    let lsphp = RealLsphp::start("127.0.0.1", &[]);
    let script = lsphp.script(
        "sum.php",
        "<?php header('X-A: 1'); header('X-A: 2', false); http_response_code(202); error_log('seen');
        echo $_GET['q'], ' ', $_SERVER['DOCUMENT_ROOT'], ' ', md5_file('php://input');",
    );
    let body = tempfile::NamedTempFile::new().unwrap();
    body.as_file().set_len(20 << 20).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cac-lsphp"))
        .args(["request", "--addr", &lsphp.address(), "-X", "PUT", "-H", "Content-Type: application/x-test"])
        .args(["-d", &format!("@{}", body.path().display()), &format!("{script}?q=a%20b")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), "seen");
    let root = script.strip_suffix("/sum.php").unwrap();
    // head -c 20M /dev/zero | md5sum
    let digest = "8f4e33f3dc3e414ff94e5fb6905cba8c";
    let expected = format!(
        "HTTP/1.1 202\r\nX-A: 1\r\nX-A: 2\r\nContent-type: text/html; charset=UTF-8\r\n\r\na b {root} {digest}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
