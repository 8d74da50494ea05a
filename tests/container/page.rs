//! What a page sees that the front end asked for.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::support::{Site, UID, parse};

const PROBE: &str = r#"<?php
echo json_encode([
    'sapi' => PHP_SAPI,
    'ids' => [posix_getuid(), posix_geteuid(), posix_getgid(), posix_getegid(), posix_getgroups()],
    'paths' => [$_SERVER['DOCUMENT_ROOT'], $_SERVER['SCRIPT_FILENAME'], __FILE__, __DIR__, realpath('probe.php'), getcwd()],
    'opcache' => [ini_get('opcache.memory_consumption'), ini_get('opcache.max_accelerated_files')],
    'error_log' => ini_get('error_log'),
    'names' => array_keys(get_defined_vars()),
]);
"#;

#[test]
fn runs_as_the_site_and_sees_canonical_paths() {
    let site = Site::new().page("probe.php", PROBE).start();
    let root = "/home/alice/public_html";
    let script = format!("{root}/probe.php");
    assert_eq!(
        site.json("probe.php"),
        json!({
            "sapi": "litespeed",
            "ids": [UID, UID, UID, UID, [UID]],
            "paths": [root, script, script, root, script, root],
            "opcache": ["64", "8000"],
            "error_log": "/home/alice/logs/php-fpm/error.log",
            "names": ["_GET", "_POST", "_COOKIE", "_FILES", "_SERVER"],
        })
    );
}

#[test]
fn workers_share_one_opcode_cache() {
    let status =
        "<?php echo json_encode(['pid' => getmypid(), 'memory' => opcache_get_status(false)['memory_usage'],
        'other_is_cached' => opcache_is_script_cached(__DIR__ . '/other.php')]);";
    let site = Site::new().page("status.php", status).page("other.php", "<?php echo 1;").start();
    // A connection keeps its worker: two open ones are two workers.
    let (mut first, mut second) = (site.client(), site.client());
    let before = parse(&site.fetch(&mut first, "status.php"));
    assert_eq!(before["other_is_cached"], false);
    site.fetch(&mut first, "other.php");
    let after = parse(&site.fetch(&mut second, "status.php"));
    assert_ne!(after["pid"], before["pid"]);
    assert_eq!(after["other_is_cached"], true, "what one worker compiled, the other one finds");
    let memory = |name: &str| after["memory"][name].as_u64().unwrap();
    assert_eq!(memory("used_memory") + memory("free_memory") + memory("wasted_memory"), 64 << 20);
}

#[test]
fn a_logged_error_is_in_the_sites_log() {
    let site = Site::new()
        .page(
            "fault.php",
            "<?php error_log('said on purpose'); trigger_error('raised on purpose', E_USER_WARNING);",
        )
        .start();
    assert_eq!(site.get("fault.php").body, b"", "no error is shown in a page");
    let path = site.home.join("logs/php-fpm/error.log");
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.contains("said on purpose") && log.contains("raised on purpose"), "{log}");
    let status = fs::metadata(&path).unwrap();
    assert_eq!((status.uid(), status.gid()), (UID, UID));
}

/// Directives that take any text, so that each hostile value can be asked back.
const FREE_TEXT: [&str; 3] = ["user_agent", "error_prepend_string", "error_append_string"];

#[test]
fn an_ini_value_arrives_as_it_was_given() {
    let page = format!("<?php echo json_encode(array_map('ini_get', {}));", json!(FREE_TEXT));
    for values in [
        ["two words \"quoted\" 'so' ; $x ${HOME} a=b é ☃ \\", "none", "${PATH}"],
        ["'", "\"", "\\"],
        ["yes", "null", "off"],
        ["1 | 2", "!(~^&)", "a\tb\nc"],
        ["; all a comment", "[section]", "''\"'\"''"],
    ] {
        let site = FREE_TEXT
            .iter()
            .zip(values)
            .fold(Site::new(), |site, (name, value)| site.env(&format!("CAC_INI_{name}"), value));
        assert_eq!(site.page("ini.php", &page).start().json("ini.php"), json!(values));
    }
}

#[test]
fn the_containers_variables_reach_php_and_ours_do_not() {
    let page =
        "<?php echo json_encode([getenv('DB_PASSWORD'), getenv('CAC_LOG'), getenv('PHP_LSAPI_CHILDREN')]);";
    let site =
        Site::new().env("DB_PASSWORD", "s3cret = ü").env("CAC_LOG", "debug").page("env.php", page).start();
    assert_eq!(site.json("env.php"), json!(["s3cret = ü", false, false]));
    assert!(!site.logs().contains("s3cret"), "{}", site.logs());
}

#[test]
fn a_read_only_root_serves() {
    let site = Site::new()
        .options(["--read-only", "--tmpfs", "/run", "--tmpfs", "/mnt"])
        .page("probe.php", PROBE)
        .start();
    assert_eq!(site.json("probe.php")["ids"][0], UID);
    let logs = site.logs();
    let others = logs.lines().filter(|line| {
        line.contains("WARN") && !line.contains("/etc/") && !line.contains("open to everybody")
    });
    assert_eq!(others.count(), 0, "only /etc may be missed:\n{logs}");
}
