//! Why a site is not healthy.

use std::fmt;

use crate::address::Address;

/// The cause, with what an operator needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is no record of a start.
    NotStarted,
    /// cac-lsphp has not become lsphp yet.
    Starting {
        pid: u32,
    },
    Exited {
        pid: u32,
    },
    /// A supervisor has no lsphp just now.
    Restarting {
        pid: u32,
    },
    Zombie {
        pid: u32,
    },
    Stopped {
        pid: u32,
    },
    NotLsphp {
        pid: u32,
        comm: String,
    },
    /// The pid counts in a namespace that is not the check's.
    OtherPidNamespace {
        pid: u32,
    },
    /// `/proc` does not show the process, though it exists.
    Hidden {
        pid: u32,
    },
    NotListening {
        listen: Address,
    },
    ListeningAsOther {
        listen: Address,
        uid: u32,
        wanted: u32,
    },
    NoConnection(String),
    NoAnswer(String),
    /// PHP runs, but a `.user.ini` keeps it from the normaliser.
    ShutOut,
    /// Something answered, but not the ping script.
    WrongAnswer {
        status: u16,
    },
    /// The check cannot tell.
    Unreadable {
        file: String,
        cause: String,
    },
    /// The check was not done in time.
    TimedOut,
}

impl Reason {
    /// The short name, the same in every release.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotStarted => "not started",
            Self::Starting { .. } => "starting",
            Self::Exited { .. } => "exited",
            Self::Restarting { .. } => "restarting",
            Self::Zombie { .. } => "zombie",
            Self::Stopped { .. } => "stopped",
            Self::NotLsphp { .. } => "not lsphp",
            Self::OtherPidNamespace { .. } => "other pid namespace",
            Self::Hidden { .. } => "hidden",
            Self::NotListening { .. } => "not listening",
            Self::ListeningAsOther { .. } => "listening as another uid",
            Self::NoConnection(_) => "no connection",
            Self::NoAnswer(_) => "no answer",
            Self::ShutOut => "shut out",
            Self::WrongAnswer { .. } => "wrong answer",
            Self::Unreadable { .. } => "unreadable",
            Self::TimedOut => "late",
        }
    }
}

/// `stopped: process 1 …; what to do`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Self::NotStarted => {
                f.write_str("there is no /run/cac-lsphp/run.json; see the container's log for why the start did not get this far")
            }
            Self::Starting { pid } => {
                write!(f, "process {pid} has not become lsphp yet; wait, or see the container's log")
            }
            Self::Exited { pid } => {
                write!(f, "lsphp {pid} is gone; see the container's log, then restart the container")
            }
            Self::Restarting { pid } => {
                write!(f, "lsphp has ended and process {pid} starts it again; see the container's log for why it ended")
            }
            Self::Zombie { pid } => write!(
                f,
                "lsphp {pid} has ended and its parent has not noticed; restart the container, with --init if something else is PID 1"
            ),
            Self::Stopped { pid } => {
                write!(f, "lsphp {pid} is stopped by a signal; send it SIGCONT, or restart the container")
            }
            Self::NotLsphp { pid, comm } => {
                write!(f, "process {pid} is {comm:?}; set CAC_LSPHP to an lsphp, then restart the container")
            }
            Self::OtherPidNamespace { pid } => write!(
                f,
                "lsphp is {pid} in a pid namespace that cannot be seen from here; check in the site's container, or share its pid namespace"
            ),
            Self::Hidden { pid } => write!(
                f,
                "process {pid} exists but /proc does not show it; check as the site user, or mount /proc without hidepid"
            ),
            Self::NotListening { listen } => write!(
                f,
                "lsphp runs, but nobody listens on {listen} in this network namespace; see lsphp's log, then restart the container"
            ),
            Self::ListeningAsOther { listen, uid, wanted } => write!(
                f,
                "{listen} is held by uid {uid}, not by the site's {wanted}; stop that process, then restart the container"
            ),
            Self::NoConnection(error) | Self::NoAnswer(error) => f.write_str(error),
            Self::ShutOut => f.write_str(
                "open_basedir in public_html/.user.ini keeps PHP from /run/cac-lsphp/ and opcache is off, so every page fails; add :/run/cac-lsphp/ to it, or let opcache be on",
            ),
            Self::WrongAnswer { status } => write!(
                f,
                "the ping script came back with status {status} and not its text; see the site's error log"
            ),
            Self::Unreadable { file, cause } => {
                write!(f, "{file}: {cause}; the check needs to read it in the site's container")
            }
            Self::TimedOut => f.write_str("the check took longer than --timeout; see what keeps the machine busy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The names in [`super::Reason::name`]: from its text, so that none can be left out.
    fn names() -> BTreeSet<&'static str> {
        let source = include_str!("reason.rs");
        let (_, body) = source.split_once("pub fn name(&self)").unwrap();
        let (body, _) = body.split_once("\n    }\n").unwrap();
        body.split('"').skip(1).step_by(2).collect()
    }

    #[test]
    fn every_reason_is_documented_and_no_other() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/health.md");
        let page = std::fs::read_to_string(page).unwrap();
        let table = page.lines().skip_while(|line| *line != "| reason | meaning |").skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        let cells: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).collect();
        let documented: BTreeSet<&str> =
            cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        assert!(names().len() > 10, "{:?}", names());
        assert_eq!(documented, names(), "edit docs/health.md: its table of reasons and Reason::name");
    }
}
