//! Visitors: many at once, of whom some upload pictures and many ask for pages that wait for another host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::site::WordPress;
use crate::support::{Ends, text};

/// Twice the connections that the front end of the example has for the site.
const VISITORS: usize = 28;
/// A wait is where more workers help: the processors are as busy with seven.
const PAGES: [&str; 6] = ["/", "/?wait", "/wp-admin/", "/?s=hello&wait", "/wp-admin/edit.php", "/?p=1&wait"];
/// Every fourth visitor begins with an upload, which needs the most memory.
const UPLOADS_OF: usize = 4;

const AT_LEAST: Duration = Duration::from_secs(30);
/// By then status has seen enough, or it never will.
const AT_MOST: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

pub struct Load {
    pub requests: usize,
    pub failed: usize,
    pub time: Duration,
    pub most_workers: u64,
    /// The last one under load.
    pub status: Value,
}

impl Load {
    pub fn requests_a_second(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }
}

/// Until it has run long enough, and if it is to be `measured` until status suggests an estimate.
pub fn run_load(site: &WordPress, measured: bool) -> Load {
    let (start, over) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS)
            .map(|visitor| {
                let over = &over;
                scope.spawn(move || visits(site, visitor, over))
            })
            .collect();
        let ended = Ends(&over);
        let (status, most_workers) = watch(site, start, measured);
        drop(ended);
        let statuses: Vec<u16> = visitors.into_iter().flat_map(|visitor| visitor.join().unwrap()).collect();
        let failed = statuses.iter().filter(|status| **status != 200).count();
        Load { requests: statuses.len(), failed, time: start.elapsed(), most_workers, status }
    })
}

/// The last status, and the most workers that were seen.
fn watch(site: &WordPress, start: Instant, measured: bool) -> (Value, u64) {
    let mut most_workers = 0;
    loop {
        thread::sleep(BETWEEN_LOOKS);
        let status = text(site.exec(&["cac-lsphp", "status", "--format", "json"]));
        let status: Value = serde_json::from_str(&status).unwrap();
        most_workers = most_workers.max(status["pool"]["workers"].as_u64().unwrap_or_default());
        let is_enough = !measured || !status["estimate"]["suggested_mib"].is_null();
        if start.elapsed() > AT_MOST || (start.elapsed() > AT_LEAST && is_enough) {
            return (status, most_workers);
        }
    }
}

fn visits(site: &WordPress, visitor: usize, over: &AtomicBool) -> Vec<u16> {
    if visitor.is_multiple_of(UPLOADS_OF) {
        site.send_picture();
    }
    let pages = PAGES.iter().cycle().skip(visitor).take_while(|_| !over.load(Ordering::Relaxed));
    pages.map(|page| site.get(page, &[]).0).collect()
}
