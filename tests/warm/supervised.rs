//! With pid 1 above lsphp: a new lsphp that is warm, and a cache that is switched off when it makes workers crash.

use std::fs;
use std::path::Path;

use crate::support::{PATIENCE, Running, Site, as_front_end, docker, text, wait_until};
use crate::{body, cached, cached_file, cached_files, home};

fn supervised(home: &Path) -> Site {
    cached(home).env("CAC_SUPERVISE", "1")
}

fn reload(site: &Running) -> String {
    let output = docker(["exec", &site.name, "cac-lsphp", "reload"]);
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), site.logs());
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn said(site: &Running, words: &str) -> usize {
    site.logs().lines().filter(|line| line.contains(words)).count()
}

/// Notes each request: how it was asked for.
const VISITED: &str = "<?php file_put_contents('/home/alice/visits', \"$_SERVER[REQUEST_METHOD] $_SERVER[HTTP_HOST]$_SERVER[REQUEST_URI] $_SERVER[HTTPS] $_SERVER[SCRIPT_NAME]\\n\", FILE_APPEND);";

#[test]
fn a_reload_asks_for_pages_before_visitors_do() {
    let home = home();
    let site = supervised(home.path())
        .env("CAC_WARM_UP", "/,/shop/?all=1, /more/page.php,/broken.php")
        .page("index.php", VISITED)
        .page("more/page.php", VISITED)
        .page("broken.php", "<?php http_response_code(503);")
        .start();
    assert_eq!(
        fs::read_to_string(home.path().join("visits")).unwrap_or_default(),
        "",
        "a start asks for nothing"
    );
    let told = reload(&site);
    assert!(told.contains("reloaded: "), "{told}");
    assert_eq!(
        fs::read_to_string(home.path().join("visits")).unwrap(),
        "GET example.com/ on /index.php\nGET example.com/shop/?all=1 on /index.php\nGET example.com/more/page.php on /more/page.php\n"
    );
    let lines: Vec<_> = told.lines().filter(|line| line.contains("warming up")).collect();
    assert!(matches!(lines[..], [line] if line.contains("/broken.php") && line.contains("503")), "{told}");
    cached_file(&home.path().join(".opcache"), "more/page.php");
}

/// Says which scripts are compiled in the memory that an lsphp's workers share.
const COMPILED: &str =
    "<?php echo implode(' ', array_map(basename(...), array_keys(opcache_get_status()['scripts'])));";

/// With a file cache and without: a visitor reads neither source nor cache.
#[test]
fn the_lsphp_that_takes_over_is_the_one_that_was_warmed_up() {
    let with_cache = home();
    let without = home();
    for site in [supervised(with_cache.path()), Site::at(without.path()).env("CAC_SUPERVISE", "1")] {
        let site =
            site.env("CAC_WARM_UP", "/page.php").page("page.php", VISITED).page("compiled.php", COMPILED);
        let site = site.start();
        for _ in 0..3 {
            let told = reload(&site);
            assert!(!told.contains("warming up"), "{told}");
            let compiled = body(&site, "compiled.php");
            assert!(compiled.split(' ').any(|name| name == "page.php"), "{compiled}\n{}", site.logs());
        }
        let stopped = site.exec(["sh", "-c", "grep -l 'State:.T' /proc/[0-9]*/status || true"]);
        assert_eq!(stopped, "", "all of them go on");
        assert_eq!(said(&site, "killed by signal"), 0, "{}", site.logs());
    }
}

/// It waits a little for room for all of its workers, and no longer: then fewer serve, and are not warm.
#[test]
fn a_request_that_goes_on_does_not_keep_visitors_waiting() {
    let home = home();
    let long =
        "<?php while (!file_exists('/home/alice/enough')) { usleep(10000); clearstatcache(); } echo 'long';";
    let site = supervised(home.path())
        .env("CAC_RELOAD_GRACE", "60")
        .env("CAC_WARM_UP", "/page.php")
        .page("page.php", "<?php echo 'page';")
        .page("long.php", long)
        .start();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| body(&site, "long.php"));
        wait_until(|| {
            let status = text(docker(["exec", &site.name, "cac-lsphp", "status"]));
            if status.contains("long.php") { Ok(()) } else { Err(status) }
        });
        let told = reload(&site);
        assert!(told.contains("5 workers serve, 7 when the old ones are gone"), "{told}");
        assert_eq!(body(&site, "page.php"), "page");
        fs::write(home.path().join("enough"), "").unwrap();
        assert_eq!(answer.join().unwrap(), "long");
    });
    wait_until(|| if said(&site, "serving with 7 workers") == 2 { Ok(()) } else { Err(site.logs()) });
    assert_eq!(body(&site, "page.php"), "page");
    assert_eq!(said(&site, "killed by signal"), 0, "{}", site.logs());
}

#[test]
fn pages_that_take_too_long_delay_a_reload_and_do_not_fail_it() {
    let home = home();
    let site = supervised(home.path())
        .env("CAC_WARM_UP", "/slow.php,/never.php")
        .page("slow.php", "<?php sleep(30);")
        .page("never.php", VISITED)
        .start();
    let told = reload(&site);
    assert!(told.contains("warming up with /slow.php") && told.contains("not done after 10 s"), "{told}");
    assert!(!home.path().join("visits").exists());
}

/// Notes that it has begun, and goes on when it may.
fn waiting(name: &str, then: &str) -> String {
    let wait = format!("while (!file_exists('/home/alice/{name}')) {{ usleep(10000); clearstatcache(); }}");
    format!("<?php file_put_contents('/home/alice/begun', 'x', FILE_APPEND); {wait} {then}")
}

/// The one that was warmed up with the cache waits for the old one's last request when that one's workers crash.
#[test]
fn a_cache_that_is_switched_off_is_off_for_the_one_that_waits_too() {
    const CRASH: &str = "for ($deep = null, $i = 0; $i < 300000; $i++) $deep = [$deep]; unset($deep);";
    let home = home();
    let site = supervised(home.path())
        .env("LSPHP_WORKER_ESTIMATE_MB", "300")
        .env("CAC_RELOAD_GRACE", "5")
        .env("CAC_WARM_UP", "/cache.php")
        .env("CAC_INI_memory_limit", "-1")
        .page("cache.php", "<?php echo ini_get('opcache.file_cache');")
        .page("crash.php", &waiting("crash", CRASH))
        .page("last.php", &waiting("enough", "echo 'last';"))
        .start();
    assert_ne!(body(&site, "cache.php"), "");
    let begun = || fs::read(home.path().join("begun")).unwrap_or_default().len();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| site.client().fetch(&as_front_end("crash.php"), None, PATIENCE).unwrap_err());
        }
        wait_until(|| if begun() == 3 { Ok(()) } else { Err(site.logs()) });
        // One more than get a worker: as long as somebody is queued the old lsphp stays, and tells of crashes.
        let last: Vec<_> = (0..4).map(|_| scope.spawn(|| body(&site, "last.php"))).collect();
        wait_until(|| match site.exec(["cac-lsphp", "healthcheck"]) {
            said if said.contains("queue 4 of 511") => Ok(()),
            said => Err(said),
        });
        let reload = scope.spawn(|| reload(&site));
        wait_until(|| match fs::read_to_string(site.proc("comm")).unwrap() {
            name if name.starts_with("reloading:") => Ok(()),
            name => Err(format!("{name}\n{}", site.logs())),
        });
        fs::write(home.path().join("crash"), "").unwrap();
        wait_until(|| match said(&site, "file cache is switched off") {
            0 => Err(site.logs()),
            _ => Ok(()),
        });
        fs::write(home.path().join("enough"), "").unwrap();
        last.into_iter().for_each(|last| assert_eq!(last.join().unwrap(), "last"));
        let told = reload.join().unwrap();
        assert!(told.contains("reloaded: "), "{told}");
    });
    assert_eq!(body(&site, "cache.php"), "", "{}", site.logs());
}

#[test]
fn a_cache_that_makes_workers_crash_is_switched_off() {
    let home = home();
    let site = || {
        supervised(home.path())
            .page("page.php", "<?php echo 'page';")
            .page("other.php", "<?php echo 'other';")
    };
    let first = site().start();
    assert_eq!(body(&first, "page.php"), "page");
    drop(first);
    let file = cached_file(&home.path().join(".opcache"), "page.php");
    let mut bytes = fs::read(&file).unwrap();
    bytes[62] = 0x55; // where the script is, far away
    fs::write(&file, &bytes).unwrap();

    let site = supervised(home.path()).start();
    let asked = wait_until(|| {
        let _ = site.client().fetch(&as_front_end("page.php"), None, PATIENCE);
        match said(&site, "file cache is switched off") {
            0 => Err(site.logs()),
            times => Ok(times),
        }
    });
    assert_eq!(asked, 1);
    wait_until(|| match site.client().fetch(&as_front_end("page.php"), None, PATIENCE) {
        Ok(answer) if answer.body == b"page" => Ok(()),
        other => Err(format!("{other:?}\n{}", site.logs())),
    });
    assert_eq!((body(&site, "page.php"), body(&site, "other.php")), ("page".to_owned(), "other".to_owned()));
    assert_eq!(fs::read(&file).unwrap(), bytes, "it is left for the operator");
    let doctor = docker(["exec", &site.name, "cac-lsphp", "doctor"]).stdout;
    let doctor = String::from_utf8(doctor).unwrap();
    assert!(doctor.contains("file cache: it is switched off") && doctor.contains("page.php.bin"), "{doctor}");

    // A reload of its own accord leaves it off; an operator's, after a reset, puts it on again.
    text(docker(["exec", &site.name, "cac-lsphp", "opcache", "reset"]));
    let reloads = said(&site, "serving with");
    site.exec(["sh", "-c", "kill -HUP 1"]);
    wait_until(|| if said(&site, "serving with") > reloads { Ok(()) } else { Err(site.logs()) });
    assert_eq!(body(&site, "page.php"), "page");
    let files = cached_files(&home.path().join(".opcache"));
    assert!(files.iter().all(|file| !file.ends_with("page.php.bin")), "it is off: {files:?}");
    reload(&site);
    assert_eq!(body(&site, "page.php"), "page");
    cached_file(&home.path().join(".opcache"), "page.php");
    assert_eq!(said(&site, "file cache is switched off"), 1, "{}", site.logs());
}
