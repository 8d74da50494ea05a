//! How many processes and threads a hierarchy allows; the files are the same in v1 and v2.

use super::PidsLimit;
use super::files::{KernelFiles, keyed_number};
use super::hierarchy::Hierarchy;

/// The tightest `pids.max` from the own cgroup up; each of them applies.
pub(super) fn limit(files: &mut KernelFiles, hierarchy: &Hierarchy) -> Option<PidsLimit> {
    let limits = hierarchy.directories.iter().filter_map(|directory| {
        let max = files.read_limit_beside(&directory.path, "pids.max", "pids.events")?;
        Some(PidsLimit { max, source: format!("{} pids.max of {}", hierarchy.version, directory.cgroup) })
    });
    limits.min_by_key(|limit| limit.max)
}

/// Forks that the kernel refused in the own cgroup.
pub(super) fn forks_refused(files: &KernelFiles, hierarchy: &Hierarchy) -> Option<u64> {
    let own = hierarchy.directories.first()?;
    keyed_number(&files.read(&own.path.join("pids.events")).ok()?, "max")
}
