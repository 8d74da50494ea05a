//! From the world to the plan: reads environment, site file, kernel files and lsphp's place once.

use std::path::Path;

use crate::address::Address;
use crate::cgroup;
use crate::kernel_file;
use crate::lsphp::Lsphp;
use crate::plan::{self, Inputs, Plan};
use crate::settings::environment::Environment;
use crate::settings::identity::User;
use crate::settings::site_file::SiteFile;
use crate::settings::{self, LogSettings, StartedAs, variable};

/// A plan, or the faults that stand in its way, one line each.
#[derive(Debug)]
pub struct Decision {
    pub log: LogSettings,
    pub plan: Result<Plan, Vec<String>>,
}

/// Decides from the environment of this process and the files below `root` (`/` in production).
pub fn decide(root: &Path, started_as: StartedAs, suppose_mib: Option<u64>) -> Decision {
    let environment = Environment::of_this_process();
    let (site_file, fault) = match read_site_file(&environment, started_as.uid) {
        Ok(site_file) => (site_file, None),
        Err(fault) => (SiteFile::default(), Some(fault)),
    };
    let log = settings::read_log(&environment, &site_file);
    let settings = match (settings::read(&environment, &site_file, started_as), fault) {
        (Ok(settings), None) => settings,
        (settings, fault) => {
            // The environment's faults are told in the same run as the file's.
            let faults = fault.into_iter().chain(settings.err().into_iter().flatten()).collect();
            return Decision { log, plan: Err(faults) };
        }
    };
    let limits = cgroup::detect(root);
    let configured = settings.options.lsphp.as_ref().map(|lsphp| lsphp.value.as_path());
    let lsphp = Lsphp::find(root, configured, environment.get("PATH"));
    let inputs = Inputs {
        settings: &settings,
        environment: &environment,
        limits: &limits,
        lsphp: &lsphp,
        somaxconn: somaxconn(root),
        suppose_mib,
    };
    Decision { log, plan: Ok(plan::decide(inputs)) }
}

/// The longest queue that the kernel makes, in this network namespace.
fn somaxconn(root: &Path) -> Option<u32> {
    let number = kernel_file::read(&root.join("proc/sys/net/core/somaxconn")).ok()?;
    std::str::from_utf8(&number).ok()?.trim().parse().ok()
}

/// Where lsphp listens and for which user, as environment and site file have it.
///
/// # Errors
/// Every fault, one line each.
pub fn address(euid: u32) -> Result<(Address, Option<User>), Vec<String>> {
    let environment = Environment::of_this_process();
    let site_file = read_site_file(&environment, euid).map_err(|fault| vec![fault])?;
    settings::read_address(&environment, &site_file)
}

/// Whether environment or site file speak of a site at all. A value that is blank or half of what is needed is a
/// mistake of a panel's, which must not end in a program that runs as root; neither must a site file that
/// cannot be read.
pub fn names_a_site(euid: u32) -> bool {
    let environment = Environment::of_this_process();
    let Ok(site_file) = read_site_file(&environment, euid) else { return true };
    let names =
        [variable::USER.names, variable::UID.names, variable::GID.names, variable::DOMAIN.names].concat();
    names.into_iter().any(|name| environment.get(name).is_some() || site_file.get(name).is_some())
}

fn read_site_file(environment: &Environment, euid: u32) -> Result<SiteFile, String> {
    let named = variable::SITE_FILE.names.iter().find_map(|name| environment.setting(name));
    let path = named.map_or(Path::new(SiteFile::PATH), Path::new);
    SiteFile::read(path, euid)
}
