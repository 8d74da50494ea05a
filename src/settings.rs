//! What the panel asked for: environment and site file, read into values that cannot be wrong.
//!
//! Every setting has one row in [`variable`]; [`reader`] applies the precedence (environment, site
//! file, default) and gathers all faults before anything is refused.

pub mod directive;
pub mod environment;
mod listener;
mod reader;
pub mod site_file;
pub(crate) mod size;
pub mod variable;
mod warm_start;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};
use tracing::level_filters::LevelFilter;

use self::environment::Environment;
pub use self::listener::{ListenerOptions, SocketMode};
use self::reader::{Reader, Readings};
use self::site_file::SiteFile;
use self::variable::Variable;
pub use self::warm_start::WarmStart;
use crate::address::Address;
use crate::fault::{Fault, Object};
use crate::identity::{Site, StartedAs, User};

/// A setting as it was given: the value, where it came from, and what it won against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Given {
    pub value: String,
    pub source: Source,
    /// Other places that name the same setting, such as `LSAPI_CHILDREN=9 from the environment`.
    pub lost: Vec<String>,
}

/// Who sets a setting, such as `PHP_LSAPI_CHILDREN from the environment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub place: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.name.escape_debug(), self.place.escape_debug())
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<&Source> for Object {
    fn from(source: &Source) -> Self {
        Self::Variable { name: source.name.clone(), place: Some(source.place.clone()) }
    }
}

/// The settings that somebody names, by the strongest of their names; all others are at their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AllGiven(BTreeMap<String, Given>);

impl AllGiven {
    pub fn get<A>(&self, variable: &Variable<A>) -> Option<&Given> {
        self.0.get(*variable.names.first()?)
    }

    /// Where a setting has its value from.
    pub fn source<A>(&self, variable: &Variable<A>) -> String {
        self.get(variable).map_or_else(|| "default".to_owned(), |given| given.source.to_string())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Given)> {
        self.0.iter()
    }
}

/// Level and format of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LevelFilter,
    pub json: bool,
}

/// Everything that can be set, typed and in range.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub site: Site,
    pub options: Options,
    pub given: AllGiven,
    /// What was clamped or ignored.
    pub warnings: Vec<Fault>,
}

/// The settings that have a default or may be absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// lsphp's children, where the panel names a number.
    pub children: Option<u32>,
    pub extra_children: u32,
    pub worker_estimate_mib: u32,
    /// The budget, where the panel names one.
    pub memory_mib: Option<u32>,
    pub opcache_memory_mib: u32,
    pub opcache_max_files: u32,
    pub max_idle_children: u32,
    /// Seconds.
    pub max_idle: u32,
    pub max_requests: u32,
    /// Seconds.
    pub max_process_time: u32,
    /// At how many workers with a connection each closes its own; see [`variable::MAX_BUSY_WORKER`].
    pub max_busy_worker: Option<i32>,
    /// lsphp's own notation, such as `200M`.
    pub avoid_fork: Option<String>,
    /// RLIMIT_AS, 0 for none.
    pub mem_soft_mib: u32,
    /// RLIMIT_AS, 0 for none.
    pub mem_hard_mib: u32,
    pub user_ini: bool,
    /// PHP directives for this site, by directive name.
    pub directives: BTreeMap<String, String>,
    pub listen: Address,
    pub listener: ListenerOptions,
    /// Whether pid 1 stays above lsphp.
    pub supervise: bool,
    /// Seconds.
    pub stop_timeout: u32,
    /// Seconds; 0: never.
    pub watch_memory: u32,
    /// Seconds.
    pub reload_grace: u32,
    pub warm_start: WarmStart,
    /// lsphp's path, where the panel names one.
    pub lsphp: Option<PathBuf>,
    pub no_new_privs: bool,
    pub site_link: bool,
    pub take_ownership: bool,
}

/// Reads every setting, or finds every fault. The log's settings come first: even a refusal is printed as asked for.
pub fn read(
    environment: &Environment,
    site_file: Option<&SiteFile>,
    started_as: StartedAs,
) -> (LogSettings, Result<Settings, Vec<Fault>>) {
    let mut reader = Reader::new(environment, site_file);
    let log = reader.log();
    let site = read_site(&mut reader, started_as);
    let options = read_options(&mut reader);
    reader.warn_about_pgrp_max_idle();
    reader.warn_about_missing_site_file();
    reader.warn_about_unknown_names();
    reader.refuse_contradictions(site.as_ref(), &options);
    let Readings { given, faults, warnings } = reader.finish();
    match site {
        Some(site) if faults.is_empty() => (log, Ok(Settings { site, options, given, warnings })),
        _ => (log, Err(faults)),
    }
}

fn read_options(reader: &mut Reader) -> Options {
    Options {
        children: reader.optional_number(&variable::CHILDREN),
        extra_children: reader.number(&variable::EXTRA_CHILDREN),
        worker_estimate_mib: reader.number(&variable::WORKER_ESTIMATE),
        memory_mib: reader.optional_number(&variable::MEMORY),
        opcache_memory_mib: reader.number(&variable::OPCACHE_MEMORY),
        opcache_max_files: reader.number(&variable::OPCACHE_MAX_FILES),
        max_idle_children: reader.number(&variable::MAX_IDLE_CHILDREN),
        max_idle: reader.number(&variable::MAX_IDLE),
        max_requests: reader.number(&variable::MAX_REQUESTS),
        max_process_time: reader.number(&variable::MAX_PROCESS_TIME),
        max_busy_worker: reader.optional_number(&variable::MAX_BUSY_WORKER),
        avoid_fork: reader.avoid_fork(),
        mem_soft_mib: reader.number(&variable::MEM_SOFT),
        mem_hard_mib: reader.number(&variable::MEM_HARD),
        user_ini: reader.switch(&variable::USER_INI),
        directives: reader.directives(),
        listen: reader.listen(),
        listener: ListenerOptions::read(reader),
        supervise: reader.switch(&variable::SUPERVISE),
        stop_timeout: reader.number(&variable::STOP_TIMEOUT),
        watch_memory: reader.number(&variable::WATCH_MEMORY),
        reload_grace: reader.number(&variable::RELOAD_GRACE),
        warm_start: WarmStart::read(reader),
        lsphp: reader.lsphp(),
        no_new_privs: reader.switch(&variable::NO_NEW_PRIVS),
        site_link: reader.switch(&variable::SITE_LINK),
        take_ownership: reader.switch(&variable::TAKE_OWNERSHIP),
    }
}

/// `None` means that a fault was noted.
fn read_site(reader: &mut Reader, started_as: StartedAs) -> Option<Site> {
    let user = reader.required(&variable::USER, |text| text.parse().ok());
    let uid = reader.uid(started_as);
    let gid = reader.gid(started_as, uid);
    let domain = reader.text(&variable::DOMAIN, |text| text.parse().ok());
    Some(Site::new(user?, uid?, gid?, domain))
}

/// Where lsphp listens, and the site's user if somebody names one: what a client of the site needs.
///
/// # Errors
/// Every fault of the two.
pub fn read_address(
    environment: &Environment,
    site_file: Option<&SiteFile>,
) -> Result<(Address, Option<User>), Vec<Fault>> {
    let mut reader = Reader::new(environment, site_file);
    let (listen, user) = (reader.listen(), reader.text(&variable::USER, |text| text.parse().ok()));
    let faults = reader.finish().faults;
    if faults.is_empty() { Ok((listen, user)) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
