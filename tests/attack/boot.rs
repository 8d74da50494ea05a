//! One start of alice's site inside the container, to its end.

use std::process::{Command, Stdio};

use crate::support::PATIENCE;

pub const UID: u32 = crate::support::UID;

#[derive(Debug)]
pub struct Boot {
    pub code: i32,
    /// lsphp was executed.
    pub started: bool,
    pub stderr: String,
}

impl Boot {
    pub fn lines(&self, level: &str) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.trim_start().starts_with(level)).collect()
    }
}

pub fn boot() -> Boot {
    boot_by(&[], "alice")
}

/// Boots as in another container that shares everything but `/run`.
pub fn boot_elsewhere(user: &str) -> Boot {
    let own_run = r#"mount -t tmpfs tmpfs /run && exec "$@""#;
    boot_by(&["unshare", "--mount", "sh", "-c", own_run, "sh"], user)
}

/// Boots with what Docker's default capabilities leave. `echo` is lsphp: it shows that it ran.
fn boot_by(wrapper: &[&str], user: &str) -> Boot {
    let seconds = PATIENCE.as_secs().to_string();
    let output = Command::new("timeout")
        .args(["--signal", "KILL", &seconds])
        .args(wrapper)
        .args(["setpriv", "--bounding-set", "-sys_admin,-linux_immutable"])
        .arg("/usr/local/bin/cac-lsphp")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("user", user)
        .env("uid", UID.to_string())
        .env("domain", "example.com")
        .env("CAC_MEMORY_MB", "1024")
        .env("CAC_LISTEN", "127.0.0.1:9000") // nothing to warn of
        .env("CAC_OPCACHE_FILE_CACHE", "/home/alice/.opcache")
        .env("CAC_LSPHP", "/bin/echo")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // timeout(1) kills itself along with what it runs.
    assert!(output.status.code().is_some(), "what was planted held the boot up: {output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let started = stdout == "-b 127.0.0.1:9000\n";
    assert!(started || stdout.is_empty(), "{stdout}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Boot { code: output.status.code().unwrap_or(-1), started, stderr }
}
