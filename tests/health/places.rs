//! Who checks, from where, and what lsphp listens on.

use std::process::Command;

use crate::support::{Running, Site, UID, docker, made, text, wait_until};
use crate::watch::{expect_check, said, strace};

const OTHER_UID: u32 = 12345;

fn quiet_site() -> Site {
    Site::new().options(["--no-healthcheck"])
}

fn check_as(site: &Running, uid: u32, arguments: &[&str]) -> (String, Option<i32>) {
    let uid = format!("{uid}:{uid}");
    let command = ["exec", "-u", &uid, &site.name, "cac-lsphp", "healthcheck"];
    said(&docker(command.iter().chain(arguments)))
}

#[test]
fn any_user_may_check_and_gets_the_same_answer() {
    let site = quiet_site().start();
    let healthy = ("healthy: lsphp 1, 0 workers of 7, queue 0 of 10".to_owned(), Some(0));
    for uid in [0, UID, OTHER_UID] {
        assert_eq!(check_as(&site, uid, &[]), healthy, "uid {uid}");
    }
    for uid in [0, UID, OTHER_UID] {
        let (line, code) = check_as(&site, uid, &["--deep"]);
        assert!(line.contains("answer 200") && code == Some(0), "uid {uid}: {line}");
    }
}

#[test]
fn any_user_may_ask_over_netlink_and_without_it_proc_says_the_same() {
    let site = quiet_site().start();
    let healthy = ("healthy: lsphp 1, 0 workers of 7, queue 0 of 10".to_owned(), Some(0));
    for uid in [0, UID, OTHER_UID] {
        let (trace, output) = strace(&site, uid, [], "");
        assert_eq!(said(&output), healthy, "uid {uid}");
        assert!(!trace.contains("/proc/net/tcp"), "netlink was not enough for uid {uid}: {trace}");

        let (trace, output) = strace(&site, uid, ["-e", "inject=socket:error=EPERM"], "");
        assert_eq!(said(&output), healthy, "uid {uid} without netlink");
        assert!(trace.contains("(INJECTED)") && trace.contains("/proc/net/tcp"), "uid {uid}: {trace}");
    }
}

#[test]
fn in_a_pid_namespace_that_others_share() {
    let neighbour = quiet_site().start();
    let shared = format!("container:{}", neighbour.name);
    for option in ["--pid=host", &format!("--pid={shared}"), "--init"] {
        let site = quiet_site().options([option]).start();
        let output = crate::watch::check(&site, []);
        let (line, code) = said(&output);
        assert!(line.starts_with("healthy: lsphp ") && code == Some(0), "{option}: {line}");
        assert!(!line.starts_with("healthy: lsphp 1,"), "{option} gave lsphp pid 1: {line}");
    }
}

/// A check from a container of its own that shares the site's network and its /run.
fn check_beside(site: &Running, run: &str, options: &[&str]) -> (String, Option<i32>) {
    let (network, image) = (format!("container:{}", site.name), made("CAC_TEST_IMAGE"));
    let mut command = vec!["run", "--rm", "--no-healthcheck", "--network", &network, "-v", run];
    command.extend(options);
    command.extend([&image, "healthcheck"]);
    said(&docker(command))
}

#[test]
fn from_another_pid_namespace_it_says_that_it_cannot_see() {
    let directory = tempfile::tempdir().unwrap();
    let run = format!("{}:/run", directory.path().display());
    let site = quiet_site().options(["-v", &run]).start();
    let (line, code) = check_beside(&site, &run, &[]);
    assert!(line.starts_with("unhealthy: other pid namespace: lsphp is 1 in a pid namespace "), "{line}");
    assert_eq!(code, Some(1));
    let (line, code) = check_beside(&site, &run, &[&format!("--pid=container:{}", site.name)]);
    assert!(line.starts_with("healthy: lsphp 1, ") && code == Some(0), "{line}");
}

#[test]
fn with_hidepid_it_says_who_can_see() {
    let site = quiet_site().start();
    let pid = site.inspect("{{.State.Pid}}");
    let hide = ["-t", &pid, "-m", "mount", "-o", "remount,hidepid=2", "/proc"];
    text(Command::new("nsenter").args(hide).output().unwrap());
    let (line, code) = check_as(&site, OTHER_UID, &[]);
    assert!(line.starts_with("unhealthy: hidden: process 1 exists ") && code == Some(1), "{line}");
    let (line, code) = check_as(&site, UID, &[]);
    assert!(line.starts_with("healthy: lsphp 1, ") && code == Some(0), "{line}");
}

#[test]
fn on_a_unix_socket() {
    let site = quiet_site().env("CAC_LISTEN", "/home/alice/lsphp.sock").launch();
    let socket = site.home.join("lsphp.sock");
    wait_until(|| if socket.exists() { Ok(()) } else { Err(site.logs()) });
    let healthy = "healthy: lsphp 1, 0 workers of 7, queue 0 of 10";
    expect_check(&site, [], healthy, 0);
    assert_eq!(check_as(&site, OTHER_UID, &[]), (healthy.to_owned(), Some(0)));
    // /proc/net/unix has no queue.
    let (_, output) = strace(&site, 0, ["-e", "inject=socket:error=EPERM"], "");
    assert_eq!(said(&output), ("healthy: lsphp 1, 0 workers of 7".to_owned(), Some(0)));
    expect_check(&site, ["--deep"], "answer 200 in ", 0);
    std::fs::remove_file(socket).unwrap();
    expect_check(&site, [], "unhealthy: not listening: ", 1);
}

#[test]
fn on_ipv6() {
    let site = quiet_site()
        .options(["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"])
        .env("CAC_LISTEN", "[::]:9000")
        .start();
    expect_check(&site, ["--deep"], "answer 200 in ", 0);
    let (_, output) = strace(&site, 0, ["-e", "inject=socket:error=EPERM"], "");
    assert!(said(&output).0.contains(" of 7, queue 0 of 10"), "{:?}", said(&output));
}

#[test]
fn a_site_that_confines_php_to_its_home_answers_too() {
    let site = quiet_site().env("CAC_INI_open_basedir", "/home/alice:/run/cac-lsphp/").start();
    expect_check(&site, ["--deep"], "answer 200 in ", 0);
}

#[test]
fn after_a_restart_the_old_record_is_not_taken_for_the_new() {
    let site = quiet_site().start();
    expect_check(&site, [], "healthy: ", 0);
    text(docker(["stop", &site.name]));
    text(docker(["start", &site.name]));
    wait_until(|| {
        let (line, _) = said(&crate::watch::check(&site, []));
        assert!(!line.contains("exited"), "{line}");
        if site.listening_ports().is_empty() { Err(line) } else { Ok(()) }
    });
    expect_check(&site, [], "healthy: lsphp 1, ", 0);
}
