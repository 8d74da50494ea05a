//! `doctor` on workers that need more, or much less, than they are estimated at.

use std::thread::sleep;
use std::time::Duration;

use super::doctor::{found, healthy};
use super::*;

/// Works for some seconds of CPU time, with so much memory, and stays.
fn work(mib: u32, seconds: u32) -> String {
    format!(
        "<?php $held = str_repeat('x', {mib} << 20);
        do {{ $used = getrusage()['ru_utime.tv_sec']; }} while ($used < {seconds});
        sleep(600);"
    )
}

#[test]
fn an_estimate_that_is_too_low_is_found() {
    let site = healthy().env("LSPHP_WORKER_ESTIMATE_MB", "60").page("work.php", &work(80, 2)).start();
    assert_eq!(found(&site, []), [""; 0], "nothing has worked yet");
    ask(&site, "work.php", 1);
    wait_until(|| {
        let json = json(&site);
        if json["estimate"]["samples"] == 1 { Ok(()) } else { Err(json.to_string()) }
    });
    assert_eq!(found(&site, []), ["estimate too low"]);
}

/// It takes a minute until status believes what it sees.
#[test]
fn an_estimate_that_is_too_high_is_found() {
    let site = healthy().page("work.php", &work(1, 4)).start();
    occupy(&site, "work.php", 3, 3);
    assert_eq!(found(&site, []), [""; 0], "too little was seen");
    sleep(Duration::from_secs(60));
    let estimate = wait_until(|| {
        let json = json(&site);
        if json["estimate"]["suggested_mib"].is_u64() {
            Ok(json["estimate"].clone())
        } else {
            Err(json.to_string())
        }
    });
    assert!(estimate["suggested_mib"].as_u64() <= Some(65), "{estimate}");
    assert_eq!(found(&site, []), ["estimate too high"]);
}
