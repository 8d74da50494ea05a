//! `cac-lsphp completions SHELL` and `cac-lsphp man`: from the same definition as the parser.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, write_out};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to complete for
    shell: Shell,
}

/// Prints a completion script.
pub fn completions(arguments: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "cac-lsphp", &mut script);
    write_out(&script)
}

/// Prints the manual page, roff.
pub fn man() -> Exit {
    match render() {
        Ok(page) => write_out(&page),
        Err(error) => {
            super::complain(format_args!("rendering the manual page: {error}; use --help instead"));
            Exit::Internal
        }
    }
}

fn render() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    page.flush()?;
    Ok(page)
}
