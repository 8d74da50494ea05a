//! The process that a start left behind, as the kernel shows it now.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use super::process_stat::ProcessStat;

/// Bytes that the kernel keeps of a program's name (TASK_COMM_LEN without the NUL).
const LONGEST_COMM: usize = 15;

/// The name under which cac-lsphp runs.
pub const OUR_COMM: &[u8] = env!("CARGO_PKG_NAME").as_bytes();

const LSPHP_COMM: &[u8] = b"lsphp";

/// What `/proc` has of a pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Process(ProcessStat),
    /// It exists, and is not shown to us.
    Hidden,
    Gone,
}

/// Looks `pid` up in `proc`.
///
/// # Errors
/// `/proc` cannot be read, or holds something that is not a process.
pub fn find(proc: &Path, pid: u32) -> io::Result<Found> {
    match ProcessStat::read(&proc.join(pid.to_string())) {
        Ok(stat) => Ok(Found::Process(stat)),
        // With hidepid the processes of others are not in `/proc`, but signal 0 still finds them.
        Err(error) if is_gone(&error) => Ok(if exists(pid) { Found::Hidden } else { Found::Gone }),
        Err(error) => Err(error),
    }
}

/// Whether a process named `comm` is lsphp: by lsphp's own name, or by that of the file that was
/// executed (which may be a script).
///
/// Not by `/proc/PID/exe`: only the process's own uid may read it, which root in a container is not, and
/// it names an emulator where one runs the image.
pub fn is_lsphp(comm: &[u8], executed: &Path) -> bool {
    comm == LSPHP_COMM || comm == comm_of(executed)
}

/// The name that the kernel gives to a process that executes this file.
fn comm_of(executed: &Path) -> &[u8] {
    let name = executed.file_name().map_or(LSPHP_COMM, OsStr::as_bytes);
    name.get(..LONGEST_COMM).unwrap_or(name)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::EACCES | libc::EPERM))
}

fn exists(pid: u32) -> bool {
    // Not 0 or below, which name groups of processes.
    match i32::try_from(pid) {
        Ok(raw @ 1..) => matches!(kill(Pid::from_raw(raw), None), Ok(()) | Err(Errno::EPERM)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsphp_is_known_by_its_name_or_that_of_its_file() {
        let executed = Path::new("/opt/a-very-long-lsphp-name");
        for (comm, is) in
            [("lsphp", true), ("a-very-long-lsp", true), ("a-very-long", false), ("cac-lsphp", false)]
        {
            assert_eq!(is_lsphp(comm.as_bytes(), executed), is, "{comm}");
        }
    }

    #[test]
    fn a_process_is_found_hidden_or_gone() {
        let own = std::process::id();
        assert!(matches!(find(Path::new("/proc"), own), Ok(Found::Process(_))));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(find(empty.path(), own).unwrap(), Found::Hidden);
        // One more than the kernel's highest pid (PID_MAX_LIMIT), so that no real process has it.
        assert_eq!(find(empty.path(), (4 << 20) + 1).unwrap(), Found::Gone);
    }
}
