//! The command line: one clap definition, one file a command.

mod doctor;
mod exec;
mod generate;
mod healthcheck;
mod help;
mod opcache;
mod plan;
mod reload;
mod request;
mod run;
mod status;
mod timeout;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use self::healthcheck::HealthcheckArgs;
use crate::exit::Exit;
use crate::one_line::OneLine;

#[derive(Debug, Parser)]
#[command(name = "cac-lsphp", version = env!("CAC_LSPHP_VERSION"), about, propagate_version = true)]
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
    /// Tell whether the site can serve, without disturbing it
    Healthcheck(HealthcheckArgs),
    /// Tell what every worker does and needs, without disturbing it
    Status(status::StatusArgs),
    /// Find what is wrong with the site, and say what mends it
    Doctor(doctor::DoctorArgs),
    /// Tell what the shared opcode cache has and whether it is large enough, or have every script compiled anew
    Opcache(opcache::OpcacheArgs),
    /// Send one LSAPI request and show the answer as curl would
    Request(request::RequestArgs),
    /// Have a new lsphp take over, planned anew, without losing a request (with CAC_SUPERVISE=1)
    Reload,
    /// Run a command as the site user, with the site's environment and ini
    Exec(exec::ExecArgs),
    /// Print a completion script
    Completions(generate::CompletionsArgs),
    /// Print the manual page
    Man,
    #[command(external_subcommand)]
    External(Vec<OsString>),
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// Runs the command that `arguments` (program name first) names. A panic, which would be a defect,
/// is one line and an exit code of its own: as PID 1 an abort would look like a crash of PHP.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Of a check Docker knows 0 and 1 only.
    let is_check = arguments.get(1).is_some_and(|command| command == healthcheck::NAME);
    let (wrong, defect) =
        if is_check { (Exit::Unhealthy, Exit::Unhealthy) } else { (Exit::Usage, Exit::Internal) };
    let ended = catch_panics(|| match parse(&arguments) {
        Ok(command) => execute(command),
        Err(error) => refuse(&error, wrong),
    });
    ended.unwrap_or(defect)
}

/// `None`: it panicked, which was said.
pub(crate) fn catch_panics(run: impl FnOnce() -> Exit + std::panic::UnwindSafe) -> Option<Exit> {
    std::panic::set_hook(Box::new(|panic| {
        complain(format_args!("internal error: {panic}; please report it"));
    }));
    std::panic::catch_unwind(run).ok()
}

fn execute(command: Command) -> Exit {
    match command {
        Command::Run => run::run(),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Opcache(arguments) => opcache::run(&arguments),
        Command::Request(arguments) => request::run(&arguments),
        Command::Reload => reload::run(),
        Command::Exec(arguments) => exec::as_site_user(&arguments.command),
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man => generate::man(),
        Command::External(command) => exec::run_external(&command),
    }
}

fn parse(arguments: &[OsString]) -> Result<Command, clap::Error> {
    if let Some(command) = frequent(arguments) {
        return Ok(command);
    }
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(cli.command.unwrap_or(Command::Run)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Err(definition().try_get_matches_from(arguments).err().unwrap_or(error))
        }
        Err(error) => Err(error),
    }
}

/// A start, a plan, a check or a request, where nothing is wrong with its arguments. Every site has them all the time,
/// and putting the other commands together would take as long as a check.
fn frequent(arguments: &[OsString]) -> Option<Command> {
    match arguments.get(1..)? {
        [] => Some(Command::Run),
        [command] if command == "run" => Some(Command::Run),
        [command] if command == healthcheck::NAME => Some(Command::Healthcheck(HealthcheckArgs::default())),
        all @ [command, ..] if command == "plan" => parse_alone(all).map(Command::Plan),
        all @ [command, ..] if command == healthcheck::NAME => parse_alone(all).map(Command::Healthcheck),
        all @ [command, ..] if command == "request" => parse_alone(all).map(Command::Request),
        _ => None,
    }
}

fn parse_alone<A: clap::Args>(arguments: &[OsString]) -> Option<A> {
    let command = A::augment_args(clap::Command::new("cac-lsphp"));
    A::from_arg_matches(&command.try_get_matches_from(arguments).ok()?).ok()
}

/// The command line with all that its help says. Parsing goes without: a start would pay for text
/// that nobody reads.
fn definition() -> clap::Command {
    Cli::command().after_long_help(help::after())
}

/// Prints clap's message: help, which is what was asked for, or what is wrong with the command line.
pub(crate) fn refuse(error: &clap::Error, wrong: Exit) -> Exit {
    let _ = error.print(); // a closed stdout or stderr is no reason to fail
    if error.use_stderr() { wrong } else { Exit::Success }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no error.
pub(crate) fn write_out(bytes: &[u8]) -> Exit {
    write_or_stop(bytes).err().unwrap_or(Exit::Success)
}

/// Writes to stdout, or says how to end because nobody reads any more or that failed.
pub(crate) fn write_or_stop(bytes: &[u8]) -> Result<(), Exit> {
    let mut stdout = io::stdout();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Exit::Success;
        }
        complain(format_args!("writing to stdout: {error}; redirect it to where it can be written"));
        Exit::System
    })
}

/// Writes one line for a person to stderr. A closed stderr is no reason to fail.
fn complain(message: impl std::fmt::Display) {
    complain_as("cac-lsphp", message);
}

/// The same of another program's.
pub(crate) fn complain_as(program: &str, message: impl std::fmt::Display) {
    let message = message.to_string().replace('\n', " ");
    let _ = writeln!(io::stderr(), "{program}: {}", OneLine(message));
}
