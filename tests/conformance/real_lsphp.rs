//! An lsphp with real PHP inside: the one in `CAC_TEST_LSPHP`, else the one that tests/lsphp/build makes.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cac_lsphp::address::Address;
use cac_lsphp::lsapi::Deadline;
use cac_lsphp::lsapi::connection::Connection;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A running lsphp and a directory for its scripts; both end with this.
pub struct RealLsphp {
    parent: Child,
    address: Address,
    directory: tempfile::TempDir,
}

impl RealLsphp {
    /// `host` is an IP address as in a URI, or `unix`; three workers unless `environment` says otherwise.
    pub fn start(host: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = match host {
            "unix" => directory.path().join("lsphp.sock").display().to_string(),
            host => {
                let free = TcpListener::bind(format!("{host}:0")).unwrap();
                free.local_addr().unwrap().to_string()
            }
        };
        let parent = Command::new(binary())
            .args(["-b", &address])
            .env_clear()
            .envs([("PHP_LSAPI_CHILDREN", "3"), ("LSAPI_EXTRA_CHILDREN", "0")])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .unwrap();
        let lsphp = RealLsphp { parent, address: address.parse().unwrap(), directory };
        lsphp.wait_until_it_listens();
        lsphp
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Writes a script; gives back its path.
    pub fn script(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn wait_until_it_listens(&self) {
        let start = Instant::now();
        while let Err(error) = Connection::open(&self.address, Deadline::after(Duration::from_secs(60))) {
            assert!(start.elapsed() < Duration::from_secs(60), "lsphp does not start: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for RealLsphp {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.parent.id() as i32), Signal::SIGKILL);
        let _ = self.parent.wait();
    }
}

fn binary() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lsphp/lsphp");
    let binary = std::env::var_os("CAC_TEST_LSPHP").map_or(built, PathBuf::from);
    assert!(
        binary.is_file(),
        "no lsphp at {}: build one with tests/lsphp/build, or name one in CAC_TEST_LSPHP",
        binary.display()
    );
    binary
}
