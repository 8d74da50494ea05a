//! What a start does to the tenant's home.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{Site, UID};

/// Everything about each file that a start could change. A change time says of an inode that nobody
/// touched its owner, mode, links or content, not even to set it to what it was.
fn snapshot(directory: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let status = fs::symlink_metadata(&path).unwrap();
        let content = if status.is_file() { fs::read(&path).unwrap() } else { vec![] };
        let facts = (
            status.ino(),
            status.uid(),
            status.gid(),
            status.mode(),
            status.ctime(),
            status.ctime_nsec(),
            content,
        );
        all.insert(path.display().to_string(), format!("{facts:?}"));
        if status.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all
}

#[test]
fn a_second_start_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let site = Site::at(home.path()).page("page.php", "<?php echo 1;").file("wp-content/odd name", "x");
    std::os::unix::fs::symlink("/etc/passwd", home.path().join("link")).unwrap();
    let running = site.start();
    assert_eq!(running.get("page.php").body, b"1");
    drop(running);
    let first = snapshot(home.path());
    for (name, uid) in
        [("", UID), ("public_html", UID), ("logs", UID), ("logs/php-fpm", UID), ("public_html/page.php", 0)]
    {
        assert_eq!(
            fs::metadata(home.path().join(name)).unwrap().uid(),
            uid,
            "{name:?} after the first start"
        );
    }
    assert_eq!(Site::at(home.path()).start().get("page.php").body, b"1");
    assert_eq!(snapshot(home.path()), first);
}

#[test]
fn a_thousand_files_are_not_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let uploads = home.path().join("public_html/uploads");
    for directory in 0..100 {
        let directory = uploads.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        (0..10).for_each(|file| fs::write(directory.join(file.to_string()), "").unwrap());
    }
    // Reading a directory sets its access time where that is older than its last change (relatime).
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(86400);
    let directories =
        [home.path().to_owned(), home.path().join("public_html"), uploads.clone(), uploads.join("7")];
    let read_since = |path: &Path| fs::metadata(path).unwrap().accessed().unwrap() != long_ago;
    for directory in &directories {
        fs::File::open(directory).unwrap().set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
        assert!(!read_since(directory));
    }
    let before = fs::metadata(uploads.join("7/7")).unwrap();

    let full = Site::at(home.path()).page("page.php", "<?php echo 1;").start();
    assert_eq!(full.get("page.php").body, b"1");
    assert_eq!(directories.iter().filter(|path| read_since(path)).count(), 0, "a directory was read");
    let after = fs::metadata(uploads.join("7/7")).unwrap();
    assert_eq!((after.ctime(), after.ctime_nsec()), (before.ctime(), before.ctime_nsec()));

    // The proof that this file system tells.
    assert_eq!(fs::read_dir(&uploads).unwrap().count(), 100);
    assert!(read_since(&uploads), "access times are not kept here, so this test proves nothing");
}

/// A directory of root's that the site renamed: what is closed to it stays so.
#[test]
fn what_root_has_closed_is_not_given_away() {
    let home = tempfile::tempdir().unwrap();
    let directory = |name: &str, mode: u32, content: bool| {
        let path = home.path().join(name);
        fs::create_dir(&path).unwrap();
        if content {
            fs::write(path.join("dump.sql"), "secret").unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    directory("logs", 0o700, true);
    directory("public_html", 0o755, true);
    let site = Site::at(home.path()).start();
    let owner = |name: &str| fs::metadata(home.path().join(name)).unwrap().uid();
    assert_eq!((owner("logs"), owner("public_html"), owner("public_html/dump.sql")), (0, UID, 0));
    assert_eq!(
        site.logs().matches("changing the owner of /home/alice/logs: root has closed it").count(),
        1,
        "{}",
        site.logs()
    );
    drop(site);
    fs::remove_file(home.path().join("logs/dump.sql")).unwrap();
    drop(Site::at(home.path()).start());
    assert_eq!(owner("logs"), UID, "closed, but empty");
}

/// Without CHOWN, as on an immutable or read-only volume: the site is served with what it has.
#[test]
fn what_cannot_be_given_is_a_warning() {
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(UID), Some(UID)).unwrap();
    let site = Site::at(home.path()).page("page.php", "<?php echo 1;").file("logs/old.log", "");
    let site = site.options(["--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID"]).start();
    assert_eq!(site.get("page.php").body, b"1");
    assert_eq!(site.logs().matches("changing the owner of /home/alice/logs: ").count(), 1, "{}", site.logs());
    drop(site);
    std::os::unix::fs::chown(home.path(), Some(0), Some(0)).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let site = Site::at(home.path());
    let site = site.options(["--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID"]).start();
    assert_eq!(site.get("page.php").body, b"1");
    assert!(site.logs().contains("changing the owner of /home/alice: "), "{}", site.logs());
}

/// The site closed its own home: it gets what it has asked for, and operators keep their tools.
#[test]
fn a_closed_home_ends_neither_a_start_nor_a_command() {
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(UID), Some(UID)).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let site = Site::at(home.path()).start();
    assert!(site.logs().contains("entering /home/alice: "), "{}", site.logs());
    assert_eq!(site.exec(["cac-lsphp", "exec", "--", "id", "-u"]), format!("{UID}\n"));
    assert!(site.exec(["cac-lsphp", "healthcheck"]).starts_with("healthy"));
}
