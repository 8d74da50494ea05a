//! From one container to the next.

use std::fs;
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

/// What another version has left is neither used nor touched.
#[test]
fn each_version_has_a_directory_of_its_own() {
    let home = home();
    let site = || cached(home.path()).page("page.php", ONE).start();
    assert_eq!(body(&site(), "page.php"), "one");
    let cache = home.path().join(".opcache");
    let own = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let other = cache.join("0123456789abcdef0123456789abcdef");
    fs::rename(&own, &other).unwrap();
    let file = cached_file(&cache, "page.php");
    let before = fs::read(&file).unwrap();
    change_unseen(&home.path().join("public_html/page.php"), TWO);
    let second = cached(home.path()).start();
    assert_eq!(body(&second, "page.php"), "two");
    assert_eq!(fs::read(&file).unwrap(), before);
    // And what stands in the place of its own says whose it is.
    drop(second);
    fs::remove_dir_all(&own).unwrap();
    fs::rename(&other, &own).unwrap();
    let file = cached_file(&cache, "page.php");
    let mut bytes = fs::read(&file).unwrap();
    bytes[8..40].fill(b'0');
    fs::write(&file, bytes).unwrap();
    assert_eq!(body(&cached(home.path()).start(), "page.php"), "two", "it is of another version");
}
