//! Gathers what a plan is decided from: environment, site file, kernel files and lsphp's place, each read once.

use std::path::Path;

use crate::address::Address;
use crate::cgroup;
use crate::fault::Fault;
use crate::identity::{StartedAs, User};
use crate::kernel_file;
use crate::lsphp::Lsphp;
use crate::plan::{self, Inputs, Plan};
use crate::running::RunRecord;
use crate::settings::environment::Environment;
use crate::settings::site_file::SiteFile;
use crate::settings::{self, LogSettings, variable};

/// Who asks for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The start, to which a listener may be handed over.
    Start,
    /// A command in the container of a site that may have been started.
    Later,
}

/// Gathers everything and has the plan decided: from the environment of this process and the files below `root`
/// (`/` in production). The log's settings are there even where faults stand in the plan's way.
pub fn plan(
    root: &Path,
    started_as: StartedAs,
    asker: Asker,
    suppose_mib: Option<u64>,
) -> (LogSettings, Result<Plan, Vec<Fault>>) {
    let mut environment = Environment::of_this_process();
    // The environment of the start says so, and that of no other process.
    if asker == Asker::Later && <RunRecord>::has_handed_over(root) {
        environment.set_if_missing("LISTEN_FDS", "1");
    }
    let (site_file, fault) = match read_site_file(root, &environment, started_as.uid) {
        Ok(site_file) => (site_file, None),
        Err(fault) => (None, Some(fault)),
    };
    let (log, settings) = settings::read(&environment, site_file.as_ref(), started_as);
    let settings = match (settings, fault) {
        (Ok(settings), None) => settings,
        (settings, fault) => {
            // The environment's faults are told in the same run as the file's.
            let faults = fault.into_iter().chain(settings.err().into_iter().flatten()).collect();
            return (log, Err(faults));
        }
    };
    let limits = cgroup::detect(root);
    let lsphp = Lsphp::find(root, settings.options.lsphp.as_deref(), environment.get("PATH"));
    let inputs = Inputs {
        settings: &settings,
        environment: &environment,
        limits: &limits,
        lsphp: &lsphp,
        somaxconn: somaxconn(root),
        suppose_mib,
    };
    (log, Ok(plan::decide(inputs)))
}

/// The longest queue that the kernel makes, in this network namespace.
fn somaxconn(root: &Path) -> Option<u32> {
    let number = kernel_file::read(&root.join("proc/sys/net/core/somaxconn")).ok()?;
    std::str::from_utf8(&number).ok()?.trim().parse().ok()
}

/// Where lsphp listens and for which user, as environment and site file have it.
///
/// # Errors
/// Every fault.
pub fn address(root: &Path, euid: u32) -> Result<(Address, Option<User>), Vec<Fault>> {
    let environment = Environment::of_this_process();
    let site_file = read_site_file(root, &environment, euid).map_err(|fault| vec![fault])?;
    settings::read_address(&environment, site_file.as_ref())
}

/// Whether environment or site file speak of a site at all. A value that is blank or half of what is needed is a
/// mistake of a panel's, which must not end in a program that runs as root; neither must a site file that
/// cannot be read.
pub fn names_a_site(root: &Path, euid: u32) -> bool {
    let environment = Environment::of_this_process();
    let Ok(site_file) = read_site_file(root, &environment, euid) else { return true };
    let in_file = |name| site_file.as_ref().is_some_and(|file| file.get(name).is_some());
    let names =
        [variable::USER.names, variable::UID.names, variable::GID.names, variable::DOMAIN.names].concat();
    names.into_iter().any(|name| environment.get(name).is_some() || in_file(name))
}

fn read_site_file(root: &Path, environment: &Environment, euid: u32) -> Result<Option<SiteFile>, Fault> {
    let named = variable::SITE_FILE.names.iter().find_map(|name| environment.setting(name));
    let path = named.map_or(Path::new(SiteFile::PATH), Path::new);
    SiteFile::read(&root.join(path.strip_prefix("/").unwrap_or(path)), euid)
}
