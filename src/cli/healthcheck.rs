//! `cac-lsphp healthcheck`: the image's HEALTHCHECK. It ends with 0 or 1 whatever happens.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::Format;
use crate::exit::Exit;
use crate::health::{self, Findings, Probes, Reason, Report};
use crate::lsapi::Deadline;
use crate::sys;

/// The command's name.
pub const NAME: &str = "healthcheck";

#[derive(Debug, Default, Args)]
#[command(after_help = "\
Exit code 0: healthy, which a site with all workers busy is. 1: anything else, and one line why.

By default lsphp notices nothing: no connection is made, no worker taken. Right for HEALTHCHECK and for a
liveness probe. --deep has PHP run a script, over a worker: right for a readiness probe.")]
pub struct HealthcheckArgs {
    /// Connect to lsphp too; takes a worker
    #[arg(long)]
    connect: bool,
    /// Have PHP run the built-in ping script too; takes a worker
    #[arg(long)]
    deep: bool,
    /// How long all of it may take, such as 500ms or 3s [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = super::timeout::parse)]
    timeout: Option<Duration>,
    /// Text for people, or JSON for machines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// Checks the site and says what was found.
pub fn run(arguments: &HealthcheckArgs) -> Exit {
    let timeout = arguments.timeout.unwrap_or(TIMEOUT);
    let last_words =
        rendered(&Report { verdict: Err(Reason::TimedOut), found: Findings::default() }, arguments.format);
    // A file system that hangs, a machine that swaps: whatever the check waits for, it ends in time.
    if let Err(error) = sys::exit_after(timeout, last_words, Exit::Unhealthy as i32) {
        super::complain(format_args!("setting a timer: {error}; the check goes on without it"));
    }
    let probes = Probes { connect: arguments.connect, deep: arguments.deep };
    // A tenth less, so that a step that is late can still say which one it is.
    let deadline = Deadline::after(timeout - timeout / 10);
    let report = health::check(Path::new("/"), probes, deadline);
    // The verdict is in the exit code too, so nobody has to take the text.
    let _ = std::io::stdout().write_all(&rendered(&report, arguments.format));
    if report.verdict.is_ok() { Exit::Success } else { Exit::Unhealthy }
}

fn rendered(report: &Report, format: Format) -> Vec<u8> {
    let text = match format {
        Format::Text => report.to_string(),
        Format::Json => serde_json::to_string(report).unwrap_or_else(|_| report.to_string()),
    };
    format!("{text}\n").into_bytes()
}
