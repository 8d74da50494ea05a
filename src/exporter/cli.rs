//! The exporter's command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::list::{self, Column};
use super::look::{Look, look};
use super::serve::{Exporter, serve};
use super::state::Memory;
use crate::cli::{Format, catch_panics, complain_as, refuse, write_or_stop, write_out};
use crate::exit::Exit;
use crate::sys::window_size;

const PROGRAM: &str = "cac-lsphp-exporter";
pub(super) const PROC: &str = "/proc";

#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version = env!("CAC_LSPHP_VERSION"),
    about = "Every site of this machine, for Prometheus and for people",
    after_help = "\
It needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and the host's processes in /proc. Nothing is executed in any
container. Without a command it serves.",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve OpenMetrics over HTTP (the default)
    Serve(ServeArgs),
    /// Print a line for every site
    List(ListArgs),
    /// The same every second, as much of it as the terminal has room for, until Ctrl-C
    Top(TopArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where to listen; whoever reaches it sees users, domains and numbers of every site
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9920", value_parser = socket_address)]
    listen: SocketAddr,
    /// Keep what workers needed in this file, over restarts
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Text for people, or JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The column that decides the order, of numbers the largest first
    #[arg(long, value_enum, default_value_t = Column::User)]
    sort: Column,
    /// What each site's limit could carry by what its workers needed, and all of them together
    #[arg(long, conflicts_with = "format")]
    suggest: bool,
    /// Count what `serve --state FILE` has seen of workers
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct TopArgs {
    /// The column that decides the order, of numbers the largest first
    #[arg(long, value_enum, default_value_t = Column::Workers)]
    sort: Column,
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:9920 or [::]:9920")
}

/// Runs the command that `arguments` (program name first) names.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    catch_panics(|| dispatch(arguments)).unwrap_or(Exit::Internal)
}

fn dispatch(arguments: Vec<OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, Exit::Usage),
    };
    let done = match cli.command {
        None => serving(&cli.serve),
        Some(Command::Serve(arguments)) => serving(&arguments),
        Some(Command::List(arguments)) => list(&arguments),
        Some(Command::Top(arguments)) => top(&arguments),
    };
    done.unwrap_or_else(|failed| failed)
}

fn serving(arguments: &ServeArgs) -> Result<Exit, Exit> {
    let exporter = match Exporter::new(arguments.state.as_deref()) {
        Ok(exporter) => exporter,
        Err(error) => return Err(refuse_state(arguments.state.as_deref(), &error)),
    };
    serve(arguments.listen, exporter).map_err(|error| {
        complain(format_args!("listening on {}: {error}; name another with --listen", arguments.listen));
        Exit::System
    })?;
    Ok(Exit::Success)
}

fn list(arguments: &ListArgs) -> Result<Exit, Exit> {
    let loaded = arguments.state.as_deref().map(Memory::load).transpose();
    let memory = loaded.map_err(|error| refuse_state(arguments.state.as_deref(), &error))?;
    let look = sorted_look(&mut memory.unwrap_or_default(), arguments.sort)?;
    let said = match arguments.format {
        Format::Json => serde_json::to_string(&look).unwrap_or_default() + "\n",
        Format::Text if arguments.suggest => list::Suggestions(&look).to_string(),
        Format::Text => list::Table(&look).to_string(),
    };
    warn(&look);
    Ok(write_out(said.as_bytes()))
}

/// Until a signal, or nobody reads any more.
fn top(arguments: &TopArgs) -> Result<Exit, Exit> {
    let mut memory = Memory::default();
    loop {
        let table = list::Table(&sorted_look(&mut memory, arguments.sort)?).to_string();
        let said = match window_size(std::io::stdout().as_fd()) {
            // Home, and clear: the terminal's own alternative to scrolling.
            Ok((rows, columns)) => format!("\x1b[H\x1b[2J{}", list::fit(&table, rows, columns)),
            Err(_) => table,
        };
        write_or_stop(said.as_bytes())?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn sorted_look(memory: &mut Memory, column: Column) -> Result<Look, Exit> {
    let mut look = look(Path::new(PROC), memory).map_err(|error| {
        complain(format_args!("reading {PROC}: {error}; run it where the host's /proc is"));
        Exit::System
    })?;
    list::sort(&mut look.sites, column);
    Ok(look)
}

fn refuse_state(path: Option<&Path>, error: &std::io::Error) -> Exit {
    complain(format_args!(
        "reading {}: {error}; name a file that only this program writes, or remove it",
        path.unwrap_or(Path::new("")).display()
    ));
    Exit::Refused
}

fn warn(look: &Look) {
    for refusal in &look.refused {
        complain(format_args!("not shown: {refusal}"));
    }
    if look.hidden_processes > 0 {
        complain(format_args!(
            "{} processes of containers may not be looked at, and sites may be among them: run it as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and where AppArmor or SELinux refuses it without a profile",
            look.hidden_processes
        ));
    }
}

pub(super) fn complain(message: impl std::fmt::Display) {
    complain_as(PROGRAM, message);
}
