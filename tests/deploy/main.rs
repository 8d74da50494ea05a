//! The image and what an operator expects around it, with the tools that deploy it.

#[path = "../support/mod.rs"]
mod support;

mod command_line;
mod compose;
mod documents;
mod entrypoint;
mod images;
mod kubernetes;
mod podman;
mod pool;
mod quadlet;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The release binary, run here with nothing in its environment but a PATH.
fn binary<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(support::made("CAC_TEST_BINARY"));
    command.env_clear().env("PATH", "/usr/bin:/bin").args(arguments);
    command
}

fn lines(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}
