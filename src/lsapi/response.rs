//! The answer's packets → events, from bytes as they arrive.

use super::packet::{ByteOrder, HEADER_LENGTH, PacketError, PacketHeader, PacketType};

/// The largest packet that is believed: 64 times what lsphp puts in one packet of a body, and
/// room for an answer with a thousand large headers.
pub const MAX_PACKET: usize = 1 << 20;

/// Room for four of lsphp's body packets: one read of a busy connection.
const FIRST_BUFFER: usize = 64 << 10;
/// The mark that makes a STDERR_STREAM packet tell the worker's pid.
const PID_MARK: &[u8; 4] = b"\0PID";

/// What an answer consists of, in the order in which it happens.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The pid of the worker, as its own pid namespace sees it; sent right after it was forked.
    WorkerPid(i32),
    /// The worker has read the request.
    Received,
    /// The status and the headers; once an answer, before any of the body.
    Head(Head<'a>),
    /// A piece of the body.
    Body(&'a [u8]),
    /// A piece of text for the error log.
    Stderr(&'a [u8]),
    /// The answer is complete.
    End,
    /// The worker closes the connection and has not read another request.
    Closing,
}

/// Status and header lines of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The HTTP status, 100 to 999.
    pub status: u16,
    /// Lines, each with a NUL at its end.
    block: &'a [u8],
}

impl<'a> Head<'a> {
    /// The header lines as the script set them, `Name: value`.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.block
            .split_inclusive(|&byte| byte == 0)
            .filter_map(|line| line.split_last())
            .map(|(_, line)| line)
    }
}

/// Bytes that are not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error("a packet of {0} bytes, more than the {MAX_PACKET} that are accepted")]
    TooLarge(usize),
    #[error("a {0:?} packet where it cannot be")]
    Order(PacketType),
    #[error("a {0:?} packet of the wrong length")]
    Length(PacketType),
    #[error("header lines that do not fit their packet")]
    Lines,
    #[error("status {0} is not an HTTP status")]
    Status(i32),
    #[error("lsphp reports an internal error")]
    Internal,
}

/// Turns bytes into events. Memory stays below twice [`MAX_PACKET`] and follows the bytes that
/// came, not the lengths that they claim. After an error the connection is of no more use.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// `buffer[start..end]` has arrived and is not decoded.
    start: usize,
    end: usize,
    /// The packet whose payload is being handed out piece by piece; its payload is what is left.
    open: Option<PacketHeader>,
    has_head: bool,
}

/// Payload bytes that are ready to become an event.
struct Ready {
    header: PacketHeader,
    length: usize,
    is_whole: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { buffer: vec![0; FIRST_BUFFER], start: 0, end: 0, open: None, has_head: false }
    }
}

impl Decoder {
    /// Where to put the bytes that arrive next; never empty once [`Decoder::next`] gave `None`.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            if self.start == 0 {
                self.buffer.resize(self.buffer.len() * 2, 0);
            } else {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `length` bytes have been put at the front of [`Decoder::space`].
    pub fn filled(&mut self, length: usize) {
        self.end = self.buffer.len().min(self.end + length);
    }

    /// Whether bytes have arrived that no event has told.
    pub fn has_rest(&self) -> bool {
        self.start != self.end
    }

    /// The next event; `None` when more bytes are needed.
    #[allow(clippy::should_implement_trait, reason = "an event borrows from the decoder")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, DecodeError> {
        match self.ready()? {
            Some(Ready { header, length, is_whole }) => {
                let payload = self.consume(length);
                if is_whole { whole_packet(header, payload) } else { piece(header.kind, payload) }.map(Some)
            }
            None => Ok(None),
        }
    }

    fn ready(&mut self) -> Result<Option<Ready>, DecodeError> {
        loop {
            if let Some(header) = self.open {
                let length = header.payload.min(self.end - self.start);
                let left = header.payload - length;
                self.open = (left > 0).then_some(PacketHeader { payload: left, ..header });
                if length > 0 {
                    return Ok(Some(Ready { header, length, is_whole: false }));
                }
                if left > 0 {
                    return Ok(None);
                }
            }
            let Some(header) = self.peek_header()? else { return Ok(None) };
            self.check(header)?;
            if is_handed_out_in_pieces(header) {
                self.consume(HEADER_LENGTH);
                self.open = Some(header);
            } else if self.end - self.start < HEADER_LENGTH + header.payload {
                return Ok(None);
            } else {
                self.consume(HEADER_LENGTH);
                match header.kind {
                    PacketType::ResponseHeader => self.has_head = true,
                    PacketType::ResponseEnd => self.has_head = false,
                    _ => {}
                }
                return Ok(Some(Ready { header, length: header.payload, is_whole: true }));
            }
        }
    }

    fn peek_header(&self) -> Result<Option<PacketHeader>, PacketError> {
        let arrived = self.buffer.get(self.start..self.end).unwrap_or_default();
        arrived.first_chunk().map(|bytes| PacketHeader::parse(*bytes)).transpose()
    }

    /// Whether this packet may come now, with this length.
    fn check(&self, header: PacketHeader) -> Result<(), DecodeError> {
        use PacketType::{
            AbortRequest, BeginRequest, ConnectionClose, InternalError, RequestReceived, ResponseEnd,
            ResponseHeader, ResponseStream, StderrStream,
        };
        let is_in_order = match header.kind {
            ResponseHeader | RequestReceived | ConnectionClose => !self.has_head,
            ResponseStream | ResponseEnd => self.has_head,
            StderrStream | InternalError => true,
            BeginRequest | AbortRequest => false,
        };
        let has_payload = matches!(header.kind, ResponseHeader | ResponseStream | StderrStream);
        if !is_in_order {
            Err(DecodeError::Order(header.kind))
        } else if header.payload + HEADER_LENGTH > MAX_PACKET {
            Err(DecodeError::TooLarge(header.payload + HEADER_LENGTH))
        } else if header.payload > 0 && !has_payload {
            Err(DecodeError::Length(header.kind))
        } else {
            Ok(())
        }
    }

    fn consume(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        self.start = self.end.min(start + length);
        self.buffer.get(start..self.start).unwrap_or_default()
    }
}

/// A packet as long as the one that tells the pid is looked at whole.
fn is_handed_out_in_pieces(header: PacketHeader) -> bool {
    match header.kind {
        PacketType::ResponseStream => true,
        PacketType::StderrStream => header.payload != PID_MARK.len() + size_of::<i32>(),
        _ => false,
    }
}

fn piece(kind: PacketType, bytes: &[u8]) -> Result<Event<'_>, DecodeError> {
    match kind {
        PacketType::ResponseStream => Ok(Event::Body(bytes)),
        PacketType::StderrStream => Ok(Event::Stderr(bytes)),
        _ => Err(DecodeError::Order(kind)),
    }
}

fn whole_packet(header: PacketHeader, payload: &[u8]) -> Result<Event<'_>, DecodeError> {
    match header.kind {
        PacketType::ResponseHeader => head(header.order, payload).map(Event::Head),
        PacketType::ResponseEnd => Ok(Event::End),
        PacketType::RequestReceived => Ok(Event::Received),
        PacketType::ConnectionClose => Ok(Event::Closing),
        PacketType::InternalError => Err(DecodeError::Internal),
        kind => match payload.strip_prefix(PID_MARK).and_then(|pid| pid.first_chunk()) {
            Some(pid) if kind == PacketType::StderrStream => Ok(Event::WorkerPid(header.order.i32(*pid))),
            _ => piece(kind, payload),
        },
    }
}

/// Count, status, one length a line, lines. The lengths are only proven: the NULs say the same.
fn head(order: ByteOrder, payload: &[u8]) -> Result<Head<'_>, DecodeError> {
    let (count, rest) = payload.split_first_chunk().ok_or(DecodeError::Lines)?;
    let (status, rest) = rest.split_first_chunk().ok_or(DecodeError::Lines)?;
    let count = usize::try_from(order.i32(*count)).map_err(|_| DecodeError::Lines)?;
    let lengths_size = count.checked_mul(2).ok_or(DecodeError::Lines)?;
    let (lengths, block) = rest.split_at_checked(lengths_size).ok_or(DecodeError::Lines)?;

    let mut lines = block.split_inclusive(|&byte| byte == 0);
    for length in lengths.as_chunks().0 {
        match lines.next() {
            Some(line) if line.ends_with(&[0]) && line.len() == usize::from(order.u16(*length)) => {}
            _ => return Err(DecodeError::Lines),
        }
    }
    if lines.next().is_some() {
        return Err(DecodeError::Lines);
    }
    let status = match order.i32(*status) {
        0 => 200,
        other => other,
    };
    match u16::try_from(status) {
        Ok(status @ 100..=999) => Ok(Head { status, block }),
        _ => Err(DecodeError::Status(status)),
    }
}

#[cfg(test)]
mod tests;
