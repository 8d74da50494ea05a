//! What is another in a new plan than in the one that a site was started or reloaded with.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::Plan;
use crate::running::StatusPlan;
use crate::settings::variable;

/// Directives and settings that are compared as what the plan has of them.
const COMPARED: [&str; 5] = [
    "opcache.memory_consumption",
    "opcache.max_accelerated_files",
    "OPCACHE_MEMORY_MB",
    "OPCACHE_MAX_FILES",
    "CAC_OPCACHE_FILE_CACHE",
];

/// Each in a few words: `workers 7 -> 15`. Where there were not as many `workers` as `before` has, pid 1 has resized the
/// pool by itself: for which budget is not known.
pub fn changes(before: &StatusPlan, workers: u32, after: &Plan) -> Vec<String> {
    let mut changes = Vec::new();
    let mut compare = |what: &str, before: u64, after: u64| {
        if before != after {
            changes.push(format!("{what} {before} -> {after}"));
        }
    };
    compare("workers", workers.into(), after.workers.total().into());
    if workers == before.workers.total() {
        compare("memory budget in MiB", before.memory.budget_mib, after.memory.budget_mib);
    }
    compare("opcache in MiB", before.opcache.memory_mib.into(), after.opcache.memory_mib.into());
    compare("opcache files", before.opcache.max_files.into(), after.opcache.max_files.into());
    if before.opcache.file_cache != after.opcache.file_cache {
        changes.push("the file cache changed".to_owned());
    }
    let settings = before.given.iter().map(|(name, given)| (name, &given.value));
    let was: BTreeMap<_, _> = settings.chain(&before.ini.directives).collect();
    let settings = after.given.iter().map(|(name, given)| (name, &given.value));
    let is: BTreeMap<_, _> = settings.chain(&after.ini.directives).collect();
    let names: BTreeSet<_> = was.keys().chain(is.keys()).collect();
    // What sets a directive is compared as that.
    let is_compared = |name: &str| COMPARED.contains(&name) || name.starts_with(variable::INI_PREFIX);
    let others = names.into_iter().filter(|name| !is_compared(name));
    changes
        .extend(others.filter(|name| was.get(*name) != is.get(*name)).map(|name| format!("{name} changed")));
    changes
}
