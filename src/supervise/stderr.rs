//! What lsphp says on stderr, line by line: repetitions become one line with a count, and what lsphp says about
//! its workers gets its cause and the way out. Pure: bytes and times in, lines out.

use std::time::Duration;

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
    pub hint: Option<String>,
    /// How often it came again since it was last shown; 0: it is new.
    pub repeated: u64,
}

#[derive(Debug)]
struct Remembered {
    /// What makes lines the same: of lsphp's own, all but the numbers.
    key: String,
    latest: String,
    hint: Option<String>,
    repeated: u64,
    shown: Duration,
}

/// Turns what was read into lines.
#[derive(Debug, Default)]
pub struct Stderr {
    /// The line that has no end yet.
    partial: Vec<u8>,
    remembered: Vec<Remembered>,
}

impl Stderr {
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
            lines.push(Line { text: line.latest.clone(), hint: line.hint.clone(), repeated: line.repeated });
            line.repeated = 0;
            line.shown = now.unwrap_or(line.shown);
        }
        lines
    }

    fn line(&mut self, line: &[u8], now: Duration, oom_killed: &mut dyn FnMut() -> bool) -> Vec<Line> {
        let line = String::from_utf8_lossy(line);
        let text = without_prefix(&OneLine(line.trim_end_matches('\r')).to_string());
        let is_said_by_us = text.is_empty() || RETIRED.iter().any(|retired| text.contains(retired));
        if is_said_by_us {
            return Vec::new();
        }
        let Meaning { is_lsphps_own, hint } = meaning(&text, oom_killed);
        let key = if is_lsphps_own { sense(&text) } else { text.clone() };
        self.remembered.retain(|line| line.repeated > 0 || now < line.shown + WINDOW);
        if let Some(known) = self.remembered.iter_mut().find(|line| line.key == key) {
            known.repeated += 1;
            known.latest = text;
            known.hint = hint;
            return Vec::new();
        }
        let mut lines = Vec::new();
        if self.remembered.len() >= REMEMBERED {
            let oldest = self.remembered.remove(0);
            if oldest.repeated > 0 {
                lines.push(Line { text: oldest.latest, hint: oldest.hint, repeated: oldest.repeated });
            }
        }
        lines.push(Line { text: text.clone(), hint: hint.clone(), repeated: 0 });
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
/// Its listener was retired, by us.
const RETIRED: [&str; 2] = ["accept() failed, errno: 22", "lsapi_accept() error, errno: 22"];

struct Meaning {
    /// Alike but for numbers is the same.
    is_lsphps_own: bool,
    hint: Option<String>,
}

fn meaning(text: &str, oom_killed: &mut dyn FnMut() -> bool) -> Meaning {
    let hint = if text.contains(REACHED_MAX) {
        Some("all workers are busy and connections wait; give the container more memory, or see in cac-lsphp status what they do".to_owned())
    } else if text.contains(KILLED) {
        killed(text, oom_killed)
    } else if text.contains(RUNAWAY) {
        Some(
            "its request took longer than LSAPI_MAX_PROCESS_TIME; raise it if such a request is expected"
                .to_owned(),
        )
    } else if text.contains(FORK_FAILED) {
        Some("the limit of processes is reached; raise --pids-limit or lower PHP_LSAPI_CHILDREN".to_owned())
    } else {
        return Meaning { is_lsphps_own: false, hint: None };
    };
    Meaning { is_lsphps_own: true, hint }
}

fn killed(text: &str, oom_killed: &mut dyn FnMut() -> bool) -> Option<String> {
    let cause = match signal(text)? {
        libc::SIGKILL if oom_killed() => {
            "the kernel killed it for lack of memory; raise the container's memory limit or LSPHP_WORKER_ESTIMATE_MB, and its request may be sent again"
        }
        libc::SIGKILL => {
            "something killed it (SIGKILL) and the front end may send its request again; not the kernel for lack of memory"
        }
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE => {
            "PHP or an extension crashed; see in cac-lsphp status which scripts run, and look for an update of the extension"
        }
        libc::SIGABRT => "PHP or an extension gave up (abort); look for an update of the extension",
        libc::SIGXCPU => "it used up its CPU limit (ulimit -t)",
        _ => return None,
    };
    Some(cause.to_owned())
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
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn texts(lines: Vec<Line>) -> Vec<(String, u64)> {
        lines.into_iter().map(|line| (line.text, line.repeated)).collect()
    }

    #[test]
    fn lines_come_out_whole_however_they_were_read() {
        let mut stderr = Stderr::default();
        assert_eq!(stderr.take(b"one\ntw", at(0), &mut || false).len(), 1);
        assert_eq!(texts(stderr.take(b"o\n\n  \nthree", at(1), &mut || false)), [("two".to_owned(), 0)]);
        assert_eq!(texts(stderr.take(b"\r\n", at(2), &mut || false)), [("three".to_owned(), 0)]);
        let long = [b"x".repeat(100_000), b"\n".to_vec()].concat();
        assert_eq!(stderr.take(&long, at(3), &mut || false)[0].text.len(), LONGEST_LINE);
    }

    #[test]
    fn a_flood_is_one_line_with_a_count() {
        let mut stderr = Stderr::default();
        let flood = |pid: u32| {
            format!(
                "[UID:61045][{pid}] Reached max children process limit: 7, extra: 0, current: 7, busy: 7, please increase LSAPI_CHILDREN.\n"
            )
        };
        let first = stderr.take(flood(1).as_bytes(), at(0), &mut || false);
        assert_eq!(first.len(), 1);
        assert!(first[0].hint.as_deref().unwrap().contains("more memory"), "{first:?}");
        assert_eq!(stderr.wakes_at(), None, "one line is nothing to count");
        for tenth in 1..=50 {
            assert_eq!(stderr.take(flood(tenth).as_bytes(), at(u64::from(tenth) * 100), &mut || false), []);
        }
        assert_eq!(stderr.wakes_at(), Some(at(10_000)));
        assert_eq!(stderr.flush(Some(at(9_999))), []);
        let counted = stderr.flush(Some(at(10_000)));
        assert_eq!((counted.len(), counted[0].repeated), (1, 50));
        assert_eq!(stderr.wakes_at(), None, "an idle pid 1 is not woken");
        assert_eq!(stderr.take(flood(9).as_bytes(), at(20_001), &mut || false).len(), 1, "shown anew later");
    }

    #[test]
    fn the_sites_own_lines_are_the_same_only_when_all_of_them_is() {
        let mut stderr = Stderr::default();
        assert_eq!(stderr.take(b"item 1 done\nitem 2 done\nitem 2 done\n", at(0), &mut || false).len(), 2);
        assert_eq!(texts(stderr.flush(None)), [("item 2 done".to_owned(), 1)]);
    }

    #[test]
    fn many_different_lines_are_all_shown_and_few_remembered() {
        let mut stderr = Stderr::default();
        for n in 0..1000 {
            assert_eq!(stderr.take(format!("line {n}\n").as_bytes(), at(0), &mut || false).len(), 1);
        }
        assert_eq!(stderr.remembered.len(), REMEMBERED);
        let mut stderr = Stderr::default();
        stderr.take(b"first\nfirst\n", at(0), &mut || false);
        let shown: Vec<Line> = (0..16)
            .flat_map(|n| stderr.take(format!("line {n}\n").as_bytes(), at(1), &mut || false))
            .collect();
        assert!(shown.iter().any(|line| line.text == "first" && line.repeated == 1), "no count is lost");
    }

    #[test]
    fn a_killed_worker_has_its_cause() {
        let killed = |signal: i32, oom: bool| {
            let line = format!(
                "[UID:61045][1] Child process with pid: 77 was killed by signal: {signal}, core dumped: no\n"
            );
            Stderr::default().take(line.as_bytes(), at(0), &mut || oom)[0].hint.clone().unwrap_or_default()
        };
        for (signal, oom, words) in [
            (9, true, "lack of memory"),
            (9, false, "SIGKILL"),
            (11, false, "crashed"),
            (6, false, "abort"),
            (15, false, ""),
        ] {
            assert!(killed(signal, oom).contains(words), "{signal} {oom}");
        }
    }

    #[test]
    fn workers_that_end_in_different_ways_are_different_lines() {
        let mut stderr = Stderr::default();
        let killed = b"Child process with pid: 7 was killed by signal: 9, core dumped: no\nChild process with pid: 8 was killed by signal: 11, core dumped: no\nChild process with pid: 9 was killed by signal: 9, core dumped: no\n";
        assert_eq!(stderr.take(killed, at(0), &mut || false).len(), 2);
        assert_eq!(texts(stderr.flush(None)).len(), 1, "and one is counted");
    }

    #[test]
    fn halves_that_were_mixed_up_are_known_all_the_same() {
        let mut stderr = Stderr::default();
        let mixed = b"[UID:61045][39] [UID:61045][80] Reached max children process limit: 7, extra: 0, current: 7, busy: 0, please increase LSAPI_CHILDREN.\nReached max children process limit: 6, extra: 0, current: 6, busy: 0, please increase LSAPI_CHILDREN.\n";
        let lines = stderr.take(mixed, at(0), &mut || false);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].text.starts_with("Reached") && lines[0].hint.is_some(), "{lines:?}");
        assert_eq!(stderr.flush(None)[0].repeated, 1);
        let retired = b"[UID:61045][12] [UID:61045][13] lsapi_accept() error, errno: 22 (Invalid argument)\n[UID:61045][6] accept() failed, errno: 22 (Invalid argument)\n[UID:6";
        assert_eq!(stderr.take(retired, at(1), &mut || false), []);
    }

    #[test]
    fn nothing_reaches_a_terminal_that_moves_it() {
        let mut stderr = Stderr::default();
        let lines = stderr.take(b"a\x1b]0;x\x07b\x9b2J\xff\n", at(0), &mut || false);
        assert!(!lines[0].text.contains(char::is_control), "{lines:?}");
    }
}
