//! Memory limits of a hierarchy, and what counts as one.

use std::path::{Path, PathBuf};

use super::MemoryLimit;
use super::files::{KernelFiles, NOT_USED, keyed_number, lines, parse_number};
use super::hierarchy::{Directory, Hierarchy};
use super::version::Version;

/// Memory that no machine has: x86-64 and arm64 address at most 52 bits. Stands in for an unknown
/// `MemTotal`; every page size's v1 sentinel for "unlimited" lies far above.
const MORE_THAN_ANY_MACHINE: u64 = 1 << 52;

/// Whether `bytes` limits anything. Above the machine's memory it does not, which is also how v1 spells
/// "unlimited": as a number that depends on the page size. What is equal to it does: lxcfs and gVisor show
/// the limit as the machine's memory.
pub(super) fn is_a_limit(bytes: u64, mem_total: Option<u64>) -> bool {
    bytes <= mem_total.unwrap_or(MORE_THAN_ANY_MACHINE)
}

/// The machine's memory in bytes.
///
/// Read here, not by the procfs crate, which wants every line of the file to be as it knows it; in
/// an LXC container another program (lxcfs) writes them.
pub(super) fn total(files: &mut KernelFiles) -> Option<u64> {
    let path = Path::new("proc/meminfo");
    let content = files.read_or_warn(path)?;
    let total = mem_total(&content);
    if total.is_none() {
        files.warn(path, "it has no MemTotal", NOT_USED);
    }
    total
}

fn mem_total(meminfo: &[u8]) -> Option<u64> {
    let line = lines(meminfo).find_map(|line| line.strip_prefix(b"MemTotal:"))?;
    let kib = parse_number(line.trim_ascii().strip_suffix(b"kB")?.trim_ascii())?;
    kib.checked_mul(1024).filter(|bytes| *bytes > 0)
}

/// Every limit that applies to the own cgroup, own first.
pub(super) fn limits(files: &mut KernelFiles, hierarchy: &Hierarchy) -> Vec<MemoryLimit> {
    match hierarchy.version {
        Version::V1 => v1_limits(files, &hierarchy.directories),
        Version::V2 => v2_limits(files, &hierarchy.directories),
    }
}

fn v2_limits(files: &mut KernelFiles, directories: &[Directory]) -> Vec<MemoryLimit> {
    let mut found = Vec::new();
    for directory in directories {
        for (name, twin) in [("memory.max", "memory.high"), ("memory.high", "memory.max")] {
            let limit = files.read_limit(&directory.path, name, Some(twin));
            found.extend(limit.map(|bytes| limit_of(Version::V2, name, directory, bytes)));
        }
    }
    found
}

/// In v1 an ancestor's limit applies only if the hierarchy was made to (`memory.use_hierarchy`).
/// The kernel adds up what does, invisible ancestors included, in the own `memory.stat`; the
/// ancestors' own files then only tell which of them it is.
fn v1_limits(files: &mut KernelFiles, directories: &[Directory]) -> Vec<MemoryLimit> {
    let Some((own, ancestors)) = directories.split_first() else { return Vec::new() };
    let hierarchical = v1_hierarchical_limit(files, own);
    let mut found = Vec::from_iter(v1_limit(files, own));

    for ancestor in ancestors {
        if hierarchical.is_none() && v1_is_flat(files, ancestor) {
            break;
        }
        let limit = v1_limit(files, ancestor);
        found.extend(limit.filter(|limit| hierarchical.is_none_or(|least| limit.bytes >= least)));
    }
    if let Some(bytes) = hierarchical
        && found.iter().all(|limit| limit.bytes != bytes)
    {
        found.push(limit_of(Version::V1, "hierarchical_memory_limit in memory.stat", own, bytes));
    }
    found
}

fn v1_limit(files: &mut KernelFiles, directory: &Directory) -> Option<MemoryLimit> {
    let name = "memory.limit_in_bytes";
    let limit = files.read_limit(&directory.path, name, None);
    limit.map(|bytes| limit_of(Version::V1, name, directory, bytes))
}

fn v1_hierarchical_limit(files: &mut KernelFiles, own: &Directory) -> Option<u64> {
    let path = own.path.join("memory.stat");
    let content = files.read_or_warn(&path)?;
    let limit = keyed_number(&content, "hierarchical_memory_limit").filter(|bytes| *bytes > 0);
    if limit.is_none() {
        files.warn(&path, "it has no hierarchical_memory_limit", NOT_USED);
    }
    limit
}

/// Whether the limit of `directory` ends there. Asked only when `memory.stat` cannot tell.
fn v1_is_flat(files: &KernelFiles, directory: &Directory) -> bool {
    let flag = files.root.read(&directory.path.join("memory.use_hierarchy"));
    flag.is_ok_and(|content| content.trim_ascii() == b"0")
}

fn limit_of(version: Version, name: &str, directory: &Directory, bytes: u64) -> MemoryLimit {
    MemoryLimit { bytes, source: format!("{version} {name} of {}", directory.cgroup) }
}

/// Counts processes of the own cgroup (in v2 also of those below it) that were killed for lack of
/// memory, as `oom_kill`.
pub(super) fn events_file(hierarchy: &Hierarchy) -> Option<PathBuf> {
    let own = hierarchy.directories.first()?;
    Some(own.path.join(match hierarchy.version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_sentinel_of_every_page_size_is_no_limit() {
        let largest_counter = u64::try_from(i64::MAX).unwrap();
        for page in [4096, 16384, 65536] {
            let sentinel = largest_counter / page * page;
            for mem_total in [None, Some(1 << 30), Some(24 << 40)] {
                assert!(!is_a_limit(sentinel, mem_total), "{page} {mem_total:?}");
            }
        }
        assert!(!is_a_limit((1 << 30) + 1, Some(1 << 30)));
        assert!(is_a_limit(1 << 30, Some(1 << 30)), "lxcfs");
        assert!(is_a_limit(1 << 40, None));
    }

    #[test]
    fn mem_total_is_in_kib() {
        for (meminfo, bytes) in [
            ("MemTotal:       24684096 kB\nMemFree: 1 kB\n", Some(24_684_096 * 1024)),
            ("\nfoo\nMemTotal: 8 kB", Some(8192)),
            ("MemTotal: 8\n", None),
            ("MemTotal: 0 kB\n", None),
            ("MemTotal: 18446744073709551615 kB\n", None),
            ("MemFree: 1 kB\n", None),
            ("", None),
        ] {
            assert_eq!(mem_total(meminfo.as_bytes()), bytes, "{meminfo:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_meminfo(content: Vec<u8>) {
            let _ = mem_total(&content);
        }
    }
}
