//! `cac-lsphp request`: one LSAPI request, as curl would show it.

use clap::Args;

use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct RequestArgs {
    /// A script's absolute path, or a URI
    pub target: String,
}

/// Sends the request and prints the answer.
pub fn run(_arguments: &RequestArgs) -> Exit {
    super::complain("request: not built yet");
    Exit::Internal
}
