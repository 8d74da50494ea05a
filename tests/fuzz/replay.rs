//! What the fuzzers kept, replayed on stable: every input holds all that its target checks.

use std::fs;
use std::path::Path;

use crate::checks;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "{} is no corpus", folder.display());
    check(b"");
    for file in files {
        eprintln!("{}", file.display()); // shown when the check fails
        check(&fs::read(&file).unwrap());
    }
}

#[test]
fn environment() {
    replay("environment", checks::environment);
}

#[test]
fn sock_diag() {
    replay("sock_diag", checks::sock_diag);
}

#[test]
fn site_file() {
    replay("site_file", checks::site_file);
}

#[test]
fn cgroup() {
    replay("cgroup", checks::cgroup);
}

#[test]
fn passwd() {
    replay("passwd", checks::passwd);
}

#[test]
fn lsapi_response() {
    replay("lsapi_response", checks::lsapi_response);
}

#[test]
fn lsapi_request() {
    replay("lsapi_request", checks::lsapi_request);
}

#[test]
fn php_ini() {
    replay("php_ini", checks::php_ini);
}
