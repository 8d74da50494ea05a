//! `cac-lsphp doctor`: what is wrong with a site, and what mends it.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::{Format, complain, write_out};
use crate::doctor::{self, Finding};
use crate::exit::Exit;
use crate::gather::{self, Asker};
use crate::identity::StartedAs;
use crate::status;

#[derive(Debug, Args)]
#[command(after_help = "\
It looks twice, three seconds apart, and asks lsphp for nothing without --deep. Nothing printed and exit code 0: nothing was found.
Exit code 1: a line for each finding, with what mends it.")]
pub struct DoctorArgs {
    /// Ask PHP about opcache too; takes a worker
    #[arg(long)]
    deep: bool,
    /// Text for people, or JSON for panels
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const ROOT: &str = "/";

/// Examines the site and prints what was found.
pub fn run(arguments: &DoctorArgs) -> Exit {
    let findings = match status::record(Path::new(ROOT)) {
        Ok(run) => {
            // As root, who may read the site file; then nothing of the site's is looked at before the drop.
            let now = gather::plan(Path::new(ROOT), StartedAs::of_this_process(), Asker::Later, None).1;
            let mut findings = doctor::compare(&run, &now);
            if let Err(error) = status::become_its_user(&run.plan.site) {
                complain(error);
                return Exit::Privileges;
            }
            let found = doctor::examine(Path::new(ROOT), &run, arguments.deep);
            findings.extend(found.unwrap_or_else(|down| vec![doctor::is_down(&down)]));
            findings
        }
        Err(down) => vec![doctor::is_down(&down)],
    };
    match write_out(rendered(&findings, arguments.format).as_bytes()) {
        Exit::Success if !findings.is_empty() => Exit::Unhealthy,
        exit => exit,
    }
}

fn rendered(findings: &[Finding], format: Format) -> String {
    #[derive(Serialize)]
    struct Json<'a> {
        findings: &'a [Finding],
    }
    match format {
        Format::Text => findings.iter().map(|finding| format!("{finding}\n")).collect(),
        Format::Json => serde_json::to_string(&Json { findings }).unwrap_or_default() + "\n",
    }
}
