//! What a site may do to its own pid 1, and what that costs it.

use std::fs;
use std::io::{IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::support::{Running, UID, assert_no_privilege, docker, text, wait_until};
use crate::{generations, lines, reload, said, supervised, wait_for_name};

/// A command of the site's own.
fn as_site(site: &Running, script: &str) -> String {
    let user = format!("{UID}:{UID}");
    text(docker(["exec", "--user", &user, &site.name, "sh", "-c", script]))
}

/// It serves, reloads for root, and stops when it is told to.
#[track_caller]
fn assert_unharmed(site: &Running) {
    assert_eq!(site.get("order.php").status, 200);
    wait_until(|| {
        let output = reload(site);
        if output.status.success() { Ok(()) } else { Err(format!("{}\n{}", lines(&output), site.logs())) }
    });
    wait_for_name(site, "serving:7");
    assert_eq!(site.get("order.php").status, 200);
    text(docker(["stop", "--time", "60", &site.name]));
    assert_eq!(site.inspect("{{.State.ExitCode}}"), "0", "{}", site.logs());
}

#[test]
fn a_storm_of_signals_is_one_reload_a_second() {
    let site = supervised().start();
    as_site(&site, "kill -STOP 1; kill -KILL 1; kill -USR1 1; kill -CHLD 1; kill -PIPE 1; kill -WINCH 1");
    assert!(site.is_running(), "{}", site.logs());
    let began = Instant::now();
    as_site(&site, "(while [ ! -e ~/enough ]; do kill -HUP 1; sleep 0.01; done) >/dev/null 2>&1 &");
    let reloads = wait_until(|| match said(&site, &["reloaded: "]) {
        0..=3 => Err(site.logs()),
        reloads => Ok(reloads),
    });
    let seconds = began.elapsed().as_secs();
    assert!(reloads as u64 <= seconds + 1, "{reloads} reloads in {seconds} s\n{}", site.logs());
    as_site(&site, "touch ~/enough");
    assert_unharmed(&site);
}

const GARBAGE: &str = r#"
$sockets = [];
foreach (["", "\0", "\x02\0\0\0{", "\xff\xff\xff\xff", "\x02\0\0\0{}", "\x09\0\0\0\"replace\"", "\0\0\0\1" . str_repeat("x", 100000)] as $bytes) {
    for ($i = 0; $i < 3; $i++) {
        $socket = stream_socket_client("unix:///run/cac-lsphp/control.sock", $code, $message, 1);
        if (!$socket) { continue; }
        stream_set_blocking($socket, false);
        @fwrite($socket, $bytes);
        $sockets[] = $socket;
    }
}
sleep(2);
"#;

#[test]
fn what_the_control_socket_does_not_understand_it_forgets() {
    let site = supervised().start();
    let before = generations(&site);
    let php = ["exec", "--user", "61045:61045", &site.name, "php", "-r", GARBAGE];
    text(docker(php));
    assert_eq!(generations(&site), before);
    assert_unharmed(&site);
}

/// Leaves what the kernel says of it.
const WITNESS: &str =
    "#!/bin/sh\ncat /proc/self/status >/home/alice/seen && mv /home/alice/seen /home/alice/witness\n";

/// What `cac-lsphp reload` says first, with a program of the site's own for lsphp.
fn prove(program: &str) -> Vec<u8> {
    let size = serde_json::json!({"workers": 7, "fixed_mib": 80, "estimate_mib": 130, "budget_mib": 1024});
    let supervision = serde_json::json!({"stop_timeout_s": 8, "reload_grace_s": 2, "watch_memory_s": null});
    let specification = serde_json::json!({
        "lsphp": program, "environment": [], "address_space": {"soft_mib": null, "hard_mib": null}, "size": size,
        "probe_mib": 80, "supervision": supervision,
    });
    serde_json::to_vec(&serde_json::json!({ "prove": specification })).unwrap()
}

/// It may name any program: that runs with the rights which the site has without it.
#[test]
fn what_it_has_pid_1_start_gains_nothing() {
    let site = supervised().file("program", WITNESS);
    fs::set_permissions(site.home().join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let site = site.start();
    let mut stream = UnixStream::connect(site.proc("root/run/cac-lsphp/control.sock")).unwrap();
    let body = prove("/home/alice/program");
    let (length, socket) = (u32::try_from(body.len()).unwrap().to_le_bytes(), [stream.as_raw_fd()]);
    let (bytes, rights) = ([IoSlice::new(&length)], [ControlMessage::ScmRights(&socket)]);
    sendmsg::<()>(stream.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None).unwrap();
    stream.write_all(&body).unwrap();
    let status = wait_until(|| fs::read_to_string(site.home.join("witness")).map_err(|_| site.logs()));
    assert_no_privilege(&status);
    drop(stream);
    assert_unharmed(&site);
}

/// Orphans, as many as the limit of processes allows, end up with pid 1, and all end at once.
#[test]
fn thousands_of_children_do_not_stop_it() {
    let site = supervised().options(["--pids-limit", "2000"]).start();
    as_site(&site, "i=0; while [ $i -lt 1500 ]; do (sleep 300 &) ; i=$((i+1)); done");
    assert_eq!(reload(&site).status.code(), Some(0), "{}", site.logs());
    wait_for_name(&site, "serving:7");
    as_site(
        &site,
        "for p in /proc/[0-9]*; do read n <$p/comm; [ $n = sleep ] && kill -9 ${p#/proc/}; done; true",
    );
    wait_for_no_children_but_lsphp(&site);
    assert_unharmed(&site);
}

/// A queue runner is lsphp as well, and a child of pid 1 once its shell has ended; it is no worker.
#[test]
fn a_command_of_the_sites_is_not_waited_for() {
    let site = supervised().page("queue.php", "<?php sleep(300);").start();
    as_site(
        &site,
        "PATH=$PATH:$(echo /usr/local/lsws/lsphp*/bin); (lsphp /home/alice/public_html/queue.php &)",
    );
    assert_unharmed(&site);
    assert_eq!(said(&site, &["stopped: every request was answered"]), 1, "{}", site.logs());
}

/// They have no name: nix fails at the end of a child by one.
#[test]
fn an_lsphp_that_a_real_time_signal_ended_is_started_again() {
    let site = supervised().start();
    let [before] = generations(&site)[..] else { panic!("{:?}", generations(&site)) };
    as_site(&site, &format!("kill -34 {before}"));
    wait_until(|| match generations(&site)[..] {
        [after] if after != before => Ok(()),
        _ => Err(site.logs()),
    });
    assert_eq!(said(&site, &["ended with 162"]), 1, "{}", site.logs());
    assert_unharmed(&site);
}

/// Each is gone before the next ones come: what counts is that none stays a zombie.
#[test]
fn nine_thousand_orphans_are_reaped() {
    let site = supervised().start();
    as_site(&site, "i=0; while [ $i -lt 9000 ]; do (: &) ; i=$((i+1)); done");
    wait_for_no_children_but_lsphp(&site);
    assert_unharmed(&site);
}

/// By their names, which a zombie keeps.
fn wait_for_no_children_but_lsphp(site: &Running) {
    wait_until(|| {
        let children =
            site.exec(["sh", "-c", "for c in $(cat /proc/1/task/1/children); do cat /proc/$c/comm; done"]);
        let others = children.lines().filter(|name| *name != "lsphp").count();
        if others == 0 { Ok(()) } else { Err(format!("{others} other children\n{}", site.logs())) }
    });
}

/// Its limits are the site's to lower, as those of an lsphp that is pid 1 would be.
#[test]
fn a_pid_1_that_may_open_nothing_more_serves_and_stops() {
    let site = supervised().start();
    let before = generations(&site);
    as_site(&site, "prlimit --pid 1 --nofile=4:4");
    assert_eq!(site.get("order.php").status, 200);
    as_site(&site, "kill -HUP 1");
    wait_until(|| if said(&site, &["Too many open files"]) == 0 { Err(site.logs()) } else { Ok(()) });
    assert_eq!((site.get("order.php").status, generations(&site)), (200, before));
    text(docker(["stop", "--time", "60", &site.name]));
    assert_eq!(site.inspect("{{.State.ExitCode}}"), "0", "{}", site.logs());
}

/// lsphp belongs to the site, which may stop it: the stop of the container has its deadline all the same.
#[test]
fn a_stopped_lsphp_does_not_outlast_the_deadline() {
    let site = supervised().env("CAC_STOP_TIMEOUT", "1").start();
    as_site(&site, &format!("kill -STOP {}", generations(&site)[0]));
    text(docker(["stop", "--time", "60", &site.name]));
    assert_eq!(site.inspect("{{.State.ExitCode}}"), "0", "{}", site.logs());
}

/// In a container that the site's user started, the run record and its directory are the site's: root stays out.
#[test]
fn root_follows_nothing_in_a_site_that_was_started_without_it() {
    let user = format!("{UID}:{UID}");
    let site = supervised().options(["--user", &user, "--tmpfs", "/run:uid=61045,gid=61045"]).start();
    as_site(&site, "ln -s /etc /run/cac-lsphp/next");
    let before = site.exec(["sh", "-c", "ls -la /etc /run/cac-lsphp"]);
    let output = docker(["exec", "--user", "0:0", &site.name, "cac-lsphp", "reload"]);
    let told = lines(&output);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains(&format!("--user {user}")), "{told}");
    assert_eq!(site.exec(["sh", "-c", "ls -la /etc /run/cac-lsphp"]), before);
}
