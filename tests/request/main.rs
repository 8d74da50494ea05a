//! `cac-lsphp request` and the client behind it, against servers that do what a test tells them.

#[path = "../support/begin_request.rs"]
mod begin_request;
#[path = "../support/client.rs"]
mod client;

mod answers;
mod arguments;
mod connections;
mod fake_lsphp;
mod misbehaviour;
mod packet;

use std::process::{Command, Output, Stdio};

/// More than the buffers of a socket hold, so that a server that does not read blocks the sender.
const LARGE: usize = 32 << 20;

fn request(address: &str, arguments: &[&str]) -> Output {
    command(address, arguments).output().unwrap()
}

fn command(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cac-lsphp"));
    command.args(["request", "--addr", address]).args(arguments).stdin(Stdio::null());
    command.env_remove("CAC_LISTEN").env_remove("user");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code 71 and one line on stderr that has `cause`.
fn assert_fails(name: &str, output: &Output, cause: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{name}: {stderr}");
    assert_eq!(stderr.matches(cause).count(), 1, "{name}: {stderr}");
    assert!(stderr.starts_with("cac-lsphp: ") && stderr.contains(';'), "{name}: {stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "{name}: {stderr}");
}

fn file_of(length: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(length as u64).unwrap();
    file
}
