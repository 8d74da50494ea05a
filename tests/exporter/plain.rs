//! Sites without a container runtime: processes with namespaces of their own.

use std::process::{Child, Stdio};

use super::*;

/// A site in its own mount, pid and network namespaces; its end is its group's.
struct Plain {
    process: Child,
    folder: tempfile::TempDir,
}

/// What a runtime would do: nothing of the machine's may be changed by a start.
const START: &str = r#"
mount --bind /etc /etc && mount -o remount,ro,bind /etc
for place in /run /home /mnt; do mount -t tmpfs tmpfs $place; done
install -m 755 "$LSPHP" /mnt/lsphp
ip link set lo up
exec env -i user="$SITE_USER" uid="$SITE_UID" CAC_LSPHP=/mnt/lsphp CAC_SITE_LINK=0 CAC_MEMORY_MB=512 "$BINARY" run
"#;

fn start(user: &str, uid: u32) -> Plain {
    let folder = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let lsphp = concat!(env!("CARGO_MANIFEST_DIR"), "/target/lsphp/8.2/lsphp");
    let process = Command::new("unshare")
        .args(["--mount", "--pid", "--net", "--fork", "--mount-proc", "bash", "-ec", START])
        .env("SITE_USER", user)
        .env("SITE_UID", uid.to_string())
        .env("BINARY", made("CAC_TEST_BINARY"))
        .env("LSPHP", lsphp)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Plain { process, folder }
}

impl Plain {
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// The namespace's first process takes all others along. It has given up root, and with it the signal that unshare's
/// end would have been.
impl Drop for Plain {
    fn drop(&mut self) {
        let pid = self.process.id();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).status();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn plain_processes_are_found_by_their_pid() {
    let sites = [start("plain1", 63001), start("plain2", 63002)];
    for (site, user) in sites.iter().zip(["plain1", "plain2"]) {
        let found = wait_until(|| {
            let look = list();
            let all = look["sites"].as_array().unwrap();
            let of_it: Vec<_> = all.iter().filter(|seen| seen["status"]["user"] == user).cloned().collect();
            match &of_it[..] {
                [seen] if seen["status"]["up"] == true => Ok(seen.clone()),
                _ => Err(format!("{look:#}\n{}", site.log())),
            }
        });
        assert_eq!(found["container"], format!("pid-{}", found["pid"]));
        assert_eq!(found["recorded_by"], "root");
        assert_eq!(found["status"]["pool"]["queue"]["length"], 0, "{found:#}");
    }
}
