//! How many workers there are.

use std::fs;
use std::thread;

use crate::support::{Running, Site, wait_until};

/// Answers when there is a file `go`, and not before.
const SLOW: &str =
    "<?php while (!file_exists('/home/alice/go')) { clearstatcache(); usleep(10000); } echo 'done';";

/// The most workers while `clients` ask at once for a page that does not end; each of them is answered.
fn most_workers(site: &Running, clients: usize, expected: usize) -> usize {
    thread::scope(|scope| {
        let asking: Vec<_> = (0..clients).map(|_| scope.spawn(|| site.get("slow.php").body)).collect();
        wait_until(|| if workers(site) >= expected { Ok(()) } else { Err(site.logs()) });
        // All are busy and others wait: what lsphp says of each connect more is that it has no worker for it.
        wait_until(|| if site.logs().contains("Reached max children") { Ok(()) } else { Err(site.logs()) });
        let most = workers(site);
        fs::write(site.home.join("go"), "").unwrap();
        for client in asking {
            assert_eq!(client.join().unwrap(), b"done");
        }
        most
    })
}

/// The children of PID 1.
fn workers(site: &Running) -> usize {
    let pid = site.inspect("{{.State.Pid}}");
    fs::read_to_string(site.proc(&format!("task/{pid}/children"))).unwrap().split_whitespace().count()
}

#[test]
fn twenty_clients_get_seven_workers_at_1_gib() {
    let site = Site::new().page("slow.php", SLOW).start();
    assert_eq!(most_workers(&site, 20, 7), 7);
}

#[test]
fn fewer_than_two_workers_become_two_with_a_warning() {
    for asked in ["1", "0"] {
        let site = Site::new().env("PHP_LSAPI_CHILDREN", asked).page("slow.php", SLOW).start();
        assert_eq!(most_workers(&site, 6, 2), 2, "PHP_LSAPI_CHILDREN={asked}");
        let logs = site.logs();
        let warned = logs.lines().any(|line| line.contains("WARN") && line.contains("PHP_LSAPI_CHILDREN"));
        assert!(warned, "{logs}");
    }
}
