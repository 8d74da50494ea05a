//! The scripts that a start leaves in `/run/cac-lsphp`, by which PHP is asked for what the kernel does not know.
//!
//! Asking takes a worker. What answers is the site's, so an answer is input like any other.

use std::io;

use crate::address::Address;
use crate::lsapi::response::Head;
use crate::lsapi::{self, Body, Deadline, Error, Receiver, Request};
use crate::paths::RUNTIME_DIRECTORY;

/// More than any of them prints; whoever sends more is none of them.
const LONGEST_ANSWER: usize = 16 << 10;

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Below [`RUNTIME_DIRECTORY`].
    pub script: &'static str,
    pub query: &'static str,
    /// Directives that hold for this request alone, at the level of PHP's own ini files.
    pub directives: &'static [(&'static str, &'static str)],
}

/// Before a directive's name, to lsphp.
const SYSTEM_LEVEL: &[u8] = b"\x01\x04";

/// An answer, cut where it is too long.
#[derive(Default)]
pub struct Said {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Said {
    /// The first line without `greeting`, by which it is told from a page or an error of the site's. What a
    /// script that the site appends prints comes after it.
    pub fn line_after(&self, greeting: &[u8]) -> Option<&[u8]> {
        self.body.strip_prefix(greeting)?.split(|byte| *byte == b'\n').next()
    }
}

/// Asks the lsphp at `listen`.
///
/// # Errors
/// There is no whole answer.
pub fn ask(listen: &Address, question: Question, deadline: Deadline) -> Result<Said, Error> {
    let Question { script, query, directives } = question;
    let name = script.strip_prefix(RUNTIME_DIRECTORY).unwrap_or(script);
    let mut request = Request::new("GET", script, name);
    request.query_string = query.into();
    request.environment = [("DOCUMENT_ROOT", RUNTIME_DIRECTORY), ("REQUEST_URI", name)]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
    let directive =
        |(name, value): &(&str, &str)| ([SYSTEM_LEVEL, name.as_bytes()].concat(), (*value).into());
    request.special_environment = directives.iter().map(directive).collect();
    let mut said = Said::default();
    lsapi::send(listen, &request, Body::None, deadline, &mut said)?;
    Ok(said)
}

/// Whether it is made of what PHP's versions are made of. The line that shows it is read on root's terminal.
pub fn is_version(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~-".contains(&byte))
}

impl Receiver for Said {
    fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        self.status = head.status;
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = LONGEST_ANSWER.saturating_sub(self.body.len());
        self.body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(())
    }

    fn stderr(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_made_of_what_versions_are_made_of() {
        for version in ["8.2.29", "8.4.0RC1-dev", "8.3.1-1+deb12u1~bpo11+1"] {
            assert!(is_version(version), "{version}");
        }
        for version in ["", "8.2\r", "8\x1b]0;x\x07", "8\u{9b}2J", "8 2", "8.2\u{202e}", "8,2", "8\0"] {
            assert!(!is_version(version), "{version:?}");
        }
    }

    #[test]
    fn an_answer_is_known_by_its_greeting_and_is_one_line() {
        let said = |body: &[u8]| Said { status: 200, body: body.to_vec() };
        assert_eq!(said(b"ping: 8.2\nmore").line_after(b"ping: "), Some(&b"8.2"[..]));
        assert_eq!(said(b"8.2").line_after(b"ping: "), None);
    }

    #[test]
    fn an_answer_is_bounded() {
        let mut said = Said::default();
        for _ in 0..3 {
            said.body(&[b'x'; LONGEST_ANSWER / 2 + 1]).unwrap();
        }
        assert_eq!(said.body.len(), LONGEST_ANSWER);
    }
}
