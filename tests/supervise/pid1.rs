//! What pid 1 is while it supervises, and what it costs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Running, UID, status_field, wait_until};
use crate::{reload, supervised};

fn field(site: &Running, name: &str) -> String {
    status_field(&fs::read_to_string(site.proc("status")).unwrap(), name)
}

#[test]
fn pid_1_is_the_sites_user_without_any_privilege() {
    let site = supervised().start();
    let uid = UID.to_string();
    site.assert_has_no_privilege();
    assert_eq!((field(&site, "Name"), field(&site, "Threads")), ("serving:7".to_owned(), "1".to_owned()));
    // Not dumpable: its own user may not look into it, so the kernel gives its files to root.
    assert_eq!(fs::metadata(site.proc("environ")).unwrap().uid(), 0);
    let open = |pid: &str| {
        let command = ["exec", "--user", &uid, &site.name, "cat", &format!("/proc/{pid}/environ")];
        crate::support::docker(command).status.success()
    };
    let lsphp = crate::generations(&site)[0].to_string();
    assert!(!open("1") && open(&lsphp), "lsphp is dumpable, so that it can be told apart");
}

/// 2 MiB after a few reloads, of what is its own and its share of what others have too.
#[test]
fn pid_1_stays_small() {
    let site = supervised().start();
    for _ in 0..3 {
        assert_eq!(reload(&site).status.code(), Some(0));
        crate::wait_for_name(&site, "serving:7");
    }
    let rollup = fs::read_to_string(site.proc("smaps_rollup")).unwrap();
    let pss: u64 = status_field(&rollup, "Pss").trim_end_matches(" kB").parse().unwrap();
    println!("pid 1: {pss} KiB Pss");
    assert!(pss <= 2048, "{rollup}");
}

/// Whether `/proc/PID/syscall` is of poll(2), number 7, without a time limit: nothing of its own ends it.
fn waits_for_ever(call: &str) -> bool {
    let words: Vec<_> = call.split_whitespace().collect();
    words[0] == "7" && words[3].starts_with("0xffffffff")
}

#[test]
fn an_idle_pid_1_is_not_woken() {
    let site = supervised().start();
    // After what the start and a page have to do.
    assert_eq!(site.get("order.php").status, 200);
    wait_until(|| match fs::read_to_string(site.proc("syscall")).unwrap() {
        call if waits_for_ever(&call) => Ok(()),
        call => Err(call),
    });
    let switches = || field(&site, "voluntary_ctxt_switches");
    let before = switches();
    sleep(Duration::from_secs(10));
    assert_eq!(switches(), before);
}
