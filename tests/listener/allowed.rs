//! Peers that are allowed, and peers that are not.

use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{Running, Site, UID, docker, made, text};

/// Prints the errno of a connect to each of the addresses, waiting 1.5 s for an answer at most.
const CONNECT: &str = "foreach (array_slice($argv, 1) as $peer) { \
    $socket = @stream_socket_client(\"tcp://$peer:9000\", $errno, $text, 1.5); \
    echo $socket ? 'connected' : ($errno === 111 ? 'refused' : 'silence'), ' '; }";

/// A network of both families that is gone when it is dropped.
struct Network {
    name: String,
    number: u32,
}

impl Network {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = (std::process::id() * 8 + COUNTER.fetch_add(1, Ordering::Relaxed)) % 250;
        let name = format!("cac-test-listener-{}-{number}", std::process::id());
        let (v4, v6) = (format!("10.213.{number}.0/24"), format!("fd13:{number}::/64"));
        text(docker(["network", "create", "--ipv6", "--subnet", &v4, "--subnet", &v6, &name]));
        Self { name, number }
    }

    /// The addresses of its member with this number.
    fn member(&self, member: u32) -> [String; 2] {
        [format!("10.213.{}.{member}", self.number), format!("fd13:{}::{member}", self.number)]
    }

    /// What a container with the addresses of `member` finds at `site`, over IPv4 and IPv6.
    fn connect(&self, member: u32, site: &Running) -> String {
        let [v4, v6] = self.member(member);
        let ips = "{{range .NetworkSettings.Networks}}{{.IPAddress}} [{{.GlobalIPv6Address}}]{{end}}";
        let peers = site.inspect(ips);
        let mut command = vec!["run", "--rm", "--network", &self.name, "--ip", &v4, "--ip6", &v6];
        let image = made("CAC_TEST_IMAGE");
        command.extend(["--entrypoint", "php", &image, "-r", CONNECT, "--"]);
        command.extend(peers.split_whitespace());
        text(docker(command))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(["network", "rm", &self.name]);
    }
}

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
    assert!(unchanged.contains("the plan is as it was"), "{unchanged}");
}
