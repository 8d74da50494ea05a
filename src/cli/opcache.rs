//! `cac-lsphp opcache status|reset`: what the shared opcode cache has and does, and how to have it forget.

use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Format, complain, write_out};
use crate::exit::Exit;
use crate::lsapi::Deadline;
use crate::opcache::{self, Opcache, Unknown};
use crate::running::RunRecord;
use crate::status::{self, StatusPlan};

#[derive(Debug, Args)]
#[command(after_help = "\
PHP is asked, over lsphp's own port, which takes a worker. `cac-lsphp status` answers also when none is free.

Exit code 0: told, or reset. 1: lsphp did not answer in time or cannot be asked, or opcache is off.")]
pub struct OpcacheArgs {
    action: Action,
    /// Text for people, or JSON for panels
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// How long it may take, such as 500ms or 10s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::timeout::parse)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    /// Memory, files, hits, restarts and their cause, and whether the settings are enough
    Status,
    /// Have every worker compile every script anew, without a page that fails meanwhile
    Reset,
}

/// Asks and prints.
pub fn run(arguments: &OpcacheArgs) -> Exit {
    let run: RunRecord<StatusPlan> = match status::record(Path::new("/")) {
        Ok(run) => run,
        Err(down) => return print::<Opcache>(&Err(Unknown::Down(down.reason)), arguments.format),
    };
    // What answers is the site's.
    if let Err(error) = status::become_its_user(&run.plan.site) {
        complain(error);
        return Exit::Privileges;
    }
    let deadline = Deadline::after(arguments.timeout);
    match arguments.action {
        Action::Status => print(&opcache::look(&run, deadline), arguments.format),
        Action::Reset => print(&opcache::reset(&run, deadline), arguments.format),
    }
}

fn print<T: Serialize + std::fmt::Display>(found: &Result<T, Unknown>, format: Format) -> Exit {
    let said = match (found, format) {
        (Ok(found), Format::Text) => found.to_string(),
        (Ok(found), Format::Json) => serde_json::to_string(found).unwrap_or_default(),
        (Err(unknown), Format::Json) => serde_json::to_string(unknown).unwrap_or_default(),
        (Err(unknown), Format::Text) => {
            complain(format_args!("opcache: {unknown}"));
            return Exit::Unhealthy;
        }
    };
    match write_out(format!("{}\n", said.trim_end()).as_bytes()) {
        Exit::Success if found.is_err() => Exit::Unhealthy,
        exit => exit,
    }
}
