//! Where the file cache may be, and what becomes of a site whose cache cannot be used: a warning, never a page that
//! fails.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::support::{Running, Site, UID, docker, text};
use crate::{IN_THE_HOME, body, cached, cached_at, cached_files, change_unseen, home, owner_and_mode};

const PAGE: &str = "<?php echo 'page';";

fn warnings(site: &Running) -> Vec<String> {
    site.logs().lines().filter(|line| line.contains("file cache")).map(str::to_owned).collect()
}

/// What PHP itself says of it.
fn used(site: &Running) -> String {
    body(site, "ini.php")
}

fn with_pages(site: Site) -> Site {
    site.page("page.php", PAGE).page("ini.php", "<?php echo ini_get('opcache.file_cache');")
}

#[track_caller]
fn assert_goes_without(site: &Running, words: &[&str]) {
    assert_eq!(body(site, "page.php"), "page");
    assert_eq!(used(site), "", "{}", site.logs());
    let warnings = warnings(site);
    assert_eq!(warnings.len(), 1, "{}", site.logs());
    for word in words {
        assert!(warnings[0].contains(word), "no {word} in {}", warnings[0]);
    }
}

#[test]
fn a_new_volume_of_its_own_is_given_to_the_site() {
    let (home, volume) = (home(), tempfile::tempdir().unwrap());
    fs::set_permissions(volume.path(), Permissions::from_mode(0o755)).unwrap();
    let mount = format!("{}:/cache", volume.path().display());
    let site = with_pages(cached_at(home.path(), "/cache").options(["-v", &mount])).start();
    assert_eq!((body(&site, "page.php").as_str(), used(&site).as_str()), ("page", "/cache"));
    assert_eq!(owner_and_mode(volume.path()), (UID, 0o700));
    assert!(!cached_files(volume.path()).is_empty());
    assert_eq!(warnings(&site), Vec::<String>::new());
}

/// As in Kubernetes: a volume that the site's group may write to, with a directory of its own in there.
#[test]
fn a_start_without_root_makes_it_where_it_may() {
    let (home, user) = (home(), format!("{UID}:{UID}"));
    let site = cached_at(home.path(), "/cache/opcache").options([
        "--user",
        &user,
        "--cap-drop",
        "ALL",
        "--tmpfs",
        "/run:uid=61045,gid=61045",
        "--tmpfs",
        "/cache:gid=61045,mode=2775",
        "--tmpfs",
        "/mnt:uid=61045,gid=61045",
    ]);
    let site = with_pages(site).start();
    assert_eq!((body(&site, "page.php").as_str(), used(&site).as_str()), ("page", "/cache/opcache"));
    assert_eq!(site.exec(["stat", "-c", "%u %a", "/cache/opcache"]).trim(), "61045 2700");
}

/// The capabilities of examples/compose.yaml, with which root may not write into the site's home.
const WITHOUT_OVERRIDE: [&str; 8] =
    ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "SETUID", "--cap-add", "SETGID"];

#[test]
fn without_root_s_override_the_sites_user_makes_it() {
    let home = home();
    let site = with_pages(cached(home.path()).options(WITHOUT_OVERRIDE)).start();
    assert_eq!((body(&site, "page.php").as_str(), used(&site).as_str()), ("page", IN_THE_HOME));
    assert_eq!(owner_and_mode(&home.path().join(".opcache")), (UID, 0o700));
}

/// A reload has no part that is the site's user's.
#[test]
fn without_root_s_override_a_reload_says_that_it_cannot_make_it() {
    let home = home();
    let site = with_pages(cached(home.path()).env("CAC_SUPERVISE", "1").options(WITHOUT_OVERRIDE)).start();
    assert_eq!(used(&site), IN_THE_HOME);
    fs::remove_dir_all(home.path().join(".opcache")).unwrap();
    let output = docker(["exec", &site.name, "cac-lsphp", "reload"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    let lines: Vec<_> = told.lines().filter(|line| line.contains("file cache")).collect();
    assert!(
        matches!(lines[..], [line] if line.contains(IN_THE_HOME) && line.contains("only the site's user may make it")),
        "{told}"
    );
    assert_eq!((body(&site, "page.php").as_str(), used(&site).as_str()), ("page", ""));
    site.exec(["cac-lsphp", "exec", "--", "mkdir", "-m", "700", IN_THE_HOME]);
    text(docker(["exec", &site.name, "cac-lsphp", "reload"]));
    assert_eq!(used(&site), IN_THE_HOME);
}

#[test]
fn somebody_elses_directory_is_not_used() {
    type Plant = fn(&Path);
    let table: [(Plant, &[&str]); 5] = [
        (|path| make(path, Some(61046), 0o777), &["61046"]),
        (|path| make(path, Some(UID), 0o777), &["others"]),
        (|path| symlink("/home/alice/public_html", path).unwrap(), &["it is a link or not a directory"]),
        (|path| fs::write(path, "").unwrap(), &["it is a link or not a directory"]),
        (
            |path| {
                make(path, None, 0o755);
                fs::write(path.join("x"), "").unwrap();
            },
            &["root's"],
        ),
    ];
    for (plant, words) in table {
        let home = home();
        plant(&home.path().join(".opcache"));
        let site = with_pages(cached(home.path())).start();
        assert_goes_without(&site, &[words, &["/home/alice/.opcache"]].concat());
        let found = text(docker(["exec", &site.name, "cac-lsphp", "plan"]));
        assert!(found.contains("file cache: /home/alice/.opcache"), "{found}");
    }
}

fn make(path: &Path, uid: Option<u32>, mode: u32) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    chown(path, uid, uid).unwrap();
}

#[test]
fn a_read_only_one_is_not_used() {
    let (home, volume) = (home(), tempfile::tempdir().unwrap());
    chown(volume.path(), Some(UID), Some(UID)).unwrap();
    let start = |mode: &str| {
        let mount = format!("{}:/cache{mode}", volume.path().display());
        cached_at(home.path(), "/cache").options(["-v", &mount])
    };
    assert_eq!(body(&with_pages(start("")).start(), "page.php"), "page");
    change_unseen(&home.path().join("public_html/page.php"), "<?php echo 'compiled anew';");
    let site = start(":ro").start();
    assert_eq!(body(&site, "page.php"), "compiled anew");
    let warnings = warnings(&site);
    assert!(warnings.len() == 1 && warnings[0].contains("Read-only file system"), "{}", site.logs());
}

#[test]
fn a_full_one_is_read_and_not_added_to() {
    let home = home();
    let site = cached_at(home.path(), "/cache")
        .options(["--tmpfs", "/cache:size=64k,uid=61045,gid=61045,mode=0700", "--entrypoint", "sh"])
        .arguments(["-c", "cat /dev/zero >/cache/full 2>/dev/null; exec cac-lsphp"]);
    let site = with_pages(site).start();
    assert_eq!((body(&site, "page.php").as_str(), used(&site).as_str()), ("page", "/cache"));
    let warnings = warnings(&site);
    assert!(warnings.len() == 1 && warnings[0].contains("full"), "{}", site.logs());
    assert_eq!(site.exec(["find", "/cache", "-name", "*.bin"]), "");
}

#[test]
fn one_that_is_deleted_while_the_site_runs_fails_no_page() {
    let home = home();
    let site = with_pages(cached(home.path())).page("later.php", PAGE).start();
    assert_eq!(body(&site, "page.php"), "page");
    fs::remove_dir_all(home.path().join(".opcache")).unwrap();
    assert_eq!((body(&site, "page.php"), body(&site, "later.php")), ("page".to_owned(), "page".to_owned()));
    drop(site);
    let again = with_pages(cached(home.path())).start();
    assert_eq!(used(&again), IN_THE_HOME, "a start makes it again");
}
