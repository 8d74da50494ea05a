//! Request → BEGIN_REQUEST packet.

use crate::lsapi::packet::{HEADER_LENGTH, PacketHeader, PacketType};

use super::{
    CONTENT_LENGTH, KNOWN_HEADERS, MAX_ENTRIES, MAX_PACKET, Pair, QUERY_STRING, REQUEST_METHOD, Request,
    SCRIPT_FILENAME, SCRIPT_NAME, is_required_variable, known_header,
};

/// Bytes before the first entry: the packet's header and nine integers.
const FIXED_LENGTH: usize = HEADER_LENGTH + 9 * 4;
/// The protocol's mark for a body length that does not fit 32 bits: it is in Content-Length then.
const LENGTH_IN_HEADER: i32 = -2;

/// Why a request cannot be carried by LSAPI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("request: {part} {name:?} has a byte that it must not have ({byte:#04x}); remove it")]
    Byte { part: &'static str, name: String, byte: u8 },
    #[error("request: {part} is empty; give it a name")]
    Empty { part: &'static str },
    #[error("request: {part} {name} is set from the request itself; leave it out")]
    Reserved { part: &'static str, name: String },
    #[error("request: {count} {part}, lsphp takes at most {MAX_ENTRIES}; send fewer")]
    TooMany { part: &'static str, count: usize },
    #[error(
        "request: variables and headers need more than the {MAX_PACKET} bytes that lsphp takes; send less"
    )]
    TooLong,
}

impl Request {
    /// Writes the BEGIN_REQUEST packet into `packet`, whose old content is dropped. `body` is the
    /// number of bytes that will follow it; with `None` there is neither body nor `Content-Length`.
    pub fn encode(&self, body: Option<u64>, packet: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_token("method", &self.method)?;
        let headers = HeaderBlock::of(&self.headers, body)?;

        packet.clear();
        packet.resize(FIXED_LENGTH, 0);
        put_entries(packet, "special variables", self.special_environment.iter().map(as_slices))?;
        for (name, _) in &self.environment {
            if is_required_variable(name) {
                return Err(EncodeError::Reserved { part: "variable", name: readable(name) });
            }
        }
        let required = [
            (SCRIPT_FILENAME, &self.script_filename[..]),
            (SCRIPT_NAME, &self.script_name),
            (QUERY_STRING, &self.query_string),
            (REQUEST_METHOD, &self.method),
        ];
        let offsets = value_offsets(packet.len(), &required);
        put_entries(packet, "variables", required.into_iter().chain(self.environment.iter().map(as_slices)))?;
        packet.resize(packet.len().next_multiple_of(8), 0);
        headers.put(packet);

        let length = i32::try_from(packet.len()).map_err(|_| EncodeError::TooLong)?;
        if packet.len() > MAX_PACKET {
            return Err(EncodeError::TooLong);
        }
        let [file, name, query, method] = offsets.map(small);
        let fixed = [
            small(headers.raw.len()),
            body.map_or(0, |length| i32::try_from(length).unwrap_or(LENGTH_IN_HEADER)),
            file,
            name,
            query,
            method,
            small(headers.unknown.len()),
            small(required.len() + self.environment.len()),
            small(self.special_environment.len()),
        ];
        let begin = PacketHeader::encode(PacketType::BeginRequest, length);
        let bytes = begin.into_iter().chain(fixed.into_iter().flat_map(i32::to_le_bytes));
        for (place, byte) in packet.iter_mut().zip(bytes) {
            *place = byte;
        }
        Ok(())
    }
}

/// The last part of the packet: where each header is, and the headers themselves.
struct HeaderBlock {
    lengths: [u16; KNOWN_HEADERS.len()],
    offsets: [i32; KNOWN_HEADERS.len()],
    /// Offset and length of the name, offset and length of the value.
    unknown: Vec<[i32; 4]>,
    raw: Vec<u8>,
}

impl HeaderBlock {
    fn of(headers: &[Pair], body: Option<u64>) -> Result<Self, EncodeError> {
        if headers.len() > MAX_ENTRIES {
            return Err(EncodeError::TooMany { part: "headers", count: headers.len() });
        }
        let mut block = HeaderBlock {
            lengths: [0; KNOWN_HEADERS.len()],
            offsets: [0; KNOWN_HEADERS.len()],
            unknown: Vec::new(),
            raw: Vec::new(),
        };
        if let Some(length) = body {
            block.add(CONTENT_LENGTH, &[(CONTENT_LENGTH.to_vec(), length.to_string().into_bytes())])?;
        }
        for (position, (name, value)) in headers.iter().enumerate() {
            check_token("header", name)?;
            check_bytes("header", name, value, b"\0\r\n")?;
            if name.eq_ignore_ascii_case(CONTENT_LENGTH) {
                return Err(EncodeError::Reserved { part: "header", name: readable(name) });
            }
            let is_repeat =
                headers.iter().take(position).any(|(earlier, _)| earlier.eq_ignore_ascii_case(name));
            if !is_repeat {
                block.add(name, headers.get(position..).unwrap_or_default())?;
            }
        }
        Ok(block)
    }

    /// Adds one line with the values of all the headers called `name`.
    fn add(&mut self, name: &[u8], headers: &[Pair]) -> Result<(), EncodeError> {
        // RFC 9110 section 5.3; cookies are joined as RFC 6265 section 4.2.1 writes them.
        let separator: &[u8] = if name.eq_ignore_ascii_case(b"Cookie") { b"; " } else { b", " };
        let name_offset = self.raw.len();
        self.raw.extend_from_slice(name);
        self.raw.extend_from_slice(b": ");
        let offset = self.raw.len();
        let values = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        for (index, (_, value)) in values.enumerate() {
            self.raw.extend_from_slice(if index == 0 { b"" } else { separator });
            self.raw.extend_from_slice(value);
        }
        let length = self.raw.len() - offset;
        self.raw.extend_from_slice(b"\r\n");
        if self.raw.len() > MAX_PACKET {
            return Err(EncodeError::TooLong);
        }

        let known = known_header(name).and_then(|at| self.lengths.get_mut(at).zip(self.offsets.get_mut(at)));
        match known {
            Some((known_length, known_offset)) => {
                *known_length = u16::try_from(length).map_err(|_| EncodeError::TooLong)?;
                *known_offset = small(offset);
            }
            None => self.unknown.push([small(name_offset), small(name.len()), small(offset), small(length)]),
        }
        Ok(())
    }

    fn put(&self, packet: &mut Vec<u8>) {
        packet.extend(self.lengths.iter().flat_map(|length| length.to_le_bytes()));
        packet.extend_from_slice(&[0; 2]);
        packet.extend(self.offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        packet.extend(self.unknown.iter().flatten().flat_map(|number| number.to_le_bytes()));
        packet.extend_from_slice(&self.raw);
    }
}

fn put_entries<'a>(
    packet: &mut Vec<u8>,
    part: &'static str,
    entries: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), EncodeError> {
    let mut count = 0;
    for (name, value) in entries {
        count += 1;
        if name.is_empty() {
            return Err(EncodeError::Empty { part });
        }
        check_bytes(part, name, name, b"\0")?;
        check_bytes(part, name, value, b"\0")?;
        for text in [name, value] {
            let length = u16::try_from(text.len() + 1).map_err(|_| EncodeError::TooLong)?;
            packet.extend_from_slice(&length.to_be_bytes());
        }
        for text in [name, value] {
            packet.extend_from_slice(text);
            packet.push(0);
        }
        if packet.len() > MAX_PACKET {
            return Err(EncodeError::TooLong);
        }
    }
    if count > MAX_ENTRIES {
        return Err(EncodeError::TooMany { part, count });
    }
    packet.extend_from_slice(&[0; 4]);
    Ok(())
}

/// Where the values of the first entries will be, when the first entry starts at `start`.
fn value_offsets<const N: usize>(start: usize, entries: &[(&[u8], &[u8]); N]) -> [usize; N] {
    let mut entry = start;
    entries.map(|(name, value)| {
        let offset = entry + 4 + name.len() + 1;
        entry = offset + value.len() + 1;
        offset
    })
}

fn check_token(part: &'static str, text: &[u8]) -> Result<(), EncodeError> {
    // RFC 9110 section 5.6.2.
    let is_token_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    match text.iter().find(|byte| !is_token_byte(byte)) {
        Some(&byte) => Err(EncodeError::Byte { part, name: readable(text), byte }),
        None if text.is_empty() => Err(EncodeError::Empty { part }),
        None => Ok(()),
    }
}

fn check_bytes(part: &'static str, name: &[u8], text: &[u8], forbidden: &[u8]) -> Result<(), EncodeError> {
    match text.iter().find(|byte| forbidden.contains(byte)) {
        Some(&byte) => Err(EncodeError::Byte { part, name: readable(name), byte }),
        None => Ok(()),
    }
}

fn as_slices((name, value): &Pair) -> (&[u8], &[u8]) {
    (name, value)
}

fn readable(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// A length or offset of a packet, which [`MAX_PACKET`] has bounded or is about to refuse.
fn small(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
