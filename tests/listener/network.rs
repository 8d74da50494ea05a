//! A network of the tests' own, whose members have fixed addresses.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{Running, docker, lines, made, text};

/// Prints the errno of a connect to each of the addresses, waiting 1.5 s for an answer at most.
const CONNECT: &str = "foreach (array_slice($argv, 1) as $peer) { \
    $socket = @stream_socket_client(\"tcp://$peer:9000\", $errno, $text, 1.5); \
    echo $socket ? 'connected' : ($errno === 111 ? 'refused' : 'silence'), ' '; }";

/// A network of both families that is gone when it is dropped.
pub struct Network {
    pub name: String,
    number: u32,
}

impl Network {
    pub fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = (std::process::id() * 8 + COUNTER.fetch_add(1, Ordering::Relaxed)) % 250;
            let name = format!("cac-test-listener-{}-{number}", std::process::id());
            let (v4, v6) = (format!("10.213.{number}.0/24"), format!("fd13:{number}::/64"));
            let made = docker(["network", "create", "--ipv6", "--subnet", &v4, "--subnet", &v6, &name]);
            // Of a run that was killed: the next one is tried.
            if !lines(&made).contains("overlaps") {
                text(made);
                return Self { name, number };
            }
        }
    }

    /// The addresses of its member with this number.
    pub fn member(&self, member: u32) -> [String; 2] {
        [format!("10.213.{}.{member}", self.number), format!("fd13:{}::{member}", self.number)]
    }

    /// What a container with the addresses of `member` finds at `site`, over IPv4 and IPv6.
    pub fn connect(&self, member: u32, site: &Running) -> String {
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
