//! The recorded process: there, running, and lsphp.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::Reason;
use super::record::Record;
use crate::process_stat::ProcessStat;

/// Bytes that the kernel keeps of a program's name (TASK_COMM_LEN without the NUL).
const LONGEST_COMM: usize = 15;

/// The name under which cac-lsphp runs until it becomes lsphp.
const OUR_COMM: &[u8] = env!("CARGO_PKG_NAME").as_bytes();

const LSPHP_COMM: &[u8] = b"lsphp";

/// Judges the recorded process by what `proc` says; its name is the answer when nothing is wrong.
///
/// By pid, start time and name. Not by `/proc/PID/exe`: only the process's own uid may read it,
/// which root in a container is not, and it names an emulator where one runs the image.
pub(super) fn inspect(proc: &Path, record: &Record) -> Result<Vec<u8>, Reason> {
    same_namespace(proc, record)?;
    let pid = record.pid;
    let stat = match ProcessStat::read(&proc.join(pid.to_string())) {
        Ok(stat) => stat,
        Err(error) if is_gone(&error) => return Err(absent(pid)),
        Err(error) => {
            return Err(Reason::Unreadable { file: format!("/proc/{pid}/stat"), cause: error.to_string() });
        }
    };
    if stat.comm == OUR_COMM {
        // With another start time it is the next start, which has not replaced the record yet.
        return Err(Reason::Starting { pid });
    }
    if stat.start_ticks != record.start_ticks {
        return Err(Reason::Exited { pid });
    }
    match stat.state {
        b'Z' => Err(Reason::Zombie { pid }),
        b'X' | b'x' => Err(Reason::Exited { pid }),
        // Not `t`: somebody is tracing it, and a restart is the last thing they need.
        b'T' => Err(Reason::Stopped { pid }),
        _ if is_lsphp(&stat.comm, &record.lsphp) => Ok(stat.comm),
        _ => Err(Reason::NotLsphp { pid, comm: String::from_utf8_lossy(&stat.comm).into_owned() }),
    }
}

/// lsphp by its own name, or by that of the file that was executed (which may be a script).
fn is_lsphp(comm: &[u8], executed: &Path) -> bool {
    let name = executed.file_name().map_or(LSPHP_COMM, OsStr::as_bytes);
    comm == LSPHP_COMM || comm == name.get(..LONGEST_COMM).unwrap_or(name)
}

/// A pid means nothing in another namespace.
fn same_namespace(proc: &Path, record: &Record) -> Result<(), Reason> {
    let own = std::fs::read_link(proc.join("self/ns/pid"))
        .map_err(|error| Reason::Unreadable { file: "/proc/self/ns/pid".into(), cause: error.to_string() })?;
    if own == record.pid_namespace {
        return Ok(());
    }
    Err(Reason::OtherPidNamespace { pid: record.pid })
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::EACCES | libc::EPERM))
}

/// With hidepid the processes of others are not in `/proc`, but signal 0 still finds them.
fn absent(pid: u32) -> Reason {
    // Not 0 or below, which name groups of processes.
    let exists = match i32::try_from(pid) {
        Ok(raw @ 1..) => matches!(kill(Pid::from_raw(raw), None), Ok(()) | Err(Errno::EPERM)),
        _ => false,
    };
    if exists { Reason::Hidden { pid } } else { Reason::Exited { pid } }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// One more than the kernel's highest pid (PID_MAX_LIMIT), so that no real process has it.
    const PID: u32 = (4 << 20) + 1;

    fn record() -> Record {
        Record {
            pid: PID,
            start_ticks: 99,
            pid_namespace: "pid:[1]".into(),
            events: crate::cgroup::EventFiles::default(),
            uid: 61045,
            listen: "0.0.0.0:9000".parse().unwrap(),
            workers: 7,
            lsphp: "/opt/a-very-long-lsphp-name".into(),
        }
    }

    /// A `/proc` in which the process is as given; `None`: it is not there.
    fn judged(namespace: &str, stat: Option<&str>) -> Result<Vec<u8>, Reason> {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("self/ns")).unwrap();
        symlink(namespace, proc.path().join("self/ns/pid")).unwrap();
        if let Some(stat) = stat {
            let directory = proc.path().join(PID.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("stat"), stat).unwrap();
        }
        inspect(proc.path(), &record())
    }

    fn stat(comm: &str, state: char, start_ticks: u64) -> String {
        format!("{PID} ({comm}) {state} 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {start_ticks} 4096 9\n")
    }

    #[test]
    fn each_state_has_its_reason() {
        let pid = PID;
        for (comm, state, ticks, expected) in [
            ("lsphp", 'S', 99, Ok(b"lsphp".to_vec())),
            ("lsphp", 'R', 99, Ok(b"lsphp".to_vec())),
            ("lsphp", 'D', 99, Ok(b"lsphp".to_vec())),
            ("lsphp", 't', 99, Ok(b"lsphp".to_vec())),
            ("a-very-long-lsp", 'S', 99, Ok(b"a-very-long-lsp".to_vec())),
            ("lsphp", 'S', 98, Err(Reason::Exited { pid })),
            ("lsphp", 'X', 99, Err(Reason::Exited { pid })),
            ("lsphp", 'Z', 99, Err(Reason::Zombie { pid })),
            ("lsphp", 'T', 99, Err(Reason::Stopped { pid })),
            ("cac-lsphp", 'S', 99, Err(Reason::Starting { pid })),
            ("cac-lsphp", 'S', 120, Err(Reason::Starting { pid })),
            ("a) S 1 (b", 'S', 99, Err(Reason::NotLsphp { pid, comm: "a) S 1 (b".into() })),
        ] {
            assert_eq!(
                judged("pid:[1]", Some(&stat(comm, state, ticks))),
                expected,
                "{comm} {state} {ticks}"
            );
        }
        assert_eq!(judged("pid:[1]", None), Err(Reason::Exited { pid }));
        assert_eq!(judged("pid:[2]", Some(&stat("lsphp", 'S', 99))), Err(Reason::OtherPidNamespace { pid }));
        assert!(matches!(judged("pid:[1]", Some("7 lsphp S")), Err(Reason::Unreadable { .. })));
    }

    #[test]
    fn without_proc_nothing_is_known() {
        let nowhere = Path::new("/nonexistent");
        assert!(matches!(inspect(nowhere, &record()), Err(Reason::Unreadable { .. })));
    }
}
