//! `doctor` on what a start would decide otherwise now.

use super::doctor::{found, healthy, update};
use super::*;

fn write_site_file(site: &Running, text: &str) {
    let write = format!("mkdir -p /etc/cac-lsphp; echo '{text}' >/etc/cac-lsphp/site.ini");
    site.exec(["sh", "-c", &write]);
}

/// Also one whose only consequence is in lsphp's environment, or in pid 1.
#[test]
fn a_site_file_that_has_changed_is_found() {
    for supervise in ["0", "1"] {
        let site = healthy().env("CAC_SUPERVISE", supervise).start();
        for (text, names) in [
            ("LSAPI_MAX_PROCESS_TIME = 60", "LSAPI_MAX_PROCESS_TIME changed; "),
            ("CAC_STOP_TIMEOUT = 20", "CAC_STOP_TIMEOUT changed; "),
            ("CAC_INI_precision = 9", "precision changed; "),
            ("OPCACHE_MEMORY_MB = 256", "workers 7 -> 5, opcache in MiB 64 -> 256; "),
        ] {
            write_site_file(&site, text);
            let output =
                String::from_utf8(docker(["exec", &site.name, "cac-lsphp", "doctor"]).stdout).unwrap();
            assert!(output.starts_with(&format!("changed: since the start: {names}")), "{text}: {output}");
            assert_eq!(output.lines().count(), 1, "{output}");
        }
        write_site_file(&site, "# as at the start");
        assert_eq!(found(&site, []), [""; 0]);
        if supervise == "1" {
            write_site_file(&site, "LSAPI_MAX_PROCESS_TIME = 60");
            site.exec(["cac-lsphp", "reload"]);
            assert_eq!(found(&site, []), [""; 0], "the new one was started with it");
        }
    }
}

#[test]
fn what_a_start_would_refuse_or_warn_of_is_found() {
    let site = healthy().start();
    write_site_file(&site, "OPCACHE_MEMORY_MB = many\nLSAPI_MAX_IDLE = few");
    assert_eq!(found(&site, []), ["plan refused", "plan refused"], "each fault of it");
    write_site_file(&site, "OPCACHE_MEMORY_MB = 1");
    assert_eq!(found(&site, []), ["plan warning", "changed"], "it is raised to what PHP takes");
}

#[test]
fn a_backlog_above_somaxconn_is_found() {
    let site = healthy().options(["--sysctl", "net.core.somaxconn=128"]).start();
    let output = String::from_utf8(docker(["exec", &site.name, "cac-lsphp", "doctor"]).stdout).unwrap();
    assert!(output.contains("plan warning: ") && output.contains("net.core.somaxconn"), "{output}");
    assert_eq!(output.lines().count(), 1, "{output}");
    assert_eq!(json(&site)["pool"]["queue"]["limit"], 128);
}

/// Root has started it, so that pid 1 may not write what it has made of the limit.
#[test]
fn what_pid_1_has_resized_itself_is_told_as_it_is() {
    let site = healthy().env("CAC_SUPERVISE", "1").env("CAC_WATCH_MEMORY", "1").start();
    for (limit, workers) in [("2g", 15), ("1g", 7)] {
        update(&site, limit);
        // A pool that could not grow within the grace, on a machine that is busy, tries again after a minute.
        support::wait_for(3 * PATIENCE, || match json(&site) {
            json if json["pool"]["limit"] == workers && json["doing"] == "serving" => Ok(()),
            json => Err(format!("{json}\n{}", site.logs())),
        });
        assert_eq!(found(&site, []), [""; 0], "{limit}");
    }
    wait_until(|| match site.logs() {
        logs if logs.contains("reloaded: 7 workers serve; workers 15 -> 7\n") => Ok(()),
        logs => Err(logs),
    });
}
