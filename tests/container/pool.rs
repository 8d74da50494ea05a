//! How many workers there are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Running, Site};

/// The most workers ever seen while `clients` ask for a slow page at once; each of them is answered.
fn most_workers(site: &Running, clients: usize) -> usize {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(site.processes() - 1); // PID 1 is no worker
            }
            most
        });
        let asking: Vec<_> = (0..clients).map(|_| scope.spawn(|| site.get("slow.php").body)).collect();
        for client in asking {
            assert_eq!(client.join().unwrap(), b"done");
        }
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

const SLOW: &str = "<?php usleep(300000); echo 'done';";

#[test]
fn twenty_clients_get_seven_workers_at_1_gib() {
    let site = Site::new().page("slow.php", SLOW).start();
    assert_eq!(most_workers(&site, 20), 7);
}

#[test]
fn fewer_than_two_workers_become_two_with_a_warning() {
    for asked in ["1", "0"] {
        let site = Site::new().env("PHP_LSAPI_CHILDREN", asked).page("slow.php", SLOW).start();
        assert_eq!(most_workers(&site, 6), 2, "PHP_LSAPI_CHILDREN={asked}");
        let logs = site.logs();
        let warned = logs.lines().any(|line| line.contains("WARN") && line.contains("PHP_LSAPI_CHILDREN"));
        assert!(warned, "{logs}");
    }
}
