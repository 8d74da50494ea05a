//! What follows a request: bytes from memory or from a reader.

use std::io::{self, BufRead};

/// What follows a request.
pub enum Body<'a> {
    /// Neither a body nor a `Content-Length`.
    None,
    Bytes(&'a [u8]),
    /// `length` bytes, from where `source` stands.
    Reader {
        source: &'a mut dyn BufRead,
        length: u64,
    },
}

impl Body<'_> {
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Body::None => None,
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Reader { length, .. } => Some(*length),
        }
    }

    /// Some of the bytes after the first `sent`; empty only when there are none.
    pub(super) fn chunk(&mut self, sent: u64) -> io::Result<&[u8]> {
        let left = self.length().unwrap_or(0).saturating_sub(sent);
        match self {
            _ if left == 0 => Ok(&[]),
            Body::None => Ok(&[]),
            Body::Bytes(bytes) => {
                let sent = usize::try_from(sent).unwrap_or(usize::MAX);
                Ok(bytes.get(sent..).unwrap_or_default())
            }
            Body::Reader { source, .. } => {
                let chunk = source.fill_buf()?;
                if chunk.is_empty() {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("it ends {left} bytes too early"),
                    ));
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
                Ok(chunk.get(..most).unwrap_or_default())
            }
        }
    }

    pub(super) fn consume(&mut self, length: usize) {
        if let Body::Reader { source, .. } = self {
            source.consume(length);
        }
    }
}
