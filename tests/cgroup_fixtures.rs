//! Each file of `tests/fixtures/cgroup` is a machine's `/proc` and `/sys/fs/cgroup` as one process sees
//! them, one file after the other as `tail -n +1` prints them. The first, `expect.json`, tells the story and
//! the limits to be found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What follows a file's heading when its last line has no newline.
const NO_NEWLINE: &[u8] = b"no newline at its end";

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup");
    let mut fixtures: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    fixtures.sort();
    fixtures
}

fn unpacked(fixture: &Path) -> TempDir {
    let root = TempDir::new().unwrap();
    let packed = fs::read(fixture).unwrap();
    let lines: Vec<&[u8]> = packed.split_inclusive(|byte| *byte == b'\n').collect();
    for file in lines.chunk_by(|_, next| heading(next).is_none()) {
        let (name, note) = heading(file[0]).unwrap_or_else(|| panic!("{}: no heading", fixture.display()));
        let mut content = file[1..].concat();
        if note == NO_NEWLINE {
            content.pop();
        }
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

/// `==> proc/self/cgroup <==`: the file's name, and what may be noted behind it.
fn heading(line: &[u8]) -> Option<(&str, &[u8])> {
    let line = line.strip_prefix(b"==> ")?.trim_ascii_end();
    let end = line.windows(4).position(|bytes| bytes == b" <==")?;
    Some((std::str::from_utf8(&line[..end]).unwrap(), line[end + 4..].trim_ascii_start()))
}

#[test]
fn every_fixture_has_the_limits_it_states() {
    let mut failures = Vec::new();
    for fixture in fixtures() {
        let root = unpacked(&fixture);
        let expected = fs::read(root.path().join("expect.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let story = expected["story"].as_str().unwrap();
        assert!(story.len() > 20 && !story.contains('\n'), "{}: no story", fixture.display());

        let found = serde_json::to_value(cac_lsphp::cgroup::detect(root.path())).unwrap();
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

/// What a detection does: the files that it opens, and the number of its system calls on them.
#[derive(Debug, PartialEq)]
struct Traced {
    opened: Vec<String>,
    calls: usize,
}

#[test]
fn no_more_files_are_opened_than_needed() {
    let tables = ["/proc/self/cgroup", "/proc/self/mountinfo", "/proc/meminfo"];
    let v1 = ["memory/memory.stat", "memory/memory.limit_in_bytes", "pids/pids.max"];
    let v2 = ["memory.max", "memory.high", "pids.max"];
    for (fixture, limits) in [("v1-kubernetes-systemd", v1), ("v2-docker-private-namespace", v2)] {
        let mut expected: Vec<String> = tables.map(str::to_owned).to_vec();
        expected.extend(limits.map(|name| format!("/sys/fs/cgroup/{name}")));
        expected.sort();
        let root = unpacked(&packed(fixture));
        let traced = trace_detection(root.path());
        assert_eq!(traced.opened, expected, "{fixture}");
        // Open, size, read, end and close of a file each.
        assert!(traced.calls <= 6 * expected.len(), "{fixture}: {traced:?}");

        // A machine's other mounts add nothing but the reading of their lines.
        let mounts = root.path().join("proc/self/mountinfo");
        let other =
            |n| format!("{n} 1 0:{n} / /var/lib/docker/overlay2/{n}/merged rw - overlay overlay rw\n");
        let others: String = (1000..1100).map(other).collect();
        fs::write(&mounts, fs::read_to_string(&mounts).unwrap() + &others).unwrap();
        let crowded = trace_detection(root.path());
        assert_eq!(crowded.opened, expected, "{fixture} among a hundred mounts");
        let reads = others.len() / 1024; // of a KiB at least
        assert!(crowded.calls <= traced.calls + reads, "{fixture}: {crowded:?} after {traced:?}");
    }
}

fn packed(fixture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup").join(format!("{fixture}.txt"))
}

/// Runs [`detect_in_fixture`] under strace.
fn trace_detection(root: &Path) -> Traced {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "4096", "-o"])
        .arg(trace.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "detect_in_fixture", "--ignored"])
        .env("CAC_TEST_FIXTURE", root)
        .stdout(Stdio::null())
        .status()
        .expect("strace is needed: run scripts/test");
    assert!(status.success(), "{status}");
    let trace = fs::read_to_string(trace.path()).unwrap();
    let (path, descriptor) = (format!("\"{}/", root.display()), format!("<{}/", root.display()));
    let of_detection = |line: &&str| line.contains(&path) || line.contains(&descriptor);
    let calls = trace.lines().filter(of_detection).filter(|line| !line.contains("execve(")).count();
    let opens = trace.lines().filter(|line| line.contains(" open"));
    let opened = opens.filter_map(|line| line.split_once(&path)?.1.split_once('"'));
    let mut opened: Vec<String> = opened.map(|(path, _)| format!("/{path}")).collect();
    opened.sort();
    Traced { opened, calls }
}

#[test]
#[ignore = "the process that another test runs under strace"]
fn detect_in_fixture() {
    let root = std::env::var_os("CAC_TEST_FIXTURE").expect("set by the other test");
    assert!(cac_lsphp::cgroup::detect(Path::new(&root)).memory.is_some());
}
