//! The default check disturbs nothing.

use crate::support::Running;
use crate::support::traces::Traces;
use crate::watch::{check, said, strace};

const CHECKS: usize = 10_000;

/// Everything that a check could leave behind.
fn traces(site: &Running) -> (Traces, String, serde_json::Value) {
    let json: serde_json::Value = serde_json::from_slice(&check(site, ["--format", "json"]).stdout).unwrap();
    (site.traces(), site.logs(), json["queue"].clone())
}

#[test]
fn ten_thousand_checks_leave_no_trace() {
    let site = crate::support::Site::new()
        .options(["--no-healthcheck"])
        .env("LSAPI_MAX_IDLE", "3600") // seconds: on a busy machine the checks take longer than a worker waits
        .page("page.php", "<?php echo 1;")
        .start();
    // Two workers with a connection each, which they would notice the loss of.
    let (mut one, mut two) = (site.client(), site.client());
    assert_eq!(site.fetch(&mut one, "page.php").body, b"1");
    assert_eq!(site.fetch(&mut two, "page.php").body, b"1");
    let before = traces(&site);
    assert_eq!(before.0.processes.len(), 1 + 2, "{before:?}");
    assert!(before.0.connections.contains(&"PassiveOpens 2".to_owned()), "{before:?}");

    let script = format!(
        "n=0; while [ $n -lt {CHECKS} ]; do cac-lsphp healthcheck >/tmp/said || exit 9; n=$((n+1)); done; echo $n; cat /tmp/said"
    );
    let expected = format!("{CHECKS}\nhealthy: lsphp 1, 2 workers of 7, queue 0 of 10\n");
    assert_eq!(site.exec(["sh", "-c", &script]), expected);
    assert_eq!(traces(&site), before);
}

#[test]
fn a_default_check_connects_to_nothing_and_starts_nothing() {
    let site = crate::support::Site::new().options(["--no-healthcheck"]).start();
    let (trace, output) = strace(&site, 0, [], "");
    assert_eq!(said(&output), ("healthy: lsphp 1, 0 workers of 7, queue 0 of 10".into(), Some(0)));
    for call in ["connect(", "clone(", "clone3(", "fork(", "vfork(", "kill(", "ptrace("] {
        assert!(!trace.contains(call), "{call} in {trace}");
    }
    let sockets: Vec<_> = trace.lines().filter(|line| line.starts_with("socket(")).collect();
    assert!(sockets.len() == 1 && sockets[0].contains("NETLINK_SOCK_DIAG"), "{sockets:?}");
    // What tells the two apart: with --connect there is one.
    let (trace, _) = strace(&site, 0, [], "--connect");
    assert!(trace.contains("connect("), "{trace}");
}
