//! Sites without a container runtime: processes with namespaces of their own.

use std::path::Path;
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

/// Namespaces as a runtime makes them.
const UNSHARE: [&str; 7] = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "bash"];

fn start(user: &str, uid: u32) -> Plain {
    Plain::spawn(Command::new("env").args(UNSHARE).args(["-ec", START]).stdin(Stdio::null()), user, uid)
}

impl Plain {
    /// `command` ends in [`START`].
    fn spawn(command: &mut Command, user: &str, uid: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        // Of a checkout below /root nobody else may execute anything.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (binary, lsphp) = (made("CAC_TEST_BINARY"), support::repository("target/lsphp/8.2/lsphp"));
        text(run(Command::new("cp").arg(binary).arg(lsphp).arg(folder.path())));
        let copy = |name: &str| folder.path().join(name).into_os_string();
        let site = [("SITE_USER", user), ("SITE_UID", &uid.to_string())];
        let files = [("BINARY", copy("cac-lsphp")), ("LSPHP", copy("lsphp"))];
        let process = command.envs(site).envs(files).stderr(log).spawn().unwrap();
        Plain { process, folder }
    }

    /// What the exporter says of it when it serves.
    #[track_caller]
    fn found(&self, user: &str) -> Value {
        wait_until(|| {
            let look = list();
            let all = look["sites"].as_array().unwrap();
            let of_it: Vec<_> = all.iter().filter(|seen| seen["status"]["user"] == user).collect();
            match of_it[..] {
                [seen] if seen["status"]["up"] == true => Ok(seen.clone()),
                _ => Err(format!("{look:#}\n{}", self.log())),
            }
        })
    }

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
        let found = site.found(user);
        assert_eq!(found["container"], format!("pid-{}", found["pid"]));
        assert_eq!(found["recorded_by"], "root");
        assert_eq!(found["status"]["pool"]["queue"]["length"], 0, "{found:#}");
    }
}

/// Root in there is uid 300000 here, as with a runtime's userns-remap.
#[test]
fn a_site_in_a_user_namespace_has_its_uid_of_here() {
    let user_namespace =
        ["setpriv", "--reuid", "300000", "--regid", "300000", "--clear-groups", "unshare", "--user"];
    // It is nobody until it has a map, and root when it executes something with one.
    let wait = "until grep -q . /proc/self/uid_map /proc/self/gid_map; do sleep 0.1; done; exec \"$@\"";
    let mut command = Command::new("env");
    command.args(user_namespace).args(["bash", "-c", wait, "-"]).args(UNSHARE).args(["-ec", START]);
    let site = Plain::spawn(command.stdin(Stdio::null()), "mapped", 1201);
    let process = Path::new("/proc").join(site.process.id().to_string());
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    wait_until(|| match fs::read_link(process.join("ns/user")) {
        Ok(space) if space != own => Ok(()),
        space => Err(format!("{space:?}")),
    });
    for map in ["gid_map", "uid_map"] {
        fs::write(process.join(map), "0 300000 65536").unwrap();
    }
    let found = site.found("mapped");
    assert_eq!((&found["uid"], &found["recorded_by"]), (&301_201.into(), &"root".into()), "{found:#}");
    assert_eq!(found["status"]["pool"]["queue"]["length"], 0, "{found:#}");
}

/// As systemd does it: the socket belongs to another network, so its queue is not the site's to tell.
#[test]
fn a_site_whose_listener_was_handed_over_is_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hand_over = START.replace("exec env -i", "exec 3<&0 0</dev/null env -i LISTEN_FDS=1 LISTEN_PID=1");
    let mut command = Command::new("env");
    command.args(UNSHARE).args(["-ec", &hand_over]).stdin(std::os::fd::OwnedFd::from(listener));
    let site = Plain::spawn(&mut command, "handed", 63003);
    let found = site.found("handed");
    assert!(found["status"]["pool"]["queue"].is_null(), "{found:#}");
}
