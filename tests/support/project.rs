//! `examples/compose.yaml`, run with docker-compose, behind the front end that scripts/setup found.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::{ADDRESS, docker, lines, made, repository, run, text, wait_until};

/// User, uid and domain.
pub const SITES: [(&str, u32, &str); 2] = [("alice", 61045, "example.com"), ("bob", 61046, "example.org")];

/// The project, up until it is dropped.
pub struct Project {
    name: String,
    homes: TempDir,
    port: u16,
    overlays: &'static [&'static str],
    variables: Vec<(&'static str, String)>,
}

impl Project {
    /// With compose files of the repository laid over the example, and homes with nothing in them.
    pub fn new(overlays: &'static [&'static str]) -> Self {
        let homes = tempfile::tempdir().unwrap();
        for (user, ..) in SITES {
            fs::create_dir_all(homes.path().join(user).join("public_html")).unwrap();
        }
        let port = free_port();
        let name = format!("cac-test-{}-{port}", std::process::id());
        Project { name, homes, port, overlays, variables: vec![] }
    }

    /// What the compose files see from the next [`Project::up`] on.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    /// Starts what does not run, and anew what is to be different.
    pub fn up(&self) {
        text(self.compose(&["up", "-d"]));
    }

    /// A site's home, as this machine has it.
    pub fn home(&self, user: &str) -> PathBuf {
        self.homes.path().join(user)
    }

    pub fn page(&self, user: &str, name: &str, content: &str) {
        fs::write(self.home(user).join("public_html").join(name), content).unwrap();
    }

    pub fn compose(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker-compose");
        command.arg("-p").arg(&self.name);
        command.arg("-f").arg(repository("examples/compose.yaml"));
        command.arg("-f").arg(made("CAC_TEST_FRONT_END_COMPOSE"));
        for overlay in self.overlays {
            command.arg("-f").arg(repository(overlay));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let [high, low] = self.port.to_be_bytes(); // a network of this run's own
        command.env("SUBNET", format!("10.{high}.{low}.0/24"));
        for (name, host) in [("FRONT_END", 254), ("ALICE", 253), ("BOB", 252)] {
            command.env(format!("{name}_ADDRESS"), format!("10.{high}.{low}.{host}"));
        }
        command.args(arguments).env("HOMES", self.homes.path()).env("HTTP_PORT", self.port.to_string());
        run(command.env("SIDECAR", made("CAC_TEST_IMAGE")).env("FRONT_END", made("CAC_TEST_FRONT_END")))
    }

    pub fn container(&self, service: &str) -> String {
        self.of_this(&["ps", "-a", "--filter", &format!("label=com.docker.compose.service={service}")])
    }

    /// What Docker lists, by id, of this project's: it is asked a lot, and quicker than docker-compose.
    fn of_this(&self, list: &[&str]) -> String {
        let label = format!("label=com.docker.compose.project={}", self.name);
        let found = docker([list, &["-q", "--no-trunc", "--filter", &label]].concat());
        String::from_utf8_lossy(&found.stdout).trim().to_owned()
    }

    pub fn exec(&self, service: &str, command: &[&str]) -> Output {
        docker([&["exec", &self.container(service)], command].concat())
    }

    pub fn address(&self, service: &str) -> String {
        text(docker(["inspect", "--format", ADDRESS, &self.container(service)])).trim().to_owned()
    }

    /// Asked through Docker's own health check, which the example inherits from the image.
    pub fn wait_until_healthy(&self) {
        for (user, ..) in SITES {
            let container = self.container(user);
            wait_until(|| {
                let check = docker(["exec", &container, "cac-lsphp", "healthcheck", "--deep"]);
                let logs = || lines(&self.compose(&["logs"]));
                if check.status.success() { Ok(()) } else { Err(format!("{}\n{}", lines(&check), logs())) }
            });
        }
    }

    /// One HTTP request to the front end: status and body.
    pub fn curl(&self, domain: &str, path: &str, arguments: &[&str]) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let host = format!("Host: {domain}");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "240", "-w", "\n%{http_code}", "-H", &host, &url]).args(arguments);
        let output = text(run(&mut curl));
        let (body, status) = output.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    pub fn json(&self, domain: &str, path: &str, arguments: &[&str]) -> Value {
        let (status, body) = self.curl(domain, path, arguments);
        assert_eq!(status, 200, "{domain}{path}: {body}\n{}", lines(&self.compose(&["logs"])));
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

impl Drop for Project {
    /// At once: a stop is waited for where that is what a test is about.
    fn drop(&mut self) {
        let containers = self.of_this(&["ps", "-a"]);
        docker(["rm", "-f", "-v"].into_iter().chain(containers.lines()));
        let networks = self.of_this(&["network", "ls"]);
        docker(["network", "rm"].into_iter().chain(networks.lines()));
    }
}

/// Below those that the kernel gives to connections: one of these would be taken before Docker gets there.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 12_000) as u16;
    let ports = std::iter::repeat_with(|| 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000);
    let mut free = ports.take(12_000).filter(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok());
    free.next().expect("a free port from 20000 to 31999")
}
