//! `doctor`: each planted fault, alone and together, and silence where there is none.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

/// A site that nothing is wrong with.
pub fn healthy() -> Site {
    // Whatever addresses Docker's networks have here.
    let site = Site::new().options(["--no-healthcheck"]).env("CAC_ALLOWED_CLIENTS", "0.0.0.0/0");
    site.page("page.php", "<?php echo 1;").page("sleep.php", SLEEP)
}

/// What it finds, by name.
pub fn found<const N: usize>(site: &Running, options: [&str; N]) -> Vec<String> {
    let command = ["exec", &site.name, "cac-lsphp", "doctor", "--format", "json"];
    let output = docker(command.iter().chain(&options));
    let json: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())), "{json}");
    for finding in findings {
        let message = finding["message"].as_str().unwrap();
        assert!(message.contains([':', ';', ',']) && !message.contains('\n'), "no way out: {message}");
    }
    findings.iter().map(|finding| finding["fault"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn it_is_silent_on_a_healthy_site() {
    for supervise in ["0", "1"] {
        let site = healthy().env("CAC_SUPERVISE", supervise).start();
        assert_eq!(site.get("page.php").body, b"1");
        let output = docker(["exec", &site.name, "cac-lsphp", "doctor"]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]), "{output:?}");
    }
}

type Step = fn(&Running);

/// A fault by its name, how it is planted, and how it is mended.
const FAULTS: [(&str, Step, Step); 4] = [
    ("changed", |site| update(site, "512m"), |site| update(site, "1g")),
    ("normaliser shut out", |site| user_ini(site, ""), |site| user_ini(site, ":/run/cac-lsphp/")),
    ("document root", |site| mode(site, 0o700), |site| mode(site, 0o755)),
    (
        "error log",
        |site| {
            let log = site.home.join("logs/php-fpm/error.log");
            fs::rename(&log, log.with_extension("away")).unwrap();
        },
        |site| {
            let log = site.home.join("logs/php-fpm/error.log");
            fs::rename(log.with_extension("away"), &log).unwrap();
        },
    ),
];

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

fn user_ini(site: &Running, more: &str) {
    let ini = format!("open_basedir = /home/alice/:/tmp/{more}\n");
    fs::write(site.home.join("public_html/.user.ini"), ini).unwrap();
}

pub fn update(site: &Running, memory: &str) {
    support::text(docker(["update", "--memory", memory, "--memory-swap", "2g", &site.name]));
}

fn mode(site: &Running, mode: u32) {
    fs::set_permissions(site.home.join("public_html"), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn each_planted_fault_is_found_alone_and_together() {
    let site = healthy().start();
    for (fault, plant, mend) in FAULTS {
        plant(&site);
        assert_eq!(found(&site, []), [fault]);
        mend(&site);
        assert_eq!(found(&site, []), [""; 0], "{fault} is mended");
    }
    for (_, plant, _) in FAULTS {
        plant(&site);
    }
    // What cannot be mended without a restart.
    let record: Value = serde_json::from_str(&site.exec(["cat", "/run/cac-lsphp/run.json"])).unwrap();
    site.exec(["touch", record["lsphp"].as_str().unwrap()]);
    let greedy =
        docker(["exec", &site.name, "php", "-d", "memory_limit=-1", "-r", "str_repeat('x', 3 << 30);"]);
    assert!(!greedy.status.success(), "{greedy:?}");
    occupy(&site, "sleep.php", 5, 5);
    let mut expected: Vec<_> = FAULTS.map(|(fault, ..)| fault).to_vec();
    expected.extend(["OOM kills", "old lsphp", "stuck"]);
    expected.sort_unstable();
    assert_eq!(sorted(found(&site, [])), expected);
    // What cannot be there beside one of these.
    fs::write(site.home.join("public_html/.user.ini"), "auto_prepend_file = none\n").unwrap();
    let log = site.home.join("logs/php-fpm/error.log");
    fs::rename(log.with_extension("away"), &log).unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o444)).unwrap();
    let replaced = |fault| if fault == "normaliser shut out" { "normaliser replaced" } else { fault };
    let expected = expected.into_iter().map(replaced).map(str::to_owned).collect();
    assert_eq!(sorted(found(&site, [])), sorted(expected));
}

#[test]
fn a_pool_that_is_full_and_a_site_that_cannot_fork_are_found() {
    let site = healthy().options(["--pids-limit", "40"]).env("CAC_ALLOWED_CLIENTS", "").start();
    let fork = "n=0; while [ $n -lt 50 ]; do sleep 2 & n=$((n+1)); done; wait";
    docker(["exec", &site.name, "sh", "-c", fork]);
    wait_until(|| if site.processes() == 1 { Ok(()) } else { Err("they still sleep".into()) });
    ask(&site, "sleep.php", 7 + 11);
    wait_until(|| {
        let json = json(&site);
        if json["pool"]["saturated"] == true { Ok(()) } else { Err(json.to_string()) }
    });
    let mut all = sorted(found(&site, []));
    all.dedup();
    assert_eq!(all, ["forks refused", "plan warning", "saturated", "stuck"]);
}

/// Mounts over the home after the start, as a disk fills or turns read-only.
#[test]
fn a_volume_that_is_full_or_read_only_is_found() {
    let site = healthy().start();
    let pid = site.inspect("{{.State.Pid}}");
    let mount = |options: &str| {
        let mut mount = Command::new("nsenter");
        mount.args(["-t", &pid, "-m", "mount", "-o", options]);
        mount.args(["-t", "tmpfs", "none", "/home/alice/"]).status().unwrap()
    };
    for options in ["size=1m,mode=755,uid=61045", "ro,mode=755,uid=61045"] {
        assert!(mount(options).success());
        let all = found(&site, []);
        assert_eq!(all, ["error log", "volume"], "{options}: the log is below it");
        support::text(
            Command::new("nsenter").args(["-t", &pid, "-m", "umount", "/home/alice"]).output().unwrap(),
        );
    }
}

#[test]
fn a_site_that_is_down_is_the_only_finding() {
    let site = healthy().start();
    docker(["kill", "--signal", "STOP", &site.name]);
    wait_until(|| match found(&site, []) {
        all if all == ["down"] => Ok(()),
        all => Err(format!("{all:?}")),
    });
}
