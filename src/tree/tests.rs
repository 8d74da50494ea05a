use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

const MODE: Mode = Mode::from_bits_truncate(0o755);

fn tree() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open_system(folder.path()).unwrap();
    (folder, directory)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

type Open = fn(&Directory, &Name) -> io::Result<OwnedFd>;

/// Both ways to open a directory, so that the fallback is held to the same.
const WAYS: [(&str, Open); 2] = [
    ("openat2", |d, n| d.openat2(n, DIRECTORY, Mode::empty(), Mounts::Refuse)),
    ("openat", |d, n| d.openat_nofollow(n, DIRECTORY, Mode::empty(), Mounts::Refuse)),
];
const DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

#[test]
fn only_a_directory_is_entered() {
    let (folder, directory) = tree();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    symlink("directory", at("relative")).unwrap();
    symlink(at("directory"), at("absolute")).unwrap();
    symlink("/", at("root")).unwrap();
    symlink("..", at("parent")).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::write(at("file"), "").unwrap();
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for (way, open) in WAYS {
        let opened = open(&directory, &name("directory")).unwrap();
        let inode = nix::sys::stat::fstat(&opened).unwrap().st_ino;
        assert_eq!(inode, fs::metadata(at("directory")).unwrap().ino(), "{way}");
        for refused in
            ["relative", "absolute", "root", "parent", "loop", "dangling", "file", "fifo", "socket"]
        {
            let error = open(&directory, &name(refused)).unwrap_err().raw_os_error();
            assert!(matches!(error, Some(libc::ENOTDIR | libc::ELOOP)), "{way} {refused}: {error:?}");
        }
        let missing = open(&directory, &name("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound, "{way}");
    }
}

/// `/proc` and `/dev` are mounts on any machine that can run this.
#[test]
fn a_mount_is_entered_only_where_it_may_be() {
    let root = Directory::open_system(Path::new("/")).unwrap();
    for (way, open) in WAYS {
        for mount in ["proc", "dev"] {
            let error = open(&root, &name(mount)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{way} {mount}");
        }
    }
    assert!(root.child(&name("proc")).is_ok());
    assert!(root.child_on_same_mount(&name("proc")).is_err());
    assert!(root.openat_nofollow(&name("proc"), DIRECTORY, Mode::empty(), Mounts::Enter).is_ok());
}

#[test]
fn a_missing_directory_is_made_once() {
    let (folder, directory) = tree();
    let made = directory.child_or_make(&name("a"), MODE).unwrap();
    assert_eq!(made.path(), folder.path().join("a"));
    let again = directory.child_or_make(&name("a"), MODE).unwrap();
    assert_eq!(made.status().unwrap().st_ino, again.status().unwrap().st_ino);
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(directory.child_or_make(&name("file"), MODE).is_err());
}

#[test]
fn a_way_is_made_once_and_never_leads_over_a_link() {
    let (folder, _) = tree();
    let at = |way: &str| folder.path().join(way);
    let made = Directory::open_or_make(&at("a/b"), MODE).unwrap();
    assert_eq!(made.path(), at("a/b"));
    assert_eq!(fs::metadata(at("a/b")).unwrap().mode() & 0o7777, 0o755);
    let again = Directory::open_or_make(&at("a/b"), MODE).unwrap();
    assert_eq!(made.status().unwrap().st_ino, again.status().unwrap().st_ino);

    symlink(at("a"), at("link")).unwrap();
    symlink("b", at("a/link")).unwrap();
    fs::write(at("file"), "").unwrap();
    for refused in ["link", "link/b", "a/link", "file", "file/b"] {
        let error = Directory::open_or_make(&at(refused), MODE).unwrap_err().raw_os_error();
        assert!(matches!(error, Some(libc::ENOTDIR | libc::ELOOP)), "{refused}: {error:?}");
        assert!(Directory::open_without_links(&at(refused)).is_err(), "{refused}");
    }
    for refused in ["..", "a/../a", "a/.."] {
        let error = Directory::open_or_make(&at(refused), MODE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{refused}");
    }
    let missing = Directory::open_or_make(Path::new("/nonexistent/a"), MODE).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

/// As images may have /home or /mnt. A system whose /lib is a link has one to try.
#[test]
fn the_systems_own_directory_may_be_a_link() {
    if !fs::symlink_metadata("/lib").is_ok_and(|status| status.is_symlink()) {
        eprintln!("not tried: /lib is no link here");
        return;
    }
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let below = fs::read_dir("/lib").unwrap().flatten().find(is_directory).unwrap().path();
    let opened = Directory::open_or_make(&below, MODE).unwrap();
    assert_eq!(opened.status().unwrap().st_ino, fs::metadata(&below).unwrap().ino());
    assert!(Directory::open_without_links(&below).is_err());
}

#[test]
fn a_directory_stays_the_same_wherever_its_name_goes() {
    let (folder, directory) = tree();
    let held = directory.child_or_make(&name("a"), MODE).unwrap();
    fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    held.child_or_make(&name("inside"), MODE).unwrap();
    assert!(folder.path().join("b/inside").is_dir());
}

#[test]
fn kinds() {
    let (folder, directory) = tree();
    symlink("/", folder.path().join("link")).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    fs::create_dir(folder.path().join("directory")).unwrap();
    let kind = |text| directory.kind(&name(text)).unwrap();
    assert_eq!(kind("missing"), None);
    assert_eq!(kind("link"), Some(Kind::Link));
    assert_eq!(kind("file"), Some(Kind::Other));
    assert_eq!(kind("directory"), Some(Kind::Directory));
}

#[test]
fn entries_are_seen() {
    let (folder, directory) = tree();
    assert!(!directory.has_entries().unwrap());
    symlink("nowhere", folder.path().join(".hidden")).unwrap();
    assert!(directory.has_entries().unwrap());
}

#[test]
fn only_a_regular_file_of_bearable_size_is_read() {
    let (folder, directory) = tree();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "12345").unwrap();
    symlink("file", at("link")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(at("directory")).unwrap();
    assert_eq!(directory.read_file(&name("file"), 5).unwrap().0, b"12345");
    assert!(directory.read_file(&name("file"), 4).is_err());
    for refused in ["link", "fifo", "directory", "missing"] {
        assert!(directory.read_file(&name(refused), 5).is_err(), "{refused}");
    }
}

#[test]
fn a_link_under_the_temporary_name_is_not_written_through() {
    let (folder, directory) = tree();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("victim"), "old").unwrap();
    symlink("victim", at("temporary")).unwrap();
    directory.write_file(&name("temporary"), b"new", Mode::from_bits_truncate(0o640)).unwrap();
    let written = fs::symlink_metadata(at("temporary")).unwrap();
    assert!(!written.file_type().is_symlink() && !written.file_type().is_fifo());
    assert_eq!(written.mode() & 0o7777, 0o640);
    assert_eq!(fs::read(at("victim")).unwrap(), b"old");
    assert_eq!(fs::read(at("temporary")).unwrap(), b"new");
}

#[test]
fn links_are_made_exchanged_and_removed_as_links() {
    let (folder, directory) = tree();
    fs::create_dir(folder.path().join("directory")).unwrap();
    directory.symlink(&name("link"), Path::new("directory")).unwrap();
    directory.exchange(&name("link"), &name("directory")).unwrap();
    assert_eq!(directory.read_link(&name("directory")).unwrap(), "directory");
    assert!(directory.remove_directory(&name("directory")).is_err());
    directory.remove_file(&name("directory")).unwrap();
    assert!(directory.remove_file(&name("link")).is_err(), "it is the directory now");
    directory.remove_directory(&name("link")).unwrap();
}

#[test]
fn an_interrupted_call_is_repeated() {
    let calls = std::cell::Cell::new(0);
    let result = uninterrupted(|| {
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err(Errno::EINTR) } else { Ok(calls.get()) }
    });
    assert_eq!(result.unwrap(), 3);
    assert!(uninterrupted::<()>(|| Err(Errno::EIO)).is_err());
}
