//! Each folder of `tests/fixtures/cgroup` is a machine's `/proc` and `/sys/fs/cgroup` as one process
//! sees them; its `expect.json` tells the story and the limits to be found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup");
    let mut fixtures: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    fixtures.sort();
    fixtures
}

#[test]
fn every_fixture_has_the_limits_it_states() {
    let mut failures = Vec::new();
    for fixture in fixtures() {
        let expected: Value =
            serde_json::from_slice(&fs::read(fixture.join("expect.json")).unwrap()).unwrap();
        let story = expected["story"].as_str().unwrap();
        assert!(story.len() > 20 && !story.contains('\n'), "{}: no story", fixture.display());

        let found = serde_json::to_value(cac_lsphp::cgroup::detect(&fixture)).unwrap();
        if found != expected["limits"] {
            failures.push(format!(
                "{}: {story}\nexpected {:#}\nfound {found:#}",
                fixture.display(),
                expected["limits"]
            ));
        }
    }
    assert!(failures.is_empty(), "{} fixtures:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn there_are_at_least_forty() {
    assert!(fixtures().len() >= 40, "{}", fixtures().len());
}

/// The files that `detect` opens in this fixture, as strace saw it; the number of a machine's mounts
/// and cgroups must not add to them.
#[test]
fn no_more_files_are_opened_than_needed() {
    let tables = ["/proc/self/cgroup", "/proc/self/mountinfo", "/proc/meminfo"];
    let v1 = ["memory/memory.stat", "memory/memory.limit_in_bytes", "pids/pids.max"];
    let v2 = ["memory.max", "memory.high", "pids.max"];
    for (fixture, limits) in [("v1-kubernetes-systemd", v1), ("v2-docker-private-namespace", v2)] {
        let mut expected: Vec<String> = tables.map(str::to_owned).to_vec();
        expected.extend(limits.map(|name| format!("/sys/fs/cgroup/{name}")));
        let mut opened = opened_by_detect(fixture);
        expected.sort();
        opened.sort();
        assert_eq!(opened, expected, "{fixture}");
    }
}

/// Runs [`detect_in_fixture`] under strace.
fn opened_by_detect(fixture: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup").join(fixture);
    let trace = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("strace")
        .args(["-f", "-e", "trace=open,openat,openat2,creat", "-s", "4096", "-o"])
        .arg(trace.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "detect_in_fixture", "--ignored"])
        .env("CAC_TEST_FIXTURE", &root)
        .stdout(Stdio::null())
        .status()
        .expect("strace is needed: run scripts/test");
    assert!(status.success(), "{status}");
    let trace = fs::read_to_string(trace.path()).unwrap();
    let below = format!("\"{}", root.display());
    let opened = trace.lines().filter_map(|line| line.split_once(&below)?.1.split_once('"'));
    opened.map(|(path, _)| path.to_owned()).collect()
}

#[test]
#[ignore = "the process that another test runs under strace"]
fn detect_in_fixture() {
    let root = std::env::var_os("CAC_TEST_FIXTURE").expect("set by the other test");
    assert!(cac_lsphp::cgroup::detect(Path::new(&root)).memory.is_some());
}

/// On this machine's kernel; the median, as other processes run beside. The figure is the release
/// build's (`cargo test --release`); code that is not optimised gets twice the time.
#[test]
fn detection_takes_less_than_200_microseconds() {
    let allowed = Duration::from_micros(if cfg!(debug_assertions) { 400 } else { 200 });
    let mut took: Vec<Duration> = (0..501)
        .map(|_| {
            let started = Instant::now();
            let limits = cac_lsphp::cgroup::detect(Path::new("/"));
            let took = started.elapsed();
            assert!(limits.mem_total.is_some());
            took
        })
        .collect();
    took.sort();
    assert!(took[250] < allowed, "median {:?}, least {:?}", took[250], took[0]);
}
