//! The memory of one process, from `smaps_rollup` and `status` of its directory in `/proc`.

use std::path::Path;

use procfs::process::Process;
use procfs::{ProcError, ProcResult};

const KIB: u64 = 1024;

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessMemory {
    /// Only this process has it: what would be free without it.
    pub own: u64,
    /// Its share of what the site's cgroup cannot simply drop: its own, and of what it has in common with
    /// others (memory from before the fork, opcache) the part that falls to it. Over all processes of a site
    /// these add up to what is used. Without files: their pages are shared with other containers, and dropped
    /// when memory is needed. Before Linux 5.4, which does not tell them apart, with them.
    pub proportional: u64,
    /// It had at least this much anonymous memory at once: `VmHWM` less the shared memory and files that it has
    /// now. It may have had fewer of these then, so the peak may have been higher.
    pub peak: u64,
    /// What the kernel needs to map it all.
    pub page_tables: u64,
}

/// What is needed of a process beside its memory, from the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub memory: ProcessMemory,
    /// How often it has waited for something: each request makes it wait at least twice.
    pub waits: u64,
}

/// Reads the process that has the directory `process` in `/proc`.
///
/// # Errors
/// It is gone, or another uid's: root without CAP_SYS_PTRACE may not look either.
pub fn read(process: &Path) -> ProcResult<Reading> {
    let process = Process::new_with_root(process.to_owned())?;
    let status = process.status()?;
    let kib = |line: Option<u64>| line.unwrap_or_default().saturating_mul(KIB);
    let shared = kib(status.rssshmem).saturating_add(kib(status.rssfile));
    let rollup = process.smaps_rollup()?.memory_map_rollup.0;
    let map = &rollup.first().ok_or_else(|| ProcError::Other("no memory".into()))?.extension.map;
    let line = |name: &str| map.get(name).copied();
    let sum = |names: [&str; 2]| Some(line(names[0])?.saturating_add(line(names[1])?));
    let memory = ProcessMemory {
        own: sum(["Private_Clean", "Private_Dirty"]).unwrap_or_default(),
        proportional: sum(["Pss_Anon", "Pss_Shmem"]).or(line("Pss")).unwrap_or_default(),
        peak: kib(status.vmhwm).saturating_sub(shared).max(kib(status.rssanon)),
        page_tables: kib(status.vmpte),
    };
    Ok(Reading { memory, waits: status.voluntary_ctxt_switches.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_what_it_has_taken() {
        let before = read(Path::new("/proc/self")).unwrap().memory;
        let taken = vec![7_u8; 64 << 20];
        std::hint::black_box(&taken);
        let with = read(Path::new("/proc/self")).unwrap().memory;
        for (name, more) in [
            ("own", with.own.saturating_sub(before.own)),
            ("proportional", with.proportional.saturating_sub(before.proportional)),
        ] {
            assert!((60 << 20..90 << 20).contains(&more), "{name}: {more}");
        }
        drop(taken);
        let after = read(Path::new("/proc/self")).unwrap().memory;
        assert!(after.peak >= 60 << 20 && after.own < with.own, "{after:?}");
        assert!(after.page_tables > 0);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let process = tempfile::tempdir().unwrap();
        assert!(read(process.path()).is_err());
        for (status, rollup) in
            [("", ""), ("Name:\t\u{fffd}\n", "garbage\n"), ("VmHWM: 9 kB\n", "0-1 ---p 0 0 0\n")]
        {
            std::fs::write(process.path().join("status"), status).unwrap();
            std::fs::write(process.path().join("smaps_rollup"), rollup).unwrap();
            assert!(read(process.path()).is_err(), "{status:?}");
        }
    }
}
