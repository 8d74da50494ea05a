//! What lsphp is started with, and what it is once it runs.

use std::fs;

use crate::support::{Running, Site, lsphp, status_field};

fn status(site: &Running, field: &str) -> String {
    let status = fs::read_to_string(site.proc("status")).unwrap();
    status_field(&status, field)
}

#[test]
fn pid_1_is_lsphp_without_any_privilege() {
    let site = Site::new().start();
    site.assert_has_no_privilege();
    assert_eq!(status(&site, "Name"), "lsphp");
    let executable = fs::read_link(site.proc("exe")).unwrap();
    assert_eq!(executable.to_str(), Some(lsphp().as_str()));
    assert_eq!(fs::read_link(site.proc("cwd")).unwrap().to_str(), Some("/home/alice"));
    let record: serde_json::Value =
        serde_json::from_str(&site.exec(["cat", "/run/cac-lsphp/run.json"])).unwrap();
    assert_eq!(record["pid"], 1, "the launcher's pid is lsphp's");
}

/// lsphp changes signals and erases its arguments, so a shell stands in for it and tells what it was
/// given: `dash -b FILE` runs FILE, which `-b 0.0.0.0:9000` makes a script of that name in the home.
const WITNESS: &str = r#"
# By the shell itself: while it starts a program, it blocks signals.
while IFS= read -r line; do echo "$line"; done </proc/$$/status
echo "Arguments: $(tr '\0' ' ' </proc/$$/cmdline)"
echo "Umask: $(umask)"
echo "Directory: $(pwd)"
find /proc/$$/fd -type l -printf 'fd%f: %l\n'
env
"#;

#[test]
fn nothing_of_a_hostile_start_is_inherited() {
    let ended = Site::new()
        .file("0.0.0.0:9000", WITNESS)
        .env("CAC_LSPHP", "/bin/dash")
        .env("LSAPI_PGRP_MAX_IDLE", "5")
        .env("LSAPI_CHILDREN", "")
        .options(["--entrypoint", "sh"])
        .arguments([
            "-c",
            "trap '' TERM HUP PIPE USR1 CHLD; umask 0; exec 7</etc/passwd 9>&1; cd /tmp; exec cac-lsphp",
        ])
        .run_to_end();
    let told = &ended.stdout;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for (field, expected) in [
        ("Pid", "1"),
        ("Arguments", "lsphp -b 0.0.0.0:9000"),
        ("Umask", "0022"),
        ("Directory", "/home/alice"),
        ("SigBlk", "0000000000000000"),
        ("SigIgn", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("fd0", "/dev/null"),
    ] {
        assert_eq!(status_field(told, field), expected, "{field}");
    }
    // 10 is the shell's own, for the script.
    let mut descriptors: Vec<_> =
        told.lines().filter_map(|line| line.strip_prefix("fd")?.split(':').next()).collect();
    descriptors.sort_unstable();
    assert_eq!(descriptors, ["0", "1", "10", "2"]);

    let lines: Vec<_> = told.lines().collect();
    for expected in
        ["PHP_LSAPI_CHILDREN=7", "LSAPI_EXTRA_CHILDREN=0", "HOME=/home/alice", "USER=alice", "uid=61045"]
    {
        assert!(lines.contains(&expected), "no {expected} in {told}");
    }
    for unwanted in ["CAC_", "LSAPI_PGRP_MAX_IDLE", "LSAPI_CHILDREN"] {
        assert!(!lines.iter().any(|line| line.starts_with(unwanted)), "{unwanted} in {told}");
    }
    let warned =
        ended.stderr.lines().any(|line| line.contains("WARN") && line.contains("LSAPI_PGRP_MAX_IDLE"));
    assert!(warned, "{}", ended.stderr);
}

/// Docker kills after 10 seconds, and what it kills ends with 137.
#[test]
fn docker_stop_ends_it_without_a_kill() {
    let site = Site::new().start();
    site.stop();
    assert_eq!(site.inspect("{{.State.ExitCode}}"), "0");
}
