//! The command line: one clap definition, one file a command.

mod plan;
mod request;
mod run;
mod timeout;

use std::ffi::OsString;
use std::io::Write;

use clap::{Parser, Subcommand};

use crate::exit::Exit;

#[derive(Debug, Parser)]
#[command(name = "cac-lsphp", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the site: plan, prepare, drop privileges, become lsphp (the default)
    Run,
    /// Print what a start would do and why, and do nothing
    Plan(plan::PlanArgs),
    /// Send one LSAPI request and show the answer as curl would
    Request(request::RequestArgs),
}

/// Runs the command that `arguments` (program name first) names.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            let _ = error.print();
            return exit;
        }
    };
    match cli.command {
        None | Some(Command::Run) => run::run(),
        Some(Command::Plan(arguments)) => plan::run(&arguments),
        Some(Command::Request(arguments)) => request::run(&arguments),
    }
}

/// Writes one line for a person to stderr. A closed stderr is no reason to fail.
fn complain(message: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "cac-lsphp: {message}");
}
