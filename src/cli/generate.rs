//! `cac-lsphp completions SHELL` and `cac-lsphp man`: from the same definition as the parser.

use clap::Args;
use clap_complete::Shell;

use super::{definition, write_out};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to complete for
    shell: Shell,
}

/// Prints a completion script.
pub fn completions(arguments: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut definition(), "cac-lsphp", &mut script);
    match arguments.shell {
        Shell::Bash => write_out(one_spelling(&String::from_utf8_lossy(&script)).as_bytes()),
        _ => write_out(&script),
    }
}

/// clap_complete 4.6.11 spells the dash of the program's name in two ways, so that bash would offer
/// nothing behind a command.
fn one_spelling(script: &str) -> String {
    script.replace("cac__subcmd__lsphp", "cac__lsphp")
}

/// Prints the manual page, roff.
pub fn man() -> Exit {
    let mut page = Vec::new();
    match clap_mangen::Man::new(definition()).render(&mut page) {
        Ok(()) => write_out(&page),
        Err(error) => {
            super::complain(format_args!("rendering the manual page: {error}; use --help instead"));
            Exit::Internal
        }
    }
}
