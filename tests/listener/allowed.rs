//! Peers that are allowed, and peers that are not.

use std::os::unix::fs::{PermissionsExt, chown};

use crate::network::Network;
use crate::support::{Site, UID, docker};

fn site_on(network: &Network, home: &std::path::Path) -> Site {
    let allowed = network.member(5).join(", ");
    Site::at(home)
        .options(["--network", &network.name])
        .env("CAC_LISTEN", "[::]:9000")
        .env("CAC_ALLOWED_CLIENTS", &allowed)
}

/// What is started, with what it may do.
fn is_let_in_alone(network: &Network, site: Site) {
    let site = site.start();
    let before = site.logs();
    assert_eq!(network.connect(6, &site), "silence silence ", "{}", site.logs());
    // Nothing of it is to be seen: no worker, nobody in the queue, no line.
    let idle = site.exec(["cac-lsphp", "healthcheck"]);
    let allowed = network.member(5).join(" ");
    let healthy = format!("0 workers of 7, queue 0 of 511, allowed: {allowed}");
    assert!(idle.contains(&healthy), "{idle}");
    assert_eq!(site.logs(), before);

    assert_eq!(network.connect(5, &site), "connected connected ", "{}", site.logs());
    let deep = site.exec(["cac-lsphp", "healthcheck", "--deep"]);
    assert!(deep.contains("answer 200"), "from the loopback: {deep}");
    assert_eq!(network.connect(6, &site), "silence silence ", "with workers too");
}

#[test]
fn only_allowed_peers_get_an_answer_from_a_site_that_root_started() {
    let network = Network::new();
    let home = tempfile::tempdir().unwrap();
    let caps = ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "SETUID", "--cap-add", "SETGID"];
    is_let_in_alone(&network, site_on(&network, home.path()).options(caps));
}

#[test]
fn only_allowed_peers_get_an_answer_without_root_and_without_any_capability() {
    let network = Network::new();
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(home.path(), Some(UID), Some(UID)).unwrap();
    let user = format!("{UID}:{UID}");
    let run = format!("/run:mode=0755,uid={UID},gid={UID}");
    let options = ["--cap-drop", "ALL", "--user", &user, "--tmpfs", &run];
    is_let_in_alone(&network, site_on(&network, home.path()).options(options).env("CAC_SITE_LINK", "0"));
}

#[test]
fn lists_that_are_wrong_are_refused_together() {
    let ended = Site::new()
        .env("CAC_ALLOWED_CLIENTS", "front-end, 10.0.0.0/33")
        .env("CAC_BACKLOG", "many")
        .run_to_end();
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    for name in ["CAC_ALLOWED_CLIENTS", "CAC_BACKLOG"] {
        let told = ended.stderr.lines().filter(|line| line.contains("ERROR") && line.contains(name)).count();
        assert_eq!(told, 1, "{}", ended.stderr);
    }
}

#[test]
fn the_serving_listener_is_told_from_the_parking_one_however_short_its_queue() {
    for supervise in ["0", "1"] {
        let site = Site::new().env("CAC_ALLOWED_CLIENTS", "10.213.0.5").env("CAC_BACKLOG", "1");
        let site = site.env("CAC_SUPERVISE", supervise).start();
        let said = site.exec(["cac-lsphp", "healthcheck"]);
        assert!(said.contains("queue 0 of 1, allowed: 10.213.0.5"), "{said}");
    }
}

#[test]
fn a_reload_does_not_pretend_to_change_the_listener() {
    let site = Site::new().env("CAC_ALLOWED_CLIENTS", "10.213.0.5").env("CAC_SUPERVISE", "1").start();
    let changed = ["-e", "CAC_ALLOWED_CLIENTS=10.213.0.6", "-e", "CAC_BACKLOG=20"];
    let command = [&["exec"], &changed[..], &[&site.name, "cac-lsphp", "reload"]].concat();
    let output = docker(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for fault in [
        r#"CAC_ALLOWED_CLIENTS is "10.213.0.6" now and was "10.213.0.5""#,
        r#"CAC_BACKLOG is "20" now and was "511""#,
    ] {
        assert!(said.contains(fault), "{said}");
    }
    let unchanged = site.exec(["cac-lsphp", "reload"]);
    assert!(unchanged.contains("the plan has not changed"), "{unchanged}");
}

#[test]
fn what_is_handed_over_must_be_one_listener_of_streams() {
    let idle = Site::new().env("CAC_IDLE_EXIT", "30").run_to_end();
    assert_eq!(idle.code, 78, "{}", idle.stderr);
    let told =
        idle.stderr.contains("CAC_IDLE_EXIT from the environment") && idle.stderr.contains("handed over");
    assert!(told, "{}", idle.stderr);

    let two = Site::new().env("LISTEN_FDS", "2").env("LISTEN_PID", "1").run_to_end();
    assert_eq!(two.code, 78, "{}", two.stderr);
    assert!(two.stderr.contains("exactly one listener"), "{}", two.stderr);

    for (descriptor, fault) in
        [("/dev/udp/127.0.0.1/9", "not a stream socket"), ("/dev/null", "not a socket")]
    {
        let script = format!("exec 3<>{descriptor}; LISTEN_FDS=1 LISTEN_PID=$$ exec cac-lsphp");
        let site = Site::new().options(["--entrypoint", "bash"]).arguments(["-c", &script]).run_to_end();
        assert_eq!(site.code, 78, "{}", site.stderr);
        assert!(site.stderr.contains(fault), "{descriptor}: {}", site.stderr);
    }
}
