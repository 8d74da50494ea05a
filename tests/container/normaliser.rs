//! The prepended script, asked about one path after the other by a page of the site itself.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use cac_lsphp::lsapi::Request;

use crate::support::{PATIENCE, Running, Site, docker, parse, wait_until};

/// Sets both variables to each path, includes the normaliser again, and tells what became of them,
/// of everything defined, and of the output.
const PAGE: &str = r#"<?php
function defined_now() {
    $user = get_defined_constants(true)['user'] ?? [];
    return [get_defined_functions()['user'], get_declared_classes(), $user, array_keys($GLOBALS)];
}
$results = [];
$path = $before = $after = $output = null;
foreach (json_decode(file_get_contents(__DIR__ . '/paths.json'), true) as $path) {
    $_SERVER['DOCUMENT_ROOT'] = $_SERVER['SCRIPT_FILENAME'] = $path;
    if ($path === null) {
        unset($_SERVER['DOCUMENT_ROOT'], $_SERVER['SCRIPT_FILENAME']);
    }
    $before = defined_now();
    ob_start();
    include '/run/cac-lsphp/cac-lsphp-normalize.php';
    $output = ob_get_clean();
    $after = defined_now();
    $results[] = [$_SERVER['DOCUMENT_ROOT'] ?? null, $_SERVER['SCRIPT_FILENAME'] ?? null, $output, $before === $after];
}
echo json_encode($results);
"#;

#[test]
fn resolves_the_link_and_nothing_else() {
    let link = |rest: &str| format!("/mnt/users/alice/example.com{rest}");
    let home = |rest: &str| format!("/home/alice{rest}");
    let changed = [
        "",
        "/",
        "/public_html",
        "/public_html/",
        "/public_html/now/page.php",
        "/public_html/../public_html",
        "/public_html/missing.php",
    ]
    .map(|rest| (json!(link(rest)), json!(home(rest))));
    let as_it_was = [
        json!("/mnt/users/alice/example.community/public_html"),
        json!("/mnt/users/alice/example.org/public_html"),
        json!("/mnt/users/alice"),
        json!("/mnt/users/"),
        json!("/mnt/users"),
        json!("/home/alice/public_html"),
        json!("public_html/page.php"),
        json!(""),
        json!(["/mnt/users/alice/example.com"]),
        json!(null),
    ]
    .map(|path| (path.clone(), path));
    let table: Vec<(Value, Value)> = changed.into_iter().chain(as_it_was).collect();
    let paths = json!(table.iter().map(|(path, _)| path).collect::<Vec<_>>());

    let site = Site::new()
        .page("normalise.php", PAGE)
        .page("paths.json", &paths.to_string())
        .page("releases/1/page.php", "");
    let site = site.start();
    // A link of the site's own, as deployment tools make one: scripts see it as PHP-FPM showed it.
    symlink("releases/1", site.home.join("public_html/now")).unwrap();

    let results = site.json("normalise.php");
    for ((path, expected), result) in table.iter().zip(results.as_array().unwrap()) {
        assert_eq!(result, &json!([expected, expected, "", true]), "{path}");
    }
    assert_eq!(results.as_array().unwrap().len(), table.len());
}

#[test]
fn opcache_keeps_it_from_the_first_request_on() {
    const KEPT: &str = "<?php echo json_encode(array_keys(opcache_get_status()['scripts']));";
    let site = Site::new().page("kept.php", KEPT).start();
    let kept = site.json("kept.php");
    let normaliser = "/run/cac-lsphp/cac-lsphp-normalize.php";
    assert!(kept.as_array().unwrap().contains(&json!(normaliser)), "{kept}");

    // The request may have come late enough for any file, so the reason is looked at too.
    let modified = |path| site.exec(["stat", "-c", "%Y", path]).trim().parse::<u64>().unwrap();
    let older_by = modified("/run/cac-lsphp/run.json") - modified(normaliser);
    assert!((3595..3605).contains(&older_by), "{older_by} s");
}

const SEEN: &str = "<?php echo json_encode([$_SERVER['DOCUMENT_ROOT'], $_SERVER['SCRIPT_FILENAME']]);";

fn canonical() -> Value {
    json!(["/home/alice/public_html", "/home/alice/public_html/seen.php"])
}

/// As panels write it. PHP may not open the normaliser then, and has it compiled since it started.
#[test]
fn an_open_basedir_of_the_sites_own_does_not_shut_it_out() {
    let site = Site::new()
        .page("seen.php", SEEN)
        .page("reset.php", "<?php echo json_encode([opcache_reset(), ini_get('open_basedir')]);")
        .page(".user.ini", "open_basedir = /home/alice/:/tmp/\n")
        .env("CAC_INI_opcache__revalidate_freq", "0")
        .start();
    for _ in 0..3 {
        assert_eq!(site.json("seen.php"), canonical());
        assert_eq!(site.json("reset.php"), json!([true, "/home/alice/:/tmp/"]), "it is in force");
    }
    assert_eq!(fs::read_to_string(site.home.join("logs/php-fpm/error.log")).unwrap(), "");
}

/// opcache holds nothing while a reset waits for a request to end. The start warns, and the way out that it names
/// is one.
#[test]
fn a_waiting_opcache_reset_shuts_it_out_and_the_start_says_how_to_mend_that() {
    const SLOW: &str =
        "<?php touch('/home/alice/begun'); while (!file_exists('/home/alice/go')) usleep(10000);";
    const RESET: &str = "<?php echo json_encode(opcache_reset());";
    for (user_ini, status, warnings) in [
        ("open_basedir = /home/alice/:/tmp/\n", 500, 1),
        ("open_basedir = /home/alice/:/tmp/:/run/cac-lsphp/\n", 200, 0),
    ] {
        let site = Site::new().page("seen.php", SEEN).page("slow.php", SLOW).page("reset.php", RESET);
        let site = site.page(".user.ini", user_ini).start();
        assert_eq!(site.logs().matches("add :/run/cac-lsphp/ to it").count(), warnings, "{}", site.logs());
        let meanwhile = std::thread::scope(|scope| {
            let slow = scope.spawn(|| site.get("slow.php"));
            wait_until(|| {
                site.home.join("begun").exists().then_some(()).ok_or("slow.php does not run".into())
            });
            assert_eq!(site.json("reset.php"), json!(true));
            let meanwhile = site.get("seen.php").status;
            fs::write(site.home.join("go"), "").unwrap();
            assert_eq!(slow.join().unwrap().status, 200);
            meanwhile
        });
        assert_eq!(meanwhile, status, "{user_ini}");
        assert_eq!(site.json("seen.php"), canonical(), "{user_ini}");
    }
}

/// Without opcache there is no way around it; the start says so and how to mend it.
#[test]
fn where_an_open_basedir_does_shut_it_out_the_start_says_so() {
    let site = Site::new().page("seen.php", SEEN).page(".user.ini", "open_basedir = /home/alice/:/tmp/\n");
    let site = site.env("CAC_INI_opcache__enable", "0").start();
    assert_eq!(site.get("seen.php").status, 500);
    let deep = |site: &Running| docker(["exec", &site.name, "cac-lsphp", "healthcheck", "--deep"]);
    let unhealthy = deep(&site);
    assert_eq!(unhealthy.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unhealthy.stdout).starts_with("unhealthy: shut out: "), "{unhealthy:?}");
    assert_eq!(site.logs().matches("add :/run/cac-lsphp/ to it").count(), 1, "{}", site.logs());
    let mended = "open_basedir = /home/alice/:/tmp/:/run/cac-lsphp/\n";
    let site = Site::new().page("seen.php", SEEN).page(".user.ini", mended);
    let site = site.env("CAC_INI_opcache__enable", "0").start();
    assert_eq!(site.json("seen.php"), canonical());
    assert!(!site.logs().contains("open_basedir"), "{}", site.logs());
    assert_eq!(deep(&site).status.code(), Some(0));
}

/// Settings of a panel's, under which realpath() warned twice a request, or was no function.
#[test]
fn neither_a_narrow_open_basedir_nor_disabled_functions_are_in_its_way() {
    for (name, value) in [
        ("CAC_INI_open_basedir", "/home/alice/public_html/:/run/cac-lsphp/"),
        ("CAC_INI_disable_functions", "realpath,readlink,file_exists,opcache_compile_file"),
    ] {
        let site = Site::new().page("seen.php", SEEN).env(name, value).start();
        assert_eq!(site.json("seen.php"), canonical(), "{name}");
        let log = fs::read_to_string(site.home.join("logs/php-fpm/error.log")).unwrap();
        assert_eq!(log, "", "{name}");
    }
}

#[test]
fn a_preload_script_of_the_sites_own_is_run_too() {
    let site = Site::new()
        .page("pre.php", "<?php function preloaded() { return 'it is'; }")
        .page("seen.php", "<?php echo json_encode([$_SERVER['DOCUMENT_ROOT'], preloaded()]);")
        .env("CAC_INI_opcache__preload", "/home/alice/public_html/pre.php")
        .start();
    assert_eq!(site.json("seen.php"), json!(["/home/alice/public_html", "it is"]));
}

/// What is in the link's place is no other name of the home.
#[test]
fn without_the_link_paths_stay_as_they_came() {
    for (name, value) in [("CAC_SITE_LINK", "0"), ("domain", "")] {
        let site = Site::new().page("normalise.php", PAGE);
        let paths = json!(["/mnt/users/alice/example.com/public_html"]);
        let site = site.page("paths.json", &paths.to_string()).env(name, value).start();
        let script = "/home/alice/public_html/normalise.php";
        let request = Request::new("GET", script, "/normalise.php");
        let results = parse(&site.client().fetch(&request, None, PATIENCE).unwrap());
        assert_eq!(results[0][0], paths[0], "{name}");
    }
}

/// As Wordfence does it, with what docs/deployment.md says to do about it.
#[test]
fn a_prepended_file_of_the_sites_own_takes_its_place() {
    const INCLUDING: &str = "<?php include '/run/cac-lsphp/cac-lsphp-normalize.php';";
    for (own, root) in
        [("<?php", "/mnt/users/alice/example.com/public_html"), (INCLUDING, "/home/alice/public_html")]
    {
        let site = Site::new().page("seen.php", SEEN).page("own.php", own);
        let site = site.page(".user.ini", "auto_prepend_file = /home/alice/public_html/own.php\n").start();
        assert_eq!(site.json("seen.php")[0], json!(root), "{own}");
    }
}
