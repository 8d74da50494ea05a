//! Why a site is not healthy.

use crate::address::Address;

/// The cause, with what an operator needs to act on it: `stopped: lsphp 1 …; what to do`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no record of a start.
    #[error(
        "not started: there is no /run/cac-lsphp/run.json; see the container's log for why the start did not get this far"
    )]
    NotStarted,
    /// cac-lsphp has not become lsphp yet.
    #[error("starting: process {pid} has not become lsphp yet; wait, or see the container's log")]
    Starting { pid: u32 },
    #[error("exited: lsphp {pid} is gone; see the container's log, then restart the container")]
    Exited { pid: u32 },
    /// A supervisor has no lsphp just now.
    #[error(
        "restarting: lsphp has ended and process {pid} starts it again; see the container's log for why it ended"
    )]
    Restarting { pid: u32 },
    #[error(
        "zombie: lsphp {pid} has ended and its parent has not noticed; restart the container, with --init if something else is PID 1"
    )]
    Zombie { pid: u32 },
    #[error("stopped: lsphp {pid} is stopped by a signal; send it SIGCONT, or restart the container")]
    Stopped { pid: u32 },
    #[error("not lsphp: process {pid} is {comm:?}; set CAC_LSPHP to an lsphp, then restart the container")]
    NotLsphp { pid: u32, comm: String },
    /// The pid counts in a namespace that is not the check's.
    #[error(
        "other pid namespace: lsphp is {pid} in a pid namespace that cannot be seen from here; check in the site's container, or share its pid namespace"
    )]
    OtherPidNamespace { pid: u32 },
    /// `/proc` does not show the process, though it exists.
    #[error(
        "hidden: process {pid} exists but /proc does not show it; check as the site user, or mount /proc without hidepid"
    )]
    Hidden { pid: u32 },
    #[error(
        "not listening: lsphp runs, but nobody listens on {listen} in this network namespace; see lsphp's log, then restart the container"
    )]
    NotListening { listen: Address },
    #[error(
        "listening as another uid: {listen} is held by uid {uid}, not by the site's {wanted}; stop that process, then restart the container"
    )]
    ListeningAsOther { listen: Address, uid: u32, wanted: u32 },
    #[error("no connection: {0}")]
    NoConnection(String),
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// PHP runs, but a `.user.ini` keeps it from the normaliser.
    #[error(
        "shut out: open_basedir in public_html/.user.ini keeps PHP from /run/cac-lsphp/ and opcache is off, so every page fails; add :/run/cac-lsphp/ to it, or let opcache be on"
    )]
    ShutOut,
    /// Something answered, but not the ping script.
    #[error(
        "wrong answer: the ping script came back with status {status} and not its text; see the site's error log"
    )]
    WrongAnswer { status: u16 },
    /// The check cannot tell.
    #[error("unreadable: {file}: {cause}; the check needs to read it in the site's container")]
    Unreadable { file: String, cause: String },
    #[error("late: the check took longer than --timeout; see what keeps the machine busy")]
    TimedOut,
}

impl Reason {
    /// The short name, the same in every release: what stands before the first colon.
    pub fn name(&self) -> String {
        self.to_string().split(':').next().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The names of all reasons: from the source, so that none can be left out.
    fn names() -> BTreeSet<&'static str> {
        let (source, _) = include_str!("reason.rs").split_once("impl Reason").unwrap();
        source.split("#[error(").skip(1).map(|line| line.split(['"', ':']).nth(1).unwrap()).collect()
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
        assert_eq!(documented, names(), "edit docs/health.md: its table of reasons");
    }
}
