use proptest::prelude::*;

use super::*;

/// One message as the kernel writes it.
fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(payload);
    bytes.resize(aligned(bytes.len()), 0);
    bytes
}

/// struct inet_diag_msg, field by field.
fn inet(
    family: u8,
    state: u8,
    port: u16,
    source: [u8; 16],
    (waiting, backlog): (u32, u32),
    uid: u32,
) -> Vec<u8> {
    let mut bytes = vec![family, state, 0, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 2]); // the peer's port
    bytes.extend(source);
    bytes.extend([0; 16 + 4 + 8 + 4]); // the peer's address, interface, cookie, expiry
    for number in [waiting, backlog, uid, 4711] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(aligned(bytes.len()), 0);
    bytes
}

fn taken(mut bytes: &[u8]) -> Vec<Result<Message, Malformed>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() && messages.last() != Some(&Err(Malformed)) {
        messages.push(take_message(&mut bytes));
    }
    messages
}

/// Connections that wait, and the backlog.
const QUEUE: (u32, u32) = (11, 10);

#[test]
fn tcp_listeners_of_both_families() {
    let mut loopback = [0; 16];
    loopback[..4].copy_from_slice(&[127, 0, 0, 1]);
    let mut v6 = [0; 16];
    v6[15] = 1;
    let bytes = [
        message(20, &inet(AF_INET, LISTEN, 9000, loopback, QUEUE, 61045)),
        message(20, &inet(AF_INET6, LISTEN, 9000, v6, QUEUE, 4_294_967_294)),
        message(20, &inet(AF_INET, 1, 9000, loopback, QUEUE, 0)), // established
        message(NLMSG_DONE, &0i32.to_ne_bytes()),
    ]
    .concat();
    let listener = |address: &str, uid| {
        let address = address.parse().unwrap();
        let (waiting, backlog, inode) = (Some(11), Some(10), Some(4711));
        Ok(Message::Listener(Listener { address, uid: Some(uid), waiting, backlog, inode }))
    };
    let expected = [
        listener("127.0.0.1:9000", 61045),
        listener("[::1]:9000", 4_294_967_294),
        Ok(Message::Connection(Connection { local: "127.0.0.1:9000".parse().unwrap(), inode: 4711 })),
        Ok(Message::Done),
    ];
    assert_eq!(taken(&bytes), expected);
}

#[test]
fn unix_listeners_with_whatever_the_kernel_knows() {
    let head = [AF_UNIX, 1, LISTEN, 0, 1, 2, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9];
    let name = attribute(UNIX_DIAG_NAME, b"/run/lsphp.sock\0");
    let queue = attribute(UNIX_DIAG_RQLEN, &[QUEUE.0.to_ne_bytes(), QUEUE.1.to_ne_bytes()].concat());
    let uid = attribute(UNIX_DIAG_UID, &7u32.to_ne_bytes());
    let unknown = attribute(99, b"xyz");
    let address = Address::Unix("/run/lsphp.sock".into());
    for (attributes, expected) in [
        (
            [&unknown[..], &name, &queue, &uid].concat(),
            Message::Listener(Listener {
                address: address.clone(),
                uid: Some(7),
                waiting: Some(11),
                backlog: Some(10),
                inode: None,
            }),
        ),
        (
            name.clone(),
            Message::Listener(Listener { address, uid: None, waiting: None, backlog: None, inode: None }),
        ),
        (attribute(UNIX_DIAG_NAME, b"\0abstract"), Message::Other),
        (queue, Message::Other),
    ] {
        assert_eq!(taken(&message(20, &[&head[..], &attributes].concat())), [Ok(expected)]);
    }
}

#[test]
fn the_kernels_refusals_are_told() {
    let refusal = |kind| message(kind, &(-libc::ENOENT).to_ne_bytes());
    assert_eq!(taken(&refusal(NLMSG_ERROR)), [Ok(Message::Error(libc::ENOENT))]);
    assert_eq!(taken(&refusal(NLMSG_DONE)), [Ok(Message::Error(libc::ENOENT))]);
    assert_eq!(taken(&message(4711, b"")), [Ok(Message::Other)]);
}

#[test]
fn a_question_has_the_kernels_layout() {
    for (family, length, first) in [
        (Family::Inet { port: 9000 }, 72, AF_INET),
        (Family::Inet6 { port: 9000 }, 72, AF_INET6),
        (Family::Unix, 40, AF_UNIX),
    ] {
        let bytes = request(family, States::Listening);
        assert_eq!((bytes.len(), u32_at(&bytes, 0), bytes[HEADER]), (length, Ok(length as u32), first));
        assert_eq!(u32_at(&bytes, HEADER + 4), Ok(1 << 10), "LISTEN only");
    }
    assert_eq!(
        request(Family::Inet { port: 9000 }, States::Listening)[HEADER + 8..HEADER + 10],
        9000u16.to_be_bytes()
    );
}

#[test]
fn connections_are_asked_for_and_told() {
    assert_eq!(u32_at(&request(Family::Unix, States::Connected), HEADER + 4), Ok(1 << 1 | 1 << 8));
    let closing = message(20, &inet(AF_INET, CLOSE_WAIT, 9000, [0; 16], (0, 0), 1));
    let local = "0.0.0.0:9000".parse().unwrap();
    assert_eq!(taken(&closing), [Ok(Message::Connection(Connection { local, inode: 4711 }))]);
    let time_wait = message(20, &inet(AF_INET, 6, 9000, [0; 16], (0, 0), 1));
    assert_eq!(taken(&time_wait), [Ok(Message::Other)]);
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes: Vec<u8>) {
        taken(&bytes);
    }

    #[test]
    fn almost_answers_are_taken(kind in 0u16..22, payload in proptest::collection::vec(0u8..12, 0..100)) {
        taken(&message(kind, &payload));
    }

    #[test]
    fn a_cut_answer_is_malformed(end in 1usize..88) {
        let whole = message(20, &inet(AF_INET, LISTEN, 9000, [0; 16], QUEUE, 1));
        prop_assert_eq!(taken(&whole[..end]), [Err(Malformed)]);
    }

    #[test]
    fn a_message_that_claims_no_length_ends_it(rest: Vec<u8>) {
        let bytes = [&[0; HEADER][..], &rest].concat();
        prop_assert_eq!(taken(&bytes), [Err(Malformed)]);
    }
}
