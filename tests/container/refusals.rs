//! What does not start, and that it leaves nothing behind.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use crate::support::{Ended, Site};

/// Nothing was made, in the container or in the home, which is still root's.
fn assert_untouched(ended: &Ended) {
    // Docker itself makes the mount point.
    assert_eq!(ended.site.changes(), ["C /home", "A /home/alice"]);
    let home = &ended.site.home;
    assert_eq!(fs::read_dir(home).unwrap().count(), 0);
    assert_eq!(fs::metadata(home).unwrap().uid(), 0);
}

#[test]
fn wrong_values_end_with_78_and_all_are_told_in_one_run() {
    let wrong = [
        ("user", "../x"),
        ("uid", "0"),
        ("gid", "x"),
        ("domain", "../../etc"),
        ("OPCACHE_MEMORY_MB", "much"),
        ("CAC_LISTEN", "9000"),
        ("LSPHP_WORKER_ESTIMATE_MB", "1.5"),
        ("CAC_INI_error_log", "error.log"),
    ];
    let ended = wrong.iter().fold(Site::new(), |site, (name, value)| site.env(name, value)).run_to_end();
    assert_eq!((ended.code, ended.stdout.as_str()), (78, ""), "{}", ended.stderr);
    let faults = ended.stderr.lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(faults, wrong.len(), "one line each: {}", ended.stderr);
    for (name, value) in wrong {
        let told = ended
            .stderr
            .lines()
            .any(|line| line.contains("ERROR") && line.contains(name) && line.contains(value));
        assert!(told, "{name}={value} in {}", ended.stderr);
    }
    assert_untouched(&ended);
}

#[test]
fn a_missing_lsphp_is_127() {
    for site in
        [Site::new().env("CAC_LSPHP", "/nowhere/lsphp"), Site::new().options(["--tmpfs", "/usr/local/lsws"])]
    {
        let ended = site.run_to_end();
        assert_eq!(ended.code, 127, "{}", ended.stderr);
        assert_untouched(&ended);
    }
}

#[test]
fn an_lsphp_that_cannot_be_executed_is_126() {
    for path in ["/etc/passwd", "/etc"] {
        let ended = Site::new().env("CAC_LSPHP", path).run_to_end();
        assert_eq!(ended.code, 126, "{}", ended.stderr);
        assert!(ended.stderr.contains(path), "{}", ended.stderr);
        assert_untouched(&ended);
    }
}

#[test]
fn a_home_of_somebody_elses_is_refused() {
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(61046), Some(61046)).unwrap();
    let ended = Site::at(home.path()).run_to_end();
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("61045") && ended.stderr.contains("61046"), "{}", ended.stderr);
    assert_eq!(fs::metadata(home.path()).unwrap().uid(), 61046);
}
