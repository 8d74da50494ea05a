//! That a real application runs: Debian's WordPress in a site's home, with absolute paths in its configuration, over
//! HTTP through OpenLiteSpeed and the sidecar of `examples/compose.yaml`. And that what `status` suggests after a load
//! carries the same load with more workers at the same limit. Takes minutes: `scripts/prove-wordpress` runs it.

#[path = "../support/mod.rs"]
mod support;

mod load;
mod site;

use serde_json::Value;

use load::{Load, run_load};
use site::WordPress;

/// As examples/compose.yaml has it: 1 GiB, and the estimate of 130 MiB.
const WORKERS: u64 = 7;

#[test]
#[ignore = "takes minutes: scripts/prove-wordpress runs it"]
fn wordpress_runs_and_the_suggested_estimate_carries_more() {
    let mut site = WordPress::start();
    site.install();
    site.use_it();
    site.upload();
    site.run_cron();

    let before = run_load(&site, true);
    print_load("as it is shipped", &before);
    let (estimate, workers) = suggestion(&before.status);
    assert!(workers > WORKERS, "{:#}", before.status["estimate"]);
    println!("status: {}", before.status["estimate"]["message"].as_str().unwrap());

    site.restart(estimate, workers);
    let after = run_load(&site, false);
    print_load(&format!("with LSPHP_WORKER_ESTIMATE_MB={estimate}"), &after);
    assert_eq!(after.status["pool"]["limit"], workers, "the plan's word and status's suggestion");
    assert!(
        after.most_workers > WORKERS,
        "the load did not need more than {WORKERS} workers: it proves nothing"
    );
    let gain = (after.requests_a_second() / before.requests_a_second() - 1.0) * 100.0;
    println!(
        "gain: {gain:.0} % requests a second, with {workers} workers instead of {WORKERS} at the same limit"
    );
    for (load, estimate) in [(&before, 130), (&after, estimate)] {
        let kills = &load.status["memory"]["oom_kills"];
        assert_eq!(
            (load.failed, kills),
            (0, &Value::from(0)),
            "failed requests, OOM kills: {:#}",
            load.status
        );
        let largest = mib(&load.status["estimate"]["largest_peak_bytes"]);
        assert!(largest <= estimate, "a worker needed {largest} MiB, more than the estimate of {estimate}");
    }
}

/// The estimate in MiB, and the workers that the limit carries with it.
fn suggestion(status: &Value) -> (u64, u64) {
    let number =
        |name: &str| status["estimate"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {status:#}"));
    (number("suggested_mib"), number("suggested_workers"))
}

fn print_load(what: &str, load: &Load) {
    let (estimate, memory) = (&load.status["estimate"], &load.status["memory"]);
    println!("\nload {what}: {} workers, {} at once", load.status["pool"]["limit"], load.most_workers);
    println!(
        "  {} requests in {:.0} s, {:.1} a second; {} failed, OOM kills {}",
        load.requests,
        load.time.as_secs_f64(),
        load.requests_a_second(),
        load.failed,
        memory["oom_kills"]
    );
    println!(
        "  MiB a worker: peak of the largest {}, 95 % at most {}; site: {} held, {} at most",
        mib(&estimate["largest_peak_bytes"]),
        mib(&estimate["p95_peak_bytes"]),
        mib(&memory["held_bytes"]),
        mib(&memory["peak_bytes"]),
    );
}

/// Rounded up.
fn mib(bytes: &Value) -> u64 {
    bytes.as_u64().unwrap_or_default().div_ceil(1 << 20)
}
