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

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use files::{KernelFiles, keyed_number};
use hierarchy::Hierarchies;

/// What the kernel allows this process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Limits {
    /// The tightest memory limit that applies; `None`: unlimited.
    pub memory: Option<MemoryLimit>,
    /// Limits that were found but are looser, tightest first.
    pub lost: Vec<MemoryLimit>,
    /// The machine's memory in bytes, `MemTotal` of `/proc/meminfo`.
    pub mem_total: Option<u64>,
    /// The tightest limit on the number of processes and threads; `None`: unlimited.
    pub pids: Option<PidsLimit>,
    /// Where the kernel counts what it refused: a place, not a limit, so not shown with them.
    #[serde(skip)]
    pub event_files: EventFiles,
    /// What could not be read or used, one line each, naming the file.
    pub warnings: Vec<String>,
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

/// What the kernel refused or took from the processes of this container since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Events {
    /// Processes killed for lack of memory; `None`: the kernel does not say.
    pub oom_kills: Option<u64>,
    /// Forks and threads refused by `pids.max`; `None`: the kernel does not say.
    pub forks_refused: Option<u64>,
}

/// Finds the limits of this process, reading the kernel's files below `root` (`/` in production).
pub fn detect(root: &Path) -> Limits {
    let mut files = KernelFiles::below(root);
    let hierarchies = Hierarchies::resolve(&mut files);
    let mem_total = memory::total(&mut files);

    let mut found = match &hierarchies.memory {
        Some(hierarchy) => memory::limits(&mut files, hierarchy),
        None => Vec::new(),
    };
    found.retain(|limit| memory::is_a_limit(limit.bytes, mem_total));
    found.sort_by_key(|limit| limit.bytes);
    let mut found = found.into_iter();
    let memory = found.next();
    let lost = found.collect();

    let event_files = EventFiles {
        oom_kills: hierarchies.memory.as_ref().and_then(memory::events_file),
        forks_refused: hierarchies.pids.as_ref().and_then(pids::events_file),
    };
    let pids = hierarchies.pids.and_then(|hierarchy| pids::limit(&mut files, &hierarchy));
    Limits { memory, lost, mem_total, pids, event_files, warnings: files.into_warnings() }
}

/// The files that count what went wrong in this process's own cgroup, relative to the root. Where
/// they are does not change while the process runs, and finding it takes longer than reading them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventFiles {
    oom_kills: Option<PathBuf>,
    forks_refused: Option<PathBuf>,
}

impl EventFiles {
    /// Reads them below `root`.
    pub fn read(&self, root: &Path) -> Events {
        let files = KernelFiles::below(root);
        let count = |file: &Option<PathBuf>, key| keyed_number(&files.read(file.as_deref()?).ok()?, key);
        Events {
            oom_kills: count(&self.oom_kills, "oom_kill"),
            forks_refused: count(&self.forks_refused, "max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MOUNT: &str = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    fn events_of(cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> Events {
        let root = tempfile::tempdir().unwrap();
        let tables = [("proc/self/cgroup", cgroup), ("proc/self/mountinfo", mountinfo)];
        for (path, content) in tables.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        detect(root.path()).event_files.read(root.path())
    }

    #[test]
    fn v2_counts_are_those_of_the_own_cgroup() {
        let counted = events_of(
            "0::/pod/site\n",
            MOUNT,
            &[
                (
                    "sys/fs/cgroup/pod/site/memory.events",
                    "low 0\nhigh 4\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n",
                ),
                ("sys/fs/cgroup/pod/site/pids.events", "max 5\n"),
                ("sys/fs/cgroup/pod/memory.events", "oom_kill 70\n"),
                ("sys/fs/cgroup/pod/pids.events", "max 80\n"),
            ],
        );
        assert_eq!(counted, Events { oom_kills: Some(2), forks_refused: Some(5) });
    }

    #[test]
    fn v1_counts_lie_in_oom_control() {
        let counted = events_of(
            "2:memory:/docker/x\n1:pids:/docker/x\n",
            "35 31 0:32 /docker/x /m rw - cgroup cgroup rw,memory\n36 31 0:36 /docker/x /p rw - cgroup cgroup rw,pids\n",
            &[
                ("m/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"),
                ("p/pids.events", "max 1\n"),
            ],
        );
        assert_eq!(counted, Events { oom_kills: Some(7), forks_refused: Some(1) });
    }

    #[test]
    fn what_an_old_kernel_does_not_count_is_not_zero() {
        let counted = events_of("0::/\n", MOUNT, &[("sys/fs/cgroup/memory.events", "oom 3\n")]);
        assert_eq!(counted, Events { oom_kills: None, forks_refused: None });
    }

    #[test]
    fn a_missing_proc_counts_nothing() {
        let nowhere = Path::new("/nonexistent");
        let counted = detect(nowhere).event_files.read(nowhere);
        assert_eq!(counted, Events { oom_kills: None, forks_refused: None });
    }
}
