//! The limits that the kernel puts on this process: memory and pids.
//!
//! `/proc/self/cgroup` says where the process is, `/proc/self/mountinfo` where that can be read
//! ([`hierarchy`]); the files there say what it may use ([`memory`], [`pids`]). What cannot be read
//! or understood is left out with a warning, and the rest is used.

mod files;
mod hierarchy;
mod membership;
mod memory;
mod mounts;
mod path;
mod pids;
mod version;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use files::KernelFiles;
pub(crate) use files::keyed_number;
use hierarchy::Hierarchies;

use crate::fault::Fault;
use crate::root::Root;

/// What the kernel allows this process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Limits {
    /// The tightest memory limit that applies; `None`: unlimited.
    pub memory: Option<MemoryLimit>,
    /// Limits that were found but are looser, tightest first.
    pub lost: Vec<MemoryLimit>,
    /// What is above the machine's memory and so limits nothing, smallest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub above_machine: Vec<MemoryLimit>,
    /// The machine's memory in bytes, `MemTotal` of `/proc/meminfo`.
    pub mem_total: Option<u64>,
    /// The tightest limit on the number of processes and threads; `None`: unlimited.
    pub pids: Option<PidsLimit>,
    /// Where the kernel counts what it refused: a place, not a limit, so not shown with them.
    #[serde(skip)]
    pub event_files: EventFiles,
    /// What could not be read or used.
    pub warnings: Vec<Fault>,
}

/// A memory limit and the file that states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryLimit {
    pub bytes: u64,
    /// Such as `cgroup v2 memory.max of /kubepods/burstable`.
    pub source: String,
}

/// A limit on processes and threads, and the file that states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PidsLimit {
    pub max: u64,
    /// Such as `cgroup v1 pids.max of /docker/0123`.
    pub source: String,
}

/// Finds the limits of this process, reading the kernel's files below `root` (`/` in production).
pub fn detect(root: &Path) -> Limits {
    detect_in(&Root::own(root))
}

/// Finds those of the process that `proc/self` is in `root`.
pub(crate) fn detect_in(root: &Root) -> Limits {
    let mut files = KernelFiles::below(root);
    let hierarchies = Hierarchies::resolve(&mut files);
    let mem_total = memory::total(&mut files);

    let mut found = match &hierarchies.memory {
        Some(hierarchy) => memory::limits(&mut files, hierarchy),
        None => Vec::new(),
    };
    found.sort_by_key(|limit| limit.bytes);
    let above_machine =
        found.split_off(found.partition_point(|limit| memory::is_a_limit(limit.bytes, mem_total)));
    let mut found = found.into_iter();
    let memory = found.next();
    let lost = found.collect();

    let event_files = EventFiles {
        oom_kills: hierarchies.memory.as_ref().and_then(memory::events_file),
        forks_refused: hierarchies.pids.as_ref().and_then(pids::events_file),
    };
    let pids = hierarchies.pids.and_then(|hierarchy| pids::limit(&mut files, &hierarchy));
    Limits { memory, lost, above_machine, mem_total, pids, event_files, warnings: files.warnings }
}

/// The files that count what went wrong in this process's own cgroup, relative to the root. Where
/// they are does not change while the process runs, and finding it takes longer than reading them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventFiles {
    pub oom_kills: Option<PathBuf>,
    pub forks_refused: Option<PathBuf>,
}
