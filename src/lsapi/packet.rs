//! The eight bytes that every packet starts with.

/// Bytes of a packet's header.
pub const HEADER_LENGTH: usize = 8;

const MAGIC: [u8; 2] = *b"LS";
const BIG_ENDIAN_FLAG: u8 = 1;

/// The order of the integers after the first four bytes; each packet says its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub(super) fn i32(self, bytes: [u8; 4]) -> i32 {
        match self {
            ByteOrder::Little => i32::from_le_bytes(bytes),
            ByteOrder::Big => i32::from_be_bytes(bytes),
        }
    }

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// What a packet is for; the numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketType {
    BeginRequest = 1,
    AbortRequest = 2,
    ResponseHeader = 3,
    ResponseStream = 4,
    ResponseEnd = 5,
    StderrStream = 6,
    RequestReceived = 7,
    ConnectionClose = 8,
    InternalError = 9,
}

impl PacketType {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => PacketType::BeginRequest,
            2 => PacketType::AbortRequest,
            3 => PacketType::ResponseHeader,
            4 => PacketType::ResponseStream,
            5 => PacketType::ResponseEnd,
            6 => PacketType::StderrStream,
            7 => PacketType::RequestReceived,
            8 => PacketType::ConnectionClose,
            9 => PacketType::InternalError,
            _ => return None,
        })
    }
}

/// A packet's header whose length has been checked against the header's own size, not more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketHeader {
    pub kind: PacketType,
    pub order: ByteOrder,
    /// Bytes after the header.
    pub payload: usize,
}

/// Bytes that are not a packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("a packet starts with {:02x} {:02x} instead of \"LS\"", .0[0], .0[1])]
    Magic([u8; 2]),
    #[error("packet type {0} does not exist")]
    Type(u8),
    #[error("a packet gives its length as {0}, less than its own header")]
    Length(i32),
}

impl PacketHeader {
    /// Reads a header in either byte order.
    pub fn parse(bytes: [u8; HEADER_LENGTH]) -> Result<Self, PacketError> {
        let [magic0, magic1, kind, flags, length @ ..] = bytes;
        if [magic0, magic1] != MAGIC {
            return Err(PacketError::Magic([magic0, magic1]));
        }
        let kind = PacketType::from_number(kind).ok_or(PacketError::Type(kind))?;
        let order = if flags & BIG_ENDIAN_FLAG == 0 { ByteOrder::Little } else { ByteOrder::Big };
        let length = order.i32(length);
        let payload = usize::try_from(length).ok().and_then(|length| length.checked_sub(HEADER_LENGTH));
        Ok(PacketHeader { kind, order, payload: payload.ok_or(PacketError::Length(length))? })
    }

    /// The header in little endian of a packet of `length` bytes, header included.
    pub(super) fn encode(kind: PacketType, length: i32) -> [u8; HEADER_LENGTH] {
        let [l0, l1, l2, l3] = length.to_le_bytes();
        [MAGIC[0], MAGIC[1], kind as u8, 0, l0, l1, l2, l3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_byte_orders() {
        let end = PacketHeader { kind: PacketType::ResponseEnd, order: ByteOrder::Little, payload: 0 };
        assert_eq!(PacketHeader::parse(*b"LS\x05\x00\x08\0\0\0"), Ok(end));
        let big = PacketHeader { order: ByteOrder::Big, payload: 16384, ..end };
        assert_eq!(PacketHeader::parse(*b"LS\x05\x01\0\0\x40\x08"), Ok(big));
    }

    #[test]
    fn refuses_what_is_no_header() {
        for (bytes, error) in [
            (*b"HTTP/1.1", PacketError::Magic(*b"HT")),
            (*b"LS\x00\x00\x08\0\0\0", PacketError::Type(0)),
            (*b"LS\x0a\x00\x08\0\0\0", PacketError::Type(10)),
            (*b"LS\x04\x00\x07\0\0\0", PacketError::Length(7)),
            (*b"LS\x04\x00\0\0\0\0", PacketError::Length(0)),
            (*b"LS\x04\x00\xff\xff\xff\xff", PacketError::Length(-1)),
            (*b"LS\x04\x01\x80\0\0\0", PacketError::Length(i32::MIN)),
        ] {
            assert_eq!(PacketHeader::parse(bytes), Err(error));
        }
    }

    #[test]
    fn types_keep_their_numbers() {
        for number in 1..=9 {
            assert_eq!(PacketType::from_number(number).map(|kind| kind as u8), Some(number));
        }
    }
}
