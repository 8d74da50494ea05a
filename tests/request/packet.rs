//! The BEGIN_REQUEST packet, byte by byte and read back.

use cac_lsphp::lsapi::Request;
use cac_lsphp::lsapi::request::{EncodeError, MAX_ENTRIES, Pair};
use proptest::prelude::*;

use crate::begin_request::{KNOWN_HEADERS, parse};

fn encode(request: &Request, body: Option<u64>) -> Vec<u8> {
    let mut packet = b"what was there before".to_vec();
    request.encode(body, &mut packet).unwrap();
    packet
}

fn pair(name: &str, value: &str) -> Pair {
    (name.into(), value.into())
}

#[test]
fn the_packet_byte_by_byte() {
    let request = Request {
        query_string: b"q".to_vec(),
        environment: vec![pair("E", "")],
        special_environment: vec![pair("\x01\x04a", "1")],
        headers: vec![pair("host", "h"), pair("X-A", "v")],
        ..Request::new("GET", "/f", "/n")
    };
    let mut expected = Vec::new();
    let ints = |numbers: &[i32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    expected.extend(b"LS\x01\x00");
    expected.extend(ints(&[364]));
    expected.extend(ints(&[36, 5, 78, 97, 117, 138, 1, 5, 1]));
    expected.extend(b"\x00\x04\x00\x02\x01\x04a\x001\x00\0\0\0\0");
    expected.extend(b"\x00\x10\x00\x03SCRIPT_FILENAME\0/f\0");
    expected.extend(b"\x00\x0c\x00\x03SCRIPT_NAME\0/n\0");
    expected.extend(b"\x00\x0d\x00\x02QUERY_STRING\0q\0");
    expected.extend(b"\x00\x0f\x00\x04REQUEST_METHOD\0GET\0");
    expected.extend(b"\x00\x02\x00\x01E\0\0\0\0\0\0");
    expected.resize(160, 0);
    let mut lengths = [0u16; 25];
    (lengths[7], lengths[10]) = (1, 1);
    expected.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
    expected.extend([0; 2]);
    let mut offsets = [0; 25];
    (offsets[7], offsets[10]) = (16, 25);
    expected.extend(ints(&offsets));
    expected.extend(ints(&[28, 3, 33, 1]));
    expected.extend(b"Content-Length: 5\r\nhost: h\r\nX-A: v\r\n");
    let packet = encode(&request, Some(5));
    assert_eq!(packet.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn a_body_is_announced_in_the_packet_and_in_its_header() {
    let request = Request::new("POST", "/f", "/n");
    let announced = |body| {
        let packet = encode(&request, body);
        let field = i32::from_le_bytes(*packet[12..].first_chunk().unwrap());
        let has_header = packet.windows(14).any(|part| part == b"Content-Length");
        assert_eq!(parse(&packet).unwrap().1, body);
        (field, has_header)
    };
    assert_eq!(announced(None), (0, false));
    assert_eq!(announced(Some(0)), (0, true));
    assert_eq!(announced(Some(i32::MAX as u64)), (i32::MAX, true));
    assert_eq!(announced(Some(i32::MAX as u64 + 1)), (-2, true));
}

#[test]
fn headers_of_one_name_become_one() {
    let headers = vec![
        pair("X-A", "1"),
        pair("cookie", "a=1"),
        pair("x-a", "2, 3"),
        pair("Cookie", "b=2"),
        pair("X-a", ""),
    ];
    let request = Request { headers, ..Request::new("GET", "/f", "/n") };
    let (parsed, _) = parse(&encode(&request, None)).unwrap();
    assert_eq!(parsed.headers, [pair("X-A", "1, 2, 3, "), pair("Cookie", "a=1; b=2")]);
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let base = Request::new("GET", "/f", "/n");
    let header = |name: &str, value: &str| Request { headers: vec![pair(name, value)], ..base.clone() };
    let variable = |name: &str, value: &str| Request { environment: vec![pair(name, value)], ..base.clone() };
    for request in [
        Request::new("", "/f", "/n"),
        Request::new("GE T", "/f", "/n"),
        Request::new("GET\r", "/f", "/n"),
        Request::new("GET", "/f\0", "/n"),
        Request::new("GET", "/f", "/\0n"),
        Request { query_string: b"a\0b".to_vec(), ..base.clone() },
        header("", "v"),
        header("X A", "v"),
        header("X:", "v"),
        header("X\r\nY", "v"),
        header("X", "v\r\nY: w"),
        header("X", "v\rw"),
        header("X", "v\nw"),
        header("X", "v\0"),
        header("content-length", "5"),
        variable("", "v"),
        variable("N\0", "v"),
        variable("N", "v\0"),
        variable("SCRIPT_NAME", "/other"),
        variable("REQUEST_METHOD", "POST"),
        Request { special_environment: vec![pair("\0SUEXEC", "v")], ..base.clone() },
    ] {
        let error = request.encode(None, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("request: ") && error.contains(';'), "{error}");
        assert!(!error.contains(['\n', '\r', '\0']), "{error:?}");
    }
}

#[test]
fn the_limits_are_lsphps() {
    let of_value = |length: usize| Request {
        environment: vec![("V".into(), vec![b'x'; length])],
        ..Request::new("GET", "/f", "/n")
    };
    // Without headers a packet's length is a multiple of 8.
    let longest = 1 + 65528 - encode(&of_value(1), None).len();
    assert_eq!(encode(&of_value(longest), None).len(), 65528);
    assert_eq!(of_value(longest + 8).encode(None, &mut Vec::new()), Err(EncodeError::TooLong));
    assert_eq!(of_value(1 << 24).encode(None, &mut Vec::new()), Err(EncodeError::TooLong));

    let of_count = |count: usize| Request {
        special_environment: vec![("s".into(), Vec::new()); count],
        ..Request::new("GET", "/f", "/n")
    };
    let packet = encode(&of_count(MAX_ENTRIES), None);
    assert_eq!(parse(&packet).unwrap().0.special_environment.len(), MAX_ENTRIES);
    assert_eq!(
        of_count(MAX_ENTRIES + 1).encode(None, &mut Vec::new()),
        Err(EncodeError::TooMany { part: "special variables", count: MAX_ENTRIES + 1 })
    );
}

fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255u8, 0..longest)
}

fn pairs(name: &'static str, longest: usize) -> impl Strategy<Value = Vec<Pair>> {
    prop::collection::vec((name.prop_map(String::into_bytes), text(longest)), 0..20)
}

fn request() -> impl Strategy<Value = Request> {
    let value = || {
        text(60).prop_map(|mut value| {
            value.retain(|byte| !b"\r\n".contains(byte));
            value
        })
    };
    let known = prop::collection::vec((0..25usize, value()), 0..8)
        .prop_map(|known| known.into_iter().map(|(at, value)| (KNOWN_HEADERS[at].into(), value)).collect());
    let unknown = prop::collection::vec(("X-[A-Za-z0-9-]{1,20}".prop_map(String::into_bytes), value()), 0..8);
    let headers = (known, unknown).prop_map(|(known, unknown): (Vec<Pair>, _)| {
        let mut headers = [known, unknown].concat();
        headers.retain(|(name, _)| name != b"Content-Length");
        headers.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        headers.dedup_by_key(|(name, _)| name.to_ascii_lowercase());
        headers
    });
    (
        ("[A-Z]{1,8}", text(100), text(100), text(300)),
        (pairs("[a-z][A-Za-z0-9_=]{0,20}", 200), pairs("\x01\x04[a-z.]{1,20}", 30), headers),
    )
        .prop_map(
            |((method, script_filename, script_name, query_string), (environment, special, headers))| {
                Request {
                    method: method.into_bytes(),
                    script_filename,
                    script_name,
                    query_string,
                    environment,
                    special_environment: special,
                    headers,
                }
            },
        )
}

proptest! {
    #[test]
    fn requests_come_back_as_they_were(request in request(), body in any::<Option<u64>>()) {
        let packet = encode(&request, body);
        prop_assert_eq!(parse(&packet).unwrap(), (request, body));
    }

    #[test]
    fn damaged_packets_do_not_panic(
        request in request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut packet = encode(&request, Some(7));
        for (index, byte) in damage {
            let index = index.index(packet.len());
            packet[index] = byte;
        }
        let _ = parse(&packet);
        packet.truncate(length.index(packet.len()));
        let _ = parse(&packet);
    }

    #[test]
    fn any_bytes_are_encoded_whole_or_refused(
        names in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..4),
        method in any::<Vec<u8>>(),
    ) {
        let request = Request { headers: names.clone(), environment: names, ..Request::new(method, "/f", "/n") };
        let mut packet = Vec::new();
        if request.encode(None, &mut packet).is_ok() {
            prop_assert_eq!(parse(&packet).unwrap().0.environment, request.environment);
        }
    }
}
