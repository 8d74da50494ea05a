//! What a health check says, as Docker keeps it or from a check of our own.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Running, Site, docker};

const PATIENCE: Duration = Duration::from_secs(20);

/// alice's site, checked by Docker four times a second.
pub fn site() -> Site {
    watched(Site::new())
}

pub fn watched(site: Site) -> Site {
    site.options([
        "--health-interval=250ms",
        "--health-timeout=5s",
        "--health-retries=2",
        "--health-start-period=1ms",
    ])
}

/// Waits until Docker gives the site `status` and the last check said something with `words`.
#[track_caller]
pub fn expect(site: &Running, status: &str, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    let wanted = |found: &(String, String)| found.0 == status && found.1.contains(words);
    let mut found = docker_says(site);
    while !wanted(&found) {
        assert!(
            Instant::now() < deadline,
            "not {status:?} with {words:?} but {found:?} after {PATIENCE:?}\n{}",
            site.logs()
        );
        sleep(Duration::from_millis(50));
        found = docker_says(site);
    }
}

/// Docker's status of the site, and what the last check said.
pub fn docker_says(site: &Running) -> (String, String) {
    let health: serde_json::Value = serde_json::from_str(&site.inspect("{{json .State.Health}}")).unwrap();
    let last = health["Log"].as_array().and_then(|log| log.last());
    let output = last.and_then(|check| check["Output"].as_str()).unwrap_or_default();
    (health["Status"].as_str().unwrap_or_default().to_owned(), output.to_owned())
}

/// A check in the site's container.
pub fn check<const N: usize>(site: &Running, arguments: [&str; N]) -> Output {
    let command = ["exec", &site.name, "cac-lsphp", "healthcheck"];
    docker(command.iter().chain(&arguments))
}

/// What a check said and its exit code.
pub fn said(output: &Output) -> (String, Option<i32>) {
    (String::from_utf8_lossy(&output.stdout).trim_end().to_owned(), output.status.code())
}

/// Asserts that a check says `words` and ends with `code`.
#[track_caller]
pub fn expect_check<const N: usize>(site: &Running, arguments: [&str; N], words: &str, code: i32) {
    let output = check(site, arguments);
    let (line, exit) = said(&output);
    assert!(
        line.contains(words) && exit == Some(code),
        "{arguments:?}: {line:?}, {exit:?} and not {words:?}, {code}; stderr {:?}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!line.contains('\n'), "more than one line: {line:?}");
}

/// What `--deep` says with a second to do it in; asserts that it keeps to that.
#[track_caller]
pub fn deep(site: &Running) -> String {
    let timed = "start=$(date +%s%N); cac-lsphp healthcheck --deep --timeout 1s
        code=$?; echo $code $(( ($(date +%s%N) - start) / 1000000 ))";
    let output = site.exec(["sh", "-c", timed]);
    let (line, figures) = output.trim_end().rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
    let (code, milliseconds) = figures.split_once(' ').unwrap();
    let milliseconds: u64 = milliseconds.parse().unwrap();
    assert!(milliseconds < 1300, "{milliseconds} ms: {line}"); // 300 ms for a busy machine to start processes
    assert_eq!(code == "0", line.starts_with("healthy: "), "{code}: {line}");
    line.to_owned()
}

/// A check in the site's namespaces as user `uid`, under strace; the trace from where it starts.
pub fn strace<const N: usize>(
    site: &Running,
    uid: u32,
    options: [&str; N],
    arguments: &str,
) -> (String, Output) {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let (pid, uid) = (site.inspect("{{.State.Pid}}"), uid.to_string());
    let output = Command::new("strace")
        .args(["-f", "-s", "256", "-o"])
        .arg(trace.path())
        .args(options)
        .args(["nsenter", "-t", &pid, "-S", &uid, "-G", &uid, "-m", "-u", "-i", "-n", "-p"])
        .args(["/usr/local/bin/cac-lsphp", "healthcheck"])
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("running strace: {error}; run scripts/test"));
    let all = std::fs::read_to_string(trace.path()).unwrap();
    let start = all.find("execve(\"/usr/local/bin/cac-lsphp\"").unwrap_or_else(|| panic!("no start: {all}"));
    (all[start..].to_owned(), output)
}
