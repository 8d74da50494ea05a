//! What lsphp is started with: arguments, and an environment computed map in, map out.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use serde::{Serialize, Serializer};

use super::WorkersPlan;
use crate::address_space::AddressSpace;
use crate::identity::Site;
use crate::lsphp::Lsphp;
use crate::paths::{FILE_CACHE_INI_DIRECTORY, INI_DIRECTORY};
use crate::settings::Options;
use crate::settings::environment::Environment;

/// Where PHP looks when the container names no PATH: Debian's default for users, sbin included.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Replaced by what the plan sets, or harmful (`LSAPI_PGRP_MAX_IDLE` stops the container).
const REMOVED: [&str; 7] = [
    "LSAPI_CHILDREN",
    "LSAPI_MAX_REQS",
    "LSAPI_PGRP_MAX_IDLE",
    // For this process alone, see sd_listen_fds(3).
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
];

/// With it on, lsphp's own default, a worker that crashes ends as if nothing had happened: nobody learns that the
/// file cache makes it crash (seen).
const CLEAN_SHUTDOWN: &str = "LSAPI_CLEAN_SHUTDOWN";

/// A second for the last worker and one for lsphp itself.
const LEAST_IDLE_EXIT: u32 = 2;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecPlan {
    pub lsphp: Lsphp,
    pub argv: Vec<String>,
    pub environment: ChildEnvironment,
    /// RLIMIT_AS.
    pub address_space: AddressSpace,
    pub no_new_privs: bool,
}

/// lsphp's environment. What is passed on may hold the site's credentials: only names are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChildEnvironment {
    #[serde(serialize_with = "lossy")]
    pub set: BTreeMap<String, OsString>,
    #[serde(serialize_with = "names")]
    pub passed: Vec<(OsString, OsString)>,
    pub removed: Vec<String>,
}

impl ChildEnvironment {
    pub fn decide(parent: &Environment, site: &Site, options: &Options, workers: &WorkersPlan) -> Self {
        let set = variables(parent, site, options, workers);
        let mut passed: Vec<(OsString, OsString)> = Vec::new();
        let mut removed = Vec::new();
        for (name, value) in parent.iter() {
            let text = name.to_string_lossy();
            if text.starts_with("CAC_") || REMOVED.contains(&text.as_ref()) {
                removed.push(text.into_owned());
            } else if !set.contains_key(text.as_ref()) && !passed.iter().any(|(known, _)| known == name) {
                passed.push((name.to_owned(), value.to_owned()));
            }
        }
        Self { set, passed, removed }
    }

    /// Every variable with its value, in the order for exec.
    ///
    /// lsphp shows the running script in its title, which it writes over argv and up to 46 bytes
    /// beyond: over the first variables. Those that only its own start reads come first, so that
    /// none of the site's is destroyed.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let only_for_start = |name: &str| name.starts_with("LSAPI_") || name.starts_with("PHP_LSAPI_");
        let first = self.set.iter().filter(move |(name, _)| only_for_start(name));
        let others = self.set.iter().filter(move |(name, _)| !only_for_start(name));
        let set = first.chain(others).map(|(name, value)| (OsStr::new(name), value.as_os_str()));
        set.chain(self.passed.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())))
    }
}

fn variables(
    parent: &Environment,
    site: &Site,
    options: &Options,
    workers: &WorkersPlan,
) -> BTreeMap<String, OsString> {
    let user = site.user.as_str();
    let scan_dir = scan_dir(parent.get("PHP_INI_SCAN_DIR"), options.warm_start.file_cache.is_some());
    let mut set: BTreeMap<String, OsString> = [
        ("HOME", site.home.clone().into_os_string()),
        ("USER", user.into()),
        ("LOGNAME", user.into()),
        ("SHELL", "/bin/sh".into()),
        ("PHP_INI_SCAN_DIR", scan_dir),
        ("PHP_LSAPI_CHILDREN", workers.value.to_string().into()),
        ("LSAPI_EXTRA_CHILDREN", workers.extra.to_string().into()),
        ("LSAPI_MAX_IDLE_CHILDREN", options.max_idle_children.to_string().into()),
        ("LSAPI_MAX_IDLE", options.max_idle.to_string().into()),
        ("PHP_LSAPI_MAX_REQUESTS", options.max_requests.to_string().into()),
        ("LSAPI_MAX_PROCESS_TIME", options.max_process_time.to_string().into()),
        ("LSAPI_MAX_BUSY_WORKER", workers.max_busy_worker.to_string().into()),
        ("LSPHP_ENABLE_USER_INI", if options.user_ini { "on" } else { "off" }.into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if options.listener.idle_exit > 0 {
        // lsphp counts the second from when its last worker has left, after the first.
        let total = options.listener.idle_exit.max(LEAST_IDLE_EXIT);
        let worker = options.max_idle.min(total - 1);
        set.insert("LSAPI_MAX_IDLE".into(), worker.to_string().into());
        set.insert("LSAPI_PGRP_MAX_IDLE".into(), (total - worker).to_string().into());
    }
    if let Some(avoid_fork) = &options.avoid_fork {
        set.insert("LSAPI_AVOID_FORK".into(), avoid_fork.clone().into());
    }
    if options.supervise && options.warm_start.file_cache.is_some() && parent.get(CLEAN_SHUTDOWN).is_none() {
        set.insert(CLEAN_SHUTDOWN.into(), "0".into());
    }
    if parent.get("PATH").is_none_or(OsStr::is_empty) {
        set.insert("PATH".into(), DEFAULT_PATH.into());
    }
    set
}

/// Ours comes last and so has the last word; an empty first element is PHP's compiled-in directory.
fn scan_dir(inherited: Option<&OsStr>, has_file_cache: bool) -> OsString {
    let mut dirs = inherited.unwrap_or_default().to_owned();
    let ends_with_ours = dirs.as_encoded_bytes().split(|byte| *byte == b':').next_back();
    if ends_with_ours != Some(INI_DIRECTORY.as_bytes()) {
        dirs.push(":");
        dirs.push(INI_DIRECTORY);
    }
    if has_file_cache {
        dirs.push(":");
        dirs.push(FILE_CACHE_INI_DIRECTORY);
    }
    dirs
}

fn lossy<S: Serializer>(set: &BTreeMap<String, OsString>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(set.iter().map(|(name, value)| (name, value.to_string_lossy())))
}

fn names<S: Serializer>(passed: &[(OsString, OsString)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(passed.iter().map(|(name, _)| name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn our_directory_is_the_last_of_the_scan_path() {
        let table = [
            ("", ":/run/cac-lsphp/php.d"),
            (":/opt/php.d", ":/opt/php.d:/run/cac-lsphp/php.d"),
            (":/run/cac-lsphp/php.d", ":/run/cac-lsphp/php.d"),
        ];
        for (inherited, expected) in table {
            assert_eq!(scan_dir(Some(OsStr::new(inherited)), false), expected, "{inherited:?}");
            let with_cache = format!("{expected}:/run/cac-lsphp/file-cache.d");
            assert_eq!(scan_dir(Some(OsStr::new(inherited)), true), *with_cache, "{inherited:?}");
        }
        assert_eq!(scan_dir(None, false), ":/run/cac-lsphp/php.d");
    }

    #[test]
    fn a_path_that_is_no_text_is_kept() {
        let inherited = OsString::from_vec(vec![b':', b'/', 0xff]);
        assert_eq!(scan_dir(Some(&inherited), false).into_vec(), b":/\xff:/run/cac-lsphp/php.d");
    }
}
