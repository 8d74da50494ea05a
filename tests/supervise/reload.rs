//! `cac-lsphp reload` while visitors ask.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::load::{CLIENTS, MIXED, while_asked};
use crate::support::orders::Order;
use crate::support::{Ends, Running, Site, UID, docker, made, run, text, wait_until};
use crate::{generations, lines, reload, reload_with, said, supervised, wait_for_name};

#[test]
fn a_reload_loses_no_request() {
    reloads_lose_no_request(supervised(), 5);
}

#[test]
fn a_reload_that_warms_up_loses_no_request() {
    let site = supervised().env("CAC_WARM_UP", "/warm.php").page("warm.php", "<?php echo 'warm';");
    reloads_lose_no_request(site, 5);
}

/// It holds each lsphp's listener for a moment, in which nobody else's close of that is the last.
#[test]
fn a_reload_that_the_hosts_exporter_watches_loses_no_request() {
    let over = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                text(run(Command::new(made("CAC_TEST_EXPORTER")).arg("list")));
                looks += 1;
            }
            looks
        });
        let ended = Ends(&over);
        reloads_lose_no_request(supervised(), 5);
        drop(ended);
        looks.join().unwrap()
    });
    assert!(looks > 5, "{looks} looks");
}

#[test]
#[ignore = "takes minutes, and proves what five reloads do: scripts/test --test supervise -- --ignored"]
fn fifty_reloads_lose_no_request() {
    reloads_lose_no_request(supervised(), 50);
}

fn reloads_lose_no_request(site: Site, count: usize) {
    let site = site.start();
    let before = generations(&site);
    let ((), tally) = while_asked(&site, CLIENTS, MIXED, || {
        for _ in 0..count {
            let said = text(reload(&site));
            assert!(said.starts_with("reloaded: "), "{said}");
        }
    });
    println!("{count} reloads: {} answered, {} refused", tally.answered.len(), tally.refused.len());
    assert_eq!(tally.refused, Vec::<String>::new());
    tally.assert_each_once(&site.home);
    wait_for_name(&site, "serving:7");
    let after = wait_until(|| match generations(&site) {
        all if all.len() == 1 => Ok(all),
        all => Err(format!("{all:?}")),
    });
    assert_ne!(before, after);
    assert_eq!(said(&site, &["lsphp", "killed by signal"]), 0, "{}", site.logs());
}

/// Each client goes away in the middle of its request, and others take its place.
#[test]
fn clients_that_hang_up_make_no_difference_to_others() {
    let site = supervised().start();
    let ((), tally) = while_asked(&site, 14, &[0, 20, 300], || {
        for _ in 0..2 {
            for _ in 0..20 {
                hang_up(&site);
            }
            text(reload(&site));
        }
    });
    assert_eq!((tally.failed, tally.cut, tally.refused), (vec![], vec![], vec![]));
    wait_for_name(&site, "serving:7");
}

fn hang_up(site: &Running) {
    use std::io::Write;
    let mut packet = Vec::new();
    let order = Order { name: "hung-up".to_owned(), ms: 20, is_post: false };
    crate::load::request(&order).encode(None, &mut packet).unwrap();
    let mut stream = std::net::TcpStream::connect(site.address().to_string()).unwrap();
    stream.write_all(&packet).unwrap();
}

/// What the plan says now is what serves then: the site file, and the environment of who reloads.
#[test]
fn what_changed_is_what_serves() {
    let ini = "<?php echo json_encode([ini_get('opcache.memory_consumption'), ini_get('precision'), getenv('COLOUR')]);";
    let site = supervised().page("ini.php", ini).start();
    assert_eq!(site.json("ini.php"), serde_json::json!(["64", "14", false]));
    let site_file =
        r"OPCACHE_MEMORY_MB = 256\nCAC_INI_precision = 9\nCAC_INI_opcache__max_wasted_percentage = 7\n";
    site.exec(["sh", "-c", &format!("mkdir /etc/cac-lsphp; printf '{site_file}' >/etc/cac-lsphp/site.ini")]);
    let output = crate::reload_with(&site, &["-e", "COLOUR=red"]);
    let told = lines(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let changes = "; workers 7 -> 5, opcache in MiB 64 -> 256, opcache.max_wasted_percentage changed, precision changed\n";
    assert!(told.contains(changes), "{told}");
    wait_for_name(&site, "serving:5");
    assert_eq!(site.json("ini.php"), serde_json::json!(["256", "9", "red"]));
    let record: serde_json::Value =
        serde_json::from_str(&site.exec(["cat", "/run/cac-lsphp/run.json"])).unwrap();
    assert_eq!((&record["pid"], &record["plan"]["front_end"]["max_conns"]), (&1.into(), &5.into()));
    site.exec(["rm", "/etc/cac-lsphp/site.ini"]);
    assert!(text(reload(&site)).contains("workers 5 -> 7, opcache in MiB 256 -> 64"));
    wait_for_name(&site, "serving:7");
}

/// An exit code other than 0 would have whoever reads it reload again, or take back what it is for.
#[test]
fn a_reload_that_cannot_be_told_is_one() {
    let site = supervised().start();
    let before = generations(&site);
    let output = docker(["exec", &site.name, "sh", "-c", "cac-lsphp reload >/dev/full"]);
    let told = lines(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("writing to stdout: No space left"), "{told}");
    wait_for_name(&site, "serving:7");
    assert_ne!(generations(&site), before);
    // Nor is it one more for nobody who listens.
    for nobody in ["| true", ">&-"] {
        let command = format!("set -o pipefail; cac-lsphp reload {nobody}");
        let output = docker(["exec", &site.name, "bash", "-c", &command]);
        assert_eq!(output.status.code(), Some(0), "{nobody}: {}", lines(&output));
    }
}

/// The first one's lsphp comes up when it may.
#[test]
fn of_two_reloads_at_once_the_second_changes_nothing() {
    let slow = format!(
        "#!/bin/sh\nwhile [ -e /tmp/slow ]; do sleep 0.1; done\nexec {} \"$@\"\n",
        crate::support::lsphp()
    );
    let ini = "<?php echo ini_get('precision'), getenv('COLOUR');";
    let site = supervised().page("ini.php", ini).env("CAC_LSPHP", "/opt/lsphp");
    let start = format!("printf '{slow}' >/opt/lsphp && chmod 755 /opt/lsphp && exec cac-lsphp");
    let site = site.options(["--entrypoint", "sh"]).arguments(["-c", &start]).start();
    site.exec(["touch", "/tmp/slow"]);
    let with = |precision: &str, colour: &str| {
        let options = ["-e", &format!("CAC_INI_precision={precision}"), "-e", &format!("COLOUR={colour}")];
        crate::reload_with(&site, &options)
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| with("9", "red"));
        wait_until(|| match site.exec(["ls", "-A", "/run/cac-lsphp"]) {
            names if names.contains(".proof.sock") => Ok(()),
            names => Err(names),
        });
        // As root, and as pid 1 does it, which may write no file.
        let site_user = format!("{UID}:{UID}");
        for second in [with("8", "blue"), crate::reload_with(&site, &["--user", &site_user])] {
            assert_eq!(second.status.code(), Some(71), "{}", lines(&second));
            assert!(lines(&second).contains("another reload is under way; try again"), "{}", lines(&second));
        }
        site.exec(["rm", "/tmp/slow"]);
        let first = first.join().unwrap();
        assert_eq!(first.status.code(), Some(0), "{}", lines(&first));
    });
    wait_for_name(&site, "serving:7");
    assert_eq!(site.get("ini.php").body, b"9red");
}

/// While it warms up, which takes its time, the new files are there already.
#[test]
fn a_reload_that_is_ended_leaves_no_half_of_a_plan() {
    let ini = "<?php echo ini_get('precision'), getenv('COLOUR');";
    let site = supervised().page("ini.php", ini).page("slow.php", "<?php sleep(2);").start();
    let written = "/run/cac-lsphp/php.d/90-cac-lsphp.ini";
    let published = format!("until grep -q precision {written}; do kill -0 $! || exit; sleep 0.02; done");
    let ended = format!("cac-lsphp reload & {published}; kill -TERM $!; wait $!; echo $?");
    let with = ["-e", "CAC_WARM_UP=/slow.php", "-e", "CAC_INI_precision=9", "-e", "COLOUR=red"];
    let command = ["sh", "-c", &ended];
    let before = generations(&site);
    let output = docker([&["exec"], &with[..], &[&site.name], &command].concat());
    assert_eq!(text(output), "143\n", "SIGTERM's, when it can be ended");
    // pid 1 goes on alone, when the worker that was warmed up has left.
    let last = wait_until(|| match generations(&site)[..] {
        [last] if !before.contains(&last) => Ok(last),
        _ => Err(site.logs()),
    });
    site.exec(["sh", "-c", &format!("kill -9 {last}")]);
    wait_until(|| match generations(&site)[..] {
        [next] if next != last => Ok(()),
        _ => Err(site.logs()),
    });
    assert_eq!(site.get("ini.php").body, b"9red");
}

/// Where nothing is root, pid 1 plans anew by itself.
#[test]
fn sighup_reloads_a_site_that_was_started_as_its_user() {
    let user = format!("{UID}:{UID}");
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(UID), Some(UID)).unwrap();
    let site = Site::at(home.path()).env("CAC_SUPERVISE", "1");
    let site = as_its_user(site, &user).start();
    let before = generations(&site);
    site.exec(["sh", "-c", "echo 'LSPHP_WORKER_ESTIMATE_MB = 300' >/run/site.ini && kill -HUP 1"]);
    wait_for_name(&site, "serving:3");
    assert_ne!(generations(&site), before);
    assert!(site.exec(["cac-lsphp", "healthcheck", "--deep"]).contains("PHP 8"));
    assert_eq!(said(&site, &["reloaded: ", "; workers 7 -> 3"]), 1, "{}", site.logs());
}

/// The directory of what it would believe and write is the site's, or root's as Kubernetes makes one for a group.
#[test]
fn root_does_not_reload_where_the_site_can_write() {
    let user = format!("{UID}:{UID}");
    for run in ["uid=61045,gid=61045,mode=755", "uid=0,gid=61045,mode=2777"] {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(home.path(), Some(UID), Some(UID)).unwrap();
        let site = Site::at(home.path()).env("CAC_SUPERVISE", "1").file("logs/php-fpm/error.log", "");
        let run = format!("/run/cac-lsphp:{run}");
        let site =
            site.options(["--user", &user, "--tmpfs", &run, "--tmpfs", "/mnt/users:mode=1777"]).start();
        let refused = reload_with(&site, &["--user", "0"]);
        let told = lines(&refused);
        assert!(
            refused.status.code() == Some(78) && told.contains(&format!("--user {user}")),
            "{run}: {told}"
        );
        assert!(!site.exec(["ls", "/run/cac-lsphp"]).contains("next"), "{run}");
        assert!(text(reload_with(&site, &["--user", &user])).starts_with("reloaded: "), "{run}");
    }
}

fn as_its_user(site: Site, user: &str) -> Site {
    site.options(["--user", user, "--tmpfs", "/run:uid=61045,gid=61045", "--cap-drop", "ALL"])
        .env("CAC_SITE_FILE", "/run/site.ini")
        .file("logs/php-fpm/error.log", "")
}
