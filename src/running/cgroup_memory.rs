//! How much of its memory a site uses, from its own cgroup.

use crate::cgroup::{EventFiles, keyed_number};
use crate::root::Root;

/// In bytes; `None`: the kernel does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupMemory {
    /// All that is charged, files that can be dropped included.
    pub used: Option<u64>,
    /// Of it anonymous and shared memory, which cannot be dropped: processes and opcache.
    pub held: Option<u64>,
    /// The most that was used; since Linux 5.19 on cgroup v2.
    pub peak: Option<u64>,
}

/// The files of used and peak memory, and the lines of anonymous and shared memory in `memory.stat`.
const V1: [&str; 4] = ["memory.usage_in_bytes", "memory.max_usage_in_bytes", "total_rss", "total_shmem"];
const V2: [&str; 4] = ["memory.current", "memory.peak", "anon", "shmem"];

/// Reads the cgroup whose OOM kills `files` counts, below `root`.
pub fn read(root: &Root, files: &EventFiles) -> CgroupMemory {
    let Some((directory, name)) =
        files.oom_kills.as_deref().and_then(|file| Some((file.parent()?, file.file_name()?)))
    else {
        return CgroupMemory::default();
    };
    let [used, peak, anonymous, shared] = if name == "memory.events" { V2 } else { V1 };
    let content = |name: &str| root.read(&directory.join(name)).ok();
    let number = |name: &str| std::str::from_utf8(content(name)?.trim_ascii()).ok()?.parse().ok();
    let stat = content("memory.stat");
    // The kernel before Linux 3.16 has no line for shared memory.
    let held = stat.and_then(|stat| {
        let shared = keyed_number(&stat, shared).unwrap_or_default();
        Some(keyed_number(&stat, anonymous)?.saturating_add(shared))
    });
    CgroupMemory { used: number(used), held, peak: number(peak) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_hierarchies_are_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("m/memory.usage_in_bytes", "900\n");
        write("m/memory.max_usage_in_bytes", "1000\n");
        write("m/memory.stat", "cache 500\nrss 1\ntotal_rss 300\ntotal_shmem 64\n");
        write("u/memory.current", "800\n");
        write("u/memory.stat", "anon 200\nfile 7\nshmem 32\n");
        let of = |file: &str| {
            read(&Root::own(root.path()), &EventFiles { oom_kills: Some(file.into()), forks_refused: None })
        };
        assert_eq!(
            of("m/memory.oom_control"),
            CgroupMemory { used: Some(900), held: Some(364), peak: Some(1000) }
        );
        assert_eq!(of("u/memory.events"), CgroupMemory { used: Some(800), held: Some(232), peak: None });
        assert_eq!(of("nowhere/memory.events"), CgroupMemory::default());
        assert_eq!(read(&Root::own(root.path()), &EventFiles::default()), CgroupMemory::default());
    }
}
