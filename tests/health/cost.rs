//! What a check costs, in what can be counted: instructions, system calls, memory, and all of it beside
//! 10,000 connections. What it takes in time is a row of `scripts/bench`.

use std::process::{Command, Output};

use crate::support::{Running, Site, docker, text};
use crate::watch::{said, strace, with_files_of_this_machine};

const CHECK: &str = "\"$BIN\" healthcheck";
/// As images check ports that have no client of their own, but for a limit on its time.
const BASH_TCP_CHECK: &str = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/9000'";

/// A healthy site whose `/run` this machine sees too.
struct Checked {
    site: Running,
    run: tempfile::TempDir,
}

impl Checked {
    fn start() -> Self {
        let run = tempfile::tempdir().unwrap();
        let volume = format!("{}:/run", run.path().display());
        let options = ["--no-healthcheck", "--ulimit", "nofile=20000:20000", "-v", &volume];
        Checked { site: Site::new().options(options).start(), run }
    }

    /// Instructions of `command` in user mode, which repeat whatever else the machine does.
    fn instructions(&self, command: &str) -> u64 {
        let script = format!("exec valgrind --tool=callgrind --callgrind-out-file=/dev/null {command}");
        let output = with_files_of_this_machine(&self.site, self.run.path(), &script).output().unwrap();
        let Output { status, stderr, .. } = &output;
        let stderr = String::from_utf8_lossy(stderr);
        let collected = stderr.lines().find_map(|line| line.split_once("Collected : "));
        let (_, number) = collected.unwrap_or_else(|| panic!("{command}: {status}: {stderr}"));
        assert!(status.success(), "{command}: {status}: {stderr}");
        number.trim().parse().unwrap()
    }

    /// System calls of a check, from its exec to its exit.
    fn system_calls(&self) -> usize {
        let (trace, output) = strace(&self.site, 0, [], "");
        assert!(said(&output).0.starts_with("healthy: "), "{output:?}");
        trace.lines().filter(|line| line.contains('(')).count()
    }
}

#[test]
fn a_check_costs_little_more_than_starting_a_program() {
    let checked = Checked::start();
    let [nothing, check, bash] =
        ["/bin/true", CHECK, BASH_TCP_CHECK].map(|command| checked.instructions(command));
    let calls = checked.system_calls();
    println!(
        "/bin/true {nothing}, healthcheck {check}, bash TCP check {bash} instructions; {calls} system calls"
    );
    assert!(check < 3 * nothing, "{check} instructions, /bin/true {nothing}");
    assert!(check < bash / 4, "{check} instructions, a bash TCP check {bash}");
    assert!(calls <= 80, "{calls} system calls");
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
    site.exec(["sh", "-c", "for n in $(seq 600); do [ -e /tmp/up ] && exit; sleep 0.1; done; exit 1"]);
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
    // The check has written its line: all that it has left is to exit.
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(check.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("healthy: "), "{line:?}");
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
    let checked = Checked::start();
    let site = &checked.site;
    let cost = || (checked.instructions(CHECK), checked.system_calls(), peak_memory(site, &[]));
    let (instructions, calls, alone) = cost();
    ten_thousand_connections(site);
    let (instructions_beside, calls_beside, beside) = cost();
    let over_proc = peak_memory(site, &["-e", "inject=socket:error=EPERM"]);
    println!(
        "{instructions} instructions, {calls} calls, {alone} KiB alone; {instructions_beside}, {calls_beside}, {beside} KiB beside 10,000 connections; {over_proc} KiB from /proc"
    );
    assert!(alone.max(beside).max(over_proc) < 4096, "{alone}, {beside} and {over_proc} KiB");
    assert_eq!(calls, calls_beside, "system calls");
    // Pids and inodes get longer with time.
    assert!(
        instructions_beside.abs_diff(instructions) < instructions / 50,
        "{instructions}, {instructions_beside}"
    );
    let (_, output) = strace(site, 0, ["-e", "inject=socket:error=EPERM"], "");
    assert!(said(&output).0.starts_with("healthy: lsphp 1, "), "{:?}", said(&output));
}
