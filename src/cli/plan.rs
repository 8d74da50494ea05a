//! `cac-lsphp plan`: what a start would do, decided by the same code, printed and not applied.

use std::path::Path;

use clap::Args;

use super::{Format, complain, write_out};
use crate::exit::Exit;
use crate::gather::{self, Asker};
use crate::identity::StartedAs;
use crate::plan::Plan;
use crate::settings::size;

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Text for people, or JSON for panels
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Suppose this memory limit instead of the real one, such as 2G
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    memory: Option<u64>,
}

/// Prints the plan, or every fault that stands in its way.
pub fn run(arguments: &PlanArgs) -> Exit {
    let started_as = StartedAs::of_this_process();
    match gather::plan(Path::new("/"), started_as, Asker::Later, arguments.memory).1 {
        Ok(plan) => print(&plan, arguments.format),
        Err(faults) => {
            faults.iter().for_each(complain);
            Exit::Refused
        }
    }
}

fn print(plan: &Plan, format: Format) -> Exit {
    let text = match format {
        Format::Text => Ok(plan.to_string()),
        Format::Json => serde_json::to_string_pretty(plan).map(|json| json + "\n"),
    };
    match text {
        Ok(text) => write_out(text.as_bytes()),
        Err(error) => {
            complain(format_args!("rendering the plan: {error}; please report it"));
            Exit::Internal
        }
    }
}

fn mebibytes(text: &str) -> Result<u64, &'static str> {
    match size::bytes(text).map(|bytes| bytes >> 20) {
        Some(mib) if mib > 0 => Ok(mib),
        _ => Err("give a size of at least 1M, such as 512M or 2G"),
    }
}
