//! `opcache`: what the cache has, and a reset that reaches every worker and fails no page.

use std::fs;

use super::doctor::found;
use super::*;

fn opcache<const N: usize>(site: &Running, arguments: [&str; N]) -> Output {
    let command = ["exec", &site.name, "cac-lsphp", "opcache"];
    docker(command.iter().chain(&arguments))
}

/// What it prints as JSON, when it ends with `code`.
fn told<const N: usize>(site: &Running, arguments: [&str; N], code: i32) -> Value {
    let output = opcache(site, arguments);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn look(site: &Running) -> Value {
    told(site, ["status", "--format", "json"], 0)
}

fn reset(site: &Running) -> Value {
    told(site, ["reset", "--format", "json"], 0)
}

/// Writes what opcache cannot tell from what was there: it has the same time.
fn replace(site: &Running, page: &str, code: &str) {
    let path = site.home.join("public_html").join(page);
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, code).unwrap();
    fs::File::open(&path).unwrap().set_modified(time).unwrap();
}

/// `word`, and by whom.
fn page(word: &str) -> String {
    format!("<?php usleep(300000); echo json_encode(['{word}', getmypid()]);")
}

/// What each of five workers says at the same time, and their pids.
fn say(site: &Running, word: &str) -> Vec<u64> {
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..5).map(|_| scope.spawn(|| site.json("page.php"))).collect();
        asking.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer[0] == word), "not {word}: {answers:?}");
    let mut pids: Vec<u64> = answers.iter().map(|answer| answer[1].as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn a_reset_reaches_every_worker_of_the_same_lsphp() {
    for supervise in ["0", "1"] {
        let site = Site::new().options(["--no-healthcheck"]).env("CAC_SUPERVISE", supervise);
        let site = site.env("LSAPI_MAX_IDLE_CHILDREN", "7").page("page.php", &page("old")).start();
        let before = say(&site, "old");
        assert_eq!(before.len(), 5, "{before:?}");
        replace(&site, "page.php", &page("new"));
        say(&site, "old");
        let forgotten = reset(&site);
        assert!(forgotten["scripts"].as_u64() >= Some(1), "{forgotten}");
        assert_eq!(forgotten["restart_pending"], false);
        let after = say(&site, "new");
        assert!(after.iter().filter(|pid| before.contains(pid)).count() >= 3, "{before:?} {after:?}");
        assert_eq!(look(&site)["restarts"]["manual"], 0);
    }
}

/// With `opcache_reset()` each of these pages would fail for as long as slow.php runs: see tests/container/normaliser.rs.
#[test]
fn no_page_fails_meanwhile() {
    let slow = "<?php touch('/home/alice/begun'); while (!file_exists('/home/alice/go')) usleep(10000);";
    let site =
        Site::new().options(["--no-healthcheck"]).page("slow.php", slow).page("page.php", &page("old"));
    let site = site.page(".user.ini", "open_basedir = /home/alice/:/tmp/\n").start();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| site.get("slow.php"));
        wait_until(|| site.home.join("begun").exists().then_some(()).ok_or("slow.php does not run".into()));
        for round in 0..5 {
            let word = format!("round {round}");
            replace(&site, "page.php", &page(&word));
            reset(&site);
            say(&site, &word);
        }
        fs::write(site.home.join("go"), "").unwrap();
        assert_eq!(slow.join().unwrap().status, 200);
    });
    let cache = look(&site);
    assert!(cache["memory"]["wasted_bytes"].as_u64() > Some(0), "{cache}");
    assert_eq!(cache["restarts"]["manual"], 0, "{cache}");
}

/// Whose class would be declared twice.
#[test]
fn what_was_preloaded_stays() {
    let page =
        "<?php require_once __DIR__ . '/pre.php'; echo json_encode([(new Preloaded)->is(), preloaded()]);";
    let site = Site::new()
        .options(["--no-healthcheck"])
        .page(
            "pre.php",
            "<?php class Preloaded { function is() { return 'it is'; } } function preloaded() { return 1; }",
        )
        .page("page.php", page)
        .env("CAC_INI_opcache__preload", "/home/alice/public_html/pre.php")
        .start();
    for _ in 0..2 {
        assert_eq!(site.json("page.php"), serde_json::json!(["it is", 1]));
        assert!(reset(&site)["scripts"].as_u64() >= Some(1), "page.php");
    }
}

#[test]
fn a_cache_that_is_too_small_says_which_variable_to_change() {
    let file = "<?php return array_sum(array_map('strlen', glob('*')));";
    let all = "<?php foreach (glob(__DIR__ . '/lib/*.php') as $file) opcache_compile_file($file);";
    let site = Site::new().options(["--no-healthcheck"]).env("OPCACHE_MAX_FILES", "200").page("all.php", all);
    let site = (0..300).fold(site, |site, number| site.page(&format!("lib/{number}.php"), file)).start();
    assert_eq!(look(&site)["advice"], serde_json::json!([]));
    site.get("all.php");
    let cache = look(&site);
    assert_eq!(cache["advice"][0]["setting"], "OPCACHE_MAX_FILES", "{cache}");
    assert_eq!(cache["advice"][0]["value"], 1000, "{cache}");
    let text = String::from_utf8(opcache(&site, ["status"]).stdout).unwrap();
    assert_eq!(found(&site, ["--deep"]), ["plan warning", "opcache"]);
    assert_eq!(found(&site, []), ["plan warning"], "the site's workers are not asked");
    assert!(
        text.contains("are too few for the files that the site runs: set OPCACHE_MAX_FILES=1000"),
        "{text}"
    );

    let site =
        Site::new().options(["--no-healthcheck"]).env("OPCACHE_MAX_FILES", "1000").page("all.php", all);
    let site = (0..300).fold(site, |site, number| site.page(&format!("lib/{number}.php"), file)).start();
    site.get("all.php");
    let cache = look(&site);
    assert_eq!(cache["advice"], serde_json::json!([]), "{cache}");
    assert!(cache["files"]["cached"].as_u64() >= Some(300), "{cache}");
}

#[test]
fn a_restart_that_waits_is_told() {
    let slow = "<?php opcache_reset(); touch('/home/alice/begun'); while (!file_exists('/home/alice/go')) usleep(10000);";
    let site = Site::new().options(["--no-healthcheck"]).page("slow.php", slow).start();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| site.get("slow.php"));
        wait_until(|| site.home.join("begun").exists().then_some(()).ok_or("slow.php does not run".into()));
        assert_eq!(look(&site)["restarts"]["pending"], true);
        assert_eq!(found(&site, ["--deep"]), ["plan warning", "opcache"]);
        fs::write(site.home.join("go"), "").unwrap();
        assert_eq!(slow.join().unwrap().status, 200);
    });
    let cache = look(&site);
    assert_eq!(
        (&cache["restarts"]["pending"], &cache["restarts"]["manual"]),
        (&false.into(), &1.into()),
        "{cache}"
    );
}

#[test]
fn what_the_site_reserves_for_its_own_scripts_is_told_all_the_same() {
    let site = Site::new().options(["--no-healthcheck"]).page("page.php", &page("old"));
    let site = site.env("CAC_INI_opcache__restrict_api", "/home/alice/private").start();
    site.get("page.php");
    assert!(reset(&site)["scripts"].as_u64() >= Some(1));
    assert_eq!(look(&site)["enabled"], true);
    let restricted = "<?php echo json_encode(@opcache_get_status());";
    fs::write(site.home.join("public_html/restricted.php"), restricted).unwrap();
    assert_eq!(site.json("restricted.php"), false, "it holds for the site, also after our request");
}

#[test]
fn where_it_cannot_be_asked_it_says_why() {
    for (name, value, enabled, words) in [
        ("CAC_INI_opcache__enable", "0", false, "opcache is off: "),
        ("CAC_INI_disable_functions", "opcache_get_status", false, "take them out of disable_functions"),
    ] {
        let site = Site::new().options(["--no-healthcheck"]).env(name, value).start();
        for action in ["status", "reset"] {
            let json = told(&site, [action, "--format", "json"], 1);
            assert_eq!(json["enabled"], enabled, "{json}");
            assert!(json["message"].as_str().unwrap().contains(words), "{json}");
            let output = opcache(&site, [action]);
            assert!(output.stdout.is_empty(), "{output:?}");
            assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
        }
    }
    let site = Site::new().options(["--no-healthcheck"]).page("sleep.php", SLEEP).start();
    occupy(&site, "sleep.php", 7, 7);
    let json = told(&site, ["status", "--format", "json", "--timeout", "1s"], 1);
    assert_eq!(json["enabled"], Value::Null);
    assert!(json["message"].as_str().unwrap().contains("not done after 1 s"), "{json}");
    // What a start records that was given its listener.
    site.exec(["sed", "-i", "s/\"handed_over\":null/\"handed_over\":1/", "/run/cac-lsphp/run.json"]);
    let json = told(&site, ["reset", "--format", "json"], 1);
    assert!(json["message"].as_str().unwrap().contains("listener was handed over"), "{json}");
    site.exec(["rm", "/run/cac-lsphp/run.json"]);
    let json = told(&site, ["status", "--format", "json"], 1);
    assert!(json["message"].as_str().unwrap().starts_with("not started: "), "{json}");
}

/// What answers is the site's, and so may be anything.
#[test]
fn an_answer_that_is_not_the_scripts_is_none() {
    let site = Site::new().options(["--no-healthcheck"]);
    let site = site.page("own.php", "<?php echo \"cac-lsphp opcache: {\\x1b]0;owned\"; exit;").start();
    let own = "auto_prepend_file=/home/alice/public_html/own.php";
    site.exec(["sh", "-c", &format!("echo '{own}' >/run/cac-lsphp/.user.ini")]);
    let json = told(&site, ["status", "--format", "json"], 1);
    assert!(
        json["message"].as_str().unwrap().contains("came back with status 200 and not its text"),
        "{json}"
    );
}

#[test]
fn a_unix_socket_and_a_start_without_root_are_asked_too() {
    let tmpfs = ["/run/cac-lsphp:mode=0777", "/mnt/users:mode=0777"];
    let without_root = tmpfs
        .iter()
        .fold(Site::new().options(["--user", "61045:61045"]), |site, tmpfs| site.options(["--tmpfs", tmpfs]));
    for site in [Site::new().env("CAC_LISTEN", "/tmp/alice.sock"), without_root] {
        let site = site.options(["--no-healthcheck"]).launch();
        wait_until(|| {
            let output = opcache(&site, ["reset"]);
            if output.stdout.starts_with(b"reset: ") { Ok(()) } else { Err(format!("{output:?}")) }
        });
    }
}
