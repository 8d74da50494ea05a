//! Ends that nobody asked for: lsphp's own, and a worker's.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Running, lsphp, text, wait_until};
use crate::{reload, said, supervised, wait_for_name};

/// Children of pid 1, as the machine numbers them: five deaths count when they are within a minute, and `docker exec`
/// can take its time.
fn lsphps(site: &Running) -> Vec<i32> {
    let process = site.proc("");
    let list = process.join("task").join(process.file_name().unwrap()).join("children");
    let children = fs::read_to_string(list).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Ends the one lsphp that there is.
fn kill_lsphp(site: &Running) -> i32 {
    let only = wait_until(|| match lsphps(site)[..] {
        [only] => Ok(only),
        ref all => Err(format!("{all:?}\n{}", site.logs())),
    });
    kill(Pid::from_raw(only), Signal::SIGKILL).unwrap();
    only
}

fn wait_for_end(site: &Running) {
    wait_until(|| if site.is_running() { Err(site.logs()) } else { Ok(()) });
}

#[test]
fn lsphp_is_started_again_four_times_and_not_a_fifth() {
    let site = supervised().start();
    for death in 1..=4 {
        let killed = kill_lsphp(&site);
        wait_until(|| if lsphps(&site).contains(&killed) { Err(site.logs()) } else { Ok(()) });
        assert_eq!(site.get("order.php").status, 200, "after death {death}");
    }
    kill_lsphp(&site);
    wait_for_end(&site);
    assert_eq!(site.inspect("{{.State.ExitCode}}"), "137", "SIGKILL's");
    assert_eq!(said(&site, &["ended too often"]), 1, "{}", site.logs());
    assert_eq!(said(&site, &["WARN", "ended with 137"]), 5, "{}", site.logs());
}

#[test]
fn one_that_is_no_longer_there_ends_the_container_as_one_that_never_was() {
    let start = format!("cp {} /opt/lsphp && exec cac-lsphp", lsphp());
    let site = supervised().env("CAC_LSPHP", "/opt/lsphp").options(["--entrypoint", "sh"]);
    let site = site.arguments(["-c", &start]).start();
    site.exec(["rm", "/opt/lsphp"]);
    kill_lsphp(&site);
    wait_for_end(&site);
    assert_eq!(site.inspect("{{.State.ExitCode}}"), "127", "{}", site.logs());
    assert_eq!(said(&site, &["executing /opt/lsphp", "No such file"]), 4, "{}", site.logs());
}

/// Of a request that its worker does not survive.
fn ask_in_vain(site: &Running, page: &str) {
    let request = crate::support::as_front_end(page);
    assert!(site.client().fetch(&request, None, crate::support::PATIENCE).is_err());
}

#[track_caller]
fn assert_said_once(site: &Running, words: &[&str]) {
    wait_until(|| if said(site, words) == 0 { Err(site.logs()) } else { Ok(()) });
    assert_eq!(said(site, words), 1, "{}", site.logs());
}

/// Takes more stack than there is when the array goes. One that is sent is no SIGSEGV to lsphp, which then says nothing.
const CRASH: &str = "<?php for ($deep = null, $i = 0; $i < 300000; $i++) $deep = [$deep]; unset($deep);";

#[test]
fn the_end_of_a_worker_is_said_with_its_cause() {
    let site = supervised()
        .env("CAC_INI_memory_limit", "-1")
        .page("kill.php", "<?php posix_kill(getmypid(), SIGKILL); sleep(60);")
        .page("crash.php", CRASH)
        .start();
    ask_in_vain(&site, "kill.php");
    assert_said_once(&site, &["killed by signal: 9", "not the kernel for lack of memory"]);
    ask_in_vain(&site, "crash.php");
    assert_said_once(&site, &["killed by signal: 11", "PHP or an extension crashed", "look for an update"]);
    assert_eq!(site.get("order.php").status, 200);
}

#[test]
fn an_oom_kill_is_called_one() {
    let site = supervised()
        .options(["--memory", "256m", "--memory-swap", "256m"])
        .env("CAC_INI_memory_limit", "-1")
        .page("grow.php", "<?php for ($held = [];;) { $held[] = str_repeat('x', 1 << 20); }")
        .start();
    ask_in_vain(&site, "grow.php");
    assert_said_once(
        &site,
        &["killed by signal: 9", "for lack of memory", "raise the container's memory limit"],
    );
    assert_eq!(said(&site, &["not the kernel"]), 0, "{}", site.logs());
    assert_eq!(site.get("order.php").status, 200);
}

/// lsphp's parent, which sees to LSAPI_MAX_PROCESS_TIME, is gone by then.
#[test]
fn a_request_that_hangs_is_ended_after_a_reload_too() {
    let site = supervised()
        .env("LSAPI_MAX_PROCESS_TIME", "15")
        .page("hang.php", "<?php touch('/tmp/hangs'); sleep(600);")
        .start();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask_in_vain(&site, "hang.php"));
        site.exec(["sh", "-c", "for i in $(seq 600); do [ -e /tmp/hangs ] && exit; sleep 0.1; done; exit 1"]);
        text(reload(&site));
        asked.join().unwrap();
    });
    assert_said_once(&site, &["is killed in", "hang.php", "raise it if such a request is expected"]);
    wait_for_name(&site, "serving:7");
}
