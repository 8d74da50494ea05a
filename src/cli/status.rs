//! `cac-lsphp status`: what every worker does and needs.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{complain, write_out};
use crate::exit::Exit;
use crate::status::estimate::Peaks;
use crate::status::text::{self, Table};
use crate::status::watch::Watch;
use crate::status::{self, Down, Status, openmetrics};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    Text,
    Json,
    Openmetrics,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The kernel tells it all: nothing is asked of lsphp, so it answers when every worker is busy, and disturbs none.

Exit code 0: lsphp runs. 1: it does not, and why.")]
pub struct StatusArgs {
    /// Text for people, JSON for panels, or OpenMetrics for Prometheus
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    format: StatusFormat,
    /// Look again every second, with how long each worker has been busy; one line each if stdout is not a terminal
    #[arg(long, conflicts_with = "format")]
    watch: bool,
}

const ROOT: &str = "/";

/// Looks and prints.
pub fn run(arguments: &StatusArgs) -> Exit {
    let site = match status::record(Path::new(ROOT)) {
        Ok(run) => {
            // Before anything of the site's is looked at.
            if let Err(error) = status::become_its_user(&run.plan.site) {
                complain(error);
                return Exit::Privileges;
            }
            if arguments.watch {
                return watch();
            }
            status::look(Path::new(ROOT), &run, &mut Peaks::default())
        }
        Err(down) => Err(down),
    };
    let is_up = site.is_ok();
    let said = match arguments.format {
        StatusFormat::Text => site.as_ref().map_err(tell).ok().map(table),
        StatusFormat::Json => Some(json(&site)),
        StatusFormat::Openmetrics => {
            let site = openmetrics::Site { labels: vec![], status: site, peaks: None };
            openmetrics::render(vec![site], |_| {}).ok()
        }
    };
    match said.map_or(Exit::Success, |said| write_out(said.as_bytes())) {
        Exit::Success if is_up => Exit::Success,
        Exit::Success => Exit::Unhealthy,
        exit => exit,
    }
}

fn tell(down: &Down) {
    complain(format_args!("status: {}", down.reason));
}

fn table(status: &Status) -> String {
    Table { status, busy_for: |_: &_| None }.to_string()
}

fn json(site: &Result<Status, Down>) -> String {
    let json = match site {
        Ok(status) => serde_json::to_string(status),
        Err(down) => serde_json::to_string(down),
    };
    json.unwrap_or_default() + "\n"
}

/// Until a signal, or nobody reads any more, or lsphp is gone.
fn watch() -> Exit {
    let is_terminal = std::io::stdout().is_terminal();
    let mut watch = Watch::default();
    loop {
        let seen = status::record(Path::new(ROOT)).and_then(|run| watch.look(Path::new(ROOT), &run));
        let status = match seen {
            Ok(status) => status,
            Err(down) => {
                tell(&down);
                return Exit::Unhealthy;
            }
        };
        let said = if is_terminal {
            // Home, and clear: the terminal's own alternative to scrolling.
            format!("\x1b[H\x1b[2J{}", Table { status: &status, busy_for: |row: &_| watch.busy_for(row) })
        } else {
            format!("{}\n", watch.line(text::line(&status), &status))
        };
        if let Err(exit) = super::write_or_stop(said.as_bytes()) {
            return exit;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
