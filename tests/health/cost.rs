//! What a check costs: its processor time beside other programs started the same way, its memory, and both
//! with a table of 10,000 connections.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Running, Site, docker, text};
use crate::watch::{said, strace};

const CHECK: &str = "cac-lsphp healthcheck";
/// As images check ports that have no client of their own.
const BASH_TCP_CHECK: &str = "timeout 3 bash -c '</dev/tcp/127.0.0.1/9000'";

/// Processor time in microseconds, user and system, of one run of `command`, as the kernel accounts it
/// to the container: lsphp's part is in it. The mean of `runs`.
fn processor_time(site: &Running, command: &str, runs: u32) -> f64 {
    let usage = || -> f64 {
        let file = format!("/sys/fs/cgroup/cpuacct/docker/{}/cpuacct.usage", site.inspect("{{.Id}}"));
        std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .trim()
            .parse()
            .unwrap()
    };
    let script = format!("n=0; while [ $n -lt {runs} ]; do {command} >/dev/null || exit 1; n=$((n+1)); done");
    let before = usage();
    site.exec(["sh", "-c", &script]);
    (usage() - before) / 1000.0 / f64::from(runs)
}

#[test]
fn a_check_costs_little_more_than_starting_a_program() {
    let site = Site::new().options(["--no-healthcheck"]).start();
    site.exec(["sh", "-c", CHECK]);
    // In turns, and the least of each: whatever else this machine does only adds to it.
    let mut least = [f64::MAX; 3];
    for _ in 0..5 {
        for (command, least) in ["/bin/true", CHECK, BASH_TCP_CHECK].into_iter().zip(&mut least) {
            *least = least.min(processor_time(&site, command, 100));
        }
    }
    let [nothing, check, bash] = least;
    println!("/bin/true {nothing:.0} us, healthcheck {check:.0} us, bash TCP check {bash:.0} us");
    assert!(check < 2000.0, "{check:.0} us");
    assert!(check < 1.5 * nothing, "{check:.0} us, /bin/true {nothing:.0} us");
    // Starting any program is most of what either costs; this is about the rest.
    let (ours, theirs) = (check - nothing, bash - nothing);
    assert!(ours < theirs / 10.0, "{ours:.0} us above /bin/true, a bash TCP check {theirs:.0} us");
}

/// Makes `count` orphans by lsphp's name, which PID 1 gets as children, beside those that are there.
fn orphans(site: &Running, count: usize) {
    let script = format!(
        "cp -n /bin/sleep /tmp/lsphp; n=0; while [ $n -lt {count} ]; do /tmp/lsphp 1000 & n=$((n+1)); done"
    );
    let before = site.processes();
    site.exec(["sh", "-c", &script]);
    assert_eq!(site.processes(), before + count);
}

#[test]
fn processes_of_the_sites_change_nothing() {
    let site = Site::new().options(["--no-healthcheck", "--pids-limit", "1000"]).start();
    let calls = || {
        let (trace, output) = strace(&site, 0, [], "");
        assert!(said(&output).0.starts_with("healthy: lsphp 1, "), "{:?}", said(&output));
        (trace.lines().count(), said(&output).0)
    };
    let (alone, _) = calls();
    orphans(&site, 3);
    let (beside_three, line) = calls();
    assert!(line.contains(", 3 workers of 7, "), "they are not told from workers: {line}");
    orphans(&site, 200);
    let (beside_many, line) = calls();
    assert!(!line.contains("workers"), "they were counted: {line}");
    orphans(&site, 400);
    assert_eq!((beside_many, line), calls());
    println!("{alone} calls alone, {beside_three} beside 3 processes, {beside_many} beside 203 and 603");
    assert!(beside_many <= alone, "{beside_many} calls beside 203 processes, {alone} alone");
}

/// Opens connections in the site's network namespace until `/proc/net/tcp` has 10,000 lines, and keeps them.
fn ten_thousand_connections(site: &Running) {
    let code =
        "$s = stream_socket_server('tcp://127.0.0.1:8000', $e, $m, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN,
            stream_context_create(['socket' => ['backlog' => 100]]));
        for ($all = [], $i = 0; $i < 5000; $i++) {
            $all[] = stream_socket_client('tcp://127.0.0.1:8000');
            $all[] = stream_socket_accept($s);
        }
        touch('/tmp/up'); sleep(1000);";
    text(docker(["exec", "-d", &site.name, "php", "-d", "memory_limit=-1", "-r", code]));
    site.exec(["sh", "-c", "for n in $(seq 200); do [ -e /tmp/up ] && exit; sleep 0.1; done; exit 1"]);
    let lines = std::fs::read_to_string(site.proc("net/tcp")).unwrap().lines().count();
    assert!(lines > 10_000, "{lines} lines");
}

/// The most memory that a check had at once, in KiB: read when it is about to exit, from the kernel.
fn peak_memory(site: &Running, options: &[&str]) -> u64 {
    let pid = site.inspect("{{.State.Pid}}");
    let mut check = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "inject=exit_group:delay_enter=60000000"])
        .args(options)
        .args(["nsenter", "-t", &pid, "-m", "-n", "-p", "/usr/local/bin/cac-lsphp", "healthcheck"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The check has written its line: all that it has left is to exit.
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(check.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("healthy: ") && Instant::now() < deadline, "{line:?}");
    let peak = peak_below(check.id());
    check.kill().unwrap();
    check.wait().unwrap();
    peak
}

/// VmHWM of the check below process `strace`.
fn peak_below(strace: u32) -> u64 {
    let mut pids = vec![strace];
    while let Some(pid) = pids.pop() {
        let directory = format!("/proc/{pid}");
        let status = std::fs::read_to_string(format!("{directory}/status")).unwrap();
        if status.starts_with("Name:\tcac-lsphp\n") {
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            return peak.trim().trim_end_matches(" kB").parse().unwrap();
        }
        let children = std::fs::read_to_string(format!("{directory}/task/{pid}/children")).unwrap();
        pids.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
    }
    panic!("no check below strace {strace}");
}

#[test]
fn ten_thousand_connections_change_nothing() {
    let site = Site::new().options(["--no-healthcheck", "--ulimit", "nofile=20000:20000"]).start();
    let alone = peak_memory(&site, &[]);
    let before = processor_time(&site, CHECK, 100);
    ten_thousand_connections(&site);
    let beside = peak_memory(&site, &[]);
    let after = processor_time(&site, CHECK, 100);
    let over_proc = peak_memory(&site, &["-e", "inject=socket:error=EPERM"]);
    println!(
        "{alone} KiB and {before:.0} us alone, {beside} KiB and {after:.0} us beside 10,000 connections, {over_proc} KiB from /proc"
    );
    assert!(alone.max(beside).max(over_proc) < 4096, "{alone}, {beside} and {over_proc} KiB");
    assert!(after < 2.0 * before, "{before:.0} us alone, {after:.0} us beside 10,000 connections");
    let (_, output) = strace(&site, 0, ["-e", "inject=socket:error=EPERM"], "");
    assert!(said(&output).0.starts_with("healthy: lsphp 1, "), "{:?}", said(&output));
}
