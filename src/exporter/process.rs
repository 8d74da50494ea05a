//! What the kernel says of a process that may be a site's: who it is, there and here.

use std::io;
use std::path::{Path, PathBuf};

use crate::kernel_file;

/// Bytes of a container's id, in hexadecimal digits, and how many of them people see.
const ID_LENGTH: usize = 64;
const ID_SHOWN: usize = 12;

/// From `/proc/PID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Real, effective, saved and file system uid, as this machine numbers them.
    pub uids: [u32; 4],
    /// Its pid in the innermost namespace.
    pub inner_pid: u32,
    /// That namespace is below the one of `/proc`: it is a container's.
    pub is_contained: bool,
}

impl Identity {
    /// # Errors
    /// The process with the directory `process` in `/proc` is gone.
    pub fn read(process: &Path) -> io::Result<Self> {
        let status = kernel_file::read(&process.join("status"))?;
        Self::parse(&String::from_utf8_lossy(&status)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(status: &str) -> Option<Self> {
        let line = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.split_ascii_whitespace().map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()
        };
        // A kernel without pid namespaces has no such line.
        let pids = line("NSpid").or_else(|| line("Pid"))?;
        let (inner_pid, is_contained) = (*pids.last()?, pids.len() > 1);
        Some(Self { uids: line("Uid")?.try_into().ok()?, inner_pid, is_contained })
    }

    /// Whether it is `uid` in every way.
    pub fn is_only(&self, uid: u32) -> bool {
        self.uids == [uid; 4]
    }
}

/// A namespace, such as `mnt:[4026531841]`.
///
/// # Errors
/// The process is gone, or may not be looked at.
pub fn namespace(process: &Path, kind: &str) -> io::Result<PathBuf> {
    std::fs::read_link(process.join("ns").join(kind))
}

/// Its user namespace, as it is at one moment: the next it may be in another one.
pub fn uid_map(process: &Path) -> String {
    String::from_utf8_lossy(&kernel_file::read(&process.join("uid_map")).unwrap_or_default()).into_owned()
}

/// What this machine calls the uid that a process with this map calls `uid`; `None`: nothing. Its lines have the first
/// uid inside, the first outside, and how many, see user_namespaces(7).
pub fn outer_uid(map: &str, uid: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = uid.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

/// The start of the container's id, by the cgroup that the runtime has put the process into; `None`: it has none.
pub fn container(process: &Path) -> Option<String> {
    container_in(&kernel_file::read(&process.join("cgroup")).ok()?)
}

/// `/docker/ID`, `/system.slice/docker-ID.scope`, `…/cri-containerd-ID.scope`, `…/libpod-ID.scope/container`.
fn container_in(cgroups: &[u8]) -> Option<String> {
    let mut digits = cgroups.split(|byte| !byte.is_ascii_hexdigit());
    let id = digits.rfind(|digits| digits.len() == ID_LENGTH)?;
    Some(String::from_utf8_lossy(id.get(..ID_SHOWN)?).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_itself() {
        let process = Path::new("/proc/self");
        let identity = Identity::read(process).unwrap();
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(identity.inner_pid, std::process::id());
        assert!(identity.is_only(uid) && !identity.is_only(uid + 1));
        assert_eq!(outer_uid(&uid_map(process), uid), Some(uid));
        assert!(namespace(process, "mnt").unwrap().to_str().unwrap().starts_with("mnt:["));
    }

    #[test]
    fn the_innermost_pid_counts() {
        let status = "Name:\tNSpid:\t7\nPid:\t4711\nUid:\t0\t1\t2\t3\nNSpid:\t4711\t17\t1\n";
        let expected = Identity { uids: [0, 1, 2, 3], inner_pid: 1, is_contained: true };
        assert_eq!(Identity::parse(status), Some(expected));
        let plain = Identity { uids: [1; 4], inner_pid: 7, is_contained: false };
        for status in ["Pid:\t7\nUid:\t1\t1\t1\t1\n", "NSpid:\t7\nUid:\t1\t1\t1\t1\n"] {
            assert_eq!(Identity::parse(status), Some(plain));
        }
        for status in ["", "Pid:\t7\n", "Uid:\t1\t1\t1\nPid:\t1\n", "Uid:\t1\t1\t1\tx\nPid:\t1\n"] {
            assert_eq!(Identity::parse(status), None, "{status:?}");
        }
    }

    #[test]
    fn a_uid_has_another_name_outside() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        for (inside, outside) in [(0, Some(1000)), (1, Some(100_000)), (61045, Some(161_044)), (65537, None)]
        {
            assert_eq!(outer_uid(map, inside), outside, "{inside}");
        }
        assert_eq!(outer_uid("0 0 4294967295\n", 4_294_967_294), Some(4_294_967_294));
        assert_eq!(outer_uid("0 4294967295 2\n", 1), None);
        assert_eq!(outer_uid("x\n\n0 1\n", 0), None);
    }

    #[test]
    fn a_container_is_known_by_its_cgroup() {
        let id = "0123456789abcdef".repeat(4);
        for cgroups in [
            format!("4:memory:/docker/{id}\n0::/\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/kubepods.slice/kubepods-pod7f.slice/cri-containerd-{id}.scope"),
            format!("0::/machine.slice/libpod-{id}.scope/container\n"),
            format!("0::/docker/{}/docker/{id}\n", "f".repeat(64)),
        ] {
            assert_eq!(container_in(cgroups.as_bytes()).as_deref(), Some("0123456789ab"), "{cgroups}");
        }
        for cgroups in ["0::/\n", "0::/user.slice/session-1.scope", "", &format!("0::/{id}0")] {
            assert_eq!(container_in(cgroups.as_bytes()), None, "{cgroups}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed(text in "[\\PC\\n\\t]{0,200}", uid: u32) {
            let _ = (Identity::parse(&text), outer_uid(&text, uid), container_in(text.as_bytes()));
        }
    }
}
