//! From one container to the next.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, SystemTime};

use crate::support::UID;
use crate::{body, cached, cached_file, change_unseen, home, owner_and_mode, set_time};

const ONE: &str = "<?php echo 'one';";
const TWO: &str = "<?php echo 'two';";

#[test]
fn a_new_container_runs_what_the_last_one_compiled() {
    let home = home();
    let page = home.path().join("public_html/page.php");
    let first = cached(home.path()).page("page.php", ONE).start();
    assert_eq!(body(&first, "page.php"), "one");
    drop(first);
    let cache = home.path().join(".opcache");
    assert_eq!(owner_and_mode(&cache), (UID, 0o700));
    assert_eq!(owner_and_mode(&cached_file(&cache, "page.php")), (UID, 0o600));

    change_unseen(&page, TWO);
    let second = cached(home.path()).start();
    assert_eq!(body(&second, "page.php"), "one", "it is not compiled again");
    drop(second);

    // As an editor or a deployment does it.
    set_time(&page, SystemTime::now() - Duration::from_secs(1800));
    let third = cached(home.path()).start();
    assert_eq!(body(&third, "page.php"), "two", "its time has changed");
    drop(third);

    change_unseen(&page, ONE);
    let without = crate::support::Site::at(home.path()).start();
    assert_eq!(body(&without, "page.php"), "one", "without a file cache nothing is kept");
}

/// `opcache.revalidate_freq` counts as without a file cache.
#[test]
fn a_change_while_the_site_runs_is_seen() {
    let home = home();
    let site = cached(home.path()).env("CAC_INI_opcache__revalidate_freq", "0").page("page.php", ONE).start();
    assert_eq!(body(&site, "page.php"), "one");
    let page = home.path().join("public_html/page.php");
    fs::write(&page, TWO).unwrap();
    set_time(&page, SystemTime::now() - Duration::from_secs(1800));
    assert_eq!(body(&site, "page.php"), "two");
    drop(site);
    let again = cached(home.path()).start();
    assert_eq!(body(&again, "page.php"), "two", "what was cached before the change is not what counts");
}

/// A `.user.ini` with an `open_basedir` that leaves our scripts out serves its pages all the same.
#[test]
fn the_normaliser_is_still_compiled_at_the_start() {
    let home = home();
    let page = "<?php echo $_SERVER['DOCUMENT_ROOT'];";
    let site = || {
        let ini = "open_basedir=/home/alice/:/tmp/\n";
        cached(home.path()).page("page.php", page).page(".user.ini", ini).start()
    };
    for _ in 0..2 {
        assert_eq!(body(&site(), "page.php"), "/home/alice/public_html");
    }
}

/// PHP compiles an answer to `extension_loaded()` in, and its directory is the same with and without the extension.
#[test]
fn what_was_compiled_beside_other_extensions_is_forgotten() {
    let home = home();
    let code = "<?php echo extension_loaded('ldap') ? 'with' : 'without';";
    let site = || cached(home.path()).page("page.php", code);
    assert_eq!(body(&site().start(), "page.php"), "with");
    let without = "find / -name '*ldap.ini' -delete 2>/dev/null; exec cac-lsphp";
    let other = site().options(["--entrypoint", "sh"]).arguments(["-c", without]).start();
    assert_eq!(body(&other, "page.php"), "without");
    drop(other);
    assert_eq!(body(&site().start(), "page.php"), "with");
}

/// What another version has left is not used, and makes room. What is not PHP's stays.
#[test]
fn what_another_version_has_left_is_removed() {
    let home = home();
    let page = home.path().join("public_html/page.php");
    let first = cached(home.path()).page("page.php", ONE).start();
    assert_eq!(body(&first, "page.php"), "one");
    drop(first);
    let cache = home.path().join(".opcache");
    let own = cached_file(&cache, "page.php");
    let other = cache.join("0123456789abcdef0123456789abcdef/home/alice/public_html/page.php.bin");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::copy(&own, &other).unwrap();
    let top = other.ancestors().nth(4).unwrap();
    for path in other.ancestors().take_while(|path| *path != cache) {
        chown(path, Some(UID), Some(UID)).unwrap();
    }
    fs::write(cache.join("notes"), "mine").unwrap();
    // Before the others, and not for PHP to read.
    fs::create_dir_all(cache.join("00000000000000000000000000000000/x")).unwrap();
    fs::set_permissions(cache.join("00000000000000000000000000000000"), Permissions::from_mode(0o700))
        .unwrap();
    change_unseen(&page, TWO);

    let same = cached(home.path()).start();
    assert_eq!(body(&same, "page.php"), "one", "of the same build all stays");
    assert!(other.exists());
    drop(same);
    fs::write(cache.join("cac-lsphp-build"), "another").unwrap();
    let upgraded = cached(home.path()).start();
    assert_eq!(body(&upgraded, "page.php"), "two");
    assert!(!top.exists() && own.exists());
    assert_eq!(fs::read(cache.join("notes")).unwrap(), b"mine");
    drop(upgraded);

    // A file in its place says whose it is.
    let mut bytes = fs::read(&own).unwrap();
    bytes[8..40].fill(b'0');
    fs::write(&own, bytes).unwrap();
    change_unseen(&page, ONE);
    assert_eq!(body(&cached(home.path()).start(), "page.php"), "one");
}
