//! What a start does to the tenant's home.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
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
fn a_hundred_thousand_files_are_not_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let uploads = home.path().join("public_html/uploads");
    for directory in 0..100 {
        let directory = uploads.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        (0..1000).for_each(|file| fs::write(directory.join(file.to_string()), "").unwrap());
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
