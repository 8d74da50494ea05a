//! An lsphp as the image has it, without cac-lsphp before it.

use std::net::TcpListener;

use cac_lsphp::address::Address;
use cac_lsphp::lsapi::Deadline;
use cac_lsphp::lsapi::connection::Connection;

use crate::support::{PATIENCE, docker, lsphp, made, text, wait_until};

/// A running lsphp and a directory for its scripts; both end with this.
pub struct RealLsphp {
    container: String,
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
        let (base, binary) = (made("CAC_TEST_BASE"), lsphp());
        let volume = format!("{0}:{0}", directory.path().display());
        // The machine's network: the sender is on it, with both families.
        let mut command = vec!["run", "-d", "--network", "host", "-v", &volume, "--entrypoint", &binary];
        let variables: Vec<String> = [("PHP_LSAPI_CHILDREN", "3"), ("LSAPI_EXTRA_CHILDREN", "0")]
            .iter()
            .chain(environment)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        command.extend(variables.iter().flat_map(|variable| ["-e", variable]));
        command.extend([&base, "-b", &address]);
        let container = text(docker(command)).trim().to_owned();
        let lsphp = RealLsphp { container, address: address.parse().unwrap(), directory };
        wait_until(|| match Connection::open(&lsphp.address, Deadline::after(PATIENCE)) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        });
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
}

impl Drop for RealLsphp {
    fn drop(&mut self) {
        docker(["rm", "-f", &self.container]);
    }
}
