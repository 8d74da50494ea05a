//! Each state that a site can be in, as Docker sees it, and `--deep` beside it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use cac_lsphp::lsapi::Deadline;
use cac_lsphp::lsapi::connection::Connection;

use crate::support::{PATIENCE, Running, Site, docker, lsphp, made, text, wait_for, wait_until};
use crate::watch::{self, deep, docker_says, expect, expect_check};

/// An entrypoint of the test's own: a shell as PID 1, in front of cac-lsphp.
fn with_shell(site: Site, script: &str) -> Running {
    site.options(["--entrypoint", "/bin/sh"]).arguments(["-c", script]).launch()
}

fn signal(site: &Running, signal: &str) {
    let pid = site.inspect("{{.State.Pid}}");
    let status = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(status.success(), "kill {signal} {pid}");
}

#[test]
fn idle_is_healthy() {
    let site = watch::site().start();
    expect(&site, "healthy", "healthy: lsphp 1, 0 workers of 7, queue 0 of 10");
    let said = deep(&site);
    assert!(said.starts_with("healthy: lsphp 1, ") && said.contains("answer 200 in "), "{said}");
    assert!(said.contains(&format!(" from PHP {}.", made("CAC_TEST_PHP"))), "{said}");
    expect_check(&site, ["--connect"], "connected in ", 0);
    expect(&site, "healthy", ", 1 workers of 7, queue 0 of 10"); // the one that --deep and --connect took
}

#[test]
fn a_start_goes_from_not_started_over_starting_to_healthy() {
    let site = watch::site().options(["--health-start-period=60s"]);
    let site =
        with_shell(site, "until [ -e /home/alice/go ]; do sleep 0.05; done; exec /usr/local/bin/cac-lsphp");
    expect(&site, "starting", "unhealthy: not started: ");
    assert!(deep(&site).starts_with("unhealthy: not started: "));

    // PID 1 executes cac-lsphp and then lsphp: the second is held back before it happens.
    let mut strace = Command::new("strace")
        .args(["-q", "-e", "trace=execve", "-e", "inject=execve:delay_enter=600000000:when=2", "-p"])
        .arg(site.inspect("{{.State.Pid}}"))
        .args(["-o", "/dev/null"])
        .spawn()
        .unwrap();
    wait_until(|| {
        let status = fs::read_to_string(site.proc("status")).unwrap();
        if status.contains("TracerPid:\t0\n") { Err("strace has not attached".to_owned()) } else { Ok(()) }
    });
    fs::write(site.home.join("go"), "").unwrap();
    expect(&site, "starting", "unhealthy: starting: process 1 ");
    assert!(deep(&site).starts_with("unhealthy: starting: "));
    strace.kill().unwrap(); // lets go
    strace.wait().unwrap();
    expect(&site, "healthy", "healthy: lsphp 1, 0 workers of 7, queue 0 of 10");
}

#[test]
fn a_full_backlog_is_healthy_and_saturated() {
    let site = watch::site()
        .env("PHP_LSAPI_CHILDREN", "2")
        .page(
            "busy.php",
            "<?php while (!file_exists('/home/alice/go')) { clearstatcache(); usleep(50000); } echo 1;",
        )
        .start();
    thread::scope(|scope| {
        let asking =
            || match site.client().fetch(&crate::support::as_front_end("busy.php"), None, 4 * PATIENCE) {
                Ok(response) => response.body,
                Err(error) => error.to_string().into_bytes(),
            };
        let busy: Vec<_> = (0..2).map(|_| scope.spawn(asking)).collect();
        expect(&site, "healthy", "healthy: lsphp 1, 2 workers of 2, queue 0 of 10");

        let connect = || Connection::open(site.address(), Deadline::after(PATIENCE)).unwrap();
        let waiting: Vec<_> = (0..11).map(|_| connect()).collect();
        expect(&site, "healthy", "2 workers of 2, queue 11 of 10, saturated");
        for (probe, timeout, verdict) in
            [("--deep", "1s", "unhealthy: no answer: "), ("--connect", "500ms", "unhealthy: no connection: ")]
        {
            // On a busy machine its alarm may be before it.
            wait_until(|| match watch::said(&watch::check(&site, [probe, "--timeout", timeout])) {
                (line, Some(1)) if line.starts_with(verdict) => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
        // Five times what would make Docker call it unhealthy: two checks in a row.
        let mut checks = BTreeSet::new();
        wait_for(2 * PATIENCE, || {
            let (status, said) = docker_says(&site);
            assert_eq!(status, "healthy", "after {} checks: {said}", checks.len());
            assert!(said.contains("saturated"), "after {} checks: {said}", checks.len());
            checks.insert(site.inspect("{{with .State.Health}}{{range .Log}}{{.Start}} {{end}}{{end}}"));
            if checks.len() < 10 { Err(format!("{} checks", checks.len())) } else { Ok(()) }
        });
        fs::write(site.home.join("go"), "").unwrap();
        drop(waiting);
        for request in busy {
            assert_eq!(request.join().unwrap(), b"1", "a request in flight was lost");
        }
    });
    expect(&site, "healthy", "queue 0 of 10");
    assert!(deep(&site).contains("answer 200"));
}

#[test]
fn stopped_by_a_signal_and_continued() {
    let site = watch::site().start();
    expect(&site, "healthy", "healthy: ");
    signal(&site, "-STOP");
    expect(&site, "unhealthy", "unhealthy: stopped: lsphp 1 ");
    assert!(deep(&site).starts_with("unhealthy: stopped: "));
    signal(&site, "-CONT");
    expect(&site, "healthy", "healthy: ");
    assert!(deep(&site).contains("answer 200"));
}

/// Below a supervisor as well, where it is the site that can do so.
#[test]
fn an_lsphp_that_is_stopped_below_its_supervisor() {
    let site = watch::site().env("CAC_SUPERVISE", "1").start();
    expect(&site, "healthy", "healthy: lsphp ");
    let lsphp = site.exec(["cat", "/proc/1/task/1/children"]).trim().to_owned();
    let signal = |name: &str| site.exec(["sh", "-c", &format!("kill -{name} {lsphp}")]);
    signal("STOP");
    expect(&site, "unhealthy", &format!("unhealthy: stopped: lsphp {lsphp} "));
    assert!(deep(&site).starts_with("unhealthy: stopped: "));
    signal("CONT");
    expect(&site, "healthy", "healthy: ");
    assert!(deep(&site).contains("answer 200"));
}

#[test]
fn killed_beside_another_pid_1() {
    // A shell that waits reaps its child; sleep, as PID 1, never does.
    for (script, reason) in [
        ("cac-lsphp & wait; sleep 1000 & wait", "unhealthy: exited: lsphp "),
        ("cac-lsphp & exec sleep 1000", "unhealthy: zombie: lsphp "),
    ] {
        let site = with_shell(watch::site(), script);
        expect(&site, "healthy", "healthy: lsphp ");
        let record: serde_json::Value =
            serde_json::from_str(&site.exec(["cat", "/run/cac-lsphp/run.json"])).unwrap();
        site.exec(["sh", "-c", &format!("kill -9 {}", record["pid"])]);
        expect(&site, "unhealthy", reason);
        let said = deep(&site);
        assert!(said.starts_with(reason), "{said}");
    }
}

#[test]
fn a_wrong_port_and_then_somebody_elses_listener_on_the_right_one() {
    let home = tempfile::tempdir().unwrap();
    let wrapper = home.path().join("lsphp");
    fs::write(&wrapper, format!("#!/bin/sh\nexec {} -b 0.0.0.0:9001\n", lsphp())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let site = watch::watched(Site::at(home.path())).env("CAC_LSPHP", "/home/alice/lsphp").launch();
    expect(&site, "unhealthy", "unhealthy: not listening: ");
    assert!(deep(&site).starts_with("unhealthy: not listening: "));

    for address in ["0.0.0.0:9000", "[::]:9000"] {
        let listen = format!(
            "$s = stream_socket_server('tcp://{address}'); while (!file_exists('/tmp/end')) {{ clearstatcache(); usleep(20000); }}"
        );
        text(docker(["exec", "-d", &site.name, "php", "-r", &listen]));
        let reason =
            "unhealthy: listening as another uid: 0.0.0.0:9000 is held by uid 0, not by the site's 61045";
        expect(&site, "unhealthy", reason);
        assert!(deep(&site).starts_with(reason));
        site.exec(["touch", "/tmp/end"]);
        expect(&site, "unhealthy", "unhealthy: not listening: ");
        site.exec(["rm", "/tmp/end"]);
    }
}

/// What speaks LSAPI at the port is the site's own, and may want more than to answer.
const HOSTILE_LSPHP: &str = r#"#!/usr/bin/php
<?php
$packet = fn($type, $payload) => pack('a2CCV', 'LS', $type, 0, 8 + strlen($payload)) . $payload;
$answer = $packet(3, pack('VV', 0, 200)) . $packet(4, "cac-lsphp ping: PHP 8.2\r\e]0;owned\x07\e[2J\n") . $packet(5, '');
$listener = stream_socket_server('tcp://0.0.0.0:9000');
while ($connection = stream_socket_accept($listener, -1)) { fread($connection, 65536); fwrite($connection, $answer); }
"#;

#[test]
fn control_characters_that_an_lsphp_answers_with_reach_no_terminal() {
    let home = tempfile::tempdir().unwrap();
    let lsphp = home.path().join("lsphp");
    fs::write(&lsphp, HOSTILE_LSPHP).unwrap();
    fs::set_permissions(&lsphp, fs::Permissions::from_mode(0o755)).unwrap();
    let site =
        Site::at(home.path()).options(["--no-healthcheck"]).env("CAC_LSPHP", "/home/alice/lsphp").start();
    expect_check(&site, [], "healthy: lsphp 1, ", 0);
    for format in ["text", "json"] {
        let (said, code) = watch::said(&watch::check(&site, ["--deep", "--format", format]));
        assert!(!said.contains(char::is_control), "{said:?}");
        assert!(!said.contains("owned"), "{said:?}");
        assert!(said.contains("wrong answer: ") && code == Some(1), "{said:?}");
    }
}

#[test]
fn a_worker_killed_for_lack_of_memory_is_counted() {
    let site = watch::site()
        .options(["--memory", "256m", "--memory-swap", "256m"])
        .env("LSPHP_MEM_SOFT_MB", "0")
        .env("LSPHP_MEM_HARD_MB", "0")
        .env("CAC_INI_memory_limit", "-1")
        .page("eat.php", "<?php for ($all = [];;) { $all[] = str_repeat('x', 1 << 20); }")
        .start();
    expect(&site, "healthy", "queue 0 of 10");
    let (_, before) = docker_says(&site);
    assert!(!before.contains("OOM"), "{before}");
    let request = crate::support::as_front_end("eat.php");
    let eaten = site.client().fetch(&request, None, PATIENCE);
    assert!(eaten.is_err(), "{eaten:?}");
    expect(&site, "healthy", ", OOM kills 1");
    let said = deep(&site);
    assert!(said.contains("answer 200") && said.contains(", OOM kills 1"), "{said}");
}

#[test]
fn forks_that_pids_max_refuses_are_counted() {
    let site = watch::site().page("page.php", "<?php echo 1;").start();
    expect(&site, "healthy", "queue 0 of 10");
    // Docker cannot start a check while nothing can fork, so the limit is only there for one request.
    text(docker(["update", "--pids-limit", "1", &site.name]));
    let request = crate::support::as_front_end("page.php");
    let refused = site.client().fetch(&request, None, Duration::from_secs(5));
    text(docker(["update", "--pids-limit", "100", &site.name]));
    assert!(refused.is_err(), "{refused:?}");
    expect(&site, "healthy", ", forks refused by pids.max ");
    assert!(deep(&site).contains("answer 200"));
}
