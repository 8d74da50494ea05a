//! The processes of this machine by mount namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::exporter::process::{Identity, namespace};
use crate::running::process::ProcessStat;
use crate::running::workers::children;

/// Processes of a mount namespace that are looked at, oldest pids first. What is recorded is mostly the first; with
/// programs that share the host's namespace it is not, and a site can make any number.
const MOST_MEMBERS: usize = 1024;

/// The processes of each, by pid. Those of containers that may not be looked at are `hidden`.
///
/// # Errors
/// `proc` cannot be read.
pub fn mount_namespaces(proc: &Path, hidden: &mut usize) -> io::Result<BTreeMap<PathBuf, Vec<u32>>> {
    let names = std::fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let kernels = kernel_threads(proc);
    let pids = names.filter_map(|name| name.parse().ok()).filter(|pid| !kernels.contains(pid));
    let mut pids: Vec<u32> = pids.collect();
    pids.sort_unstable();
    let mut namespaces: BTreeMap<PathBuf, Vec<u32>> = BTreeMap::new();
    for pid in pids {
        let directory = proc.join(pid.to_string());
        match namespace(&directory, "mnt") {
            Ok(namespace) => {
                let members = namespaces.entry(namespace).or_default();
                if members.len() < MOST_MEMBERS {
                    members.push(pid);
                }
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let is_contained = |process: Identity| process.is_contained;
                *hidden += usize::from(Identity::read(&directory).is_ok_and(is_contained));
            }
            // It has ended.
            Err(_) => {}
        }
    }
    Ok(namespaces)
}

/// A few for each processor, which come first in the host's mount namespace.
fn kernel_threads(proc: &Path) -> BTreeSet<u32> {
    const PARENT: u32 = 2;
    const MOST: usize = 4 << 20; // PID_MAX_LIMIT
    let parent = ProcessStat::read(&proc.join(PARENT.to_string()));
    if !parent.is_ok_and(|stat| stat.comm == b"kthreadd" && stat.parent == 0) {
        return BTreeSet::new();
    }
    children(proc, PARENT, MOST).unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Of a machine with many processors there are more than processes are looked at.
    #[test]
    fn threads_of_the_kernel_are_left_out() {
        let proc = tempfile::tempdir().unwrap();
        let make = |pid: usize, stat: &str| {
            let directory = proc.path().join(pid.to_string());
            fs::create_dir_all(directory.join("ns")).unwrap();
            symlink("mnt:[5]", directory.join("ns/mnt")).unwrap();
            fs::write(directory.join("stat"), stat).unwrap();
            directory
        };
        let stat = "(kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 1 0 0 20 0 1 0 24 0 0\n";
        let parent = make(2, &format!("2 {stat}"));
        fs::create_dir_all(parent.join("task/2")).unwrap();
        (3..3 + MOST_MEMBERS).for_each(|pid| drop(make(pid, "")));
        let threads: Vec<_> = (3..3 + MOST_MEMBERS).map(|pid| pid.to_string()).collect();
        fs::write(parent.join("task/2/children"), threads.join(" ") + " ").unwrap();
        make(4000, "");
        let members = || mount_namespaces(proc.path(), &mut 0).unwrap().into_values().next().unwrap();
        assert_eq!(members(), [2, 4000]);
        fs::write(parent.join("stat"), format!("2 {}", stat.replace("kthreadd", "lsphp"))).unwrap();
        assert_eq!(members().len(), MOST_MEMBERS, "children of a process are no threads of the kernel");
    }
}
