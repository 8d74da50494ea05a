//! What several processes of one front end do to a pool of workers: `examples/compose.yaml` behind a real
//! OpenLiteSpeed of two processes, of which each keeps connections of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;

use crate::compose::up_with;
use crate::support::project::Project;
use crate::support::{docker, made, not_run, text, wait_until};

const DOMAIN: &str = "example.com";
/// Of alice's 1 GiB.
const WORKERS: usize = 7;
/// Twice what the site can serve at once: each process of the front end fills its `maxConns`.
const CLIENTS: usize = 2 * WORKERS;
const ROUNDS: usize = 8;
/// One at a time after each burst.
const SINGLES: usize = 6;

/// Requests for a site that is gone: each of two processes gets thirty and more, whenever its half minute ends.
const GONE: usize = 200;

/// Slow enough that a burst needs every worker; notes each time that it is executed.
const PAGE: &str = "<?php
file_put_contents('/home/alice/executed', $_GET['n'] . \"\\n\", FILE_APPEND | LOCK_EX);
usleep((int) $_GET['ms'] * 1000);
echo $_GET['n'];
";

/// A connection of the front end to the site: which of its processes holds it, and the socket's inode.
type Held = BTreeSet<(u32, u64)>;

/// Before `LSAPI_MAX_BUSY_WORKER` was set, seven idle connections of one process held all seven workers, and
/// the other process's requests waited until something timed out; here nothing does, so they would wait for
/// good. Counted: after each burst a worker is free, and a request is answered while every connection that was
/// idle before it stays as it is.
#[test]
fn no_request_waits_for_an_idle_connection() {
    if !is_real("no_request_waits_for_an_idle_connection") {
        return;
    }
    let project = up_with(&["tests/deploy/pool.yaml"]);
    project.page("alice", "slow.php", PAGE);
    project.wait_until_healthy();
    let front_end = processes(&project);
    assert_eq!(front_end.len(), 2, "processes of OpenLiteSpeed");

    let mut holders = BTreeSet::new();
    for round in 0..ROUNDS {
        burst(&project, round);
        let mut idle = settled(&front_end);
        for single in 0..SINGLES {
            answer(&project, &format!("{round}-single-{single}"), 0);
            let now = settled(&front_end);
            let gone: Vec<_> = idle.difference(&now).collect();
            assert!(gone.is_empty(), "{single} of round {round} was served when {gone:?} of {idle:?} went");
            holders.extend(now.iter().map(|(pid, _)| *pid));
            idle = now;
        }
    }
    assert_eq!(holders.len(), 2, "one process did all of it");
    each_is_executed_once(&project, ROUNDS * (CLIENTS + SINGLES));
}

/// With a queue that is long enough every worker is free for every process: nothing is kept, and nothing is dropped.
#[test]
fn as_shipped_no_connection_is_kept_and_none_is_dropped() {
    if !is_real("as_shipped_no_connection_is_kept_and_none_is_dropped") {
        return;
    }
    let project = up_with(&[]);
    project.page("alice", "slow.php", PAGE);
    project.wait_until_healthy();
    let front_end = processes(&project);
    let before = dropped(&project);
    for round in 0..ROUNDS {
        burst(&project, round);
        wait_until(|| match held(&front_end) {
            held if held.is_empty() => Ok(()),
            held => Err(format!("kept: {held:?}")),
        });
    }
    each_is_executed_once(&project, ROUNDS * CLIENTS);
    assert_eq!(dropped(&project), before, "connects that the kernel dropped");
}

/// By itself OpenLiteSpeed gives a page up after 30 seconds, and starts itself again for the 503 of one site, which cuts
/// what others wait for.
#[test]
fn a_silent_page_is_waited_for_beside_a_site_that_is_gone() {
    if !is_real("a_silent_page_is_waited_for_beside_a_site_that_is_gone") {
        return;
    }
    let project = up_with(&["tests/deploy/gone.yaml"]);
    project.page("alice", "slow.php", PAGE);
    project.page("bob", "slow.php", PAGE);
    wait_until(|| match project.curl(DOMAIN, "/slow.php?n=first&ms=0", &[]) {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let front_end = processes(&project);
    thread::scope(|scope| {
        scope.spawn(|| answer(&project, "silent", 35_000));
        for _ in 0..GONE {
            assert_eq!(project.curl("example.org", "/slow.php?n=gone&ms=0", &[]).0, 503);
        }
    });
    assert_eq!(processes(&project), front_end, "OpenLiteSpeed's processes");
    each_is_executed_once(&project, 2);
}

pub fn is_real(test: &str) -> bool {
    let is_real = !made("CAC_TEST_FRONT_END_COMPOSE").ends_with("stand_in.yaml");
    if !is_real {
        not_run(test, "a real OpenLiteSpeed");
    }
    is_real
}

fn each_is_executed_once(project: &Project, asked: usize) {
    let executed = fs::read_to_string(project.home("alice").join("executed")).unwrap();
    let once: BTreeSet<_> = executed.lines().collect();
    assert_eq!((executed.lines().count(), once.len()), (asked, asked), "each is executed once");
}

/// The kernel's ListenOverflows and ListenDrops in alice's network.
fn dropped(project: &Project) -> [u64; 2] {
    let pid = text(docker(["inspect", "--format", "{{.State.Pid}}", &project.container("alice")]));
    let table = fs::read_to_string(format!("/proc/{}/net/netstat", pid.trim())).unwrap();
    let mut lines = table.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let counters: BTreeMap<_, _> = names.zip(values).collect();
    ["ListenOverflows", "ListenDrops"].map(|name| counters[name].parse().unwrap())
}

/// OpenLiteSpeed's processes that serve, as this machine numbers them.
pub fn processes(project: &Project) -> Vec<u32> {
    let top = text(docker(["top", &project.container("front-end"), "-eo", "pid,args"]));
    let serving = top.lines().filter(|line| line.contains("(lshttpd - #"));
    serving.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

/// All clients at once, each on a connection of its own, so that both processes get some.
fn burst(project: &Project, round: usize) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || answer(project, &format!("{round}-burst-{client}"), 50));
        }
    });
}

fn answer(project: &Project, name: &str, ms: u32) {
    let answer = project.curl(DOMAIN, &format!("/slow.php?n={name}&ms={ms}"), &[]);
    assert_eq!(answer, (200, name.to_owned()));
}

/// The idle connections, once the workers that close theirs have done so: at least one worker holds none.
fn settled(front_end: &[u32]) -> Held {
    wait_until(|| {
        let held = held(front_end);
        let all_held = held.len() >= WORKERS;
        if all_held { Err(format!("{WORKERS} workers are held by {held:?}")) } else { Ok(held) }
    })
}

/// Established connections to port 9000 by the process that has them open.
fn held(front_end: &[u32]) -> Held {
    front_end.iter().flat_map(|pid| connections(*pid).into_iter().map(|inode| (*pid, inode))).collect()
}

fn connections(pid: u32) -> BTreeSet<u64> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Fields of proc(5): remote address, state (01 is ESTABLISHED), inode.
    let to_site = rows.filter(|row| row[2].ends_with(":2328") && row[3] == "01");
    let inodes: BTreeSet<u64> = to_site.map(|row| row[9].parse().unwrap()).collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| {
        let target = fs::read_link(entry.unwrap().path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    });
    open.filter(|inode| inodes.contains(inode)).collect()
}
