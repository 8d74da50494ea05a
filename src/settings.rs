//! What the panel asked for: environment and site file, read into values that cannot be wrong.
//!
//! Every setting has one row in [`variable`]; [`reader`] applies the precedence (environment, site
//! file, default) and gathers all faults before anything is refused.

pub mod directive;
pub mod environment;
pub mod identity;
mod listener;
mod reader;
pub mod site_file;
pub(crate) mod size;
pub mod variable;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use self::environment::Environment;
use self::identity::{Site, User};
pub use self::listener::{ListenerOptions, SocketMode};
use self::reader::{Reader, Readings};
use self::site_file::SiteFile;
use crate::address::Address;

/// A value, where it came from, and what it won against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sourced<T> {
    pub value: T,
    /// Such as `PHP_LSAPI_CHILDREN from the environment`, or `default`.
    pub source: String,
    /// Other places that name the same setting, such as `LSAPI_CHILDREN=9 from the environment`.
    pub lost: Vec<String>,
}

/// Level and format of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    pub level: tracing::level_filters::LevelFilter,
    pub json: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: tracing::level_filters::LevelFilter::INFO, json: false }
    }
}

/// The ids that the process was started with; a non-root start takes them where none are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartedAs {
    pub uid: u32,
    pub gid: u32,
}

impl StartedAs {
    /// Effective ids: what this process may do is decided by them.
    pub fn of_this_process() -> Self {
        Self { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }
}

/// Everything that can be set, typed and in range.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub site: Site,
    pub options: Options,
    /// Every setting that was named, as it was given; all others are at their defaults.
    pub given: BTreeMap<String, Sourced<String>>,
    /// What was clamped or ignored, one line each.
    pub warnings: Vec<String>,
}

/// The settings that have a default or may be absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// lsphp's children, where the panel names a number.
    pub children: Option<Sourced<u32>>,
    pub extra_children: Sourced<u32>,
    pub worker_estimate_mib: Sourced<u32>,
    /// The budget, where the panel names one.
    pub memory_mib: Option<Sourced<u32>>,
    pub opcache_memory_mib: Sourced<u32>,
    pub opcache_max_files: Sourced<u32>,
    pub max_idle_children: Sourced<u32>,
    /// Seconds.
    pub max_idle: Sourced<u32>,
    pub max_requests: Sourced<u32>,
    /// Seconds.
    pub max_process_time: Sourced<u32>,
    /// At how many workers with a connection each closes its own; see [`variable::MAX_BUSY_WORKER`].
    pub max_busy_worker: Option<Sourced<i32>>,
    /// lsphp's own notation, such as `200M`.
    pub avoid_fork: Option<Sourced<String>>,
    /// RLIMIT_AS, 0 for none.
    pub mem_soft_mib: Sourced<u32>,
    /// RLIMIT_AS, 0 for none.
    pub mem_hard_mib: Sourced<u32>,
    pub user_ini: Sourced<bool>,
    /// PHP directives for this site, by directive name.
    pub directives: BTreeMap<String, Sourced<String>>,
    pub listen: Sourced<Address>,
    pub listener: ListenerOptions,
    /// Whether pid 1 stays above lsphp.
    pub supervise: Sourced<bool>,
    /// Seconds.
    pub stop_timeout: Sourced<u32>,
    /// Seconds; 0: never.
    pub watch_memory: Sourced<u32>,
    /// Seconds.
    pub reload_grace: Sourced<u32>,
    /// lsphp's path, where the panel names one.
    pub lsphp: Option<Sourced<PathBuf>>,
    pub no_new_privs: bool,
    pub site_link: bool,
    pub take_ownership: bool,
}

/// Reads every setting, or returns every fault, one line each.
pub fn read(
    environment: &Environment,
    site_file: &SiteFile,
    started_as: StartedAs,
) -> Result<Settings, Vec<String>> {
    let mut reader = Reader::new(environment, site_file);
    let site = read_site(&mut reader, started_as);
    let options = read_options(&mut reader);
    reader.log();
    reader.warn_about_pgrp_max_idle();
    reader.warn_about_missing_site_file();
    reader.warn_about_unknown_names();
    reader.refuse_what_cannot_be_opened(&options);
    reader.refuse_what_cannot_be_supervised(&options);
    let Readings { given, faults, warnings } = reader.finish();
    match site {
        Some(site) if faults.is_empty() => Ok(Settings { site, options, given, warnings }),
        _ => Err(faults),
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
        lsphp: reader.lsphp(),
        no_new_privs: reader.switch(&variable::NO_NEW_PRIVS).value,
        site_link: reader.switch(&variable::SITE_LINK).value,
        take_ownership: reader.switch(&variable::TAKE_OWNERSHIP).value,
    }
}

/// `None` means that a fault was noted.
fn read_site(reader: &mut Reader, started_as: StartedAs) -> Option<Site> {
    let user = reader.user();
    let uid = reader.uid(started_as);
    let gid = reader.gid(started_as, uid);
    let domain = reader.domain();
    Some(Site { user: user?, uid: uid?, gid: gid?, domain })
}

/// The log's settings alone, so that even a refusal is printed as asked for.
pub fn read_log(environment: &Environment, site_file: &SiteFile) -> LogSettings {
    Reader::new(environment, site_file).log()
}

/// Where lsphp listens, and the site's user if somebody names one: what a client of the site needs.
///
/// # Errors
/// Every fault of the two, one line each.
pub fn read_address(
    environment: &Environment,
    site_file: &SiteFile,
) -> Result<(Address, Option<User>), Vec<String>> {
    let mut reader = Reader::new(environment, site_file);
    let (listen, user) = (reader.listen().value, reader.user_if_set());
    let faults = reader.finish().faults;
    if faults.is_empty() { Ok((listen, user)) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
