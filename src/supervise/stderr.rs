//! What lsphp says on stderr, line by line: repetitions become one line with a count, and what lsphp says about
//! its workers gets its cause and the way out. Pure: bytes and times in, lines out.

use std::collections::VecDeque;
use std::time::Duration;

use super::busy_count::BusyCount;
use crate::one_line::OneLine;

/// The rest of a longer line is dropped: it comes from the site's own code too.
const LONGEST_LINE: usize = 4096;

/// How long a line that has been shown is only counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Different lines that are remembered; a site that says more than these at once has each of them shown.
const REMEMBERED: usize = 16;

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// What it means and what to do, where that is known.
    pub hint: Option<&'static str>,
    /// How often it came again since it was last shown; 0: it is new.
    pub repeated: u64,
}

#[derive(Debug)]
struct Remembered {
    /// What makes lines the same, with the hint: of lsphp's own, all but the numbers.
    key: String,
    latest: String,
    hint: Option<&'static str>,
    repeated: u64,
    shown: Duration,
}

/// Turns what was read into lines.
#[derive(Debug, Default)]
pub struct Stderr {
    /// The line that has no end yet.
    partial: Vec<u8>,
    remembered: Vec<Remembered>,
    crashes: usize,
    /// Workers that were asked to leave, until lsphp has told that they are gone.
    leaving: VecDeque<i32>,
    pub busy_count: BusyCount,
}

impl Stderr {
    /// How many workers have crashed since this was asked last.
    pub fn take_crashes(&mut self) -> usize {
        std::mem::take(&mut self.crashes)
    }

    /// Leaves out that SIGTERM has ended this worker. lsphp takes every signal for somebody else's.
    pub fn expect_end(&mut self, worker: i32) {
        if !self.leaving.contains(&worker) {
            self.leaving.truncate(REMEMBERED - 1);
            self.leaving.push_front(worker);
        }
    }

    fn is_expected(&mut self, text: &str) -> bool {
        let is_told = |worker: &i32| text.contains(&format!("pid: {worker} "));
        match self.leaving.iter().position(is_told) {
            Some(at) if signal(text) == Some(libc::SIGTERM) => self.leaving.remove(at).is_some(),
            _ => false,
        }
    }

    /// Takes what was read at `now`; `oom_killed` is asked when a worker was killed with SIGKILL.
    pub fn take(&mut self, bytes: &[u8], now: Duration, oom_killed: &mut dyn FnMut() -> bool) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended {
                let line = std::mem::take(&mut self.partial);
                lines.extend(self.line(&line, now, oom_killed));
            }
        }
        lines
    }

    /// When [`Self::flush`] has something to show; `None`: nothing is counted.
    pub fn wakes_at(&self) -> Option<Duration> {
        self.remembered.iter().filter(|line| line.repeated > 0).map(|line| line.shown + WINDOW).min()
    }

    /// The counts whose time has come; with `None`, all of them, at the end.
    pub fn flush(&mut self, now: Option<Duration>) -> Vec<Line> {
        let due = |line: &Remembered| now.is_none_or(|now| now >= line.shown + WINDOW);
        let mut lines = Vec::new();
        for line in self.remembered.iter_mut().filter(|line| line.repeated > 0 && due(line)) {
            lines.push(Line { text: line.latest.clone(), hint: line.hint, repeated: line.repeated });
            line.repeated = 0;
            line.shown = now.unwrap_or(line.shown);
        }
        lines
    }

    fn line(&mut self, line: &[u8], now: Duration, oom_killed: &mut dyn FnMut() -> bool) -> Vec<Line> {
        let line = String::from_utf8_lossy(line);
        let text = without_prefix(&OneLine(line.trim_end_matches('\r')).to_string());
        let is_said_by_us = text.is_empty() || RETIRED.iter().any(|retired| text.contains(retired));
        if is_said_by_us || self.is_expected(&text) {
            return Vec::new();
        }
        self.crashes += usize::from(signal(&text).is_some_and(|signal| CRASHES.contains(&signal)));
        if text.contains(REACHED_MAX) {
            self.busy_count.hear(&text);
        }
        let hint = hint(&text, oom_killed);
        let is_lsphps_own = LSPHPS_OWN.iter().any(|words| text.contains(words));
        let key = if is_lsphps_own { sense(&text) } else { text.clone() };
        self.remembered.retain(|line| line.repeated > 0 || now < line.shown + WINDOW);
        if let Some(known) = self.remembered.iter_mut().find(|line| line.key == key && line.hint == hint) {
            known.repeated += 1;
            known.latest = text;
            return Vec::new();
        }
        let mut lines = Vec::new();
        if self.remembered.len() >= REMEMBERED {
            let oldest = self.remembered.remove(0);
            if oldest.repeated > 0 {
                lines.push(Line { text: oldest.latest, hint: oldest.hint, repeated: oldest.repeated });
            }
        }
        lines.push(Line { text: text.clone(), hint, repeated: 0 });
        self.remembered.push(Remembered { key, latest: text, hint, repeated: 0, shown: now });
        lines
    }
}

/// What lsphp says of its own, up to where the numbers begin. It writes its `[UID:61045][12] ` and the rest in
/// two goes, so that of two processes the halves can be mixed up (seen).
const REACHED_MAX: &str = "Reached max children process limit";
const KILLED: &str = "was killed by signal";
const RUNAWAY: &str = "runaway process";
const FORK_FAILED: &str = "fork() failed";
/// What kills a worker whose code or data are broken.
const CRASHES: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
/// Its listener was retired, by us.
const RETIRED: [&str; 2] = ["accept() failed, errno: 22", "lsapi_accept() error, errno: 22"];

/// Alike but for numbers these are the same.
const LSPHPS_OWN: [&str; 4] = [REACHED_MAX, KILLED, RUNAWAY, FORK_FAILED];

fn hint(text: &str, oom_killed: &mut dyn FnMut() -> bool) -> Option<&'static str> {
    if text.contains(REACHED_MAX) {
        Some(
            "all workers are busy and connections wait; give the container more memory, or see in cac-lsphp status what they do",
        )
    } else if text.contains(KILLED) {
        killed(text, oom_killed)
    } else if text.contains(RUNAWAY) {
        Some("its request took longer than LSAPI_MAX_PROCESS_TIME; raise it if such a request is expected")
    } else if text.contains(FORK_FAILED) {
        Some("the limit of processes is reached; raise --pids-limit or lower PHP_LSAPI_CHILDREN")
    } else {
        None
    }
}

fn killed(text: &str, oom_killed: &mut dyn FnMut() -> bool) -> Option<&'static str> {
    Some(match signal(text)? {
        libc::SIGKILL if oom_killed() => {
            "the kernel killed it for lack of memory; raise the container's memory limit or LSPHP_WORKER_ESTIMATE_MB, and its request may be sent again"
        }
        libc::SIGKILL => {
            "something killed it (SIGKILL) and the front end may send its request again; not the kernel for lack of memory"
        }
        signal if CRASHES.contains(&signal) => {
            "PHP or an extension crashed; see in cac-lsphp status which scripts run, and look for an update of the extension"
        }
        libc::SIGABRT => "PHP or an extension gave up (abort); look for an update of the extension",
        libc::SIGXCPU => "it used up its CPU limit (ulimit -t)",
        _ => return None,
    })
}

/// Without `[UID:61045][12] `, of which there can be two: the uid is the site's, and who speaks is told by what is said.
fn without_prefix(text: &str) -> String {
    let mut rest = text.trim();
    while let Some(after) = rest.strip_prefix("[UID:") {
        let Some((_, after)) = after.split_once("] ") else { break };
        rest = after.trim_start();
    }
    rest.to_owned()
}

/// What lsphp says without pids and counts, but for the signal: each has a cause of its own.
fn sense(text: &str) -> String {
    let words: String = text.chars().filter(|character| !character.is_ascii_digit()).collect();
    signal(text).map_or_else(|| words.clone(), |signal| format!("{words} {signal}"))
}

/// Which signal killed the child.
fn signal(text: &str) -> Option<i32> {
    let number = text.split(KILLED).nth(1)?;
    let number: String =
        number.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    number.parse().ok()
}

#[cfg(test)]
mod tests;
