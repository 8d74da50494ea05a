//! A reload that does not work out: the old lsphp goes on serving, and one line says why.

use std::process::Output;

use crate::support::{Running, Site, lsphp};
use crate::{generations, lines, reload, reload_with, supervised};

/// The reload ends with `code` and one line with these words, and what served before serves on.
#[track_caller]
fn assert_kept(site: &Running, before: &[u32], output: &Output, code: i32, words: &[&str]) {
    let told = lines(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    let faults: Vec<_> = told.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(faults.len(), 1, "{told}");
    for word in words {
        assert!(faults[0].contains(word), "no {word} in {told}");
    }
    assert_eq!(generations(site), before, "{told}");
    assert_eq!(site.get("order.php").status, 200);
    assert_eq!(crate::name(site), "serving:7");
    assert_eq!(leftovers(site), "", "{told}");
}

/// What a reload has left behind.
fn leftovers(site: &Running) -> String {
    let find = "find /run/cac-lsphp /dev/shm -name next -o -name '*proof*' -o -name '*.new'";
    site.exec(["sh", "-c", find])
}

#[test]
fn a_plan_that_is_refused_changes_nothing() {
    let site = supervised().start();
    let before = generations(&site);
    let refused = |options: &[&str], words: &[&str]| {
        assert_kept(&site, &before, &reload_with(&site, options), 78, words);
    };
    refused(&["-e", "user=bob"], &["user", "\"bob\"", "\"alice\""]);
    refused(&["-e", "uid=61046", "-e", "gid=61045"], &["uid", "61046", "61045"]);
    refused(&["-e", "gid=61046"], &["gid", "61046", "61045"]);
    refused(&["-e", "domain=example.org"], &["domain", "example.org"]);
    refused(&["-e", "CAC_LISTEN=0.0.0.0:9001"], &["CAC_LISTEN", "9001"]);
    let preload = "CAC_INI_opcache__preload=/home/alice/preload.php";
    refused(&["-e", preload], &["CAC_INI_opcache__preload", "/home/alice/preload.php", "recreate"]);
    refused(&["-e", "CAC_SUPERVISE=0", "-e", "CAC_BACKLOG=511"], &["CAC_SUPERVISE", "recreate"]);
    site.exec([
        "sh",
        "-c",
        "mkdir -p /etc/cac-lsphp && echo 'OPCACHE_MEMORY_MB = much' >/etc/cac-lsphp/site.ini",
    ]);
    refused(&[], &["OPCACHE_MEMORY_MB", "much"]);
}

#[test]
fn an_lsphp_that_does_not_come_up_replaces_nothing() {
    let site = supervised()
        .env("CAC_LSPHP", "/opt/lsphp")
        .options(["--entrypoint", "sh"])
        .arguments(["-c", &format!("cp {} /opt/lsphp && exec cac-lsphp", lsphp())])
        .start();
    let before = generations(&site);
    for (change, code, words) in [
        ("mv /opt/lsphp /opt/away", 127, &["/opt/lsphp", "CAC_LSPHP"][..]),
        ("touch /opt/lsphp", 126, &["/opt/lsphp"]),
        ("install -m 755 /bin/false /opt/lsphp", 71, &["ended with 1", "the old"]),
        ("printf '#!/nowhere\\n' >/opt/lsphp", 71, &["/opt/lsphp", "the old"]),
    ] {
        site.exec(["sh", "-c", change]);
        assert_kept(&site, &before, &reload(&site), code, words);
    }
    site.exec(["mv", "/opt/away", "/opt/lsphp"]);
    assert_eq!(reload(&site).status.code(), Some(0), "put right, it is replaced");
    assert_ne!(generations(&site), before);
}

#[test]
fn a_full_disk_changes_nothing() {
    let site = supervised().options(["--tmpfs", "/run:size=64k"]).start();
    let before = generations(&site);
    let record = site.exec(["cat", "/run/cac-lsphp/run.json"]);
    site.exec(["sh", "-c", "cat /dev/zero >/run/full || true"]);
    assert_kept(&site, &before, &reload(&site), 71, &["/run/cac-lsphp", "No space left"]);
    assert_eq!(site.exec(["cat", "/run/cac-lsphp/run.json"]), record);
}

#[test]
fn without_supervision_there_is_nothing_to_reload() {
    let site = Site::new().start();
    let output = reload(&site);
    assert_eq!(output.status.code(), Some(78));
    assert!(lines(&output).contains("CAC_SUPERVISE=1"), "{}", lines(&output));
}

/// Wherever it was when it was killed, it has left nothing that the next one stumbles over.
#[test]
fn a_reload_that_is_killed_is_as_if_it_had_not_been() {
    let site = supervised().start();
    for hundredths in [0, 1, 2, 4, 7] {
        let kill = format!("cac-lsphp reload & sleep 0.{hundredths:02}; kill -9 $!; wait; true");
        site.exec(["sh", "-c", &kill]);
    }
    crate::support::wait_until(|| {
        let output = reload(&site);
        if output.status.success() { Ok(()) } else { Err(lines(&output)) }
    });
    crate::wait_for_name(&site, "serving:7");
    assert_eq!((generations(&site).len(), leftovers(&site)), (1, String::new()));
    assert_eq!(site.get("order.php").status, 200);
}
