//! A machine for one thread: its own `/home`, `/mnt`, `/run` and `/etc`, gone with the thread.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::support::{PATIENCE, UID, made, run, text};

pub const INI: &str = "/run/cac-lsphp/php.d/90-cac-lsphp.ini";
pub const PASSWD: &str = "/etc/passwd";
pub const GROUP: &str = "/etc/group";
const ACCOUNTS: [(&str, &str); 2] =
    [(PASSWD, "root:x:0:0:root:/root:/bin/bash\n"), (GROUP, "root:x:0:\nmail:x:8:\n")];

/// In lsphp's place: says what it really is, and what PHP would read.
const PROBE: &str = "#!/bin/sh
exec cat /proc/self/status /run/cac-lsphp/php.d/90-cac-lsphp.ini
";

/// The lines of `/proc/self/status` that matter.
const PRIVILEGES: [&str; 9] =
    ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"];

/// What a boot finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// A home as a panel unpacked it, an empty directory in the link's place: something to do for
    /// each effect.
    First,
    /// What a boot left, and a link that now leads elsewhere.
    Again,
}

pub struct Sandbox {
    tools: tempfile::TempDir,
}

pub struct Boot {
    pub output: Output,
    /// It had not ended by itself after [`PATIENCE`].
    pub hung: bool,
}

impl Boot {
    /// What the probe said of its privileges and of the ini; nothing if lsphp did not run.
    pub fn probed(&self) -> String {
        let stdout = String::from_utf8_lossy(&self.output.stdout);
        let matters = |line: &&str| line.split_once(":\t").is_none_or(|(name, _)| PRIVILEGES.contains(&name));
        stdout.lines().filter(matters).flat_map(|line| [line.trim_end(), "\n"]).collect()
    }
}

impl Sandbox {
    /// Takes the calling thread and its children to their own mounts.
    pub fn enter() -> Self {
        let tools = tempfile::tempdir().unwrap();
        fs::set_permissions(tools.path(), Permissions::from_mode(0o755)).unwrap();
        // Not written by this process: a child of another thread's could still have it open when it is executed.
        text(run(Command::new("cp").arg(made("CAC_TEST_BINARY")).arg(tools.path())));
        fs::write(tools.path().join("probe"), PROBE).unwrap();
        fs::set_permissions(tools.path().join("probe"), Permissions::from_mode(0o755)).unwrap();
        unshare(CloneFlags::CLONE_NEWNS).expect("tests that fail system calls need root: run scripts/test");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        detach_what_comes_and_goes(tools.path());
        for path in ["/home", "/mnt", "/run", "/etc"] {
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
        }
        Self { tools }
    }

    pub fn program(&self) -> PathBuf {
        self.tools.path().join("cac-lsphp")
    }

    pub fn trace_file(&self) -> PathBuf {
        self.tools.path().join("trace")
    }

    /// Makes everything as it was.
    pub fn reset(&self, begin: Begin) {
        for path in ["/home/alice", "/mnt/users", "/run/cac-lsphp"] {
            if Path::new(path).exists() {
                fs::remove_dir_all(path).unwrap();
            }
        }
        for entry in fs::read_dir("/etc").unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (path, text) in ACCOUNTS {
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all("/home/alice/public_html").unwrap();
        fs::create_dir_all("/mnt/users/alice/example.com").unwrap();
        if begin == Begin::Again {
            assert!(self.boot().output.status.success());
            fs::remove_file("/mnt/users/alice/example.com").unwrap();
            std::os::unix::fs::symlink("/elsewhere", "/mnt/users/alice/example.com").unwrap();
        }
    }

    pub fn boot(&self) -> Boot {
        self.run(Command::new(self.program()))
    }

    /// Boots under strace with these options.
    pub fn boot_traced(&self, options: &[&str]) -> Boot {
        let mut strace = Command::new("strace");
        strace.arg("-o").arg(self.trace_file()).args(options).arg(self.program());
        self.run(strace)
    }

    /// `timeout` bounds it, so that a boot that hangs is a fault and not the end of the tests.
    fn run(&self, program: Command) -> Boot {
        let begin = Instant::now();
        let output = Command::new("timeout")
            .args(["--signal", "KILL", &PATIENCE.as_secs().to_string()])
            .arg(program.get_program())
            .args(program.get_args())
            .env_clear()
            .envs([("user", "alice"), ("domain", "example.com"), ("CAC_MEMORY_MB", "1024")])
            .env("uid", UID.to_string())
            .env("PATH", "/usr/bin:/bin")
            .env("CAC_LISTEN", "127.0.0.1:9000") // nothing to warn of
            .env("CAC_OPCACHE_FILE_CACHE", "/home/alice/.opcache")
            .env("CAC_LSPHP", self.tools.path().join("probe"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Boot { output, hung: begin.elapsed() >= PATIENCE }
    }

    /// The account files are as they were, or with the site's entry: whole in either case.
    pub fn torn_account_file(&self) -> Option<&'static str> {
        let entries = [format!("alice:x:{UID}:{UID}::/home/alice:/bin/sh\n"), format!("alice:x:{UID}:\n")];
        let torn = ACCOUNTS.iter().zip(entries).find(|((path, before), entry)| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text != *before && text != format!("{before}{entry}")
        });
        torn.map(|((path, _), _)| *path)
    }
}

/// Boots read the table of mounts, and a container's go from it when the container does: with them
/// the calls of two boots would differ.
fn detach_what_comes_and_goes(tools: &Path) {
    const SYSTEM: [&str; 7] = ["/proc", "/sys", "/dev", "/usr", "/bin", "/lib", "/lib64"];
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let stays = |point: &Path| tools.starts_with(point) || SYSTEM.iter().any(|kept| point.starts_with(kept));
    for point in points.filter(|point| !stays(point)) {
        let _ = umount2(point, MntFlags::MNT_DETACH); // gone with its parent, or in between
    }
}
