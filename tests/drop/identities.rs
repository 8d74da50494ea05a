//! The table of users and ids: those accepted in each kind of container, those refused in the worst.

use crate::container::{Case, run};
use crate::report::Report;
use crate::{POWERFUL, REDUCED, REDUCED_SET, WORST, WORST_REDUCED, assert_refused, executed, site};

/// user, uid, gid (empty: unset) and what they must become.
const ACCEPTED: [(&str, &str, &str, (u32, u32)); 12] = [
    ("alice", "61045", "", (61045, 61045)),
    ("low", "1", "", (1, 1)),
    ("group", "1000", "50", (1000, 50)),
    ("one", "1", "1", (1, 1)),
    ("zeros", "0061045", "007", (61045, 7)),
    ("panel", "60001", "60002", (60001, 60002)),
    ("signed", "2147483648", "2147483648", (1 << 31, 1 << 31)),
    ("highest", "4294967294", "", (u32::MAX - 1, u32::MAX - 1)),
    ("overflow", "65534", "65535", (65534, 65535)),
    ("_under.score-9", "70000", "", (70000, 70000)),
    ("games", "5", "60", (5, 60)), // in every Debian's passwd, as 5:60
    ("abcdefghijklmnopqrstuvwxyz012345", "70001", "", (70001, 70001)),
];

/// user, uid, gid, and the word that the refusal must name.
const REFUSED: [(&str, &str, &str, &str); 42] = [
    ("bob", "0", "", "uid"),
    ("bob", "00", "", "uid"),
    ("bob", "-0", "", "uid"),
    ("bob", "+0", "", "uid"),
    ("bob", "-1", "", "uid"),
    ("bob", "4294967295", "", "uid"),
    ("bob", "4294967296", "", "uid"),
    ("bob", "4294967297", "", "uid"),
    ("bob", "8589934592", "", "uid"),
    ("bob", "18446744073709551616", "", "uid"),
    ("bob", "18446744073709551617", "", "uid"),
    ("bob", "+1000", "", "uid"),
    ("bob", " 1000", "", "uid"),
    ("bob", "1000 ", "", "uid"),
    ("bob", "1000\n", "", "uid"),
    ("bob", "0x10", "", "uid"),
    ("bob", "1e3", "", "uid"),
    ("bob", "1000.0", "", "uid"),
    ("bob", "1000:0", "", "uid"),
    ("bob", "1000,0", "", "uid"),
    ("bob", "root", "", "uid"),
    ("bob", "bob", "", "uid"),
    ("bob", "0day", "", "uid"),
    ("bob", "١", "", "uid"),
    ("bob", "", "", "uid"),
    ("bob", "  ", "", "uid"),
    ("bob", "1000", "0", "gid"),
    ("bob", "1000", "-1", "gid"),
    ("bob", "1000", "4294967295", "gid"),
    ("bob", "1000", "4294967296", "gid"),
    ("bob", "1000", "root", "gid"),
    ("", "1000", "", "user"),
    (".", "1000", "", "user"),
    ("..", "1000", "", "user"),
    ("-x", "1000", "", "user"),
    ("0day", "1000", "", "user"),
    ("a/b", "1000", "", "user"),
    ("../etc", "1000", "", "user"),
    ("bob:x:0:0", "1000", "", "user"),
    ("bob\nroot", "1000", "", "user"),
    ("root", "1000", "", "root is uid 0"),
    ("games", "6000", "", "games is uid 5"),
];

/// Starts each; `check` sees its report.
fn accept(options: &[&str], state: &str, check: impl Fn(&Report, u32, u32)) {
    let cases = ACCEPTED.map(|(user, uid, gid, _)| Case::new(state, &site(user, uid, gid)));
    for (outcome, (user, _, _, (uid, gid))) in run(options, &cases).iter().zip(ACCEPTED) {
        let report = executed(outcome);
        report.assert_site(user, uid, gid);
        assert_eq!(report.ids("Groups"), [gid], "{user}");
        check(report, uid, gid);
    }
}

/// What is refused is so before anything depends on the container: src/settings has a table of its own.
#[test]
fn refused() {
    let cases = REFUSED.map(|(user, uid, gid, _)| Case::new(WORST, &site(user, uid, gid)));
    for (outcome, (.., cause)) in run(&[], &cases).iter().zip(REFUSED) {
        assert_refused(outcome, 78, cause);
    }
}

#[test]
fn accepted_from_the_worst_state() {
    accept(&["--tty"], &format!("{WORST} terminal"), |report, uid, gid| {
        assert_eq!(report.mask("CapBnd"), 0);
        report.assert_nothing_to_gain(uid, gid);
    });
}

#[test]
fn accepted_with_three_capabilities() {
    accept(&REDUCED, WORST_REDUCED, |report, uid, gid| {
        assert_eq!(report.mask("CapBnd"), REDUCED_SET, "it cannot be emptied without SETPCAP");
        report.assert_nothing_to_gain(uid, gid);
    });
}

#[test]
fn accepted_with_no_new_privileges_from_the_start() {
    accept(&["--security-opt", "no-new-privileges"], WORST, |report, uid, gid| {
        assert_eq!(report.mask("CapBnd"), 0);
        report.assert_nothing_to_gain(uid, gid);
    });
}

#[test]
fn accepted_with_more_power_than_docker_gives() {
    accept(&POWERFUL, WORST, |report, uid, gid| {
        assert_eq!(report.mask("CapBnd"), 0);
        report.assert_nothing_to_gain(uid, gid);
    });
}
