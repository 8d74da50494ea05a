//! The drop, seen from the other side: a probe in lsphp's place reports what it really has, started
//! from the worst state that a runtime can leave. Needs root and Docker; see scripts/test.

mod container;
mod identities;
mod report;
#[path = "../support/mod.rs"]
mod support;

use container::{Case, Outcome, run, run_as_first_process};
use report::Report;

/// Everything that must not reach lsphp. Docker's default capabilities suffice to set it.
const WORST: &str = "groups ambient securebits signals descriptors umask";

/// The same where capabilities are few: secure bits need SETPCAP.
const WORST_REDUCED: &str = "groups ambient signals descriptors umask";

/// What a non-root start can be left with.
const WORST_NON_ROOT: &str = "signals descriptors umask-all";

const REDUCED: [&str; 8] =
    ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "SETUID", "--cap-add", "SETGID"];

/// Not `--privileged`: a machine that lacks a capability itself cannot give them all.
const POWERFUL: [&str; 12] = [
    "--cap-add",
    "SYS_ADMIN",
    "--cap-add",
    "SYS_PTRACE",
    "--cap-add",
    "SYS_MODULE",
    "--cap-add",
    "NET_ADMIN",
    "--cap-add",
    "DAC_READ_SEARCH",
    "--security-opt",
    "seccomp=unconfined",
];

/// CHOWN, SETGID and SETUID as bits of a capability set.
const REDUCED_SET: u64 = 1 | 1 << 6 | 1 << 7;

fn site<'a>(user: &'a str, uid: &'a str, gid: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("user", user), ("uid", uid), ("gid", gid), ("LSAPI_PGRP_MAX_IDLE", "5"), ("CAC_SITE_LINK", "0")]
}

fn executed(outcome: &Outcome) -> &Report {
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    outcome.report.as_ref().unwrap_or_else(|| panic!("the probe did not run: {outcome:?}"))
}

/// Nothing was executed, and one line says why.
fn assert_refused(outcome: &Outcome, exit: i32, cause: &str) {
    assert!(outcome.report.is_none(), "lsphp was executed: {outcome:?}");
    assert_eq!(outcome.exit, exit, "{outcome:?}");
    let errors: Vec<_> = outcome.stderr.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(matches!(errors[..], [line] if line.contains(cause)), "wanted one line on {cause}: {outcome:?}");
}

#[test]
fn single_states() {
    let states = [
        ("closed", "closed standard streams"),
        ("no-groups", "no groups"),
        ("inheritable", "inheritable capabilities"),
        ("securebits", "secure bits"),
        ("umask-all", "a umask that forbids all"),
        ("securebits groups ambient closed signals", "many, without standard streams"),
    ];
    let cases: Vec<_> = states.map(|(state, _)| Case::new(state, &site("alice", "61045", ""))).into();
    for (outcome, (_, name)) in run(&[], &cases).iter().zip(states) {
        let report = outcome.report.as_ref().unwrap_or_else(|| panic!("{name}: {outcome:?}"));
        report.assert_site("alice", 61045, 61045);
        report.assert_nothing_to_gain(61045, 61045);
        assert_eq!((report.mask("CapBnd"), report.ids("Groups")), (0, vec![61045]), "{name}");
    }
}

/// An address space that may only be lowered stays as low as it was.
#[test]
fn a_tighter_address_space_limit_stays() {
    let mib = |mib: u64| mib << 20;
    let table =
        [("umask", [1024, 1500]), ("address-space=900", [900, 900]), ("address-space=1200", [1024, 1200])];
    let cases: Vec<_> = table.map(|(state, _)| Case::new(state, &site("alice", "61045", ""))).into();
    for (outcome, (state, expected)) in run(&[], &cases).iter().zip(table) {
        let limit = executed(outcome).get("RLIMIT_AS");
        assert_eq!(limit, &serde_json::json!(expected.map(mib)), "{state}");
    }
}

/// What CAC_NO_NEW_PRIVS=0 really gives: uid 0 to setuid-root programs, but no capability.
#[test]
fn setuid_programs_work_when_they_are_let() {
    let case = || {
        let mut environment = site("alice", "61045", "");
        environment.push(("CAC_NO_NEW_PRIVS", "0"));
        [Case::new(WORST_REDUCED, &environment)]
    };
    let outcomes = run(&[], &case());
    let report = executed(&outcomes[0]);
    report.assert_site("alice", 61045, 61045);
    assert_eq!((report.get("NoNewPrivs"), report.mask("CapBnd")), (&serde_json::json!(["0"]), 0));
    assert_eq!(report.gain("setuid"), (0, 61045, 0));
    assert_eq!(report.gain("setgid"), (61045, 0, 0));
    assert_eq!(report.get("file_capability"), "not executed");

    // Without SETPCAP the bounding set stays, and a setuid-root program gets what is in it.
    let outcomes = run(&REDUCED, &case());
    let report = executed(&outcomes[0]);
    report.assert_site("alice", 61045, 61045);
    assert_eq!(report.gain("setuid"), (0, 61045, REDUCED_SET));
    assert!(outcomes[0].stderr.contains("SETPCAP"), "it must be said: {outcomes:?}");
}

#[test]
fn without_the_capability_to_change_ids_nothing_is_executed() {
    for (option, operation) in [("SETUID", "setresuid"), ("SETGID", "setgroups")] {
        let outcomes = run(&["--cap-drop", option], &[Case::new("umask", &site("alice", "61045", ""))]);
        assert_refused(&outcomes[0], 77, operation);
    }
    // Everything but the change of ids is possible, for the home is the site's already.
    let home = ["--cap-drop", "ALL", "--tmpfs", "/home/alice:uid=61045,mode=755"];
    let outcomes = run(&home, &[Case::new("umask", &site("alice", "61045", ""))]);
    assert_refused(&outcomes[0], 77, "setgroups");
}

#[test]
fn started_as_the_site_user() {
    let options = [
        "--user",
        "61045:61045",
        "--tmpfs",
        "/run:uid=61045,mode=755",
        "--tmpfs",
        "/home/alice:uid=61045,mode=755",
    ];
    let accepted = [("61045", ""), ("", ""), ("61045", "61045")];
    let refused =
        [("61046", "", "61046"), ("0", "", "uid"), ("61045", "61046", "61046"), ("4294967295", "", "uid")];
    let states = accepted.map(|(uid, gid)| (uid, gid)).into_iter();
    let cases: Vec<_> = states
        .chain(refused.map(|(uid, gid, _)| (uid, gid)))
        .map(|(uid, gid)| Case::new(WORST_NON_ROOT, &site("alice", uid, gid)))
        .collect();
    let outcomes = run(&options, &cases);
    for outcome in &outcomes[..accepted.len()] {
        let report = executed(outcome);
        report.assert_site("alice", 61045, 61045);
        report.assert_nothing_to_gain(61045, 61045);
        assert!(report.ids("Groups").iter().all(|group| *group == 61045));
    }
    for (outcome, (_, _, cause)) in outcomes[accepted.len()..].iter().zip(refused) {
        assert_refused(outcome, 78, cause);
    }
}

#[test]
fn started_with_only_a_uid_the_group_is_roots_and_refused() {
    let options = ["--user", "61045", "--tmpfs", "/run:uid=61045", "--tmpfs", "/home/alice:uid=61045"];
    let cases = [Case::new("umask", &site("alice", "", "")), Case::new("umask", &site("alice", "", "61045"))];
    let outcomes = run(&options, &cases);
    assert_refused(&outcomes[0], 78, "gid");
    assert_refused(&outcomes[1], 78, "61045:0");
}

/// Groups that the runtime gave to a non-root start stay for lack of SETGID, and that is said.
#[test]
fn a_non_root_start_cannot_drop_groups_and_says_so() {
    let options = [
        "--user",
        "61045:61045",
        "--group-add",
        "27",
        "--tmpfs",
        "/run:uid=61045",
        "--tmpfs",
        "/home/alice:uid=61045",
    ];
    let outcomes = run(&options, &[Case::new("umask", &site("alice", "", ""))]);
    let report = executed(&outcomes[0]);
    report.assert_site("alice", 61045, 61045);
    assert!(report.ids("Groups").contains(&27));
    assert!(outcomes[0].stderr.contains("supplementary groups"), "{outcomes:?}");
}

/// As with file capabilities or setpriv --ambient-caps: not root by number, but all of its power.
#[test]
fn a_non_root_start_loses_its_capabilities_too() {
    let options = ["--cap-add", "SYS_ADMIN", "--tmpfs", "/run:uid=61045", "--tmpfs", "/home/alice:uid=61045"];
    let state = "groups signals descriptors become=61045:61045 ambient";
    let outcomes = run(&options, &[Case::new(state, &site("alice", "61045", ""))]);
    let report = executed(&outcomes[0]);
    report.assert_site("alice", 61045, 61045);
    assert_eq!((report.mask("CapBnd"), report.ids("Groups")), (0, vec![61045]));
    report.assert_nothing_to_gain(61045, 61045);
}

/// A way back to root in the real or saved uid is no drop.
#[test]
fn a_real_uid_of_root_is_refused() {
    let options = ["--tmpfs", "/run:uid=61045", "--tmpfs", "/home/alice:uid=61045"];
    let outcomes = run(&options, &[Case::new("no-groups real-root", &site("alice", "61045", "61045"))]);
    assert!(outcomes[0].report.is_none(), "{outcomes:?}");
    assert!([77, 78].contains(&outcomes[0].exit), "{outcomes:?}");
}

/// Root by number without a single capability, as in a user namespace gone wrong.
#[test]
fn root_without_capabilities_executes_nothing() {
    let home = ["--tmpfs", "/home/alice:uid=61045"];
    let outcomes = run(&home, &[Case::new("noroot", &site("alice", "61045", ""))]);
    assert_refused(&outcomes[0], 77, "setgroups");
}

/// A kernel, sandbox or profile that says "done" and does nothing is found out by reading back.
#[test]
fn system_calls_that_lie_are_found_out() {
    const NO_NEW_PRIVS: i64 = libc::PR_SET_NO_NEW_PRIVS as i64;
    const DROP_FROM_BOUNDING: i64 = libc::PR_CAPBSET_DROP as i64;
    let lies = [
        (libc::SYS_setgroups, -1, "groups", "supplementary groups"),
        (libc::SYS_setresgid, -1, "umask", "group ids"),
        (libc::SYS_setresuid, -1, "umask", "user ids"),
        (libc::SYS_capset, -1, "inheritable", "inheritable capabilities"),
        (libc::SYS_capset, -1, "securebits", "permitted capabilities"),
        (libc::SYS_prctl, NO_NEW_PRIVS, "umask", "no_new_privs"),
        (libc::SYS_prctl, DROP_FROM_BOUNDING, "umask", "bounding capabilities"),
    ];
    let case = |(call, argument, state, _): &(i64, i64, &str, &str)| {
        Case::new(&format!("{state} filter={call},{argument},0"), &site("alice", "61045", ""))
    };
    let cases: Vec<_> = lies.iter().map(case).collect();
    let options = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
    for (outcome, (.., fact)) in run(&options, &cases).iter().zip(lies) {
        assert_refused(outcome, 77, fact);
    }
}

#[test]
fn refused_system_calls_end_it_or_have_a_substitute() {
    let site = site("alice", "61045", "");
    let refuse = |call: i64, error: i32| Case::new(&format!("{WORST} filter={call},-1,{error}"), &site);
    let cases = [
        refuse(libc::SYS_close_range, libc::EPERM),
        refuse(libc::SYS_close_range, libc::ENOSYS),
        refuse(libc::SYS_capset, libc::EPERM),
        refuse(libc::SYS_setgroups, libc::ENOSYS),
        refuse(libc::SYS_getgroups, libc::EPERM),
    ];
    let options = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
    let outcomes = run(&options, &cases);
    for outcome in &outcomes[..2] {
        executed(outcome).assert_site("alice", 61045, 61045);
    }
    let causes = ["capability set", "setgroups", "getgroups"];
    for (outcome, cause) in outcomes[2..].iter().zip(causes) {
        assert_refused(outcome, 77, cause);
    }
}

/// gVisor's `/proc/self/status` lacks lines, and so does that of Linux before 4.10: the kernel is asked.
#[test]
fn what_proc_does_not_say_the_kernel_is_asked() {
    let options = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
    let site = site("alice", "61045", "");
    let silent = run(&options, &[Case::new(&format!("{WORST} no-status"), &site)]);
    let own = ["--tmpfs", "/run:uid=61045,mode=755", "--tmpfs", "/home/alice:uid=61045,mode=755"];
    let old = Case::new("umask status=/test/status-of-old become=61045:61045", &site);
    let outcomes = [silent, run(&[&options[..], &own].concat(), &[old])].concat();
    // Only root can drop the groups, and what a start without it keeps is said.
    for (outcome, groups) in outcomes.iter().zip([61045, 0]) {
        let report = executed(outcome);
        report.assert_site("alice", 61045, 61045);
        report.assert_nothing_to_gain(61045, 61045);
        assert_eq!(report.ids("Groups"), [groups], "{outcome:?}");
        assert_eq!(outcome.stderr.contains("dropping supplementary groups [0]"), groups == 0, "{outcome:?}");
    }
}

/// Where `/proc` is silent or says what is not so, a call that did nothing is found out all the same.
#[test]
fn a_proc_that_is_silent_or_lies_hides_nothing() {
    const NO_NEW_PRIVS: i64 = libc::PR_SET_NO_NEW_PRIVS as i64;
    const DROP_FROM_BOUNDING: i64 = libc::PR_CAPBSET_DROP as i64;
    let undone = [
        (libc::SYS_setgroups, -1),
        (libc::SYS_setresuid, -1),
        (libc::SYS_capset, -1),
        (libc::SYS_prctl, NO_NEW_PRIVS),
        (libc::SYS_prctl, DROP_FROM_BOUNDING),
    ];
    let cases = ["no-status", "status=/test/status-that-lies"].map(|status| {
        undone.map(|(call, argument)| {
            let state = format!("securebits groups {status} filter={call},{argument},0");
            Case::new(&state, &site("alice", "61045", ""))
        })
    });
    let options = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
    for outcome in run(&options, cases.as_flattened()) {
        assert_refused(&outcome, 77, "executed");
    }
}

#[test]
fn as_the_first_process_of_the_image() {
    let outcome =
        run_as_first_process(&["--env", "user=alice", "--env", "uid=61045", "--cap-add", "SYS_ADMIN"]);
    let report = executed(&outcome);
    report.assert_site("alice", 61045, 61045);
    report.assert_nothing_to_gain(61045, 61045);
    assert_eq!(report.get("pid"), 1);
    assert_eq!((report.mask("CapBnd"), report.ids("Groups")), (0, vec![61045]));
}

/// `docker exec`'s way in, with and without the word, and with the site named in the site file alone.
#[test]
fn commands_of_an_operator_are_dropped_too() {
    let alice = site("alice", "61045", "");
    let site_file = [("CAC_SITE_FILE", "/test/site.ini")];
    let mut cases = vec![Case::new(WORST, &alice)]; // makes the home
    for environment in [&alice[..], &site_file] {
        for arguments in ["exec -- /test/probe", "/test/probe"] {
            cases.push(Case { arguments, ..Case::new(WORST, environment) });
        }
    }
    for outcome in run(&[], &cases) {
        let report = executed(&outcome);
        report.assert_dropped("alice", 61045, 61045);
        report.assert_nothing_to_gain(61045, 61045);
        assert_eq!((report.mask("CapBnd"), report.ids("Groups")), (0, vec![61045]));
    }
    let unreadable = [("CAC_SITE_FILE", "/test")];
    let case = Case { arguments: "/test/probe", ..Case::new(WORST, &unreadable) };
    let outcome = &run(&[], &[case])[0];
    assert!(outcome.report.is_none() && outcome.exit == 78, "{outcome:?}");
}
