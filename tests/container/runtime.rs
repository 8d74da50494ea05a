//! `/run/cac-lsphp` on volumes that outlive a container, in the site's hands or full.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use crate::support::{Site, UID};

const NON_ROOT: [&str; 2] = ["--user", "61045:61045"];

fn site(home: &Path, runtime: &Path) -> Site {
    let volume = format!("{}:/run/cac-lsphp", runtime.display());
    Site::at(home).options(["-v", &volume]).page("page.php", "<?php echo $_SERVER['DOCUMENT_ROOT'];")
}

fn owned_by_the_site() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(UID), Some(UID)).unwrap();
    directory
}

/// In a start without root the directory is the site's: it plants what it can think of, and starts again.
#[test]
fn what_the_site_plants_ends_no_start() {
    let (home, runtime) = (owned_by_the_site(), owned_by_the_site());
    drop(site(home.path(), runtime.path()).options(NON_ROOT).start());
    let plant = |name: &str| {
        let path = runtime.path().join(name);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("x")).unwrap();
        for path in [&path, &path.join("x")] {
            chown(path, Some(UID), Some(UID)).unwrap();
        }
    };
    for name in [
        ".run.json.new",
        "run.json",
        "cac-lsphp-normalize.php",
        "php.d/90-cac-lsphp.ini",
        "cac-lsphp-ping.php",
    ] {
        plant(name);
    }
    let again = site(home.path(), runtime.path()).options(NON_ROOT).start();
    assert!(again.exec(["cac-lsphp", "healthcheck", "--deep"]).starts_with("healthy"), "{}", again.logs());
    drop(again);
    fs::remove_dir_all(runtime.path().join("php.d")).unwrap();
    fs::write(runtime.path().join("php.d"), "no directory").unwrap();
    let once_more = site(home.path(), runtime.path()).options(NON_ROOT).start();
    assert!(once_more.exec(["cac-lsphp", "healthcheck", "--deep"]).starts_with("healthy"));
}

/// The volume of a start without root, started as root: what the site left there is no more to be trusted.
#[test]
fn root_takes_back_what_a_start_without_it_left() {
    let (home, runtime) = (owned_by_the_site(), owned_by_the_site());
    drop(site(home.path(), runtime.path()).options(NON_ROOT).start());
    let planted = runtime.path().join("php.d/99-planted.ini");
    fs::write(&planted, "auto_prepend_file = /home/alice/own.php\n").unwrap();
    chown(&planted, Some(UID), Some(UID)).unwrap();
    // Nor is it in the way.
    for name in ["php.d/90-cac-lsphp.ini", "run.json", ".run.json.new"] {
        let _ = fs::remove_file(runtime.path().join(name));
        fs::create_dir_all(runtime.path().join(name).join("x")).unwrap();
    }
    let before = files_below(runtime.path());
    let started = site(home.path(), runtime.path()).start();
    assert_eq!(started.get("page.php").body, b"/home/alice/public_html");
    assert!(!planted.exists(), "PHP would read it");
    for name in ["", "php.d", "run.json", "php.d/90-cac-lsphp.ini", "cac-lsphp-normalize.php"] {
        let found = fs::symlink_metadata(runtime.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o022), (0, 0), "{name:?}");
    }
    let after = files_below(runtime.path());
    assert!(before.is_subset(&after), "lost: {:?}", before.difference(&after));
}

/// The inodes of all files and directories, wherever they are by now.
fn files_below(directory: &Path) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        all.insert(entry.metadata().unwrap().ino());
        if entry.file_type().unwrap().is_dir() {
            all.extend(files_below(&entry.path()));
        }
    }
    all
}

/// Where pid 1 of a supervised site listens for `reload`.
#[test]
fn a_planted_control_socket_ends_no_supervised_start() {
    let (home, runtime) = (owned_by_the_site(), owned_by_the_site());
    for name in ["control.sock", "control.sock/x"] {
        fs::create_dir(runtime.path().join(name)).unwrap();
        chown(runtime.path().join(name), Some(UID), Some(UID)).unwrap();
    }
    let site = site(home.path(), runtime.path()).env("CAC_SUPERVISE", "1").options(NON_ROOT).start();
    assert!(fs::symlink_metadata(runtime.path().join("control.sock")).unwrap().file_type().is_socket());
    assert!(site.exec(["cac-lsphp", "healthcheck", "--deep"]).starts_with("healthy"), "{}", site.logs());
}

#[test]
fn a_third_uids_directory_is_refused() {
    let (home, runtime) = (owned_by_the_site(), tempfile::tempdir().unwrap());
    chown(runtime.path(), Some(7), Some(7)).unwrap();
    let ended = site(home.path(), runtime.path()).run_to_end();
    assert_eq!(ended.code, 71, "{}", ended.stderr);
    assert!(ended.stderr.contains("it belongs to uid 7"), "{}", ended.stderr);
}

/// A small file system that is full when the site starts again.
#[test]
fn a_full_disk_ends_no_start_that_changes_nothing() {
    let (home, runtime) = (owned_by_the_site(), tempfile::tempdir().unwrap());
    let mounted = Mounted::at(runtime.path());
    drop(site(home.path(), runtime.path()).start());
    // To the last page, by somebody who shares it.
    let filled = Command::new("sh")
        .args(["-c", "cat /dev/zero >\"$0/filler\" 2>/dev/null; printf x >\"$0/last\""])
        .arg(runtime.path())
        .status()
        .unwrap();
    assert!(!filled.success(), "it is not full");
    let again = site(home.path(), runtime.path()).start();
    assert_eq!(again.get("page.php").body, b"/home/alice/public_html");
    drop(again);
    fs::remove_file(runtime.path().join("run.json")).ok();
    let _ = Command::new("sh")
        .args(["-c", "cat /dev/zero >>\"$0/filler\" 2>/dev/null"])
        .arg(runtime.path())
        .status();
    let without = site(home.path(), runtime.path()).start();
    assert_eq!(without.get("page.php").body, b"/home/alice/public_html");
    assert!(without.logs().contains("healthcheck will find it not started"), "{}", without.logs());
    drop(without);
    drop(mounted);
}

/// A tmpfs of 128 KiB.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn at(path: &'a Path) -> Self {
        let options = ["-t", "tmpfs", "-o", "size=128k", "tmpfs"];
        assert!(
            Command::new("mount").args(options).arg(path).status().unwrap().success(),
            "this test needs root"
        );
        Self(path)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
