//! Random requests through real PHP: what `$_SERVER` and `php://input` say must be what was sent,
//! and what PHP answers must be what arrives.

mod real_lsphp;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use cac_lsphp::lsapi::{Body, Client, Deadline, Request, Response};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestError, TestRunner};
use real_lsphp::RealLsphp;

/// The directive that is set with each request. The script does not name it: opcache replaces the
/// reading of a directive that is set at system level by its value when it compiles the script.
const DIRECTIVE: &str = "user_agent";

/// Says all that PHP knows of the request: `$_SERVER`, one ini value, the body. Numbers are
/// 32 bits, big endian.
const ECHO: &str = r#"<?php
http_response_code((int) $_SERVER['T_STATUS']);
header('X-Echo: q' . bin2hex($_SERVER['QUERY_STRING']));
if ($_SERVER['T_LOG'] !== '') error_log($_SERVER['T_LOG']);
$block = fn($text) => pack('N', strlen($text)) . $text;
$server = array_filter($_SERVER, 'is_string');
echo pack('N', count($server));
foreach ($server as $name => $value) echo $block((string) $name), $block($value);
echo $block(ini_get($_SERVER['T_DIRECTIVE']));
fpassthru(fopen('php://input', 'rb'));
"#;

/// lsphp never tells PHP of this one: its loop over the known headers ends before the last.
const UNSEEN_HEADER: &str = "Transfer-Encoding";

const KNOWN_HEADERS: [&str; 23] = [
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Connection",
    "Content-Type",
    "Cookie",
    "Cookie2",
    "Host",
    "Pragma",
    "Referer",
    "User-Agent",
    "Cache-Control",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Keep-Alive",
    "Range",
    "X-Forwarded-For",
    "Via",
];

#[derive(Debug)]
struct Case {
    method: String,
    query: Vec<u8>,
    status: u16,
    log: String,
    ini: String,
    headers: Vec<(String, Vec<u8>)>,
    environment: BTreeMap<String, Vec<u8>>,
    /// Length and content's seed.
    body: Option<(usize, u64)>,
}

fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![9 => 0x20..=0x7eu8, 1 => 0x80..=0xffu8, 1 => Just(b'\t')];
    prop::collection::vec(byte, 0..120)
}

/// Known and unknown ones, some more than once and in other letters' case.
fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        select(&KNOWN_HEADERS[..]).prop_map(str::to_owned),
        "X-[A-Za-z0-9]{1,12}(-[A-Za-z]{1,30})?"
    ];
    let once = prop::collection::vec((name, header_value()), 0..20);
    let again = prop::collection::vec((any::<Index>(), header_value(), any::<bool>()), 0..5);
    (once, again).prop_map(|(mut headers, again)| {
        for (index, value, is_lower) in again {
            if !headers.is_empty() {
                let name = headers[index.index(headers.len())].0.clone();
                headers.push((if is_lower { name.to_lowercase() } else { name }, value));
            }
        }
        headers
    })
}

/// Every magnitude from nothing to 8 MiB, PHP's own limit (`post_max_size`).
fn body() -> impl Strategy<Value = Option<(usize, u64)>> {
    let length = prop_oneof![
        40 => (0..23u32, any::<Index>()).prop_map(|(power, within)| (1 << power) + within.index(1 << power)),
        2 => Just(0),
        1 => Just(8 << 20),
    ];
    prop::option::weighted(0.7, (length, any::<u64>()))
}

fn case() -> impl Strategy<Value = Case> {
    const METHODS: [&str; 8] =
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "x-!#$%&'*+.^_`|~0"];
    let environment = prop::collection::btree_map("T_[A-Za-z0-9_]{0,30}x", bytes(1000), 0..30);
    (
        (select(&METHODS[..]), bytes(300), select(&[200, 201, 301, 404, 418, 500, 599][..])),
        ("[a-z]{0,40}", "[ -~]{0,40}"),
        (headers(), environment, body()),
    )
        .prop_map(|((method, query, status), (log, ini), (headers, environment, body))| Case {
            method: method.to_owned(),
            query,
            status,
            log,
            ini,
            headers,
            environment,
            body,
        })
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255u8, 0..longest)
}

impl Case {
    fn request(&self, script: &str) -> Request {
        let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
        let mut request = Request::new(self.method.as_str(), script, "/echo.php");
        request.query_string = self.query.clone();
        request.special_environment = vec![pair(&format!("\x01\x04{DIRECTIVE}"), self.ini.as_bytes())];
        request.environment = self.environment.iter().map(|(name, value)| pair(name, value)).collect();
        request.environment.push(pair("T_STATUS", self.status.to_string().as_bytes()));
        request.environment.push(pair("T_LOG", self.log.as_bytes()));
        request.environment.push(pair("T_DIRECTIVE", DIRECTIVE.as_bytes()));
        request.headers = self.headers.iter().map(|(name, value)| pair(name, value)).collect();
        request.headers.push(pair(UNSEEN_HEADER, b"identity"));
        request
    }

    fn body(&self) -> Option<Vec<u8>> {
        let (length, mut seed) = self.body?;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            // Knuth's MMIX generator: cheap, and different all along the body.
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            bytes.extend_from_slice(&seed.to_be_bytes());
        }
        bytes.truncate(length);
        Some(bytes)
    }

    /// The variables that come from this request alone.
    fn variables(&self, script: &str) -> BTreeMap<String, Vec<u8>> {
        let mut variables = self.environment.clone();
        for (name, value) in [
            ("REQUEST_METHOD", self.method.as_bytes()),
            ("QUERY_STRING", &self.query),
            ("SCRIPT_FILENAME", script.as_bytes()),
            ("SCRIPT_NAME", b"/echo.php"),
            ("T_STATUS", self.status.to_string().as_bytes()),
            ("T_LOG", self.log.as_bytes()),
            ("T_DIRECTIVE", DIRECTIVE.as_bytes()),
        ] {
            variables.insert(name.to_owned(), value.to_vec());
        }
        if let Some((length, _)) = self.body {
            variables.insert("CONTENT_LENGTH".to_owned(), length.to_string().into_bytes());
        }
        for (name, value) in &self.headers {
            let name = match name.to_uppercase().replace('-', "_").as_str() {
                "CONTENT_TYPE" => "CONTENT_TYPE".to_owned(),
                other => format!("HTTP_{other}"),
            };
            let separator: &[u8] = if name == "HTTP_COOKIE" { b"; " } else { b", " };
            variables
                .entry(name)
                .and_modify(|earlier| *earlier = [&earlier[..], separator, value].concat())
                .or_insert_with(|| value.clone());
        }
        variables
    }
}

/// What the echo script said.
struct Echo<'a> {
    server: BTreeMap<String, Vec<u8>>,
    ini: &'a [u8],
    body: &'a [u8],
}

impl<'a> Echo<'a> {
    fn parse(mut rest: &'a [u8]) -> Option<Self> {
        let count = number(&mut rest)?;
        let pair = |rest: &mut &'a [u8]| {
            Some((String::from_utf8(block(rest)?.to_vec()).ok()?, block(rest)?.to_vec()))
        };
        let server = (0..count).map(|_| pair(&mut rest)).collect::<Option<_>>()?;
        Some(Echo { server, ini: block(&mut rest)?, body: rest })
    }

    /// What can only come from a request, this one or one before it.
    fn of_request(&self) -> BTreeMap<String, Vec<u8>> {
        let names = ["REQUEST_METHOD", "QUERY_STRING", "SCRIPT_FILENAME", "SCRIPT_NAME"];
        let is_ours = |name: &str| ["HTTP_", "CONTENT_", "T_"].iter().any(|start| name.starts_with(start));
        let ours = self.server.iter().filter(|(name, _)| is_ours(name) || names.contains(&name.as_str()));
        ours.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number) as usize)
}

fn block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    let (block, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(block)
}

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
    let script = lsphp.script("echo.php", ECHO);
    let client = RefCell::new(Client::new(lsphp.address().parse().unwrap()));
    let config =
        ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..Default::default() };
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let body = case.body();
        let body = body.as_deref().map_or(Body::None, Body::Bytes);
        let response = client
            .borrow_mut()
            .fetch(&case.request(&script), body, Deadline::after(Duration::from_secs(20)))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        check(&case, &script, &response)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nsmallest such request: {case:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Workers leave after 100 requests, so the client has to follow them.
#[test]
fn a_thousand_random_requests_come_back_as_sent() {
    run(&RealLsphp::start("127.0.0.1", &[("PHP_LSAPI_MAX_REQUESTS", "100")]), 1000);
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
