//! `/proc/PID/stat`: a process in one line.
//!
//! Parsed here, not by the procfs crate, which wants all of its 52 fields where we need five, at
//! every check of every site (18 µs against 5, measured with procfs 0.18).

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::kernel_file;

/// Fields of the line, see proc_pid_stat(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStat {
    /// The program's name, at most 15 bytes.
    pub comm: Vec<u8>,
    /// Such as `S` for sleeping.
    pub state: u8,
    /// The parent's pid.
    pub parent: u32,
    /// The CPU time that it has used, in clock ticks, in user mode and in the kernel.
    pub cpu_ticks: u64,
    /// When the process started, in clock ticks since boot: tells it from a later one with its pid.
    pub start_ticks: u64,
}

impl ProcessStat {
    /// Reads the line of the process that has the directory `process` in `/proc`.
    ///
    /// # Errors
    /// `NotFound` or `ESRCH` for a process that is gone; `InvalidData` for what is not such a line.
    pub fn read(process: &Path) -> io::Result<Self> {
        Self::parse(&kernel_file::read(&process.join("stat"))?).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// The name may hold anything, blanks and parentheses too; no field behind it does.
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let comm = line.get(open + 1..close)?.to_vec();
        let mut fields = std::str::from_utf8(line.get(close + 1..)?).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?; // field 3
        let parent = fields.next()?.parse().ok()?; // field 4
        let user: u64 = fields.nth(9)?.parse().ok()?; // field 14
        let kernel = fields.next()?.parse().ok()?; // field 15
        let start_ticks = fields.nth(6)?.parse().ok()?; // field 22
        Some(Self { comm, state, parent, cpu_ticks: user.saturating_add(kernel), start_ticks })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_seen_as_it_is() {
        let stat = ProcessStat::read(Path::new("/proc/self")).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(bytes: Vec<u8>) {
            let _ = ProcessStat::parse(&bytes);
        }

        #[test]
        fn any_name_is_given_back(comm in "[^\\n]{0,16}", parent: u32, user: u32, kernel: u32, start_ticks: u64) {
            let line = format!("7 ({comm}) S {parent} 7 7 0 -1 4194560 1 2 3 4 {user} {kernel} 7 8 20 0 1 0 {start_ticks} 4096 9\n");
            let cpu_ticks = u64::from(user) + u64::from(kernel);
            let expected = ProcessStat { comm: comm.into_bytes(), state: b'S', parent, cpu_ticks, start_ticks };
            prop_assert_eq!(ProcessStat::parse(line.as_bytes()), Some(expected));
        }
    }
}
