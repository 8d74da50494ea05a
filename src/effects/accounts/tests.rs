use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::LazyLock;

use super::*;
use crate::identity::{Gid, Uid};

/// A process has them once.
static PRIVILEGED: LazyLock<Privileged> = LazyLock::new(|| Privileged::take().unwrap());

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\xff\xfe not even a line\n:::\nalicea:x:7:7::/:\n";

struct Etc(tempfile::TempDir);

impl Etc {
    fn with(passwd: &[u8], group: &[u8]) -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        fs::write(etc.file("passwd"), passwd).unwrap();
        fs::write(etc.file("group"), group).unwrap();
        etc
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    fn add(&self, user: &str) -> Result<(), String> {
        add_to(self.0.path(), user)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn add_to(etc: &Path, user: &str) -> Result<(), String> {
    let (uid, gid) = (Uid::new(61045).unwrap(), Gid::new(61046).unwrap());
    let site = Site::new(user.parse().unwrap(), uid, gid, None);
    add(&PRIVILEGED, etc, &site).map_err(|error| error.to_string())
}

#[test]
fn entries_are_added_once_and_every_byte_stays() {
    let etc = Etc::with(PASSWD, b"");
    etc.add("alice").unwrap();
    let expected = [PASSWD, b"alice:x:61045:61046::/home/alice:/bin/sh\n"].concat();
    assert_eq!(etc.read("passwd"), expected);
    assert_eq!(etc.read("group"), b"alice:x:61046:\n");

    let inode = fs::metadata(etc.file("passwd")).unwrap().ino();
    etc.add("alice").unwrap();
    assert_eq!(etc.read("passwd"), expected);
    assert_eq!(fs::metadata(etc.file("passwd")).unwrap().ino(), inode, "written for nothing");
    assert_eq!(etc.names(), [".pwd.lock", "group", "passwd"]);
}

#[test]
fn a_last_line_without_its_end_gets_one() {
    let etc = Etc::with(b"root:x:0:0::/:", b"root:x:0:");
    etc.add("alice").unwrap();
    assert_eq!(etc.read("passwd"), b"root:x:0:0::/:\nalice:x:61045:61046::/home/alice:/bin/sh\n");
    assert_eq!(etc.read("group"), b"root:x:0:\nalice:x:61046:\n");
}

#[test]
fn the_mode_stays() {
    let etc = Etc::with(PASSWD, b"");
    fs::set_permissions(etc.file("passwd"), Permissions::from_mode(0o640)).unwrap();
    etc.add("alice").unwrap();
    assert_eq!(fs::metadata(etc.file("passwd")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn a_name_of_another_uid_is_refused_and_nothing_is_written() {
    for line in
        ["alice:x:61044:1::/:/bin/sh", "alice:x:0:0::/:", "alice:x:61045 :1:::", "alice:x::1", "alice"]
    {
        // Whether a line without its end is whole is looked at under the lock.
        for (passwd, lock) in [(format!("{line}\n"), None), (line.to_owned(), Some(".pwd.lock"))] {
            let etc = Etc::with(passwd.as_bytes(), b"root:x:0:\n");
            let message = etc.add("alice").unwrap_err();
            assert!(message.contains("user alice is uid") && message.contains("61045"), "{line}: {message}");
            assert_eq!(etc.read("passwd"), passwd.as_bytes());
            assert_eq!(etc.read("group"), b"root:x:0:\n", "{line}");
            let names: Vec<_> = lock.into_iter().chain(["group", "passwd"]).collect();
            assert_eq!(etc.names(), names, "{line}");
        }
    }
}

#[test]
fn a_group_of_another_gid_stays() {
    let etc = Etc::with(PASSWD, b"alice:x:5:bob\n");
    etc.add("alice").unwrap();
    assert_eq!(etc.read("group"), b"alice:x:5:bob\n");
}

#[test]
fn what_is_no_file_is_left_alone() {
    let etc = Etc::with(PASSWD, b"");
    fs::rename(etc.file("passwd"), etc.file("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", etc.file("passwd")).unwrap();
    etc.add("alice").unwrap();
    assert_eq!(etc.read("elsewhere"), PASSWD);
    assert_eq!(etc.read("group"), b"alice:x:61046:\n", "each file on its own");

    fs::remove_file(etc.file("passwd")).unwrap();
    nix::unistd::mkfifo(&etc.file("passwd"), Mode::S_IRUSR).unwrap();
    etc.add("bob").unwrap();
}

#[test]
fn a_file_too_large_to_be_one_is_left_alone() {
    let etc = Etc::with(b"", b"");
    fs::File::create(etc.file("passwd")).unwrap().set_len(LARGEST_FILE + 1).unwrap();
    etc.add("alice").unwrap();
    assert_eq!(fs::metadata(etc.file("passwd")).unwrap().len(), LARGEST_FILE + 1);
}

/// The look that comes first ends somewhere; wherever that is, it must not take half a number for one.
#[test]
fn a_line_at_the_end_of_the_look_is_read_whole() {
    let line = b"alice:x:61045:61046::/home/alice:/bin/sh\n";
    for before in [4 << 20, (4 << 20) - 12, (4 << 20) - line.len()] {
        let passwd = [vec![b'\n'; before], line.to_vec()].concat();
        let etc = Etc::with(&passwd, b"alice:x:61046:");
        etc.add("alice").unwrap();
        assert_eq!(etc.read("passwd").len(), passwd.len(), "{before}");
        assert_eq!(etc.read("group"), b"alice:x:61046:");
    }
}

#[test]
fn what_an_interrupted_start_left_is_replaced() {
    let etc = Etc::with(PASSWD, b"");
    fs::write(etc.file(".passwd.cac-lsphp"), "half a li").unwrap();
    etc.add("alice").unwrap();
    assert_eq!(etc.names(), [".pwd.lock", "group", "passwd"]);
}
