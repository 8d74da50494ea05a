//! What a check makes of the recorded process.

use std::io;
use std::path::Path;

use super::Reason;
use crate::running::RunRecord;
use crate::running::place::Place;
use crate::running::process::{self, Found, OUR_COMM};
use crate::supervise::name;

/// Judges the recorded process by what `/proc` says; its name is the answer when nothing is wrong.
///
/// A supervisor's name says what it is doing, see [`crate::supervise::name`].
pub fn judge<P>(place: &Place, run: &RunRecord<P>, is_supervised: bool) -> Result<Vec<u8>, Reason> {
    let pid = place.pid;
    let unreadable =
        |error: io::Error| Reason::Unreadable { file: format!("/proc/{pid}/stat"), cause: error.to_string() };
    let stat = match process::find(&place.proc, pid).map_err(unreadable)? {
        Found::Process(stat) => stat,
        Found::Hidden => return Err(Reason::Hidden { pid }),
        Found::Gone => return Err(Reason::Exited { pid }),
    };
    if stat.comm == OUR_COMM {
        // With another start time it is the next start, which has not replaced the record yet.
        return Err(Reason::Starting { pid });
    }
    if stat.start_ticks != run.start_ticks {
        return Err(Reason::Exited { pid });
    }
    match stat.state {
        b'Z' => Err(Reason::Zombie { pid }),
        b'X' | b'x' => Err(Reason::Exited { pid }),
        // Not `t`: somebody is tracing it, and a restart is the last thing they need.
        b'T' => Err(Reason::Stopped { pid }),
        _ if is_supervised && name::parse(&stat.comm).is_some() => Ok(stat.comm),
        _ if process::is_lsphp(&stat.comm, &run.lsphp) => Ok(stat.comm),
        _ => Err(Reason::NotLsphp { pid, comm: String::from_utf8_lossy(&stat.comm).into_owned() }),
    }
}

/// lsphp below a supervisor is the site's, which may have stopped it: then nobody accepts.
///
/// # Errors
/// It is stopped. One that has just ended is the supervisor's affair.
pub fn judge_supervised(proc: &Path, pid: u32) -> Result<(), Reason> {
    match process::find(proc, pid) {
        Ok(Found::Process(stat)) if stat.state == b'T' => Err(Reason::Stopped { pid }),
        _ => Ok(()),
    }
}

/// The place in this container, below `root`, where the recorded process is to be found.
///
/// # Errors
/// Its pid counts in another namespace, and means nothing here.
pub fn place<P>(root: &Path, run: &RunRecord<P>) -> Result<Place, Reason> {
    let own = std::fs::read_link(root.join("proc/self/ns/pid"))
        .map_err(|error| Reason::Unreadable { file: "/proc/self/ns/pid".into(), cause: error.to_string() })?;
    if own != run.pid_namespace {
        return Err(Reason::OtherPidNamespace { pid: run.pid });
    }
    Ok(Place::inside(root, run.pid))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// One more than the kernel's highest pid (PID_MAX_LIMIT), so that no real process has it.
    const PID: u32 = (4 << 20) + 1;

    fn run() -> RunRecord {
        RunRecord { lsphp: "/opt/a-very-long-lsphp-name".into(), ..RunRecord::example(PID) }
    }

    /// A `/proc` in which the process is as given; `None`: it is not there.
    fn judged(namespace: &str, stat: Option<&str>) -> Result<Vec<u8>, Reason> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self/ns")).unwrap();
        symlink(namespace, root.path().join("proc/self/ns/pid")).unwrap();
        if let Some(stat) = stat {
            let directory = root.path().join(format!("proc/{PID}"));
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("stat"), stat).unwrap();
        }
        judge(&place(root.path(), &run())?, &run(), false)
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
        assert!(matches!(place(nowhere, &run()), Err(Reason::Unreadable { .. })));
    }
}
