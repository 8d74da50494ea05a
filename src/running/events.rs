//! What the kernel refused or took from the site's processes since their cgroup was made.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cgroup::{EventFiles, keyed_number};
use crate::root::Root;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Events {
    /// Processes killed for lack of memory; `None`: the kernel does not say.
    pub oom_kills: Option<u64>,
    /// Forks and threads refused by `pids.max`; `None`: the kernel does not say.
    pub forks_refused: Option<u64>,
}

/// Reads `files` below `root`.
pub fn read(root: &Path, files: &EventFiles) -> Events {
    read_in(&Root::own(root), files)
}

/// The same below another root.
pub(crate) fn read_in(root: &Root, files: &EventFiles) -> Events {
    let count = |file: &Option<PathBuf>, key| {
        let content = root.read(file.as_deref()?).ok()?;
        keyed_number(&content, key)
    };
    Events {
        oom_kills: count(&files.oom_kills, "oom_kill"),
        forks_refused: count(&files.forks_refused, "max"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cgroup;

    const MOUNT: &str = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    fn events_of(cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> Events {
        let root = tempfile::tempdir().unwrap();
        let tables = [("proc/self/cgroup", cgroup), ("proc/self/mountinfo", mountinfo)];
        for (path, content) in tables.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        read(root.path(), &cgroup::detect(root.path()).event_files)
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
        let counted = read(nowhere, &cgroup::detect(nowhere).event_files);
        assert_eq!(counted, Events { oom_kills: None, forks_refused: None });
    }
}
