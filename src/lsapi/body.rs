//! What follows a request.

use std::io::{self, BufRead};

/// What follows a request.
pub enum Body<'a> {
    /// Neither a body nor a `Content-Length`.
    None,
    /// `length` bytes, from where `source` stands, which may be in memory.
    Reader { source: &'a mut dyn BufRead, length: u64 },
}

impl Body<'_> {
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Body::None => None,
            Body::Reader { length, .. } => Some(*length),
        }
    }

    /// Some of the bytes after the first `sent`; empty only when there are none.
    pub(super) fn chunk(&mut self, sent: u64) -> io::Result<&[u8]> {
        let left = self.length().unwrap_or(0).saturating_sub(sent);
        match self {
            Body::Reader { source, .. } if left > 0 => {
                let chunk = source.fill_buf()?;
                if chunk.is_empty() {
                    let cause = format!("it ends {left} bytes too early");
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cause));
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
                Ok(chunk.get(..most).unwrap_or_default())
            }
            _ => Ok(&[]),
        }
    }

    pub(super) fn consume(&mut self, length: usize) {
        if let Body::Reader { source, .. } = self {
            source.consume(length);
        }
    }
}
