//! BEGIN_REQUEST packet → request: the other side of the codec, for tests and fuzzing. Its numbers and names
//! are written down from the protocol once more, so that a mistake in the program's codec cannot hide.

mod known_headers;

use cac_lsphp::lsapi::Request;
use cac_lsphp::lsapi::packet::{ByteOrder, HEADER_LENGTH, PacketHeader, PacketType};
use cac_lsphp::lsapi::request::Pair;

pub use known_headers::KNOWN_HEADERS;

/// The most entries in either list of variables.
const MAX_ENTRIES: usize = 8192;

/// What is wrong with a packet that is not a BEGIN_REQUEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError(&'static str);

/// Reads a whole BEGIN_REQUEST packet of either byte order; also gives the length of the body
/// that follows it. Never allocates more than a small multiple of the packet's own length.
pub fn parse(packet: &[u8]) -> Result<(Request, Option<u64>), ParseError> {
    let mut rest = Cursor { bytes: packet, order: ByteOrder::Little };
    let begin = PacketHeader::parse(rest.array::<HEADER_LENGTH>()?).map_err(|_| ParseError("its header"))?;
    if begin.kind != PacketType::BeginRequest || begin.payload != rest.bytes.len() {
        return Err(ParseError("its type or length"));
    }
    rest.order = begin.order;
    let raw_length = rest.count()?;
    let body_length = rest.i32()?;
    let offsets = [rest.count()?, rest.count()?, rest.count()?, rest.count()?];
    let [unknown, variables, special] = [rest.count()?, rest.count()?, rest.count()?];

    let special_environment = rest.entries(special)?;
    let mut environment = rest.entries(variables)?;
    let position = packet.len() - rest.bytes.len();
    rest.take(position.next_multiple_of(8) - position)?;
    let mut headers = rest.headers(unknown, raw_length)?;
    let content_length = take_named(&mut headers, b"Content-Length");

    let mut required = offsets.into_iter().map(|offset| value_at(packet, offset));
    let mut take = |name| {
        let value = take_named(&mut environment, name).ok_or(ParseError("a required variable is missing"))?;
        match required.next() {
            Some(Some(pointed)) if pointed == value => Ok(value),
            _ => Err(ParseError("an offset that does not point at its variable")),
        }
    };
    let script_filename = take(b"SCRIPT_FILENAME")?;
    let script_name = take(b"SCRIPT_NAME")?;
    let query_string = take(b"QUERY_STRING")?;
    let method = take(b"REQUEST_METHOD")?;

    let body = match (body_length, content_length.map(parse_length)) {
        (0, None) => None,
        (-2, Some(Some(length))) => Some(length),
        (length, Some(Some(header))) if u64::try_from(length) == Ok(header) => Some(header),
        _ => return Err(ParseError("its body length and Content-Length differ")),
    };
    let request = Request {
        method,
        script_filename,
        script_name,
        query_string,
        environment,
        special_environment,
        headers,
    };
    Ok((request, body))
}

/// What is left of the packet.
struct Cursor<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ParseError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(ParseError("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        self.take(N)?.try_into().map_err(|_| ParseError("it ends too early"))
    }

    fn i32(&mut self) -> Result<i32, ParseError> {
        let bytes = self.array()?;
        Ok(self.to_i32(bytes))
    }

    fn to_i32(&self, bytes: [u8; 4]) -> i32 {
        match self.order {
            ByteOrder::Little => i32::from_le_bytes(bytes),
            ByteOrder::Big => i32::from_be_bytes(bytes),
        }
    }

    fn to_u16(&self, bytes: [u8; 2]) -> u16 {
        match self.order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }

    /// A length, offset or count.
    fn count(&mut self) -> Result<usize, ParseError> {
        usize::try_from(self.i32()?).map_err(|_| ParseError("a negative number"))
    }

    fn entries(&mut self, count: usize) -> Result<Vec<Pair>, ParseError> {
        if count > MAX_ENTRIES {
            return Err(ParseError("too many variables"));
        }
        let entries = (0..count).map(|_| self.entry()).collect::<Result<_, _>>()?;
        if self.take(4)? == [0; 4] { Ok(entries) } else { Err(ParseError("variables without an end")) }
    }

    fn entry(&mut self) -> Result<Pair, ParseError> {
        let name_length = u16::from_be_bytes(self.array()?);
        let value_length = u16::from_be_bytes(self.array()?);
        let mut text = |length: u16| match self.take(length.into())?.split_last() {
            Some((0, text)) => Ok(text.to_vec()),
            _ => Err(ParseError("a variable without its NUL")),
        };
        Ok((text(name_length)?, text(value_length)?))
    }

    /// The rest of the packet: header index, unknown headers, raw block. In the raw block's order.
    fn headers(&mut self, unknown: usize, raw_length: usize) -> Result<Vec<Pair>, ParseError> {
        let mut places = Vec::new();
        let lengths = self.take(KNOWN_HEADERS.len() * 2)?;
        self.take(2)?;
        let offsets = self.take(KNOWN_HEADERS.len() * 4)?;
        let index = lengths.as_chunks().0.iter().zip(offsets.as_chunks().0);
        for (name, (&length, &offset)) in KNOWN_HEADERS.into_iter().zip(index) {
            let offset = usize::try_from(self.to_i32(offset)).map_err(|_| ParseError("a negative offset"))?;
            if offset != 0 {
                places.push((Name::Known(name), offset, self.to_u16(length).into()));
            }
        }
        for _ in 0..unknown {
            let name = Name::At(self.count()?, self.count()?);
            places.push((name, self.count()?, self.count()?));
        }
        if self.bytes.len() != raw_length {
            return Err(ParseError("its header block is not as long as it says"));
        }
        places.sort_by_key(|&(_, offset, _)| offset);
        let text = |offset, length| slice(self.bytes, offset, length).ok_or(ParseError("a header outside"));
        let header = |(name, offset, length)| {
            let name = match name {
                Name::Known(name) => name.as_bytes(),
                Name::At(offset, length) => text(offset, length)?,
            };
            Ok((name.to_vec(), text(offset, length)?.to_vec()))
        };
        places.into_iter().map(header).collect()
    }
}

enum Name {
    Known(&'static str),
    /// Offset and length in the raw block.
    At(usize, usize),
}

fn slice(bytes: &[u8], offset: usize, length: usize) -> Option<&[u8]> {
    bytes.get(offset..offset.checked_add(length)?)
}

fn value_at(packet: &[u8], offset: usize) -> Option<&[u8]> {
    packet.get(offset..)?.split(|&byte| byte == 0).next()
}

fn take_named(pairs: &mut Vec<Pair>, wanted: &[u8]) -> Option<Vec<u8>> {
    let position = pairs.iter().position(|(name, _)| name == wanted)?;
    Some(pairs.remove(position).1)
}

fn parse_length(text: Vec<u8>) -> Option<u64> {
    String::from_utf8(text).ok()?.parse().ok()
}
