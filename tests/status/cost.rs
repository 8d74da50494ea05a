//! What a look costs, and that the site does not notice. Times are in `scripts/bench`.

use super::*;
use crate::support::traces::Traces;

/// What a hundred looks could leave behind.
fn traces(site: &Running) -> (Traces, u64) {
    (site.traces(), json(site)["pool"]["queue"]["length"].as_u64().unwrap())
}

#[test]
fn a_hundred_looks_change_nothing_and_each_takes_few_calls() {
    let site = Site::new().options(["--no-healthcheck"]).page("sleep.php", SLEEP).start();
    occupy(&site, "sleep.php", 7, 7);
    ask(&site, "sleep.php", 11);
    wait_until(|| {
        let json = json(&site);
        if json["pool"]["saturated"] == true { Ok(()) } else { Err(json.to_string()) }
    });
    let before = traces(&site);
    assert_eq!(before.0.processes.len(), 1 + 7, "{before:?}");
    let loops = "n=0; while [ $n -lt 100 ]; do cac-lsphp status >/dev/null || exit 1; n=$((n+1)); done";
    site.exec(["sh", "-c", loops]);
    assert_eq!(traces(&site), before);

    let (trace, output) = site.strace(0, &[], "status");
    assert!(output.status.success(), "{output:?}");
    for call in
        ["connect(", "clone(", "clone3(", "fork(", "execve(", "kill(", "ptrace(", "process_vm_", "SIGSTOP"]
    {
        let calls = trace.lines().filter(|line| line.contains(call)).count();
        let allowed = usize::from(call == "execve(");
        assert_eq!(calls, allowed, "{call} in {trace}");
    }
    let opened_to_write = trace.lines().filter(|line| line.contains("O_WRONLY") || line.contains("O_RDWR"));
    assert_eq!(opened_to_write.count(), 0, "{trace}");
    let below_home = trace.lines().filter(|line| line.contains("\"/home/"));
    assert_eq!(below_home.count(), 0, "{trace}");
    let calls = trace.lines().count();
    println!("{calls} system calls with 7 workers busy and the queue full");
    assert!(calls <= 250 + 7 * 60, "{calls}");
}
