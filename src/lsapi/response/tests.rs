use super::*;
use proptest::prelude::*;

/// An [`Event`] that owns its bytes; pieces of one stream are joined.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Pid(i32),
    Received,
    Head(u16, Vec<Vec<u8>>),
    Body(Vec<u8>),
    Stderr(Vec<u8>),
    End,
    Closing,
}

fn see(event: Event<'_>, seen: &mut Vec<Seen>) {
    match (event, seen.last_mut()) {
        (Event::Body(more), Some(Seen::Body(bytes))) | (Event::Stderr(more), Some(Seen::Stderr(bytes))) => {
            bytes.extend_from_slice(more);
        }
        (event, _) => seen.push(match event {
            Event::WorkerPid(pid) => Seen::Pid(pid),
            Event::Received => Seen::Received,
            Event::Head(head) => Seen::Head(head.status, head.lines().map(<[u8]>::to_vec).collect()),
            Event::Body(bytes) => Seen::Body(bytes.to_vec()),
            Event::Stderr(bytes) => Seen::Stderr(bytes.to_vec()),
            Event::End => Seen::End,
            Event::Closing => Seen::Closing,
        }),
    }
}

/// Decodes `bytes`, arriving in pieces of the given sizes, over and over.
fn decode(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Seen>, DecodeError> {
    let (mut decoder, mut seen, mut rest) = (Decoder::default(), Vec::new(), bytes);
    for size in sizes.iter().cycle() {
        while let Some(event) = decoder.next()? {
            see(event, &mut seen);
        }
        if rest.is_empty() {
            break;
        }
        let space = decoder.space();
        let (piece, later) = rest.split_at((*size).min(space.len()).min(rest.len()));
        space[..piece.len()].copy_from_slice(piece);
        decoder.filled(piece.len());
        rest = later;
    }
    assert!(decoder.buffer.len() <= 2 * MAX_PACKET);
    Ok(seen)
}

fn packet(kind: u8, big: bool, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as i32 + 8;
    let length = if big { length.to_be_bytes() } else { length.to_le_bytes() };
    [&[b'L', b'S', kind, u8::from(big)], &length[..], payload].concat()
}

fn head_payload(big: bool, status: i32, lines: &[Vec<u8>]) -> Vec<u8> {
    let int = |number: i32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let short = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut payload = [int(lines.len() as i32), int(status)].concat();
    payload.extend(lines.iter().flat_map(|line| short(line.len() as u16 + 1)));
    payload.extend(lines.iter().flat_map(|line| [line, &b"\0"[..]].concat()));
    payload
}

fn encode(seen: &Seen, big: bool) -> Vec<u8> {
    match seen {
        Seen::Pid(pid) => {
            let pid = if big { pid.to_be_bytes() } else { pid.to_le_bytes() };
            packet(6, big, &[&b"\0PID"[..], &pid].concat())
        }
        Seen::Received => packet(7, big, b""),
        Seen::Head(status, lines) => packet(3, big, &head_payload(big, i32::from(*status), lines)),
        Seen::Body(bytes) => bytes.chunks(16384).flat_map(|chunk| packet(4, big, chunk)).collect(),
        Seen::Stderr(bytes) => bytes.chunks(8192).flat_map(|chunk| packet(6, big, chunk)).collect(),
        Seen::End => packet(5, big, b""),
        Seen::Closing => packet(8, big, b""),
    }
}

fn answer() -> impl Strategy<Value = Vec<Seen>> {
    let start = prop_oneof![any::<i32>().prop_map(Seen::Pid), Just(Seen::Received)];
    let line = prop::collection::vec(1..=255u8, 0..200);
    let head = (100..1000u16, prop::collection::vec(line, 0..50)).prop_map(|(s, lines)| Seen::Head(s, lines));
    let bytes = || prop::collection::vec(any::<u8>(), 1..40_000);
    let streams =
        (any::<bool>(), prop::collection::vec(bytes(), 0..6)).prop_map(|(starts_with_body, all)| {
            let kind = |(index, bytes): (usize, Vec<u8>)| match (index % 2 == 0) == starts_with_body {
                true => Seen::Body(bytes),
                // Eight bytes could be the mark that tells a pid, which is another event.
                false => Seen::Stderr([b"!", &bytes[..]].concat()),
            };
            all.into_iter().enumerate().map(kind).collect::<Vec<_>>()
        });
    let closing = any::<bool>().prop_map(|closes| closes.then_some(Seen::Closing));
    (start, head, streams, closing).prop_map(|(start, head, streams, closing)| {
        [start, head].into_iter().chain(streams).chain([Seen::End]).chain(closing).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn answers_come_back_in_either_order_and_any_pieces(
        answers in prop::collection::vec(answer(), 1..3),
        big in any::<bool>(),
        sizes in prop::collection::vec(1..20_000usize, 1..20),
    ) {
        let seen = answers.concat();
        let bytes: Vec<u8> = seen.iter().flat_map(|event| encode(event, big)).collect();
        prop_assert_eq!(decode(&bytes, &sizes).unwrap(), seen);
    }

    #[test]
    fn damaged_answers_neither_panic_nor_hang(
        answer in answer(),
        big in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        size in 1..5000usize,
    ) {
        let mut bytes: Vec<u8> = answer.iter().flat_map(|event| encode(event, big)).collect();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = decode(&bytes, &[size]);
    }

    #[test]
    fn garbage_neither_panics_nor_hangs(payload in prop::collection::vec(any::<u8>(), 0..500), kind in 0..12u8) {
        let _ = decode(&payload, &[7]);
        let _ = decode(&packet(kind, false, &payload), &[7]);
        let _ = decode(&packet(kind, true, &payload), &[501]);
    }
}

#[test]
fn an_answer_byte_by_byte() {
    let bytes = b"LS\x07\x00\x08\0\0\0\
        LS\x03\x00\x1a\0\0\0\x01\0\0\0\0\0\0\0\x08\0A: b\0\0\0\0";
    assert_eq!(decode(bytes, &[1]), Err(DecodeError::Lines), "a line with NULs inside");

    let bytes = b"LS\x07\x00\x08\0\0\0\
        LS\x03\x00\x17\0\0\0\x01\0\0\0\0\0\0\0\x05\0A: b\0\
        LS\x06\x00\x0c\0\0\0oops\
        LS\x04\x00\x08\0\0\0\
        LS\x04\x00\x0a\0\0\0hi\
        LS\x05\x00\x08\0\0\0LS\x08\x00\x08\0\0\0";
    let seen = vec![
        Seen::Received,
        Seen::Head(200, vec![b"A: b".to_vec()]),
        Seen::Stderr(b"oops".to_vec()),
        Seen::Body(b"hi".to_vec()),
        Seen::End,
        Seen::Closing,
    ];
    assert_eq!(decode(bytes, &[1]), Ok(seen.clone()));
    assert_eq!(decode(bytes, &[1000]), Ok(seen));
}

#[test]
fn eight_bytes_on_stderr_are_text_unless_marked() {
    assert_eq!(decode(&packet(6, false, b"8 bytes\n"), &[3]), Ok(vec![Seen::Stderr(b"8 bytes\n".to_vec())]));
    assert_eq!(decode(&packet(6, true, b"\0PID\0\0\x30\x39"), &[3]), Ok(vec![Seen::Pid(12345)]));
    assert_eq!(decode(&packet(6, true, b"\0PID\0"), &[9]), Ok(vec![Seen::Stderr(b"\0PID\0".to_vec())]));
}

#[test]
fn packets_out_of_place_are_refused() {
    use PacketType::*;
    let head = packet(3, false, &head_payload(false, 0, &[]));
    let body = packet(4, false, b"x");
    let [end, received, closing] = [5, 7, 8].map(|kind| packet(kind, false, b""));
    for (packets, kind) in [
        (vec![&body], ResponseStream),
        (vec![&end], ResponseEnd),
        (vec![&head, &head], ResponseHeader),
        (vec![&head, &received], RequestReceived),
        (vec![&head, &closing], ConnectionClose),
        (vec![&head, &end, &body], ResponseStream),
        (vec![&packet(1, false, b"")], BeginRequest),
        (vec![&head, &packet(2, false, b"")], AbortRequest),
    ] {
        let bytes: Vec<u8> = packets.into_iter().flatten().copied().collect();
        assert_eq!(decode(&bytes, &[5]), Err(DecodeError::Order(kind)));
    }
}

#[test]
fn wrong_lengths_counts_and_statuses_are_refused() {
    let head = |count: i32, status: i32, rest: &[u8]| {
        packet(3, false, &[&count.to_le_bytes(), &status.to_le_bytes(), rest].concat())
    };
    for (bytes, error) in [
        (packet(9, false, b""), DecodeError::Internal),
        (packet(7, false, b"x"), DecodeError::Length(PacketType::RequestReceived)),
        (packet(3, false, b"1234567"), DecodeError::Lines),
        (head(-1, 0, b""), DecodeError::Lines),
        (head(i32::MAX, 0, b""), DecodeError::Lines),
        (head(1, 0, b""), DecodeError::Lines),
        (head(1, 0, b"\x02\0a"), DecodeError::Lines),
        (head(1, 0, b"\x02\0ab"), DecodeError::Lines),
        (head(1, 0, b"\x03\0a\0"), DecodeError::Lines),
        (head(1, 0, b"\x02\0a\0\0"), DecodeError::Lines),
        (head(0, 0, b"a\0"), DecodeError::Lines),
        (head(0, -1, b""), DecodeError::Status(-1)),
        (head(0, 99, b""), DecodeError::Status(99)),
        (head(0, 1000, b""), DecodeError::Status(1000)),
        (b"LS\x03\x00\x01\0\x10\0".to_vec(), DecodeError::TooLarge(MAX_PACKET + 1)),
        (b"LS\x06\x00\xff\xff\xff\x7f".to_vec(), DecodeError::TooLarge(i32::MAX as usize)),
    ] {
        assert_eq!(decode(&bytes, &[1]), Err(error));
    }
}

#[test]
fn the_largest_packet_that_is_accepted() {
    let lines = vec![vec![b'x'; 65534]; 15];
    let rest = MAX_PACKET - 8 - head_payload(false, 404, &lines).len();
    let lines = [lines, vec![vec![b'y'; rest - 3]]].concat();
    let bytes = packet(3, false, &head_payload(false, 404, &lines));
    assert_eq!(bytes.len(), MAX_PACKET);
    assert_eq!(decode(&bytes, &[100_000]), Ok(vec![Seen::Head(404, lines)]));
}
