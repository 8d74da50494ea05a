//! A random request, and what PHP must say of it.

use std::collections::BTreeMap;

use cac_lsphp::lsapi::Request;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::known_headers::KNOWN_HEADERS;

/// The directive that is set with each request. The script does not name it: opcache replaces the
/// reading of a directive that is set at system level by its value when it compiles the script.
const DIRECTIVE: &str = "user_agent";

/// lsphp never tells PHP of this one: its loop over the known headers ends before the last.
const UNSEEN_HEADER: &str = "Transfer-Encoding";

/// Those that a request can have as it likes: the body decides on its length.
fn known_headers() -> Vec<&'static str> {
    KNOWN_HEADERS.into_iter().filter(|name| !["Content-Length", UNSEEN_HEADER].contains(name)).collect()
}

#[derive(Debug)]
pub struct Case {
    pub method: String,
    pub query: Vec<u8>,
    pub status: u16,
    pub log: String,
    pub ini: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub environment: BTreeMap<String, Vec<u8>>,
    /// Length and content's seed.
    pub body: Option<(usize, u64)>,
}

fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![9 => 0x20..=0x7eu8, 1 => 0x80..=0xffu8, 1 => Just(b'\t')];
    prop::collection::vec(byte, 0..120)
}

/// Known and unknown ones, some more than once and in other letters' case.
fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name =
        prop_oneof![select(known_headers()).prop_map(str::to_owned), "X-[A-Za-z0-9]{1,12}(-[A-Za-z]{1,30})?"];
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

pub fn case() -> impl Strategy<Value = Case> {
    const METHODS: [&str; 8] =
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "x-!#$%&'*+.^_`|~0"];
    let environment = prop::collection::btree_map("T_[A-Za-z0-9_]{0,30}x", bytes(600), 0..12);
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
    pub fn request(&self, script: &str) -> Request {
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

    pub fn body(&self) -> Option<Vec<u8>> {
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
    pub fn variables(&self, script: &str) -> BTreeMap<String, Vec<u8>> {
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
