//! The answer as it comes: to stdout and stderr, bytes as they are.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::lsapi::Receiver;
use crate::lsapi::response::Head;

/// Where an answer goes. Written without a buffer, which would look for line ends in the body.
pub struct Output {
    stdout: File,
    shows_head: bool,
}

impl Output {
    pub fn new(shows_head: bool) -> io::Result<Self> {
        Ok(Output { stdout: io::stdout().as_fd().try_clone_to_owned()?.into(), shows_head })
    }
}

impl Receiver for Output {
    fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        if !self.shows_head {
            return Ok(());
        }
        // The front end adds the reason phrase; LSAPI carries none.
        let mut text = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
        for line in head.lines() {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        self.stdout.write_all(&text)
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)
    }

    /// A closed stderr is no reason to lose the answer.
    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _ = io::stderr().write_all(bytes);
        Ok(())
    }
}
