//! How many processes and threads a hierarchy allows; the files are the same in v1 and v2.

use std::path::PathBuf;

use super::PidsLimit;
use super::files::KernelFiles;
use super::hierarchy::Hierarchy;

/// The tightest `pids.max` from the own cgroup up; each of them applies.
pub(super) fn limit(files: &mut KernelFiles, hierarchy: &Hierarchy) -> Option<PidsLimit> {
    let limits = hierarchy.directories.iter().filter_map(|directory| {
        let max = files.read_limit(&directory.path, "pids.max", Some("pids.events"))?;
        Some(PidsLimit { max, source: format!("{} pids.max of {}", hierarchy.version, directory.cgroup) })
    });
    limits.min_by_key(|limit| limit.max)
}

/// Counts forks that the kernel refused in the own cgroup, as `max`.
pub(super) fn events_file(hierarchy: &Hierarchy) -> Option<PathBuf> {
    Some(hierarchy.directories.first()?.path.join("pids.events"))
}
