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
mod supervised;

use std::process::Command;

use support::{lines, repository, run};

/// The release binary, run here with nothing in its environment but a PATH.
fn binary<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(support::made("CAC_TEST_BINARY"));
    command.env_clear().env("PATH", "/usr/bin:/bin").args(arguments);
    command
}
