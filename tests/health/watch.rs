//! What a health check says, as Docker keeps it or from a check of our own.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Running, Site, docker, made, wait_until};

/// alice's site, checked by Docker four times a second.
pub fn site() -> Site {
    watched(Site::new())
}

pub fn watched(site: Site) -> Site {
    site.options([
        "--health-interval=250ms",
        "--health-timeout=30s",
        "--health-retries=2",
        "--health-start-period=1ms",
    ])
}

/// Waits until Docker gives the site `status` and the last check said something with `words`.
#[track_caller]
pub fn expect(site: &Running, status: &str, words: &str) {
    wait_until(|| {
        let found = docker_says(site);
        let is_wanted = found.0 == status && found.1.contains(words);
        if is_wanted {
            Ok(())
        } else {
            Err(format!("{found:?}, not {status:?} with {words:?}\n{}", site.logs()))
        }
    });
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

/// A script in the site's network and among its processes, but with this machine's files, so with what is
/// installed here: `$BIN` is the program, `/run` the site's, which is at `run` on this machine.
pub fn with_files_of_this_machine(site: &Running, run: &Path, script: &str) -> Command {
    let mounts = "mount -t proc proc /proc && mount --bind \"$RUN\" /run || exit 9";
    let pid = site.inspect("{{.State.Pid}}");
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-n", "-p", "unshare", "-m", "sh", "-c", &format!("{mounts}\n{script}")]);
    command.env("RUN", run).env("BIN", made("CAC_TEST_BINARY"));
    command
}

/// What `--deep` says, with all the time that a busy machine may need.
#[track_caller]
pub fn deep(site: &Running) -> String {
    let output = check(site, ["--deep", "--timeout", "60s"]);
    let (line, code) = said(&output);
    assert_eq!(code, Some(if line.starts_with("healthy: ") { 0 } else { 1 }), "{line}");
    line
}

/// A check in the site's namespaces as user `uid`, under strace; the trace from where it starts, of it alone.
pub fn strace<const N: usize>(
    site: &Running,
    uid: u32,
    options: [&str; N],
    arguments: &str,
) -> (String, Output) {
    site.strace(uid, &options, &format!("healthcheck {arguments}"))
}
