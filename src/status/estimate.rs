//! What a worker really needed so far, beside `LSPHP_WORKER_ESTIMATE_MB`, and what that would mean.
//!
//! From peaks, never from what workers have at the moment: estimates from a moment are how 60, 96 and 115 MB came
//! about, each of which ended in OOM kills.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::running::worker::{Clock, Worker};
use crate::sizing::{self, Demand};

const MIB: u64 = 1 << 20;

/// A quarter on top of what was seen: the next script may be a heavier one.
const HEADROOM_PERCENT: u64 = 125;

/// What `LSPHP_WORKER_ESTIMATE_MB` takes.
const ACCEPTED_MIB: std::ops::RangeInclusive<u64> = 16..=4096;

/// A worker counts as a sample once it has worked this long: about ten pages of WordPress. What has only been
/// forked would say that nothing is needed.
const WORKED: Duration = Duration::from_secs(1);

/// Nothing is suggested from fewer samples, or from as many as there may be workers;
const ENOUGH_SAMPLES: u32 = 3;
/// nor before they have worked this long together,
const ENOUGH_WORK: Duration = Duration::from_secs(10);
/// nor before the oldest was started this long ago.
const ENOUGH_TIME: Duration = Duration::from_secs(60);

/// Samples that are kept, the latest.
const MOST_SAMPLES: usize = 10_000;

/// The highest memory of every worker that was seen, those that have left included.
#[derive(Debug, Default)]
pub struct Peaks {
    /// By start time and pid.
    seen: BTreeMap<(u64, u32), Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    peak: u64,
    page_tables: u64,
    own: u64,
    cpu: Duration,
}

impl Peaks {
    /// Adds what these workers had and did so far.
    pub fn see(&mut self, workers: &[Worker]) {
        for worker in workers {
            let Some(memory) = worker.memory else { continue };
            let sample = Sample {
                peak: memory.peak,
                page_tables: memory.page_tables,
                own: memory.own,
                cpu: worker.cpu,
            };
            self.seen.insert((worker.start_ticks, worker.pid), sample);
        }
        while self.seen.len() > MOST_SAMPLES {
            self.seen.pop_first();
        }
    }
}

/// The setting, what was measured beside it, and what follows. Peaks are at least what was needed, never more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    pub setting_mib: u32,
    /// Workers that have worked long enough to count.
    pub samples: usize,
    /// The CPU time of these.
    pub worked_seconds: u64,
    /// Since the first of them was started.
    pub span_seconds: u64,
    pub largest_peak_bytes: Option<u64>,
    /// 95 % of the workers needed no more than this.
    pub p95_peak_bytes: Option<u64>,
    /// The most that one of them had when it was last looked at.
    pub largest_own_bytes: Option<u64>,
    /// null: too little was seen.
    pub suggested_mib: Option<u32>,
    /// Workers that there may be.
    pub workers: u32,
    /// As many as the memory limit carries with the suggestion.
    pub suggested_workers: Option<u32>,
    pub message: String,
}

/// Weighs what was seen against the setting in `demand`, with which `workers` may run.
pub fn decide(peaks: &Peaks, clock: Clock, demand: Demand, workers: u32) -> Estimate {
    let samples: Vec<(u64, Sample)> = peaks
        .seen
        .iter()
        .filter(|(_, sample)| sample.cpu >= WORKED)
        .map(|((start, _), sample)| (*start, *sample))
        .collect();
    let worked: Duration = samples.iter().map(|(_, sample)| sample.cpu).sum();
    let span = samples.first().map_or(Duration::ZERO, |(start, _)| clock.since(*start));
    let mut sizes: Vec<u64> = samples.iter().map(|(_, sample)| sample.peak).collect();
    sizes.sort_unstable();

    let enough =
        samples.len() >= ENOUGH_SAMPLES.min(workers) as usize && worked >= ENOUGH_WORK && span >= ENOUGH_TIME;
    let need = samples.iter().map(|(_, sample)| sample.peak.saturating_add(sample.page_tables)).max();
    let suggested_mib = need.filter(|_| enough).map(with_headroom);
    let suggested_workers =
        suggested_mib.map(|estimate_mib| sizing::size(Demand { estimate_mib, ..demand }).total());
    let mut estimate = Estimate {
        setting_mib: demand.estimate_mib,
        samples: samples.len(),
        worked_seconds: worked.as_secs(),
        span_seconds: span.as_secs(),
        largest_peak_bytes: sizes.last().copied(),
        p95_peak_bytes: percentile_95(&sizes),
        largest_own_bytes: samples.iter().map(|(_, sample)| sample.own).max(),
        suggested_mib,
        workers,
        suggested_workers,
        message: String::new(),
    };
    let is_sized = sizing::size(demand).total() == workers;
    estimate.message = Message { estimate: &estimate, is_sized }.to_string();
    estimate
}

/// Rounded up, in what the setting takes.
fn with_headroom(need: u64) -> u32 {
    let mib = need.saturating_mul(HEADROOM_PERCENT).div_ceil(100 * MIB);
    u32::try_from(mib.clamp(*ACCEPTED_MIB.start(), *ACCEPTED_MIB.end())).unwrap_or(u32::MAX)
}

/// The smallest of `sorted` that 95 % do not exceed.
fn percentile_95(sorted: &[u64]) -> Option<u64> {
    sorted.get((sorted.len() * 95).div_ceil(100).checked_sub(1)?).copied()
}

/// What it means, in one line.
struct Message<'a> {
    estimate: &'a Estimate,
    /// The workers follow from memory and estimate; else the panel or `pids.max` gave their number.
    is_sized: bool,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { setting_mib, workers, .. } = *self.estimate;
        let Some(largest) = self.estimate.largest_peak_bytes.map(|bytes| bytes.div_ceil(MIB)) else {
            return f.write_str("no worker has worked for a second yet: nothing is known");
        };
        let (Some(suggested), Some(carried)) = (self.estimate.suggested_mib, self.estimate.suggested_workers)
        else {
            return write!(
                f,
                "largest worker at least {largest} MiB: too little was seen to suggest an estimate; wait for {} workers with a second of CPU time each, {} s of it in all, over {} s",
                ENOUGH_SAMPLES.min(workers),
                ENOUGH_WORK.as_secs(),
                ENOUGH_TIME.as_secs(),
            );
        };
        write!(f, "largest worker {largest} MiB: ")?;
        let limit = "this limit carries";
        match suggested.cmp(&setting_mib) {
            _ if !self.is_sized => write!(
                f,
                "with LSPHP_WORKER_ESTIMATE_MB={suggested} {limit} {carried} workers; the present {workers} were set by hand or by pids.max"
            ),
            std::cmp::Ordering::Equal => write!(f, "LSPHP_WORKER_ESTIMATE_MB={setting_mib} is right"),
            _ if carried == workers => {
                write!(f, "with LSPHP_WORKER_ESTIMATE_MB={suggested} {limit} the same {workers} workers")
            }
            std::cmp::Ordering::Less => write!(
                f,
                "with LSPHP_WORKER_ESTIMATE_MB={suggested} {limit} {carried} workers instead of {workers}"
            ),
            std::cmp::Ordering::Greater => write!(
                f,
                "set LSPHP_WORKER_ESTIMATE_MB={suggested}: {limit} {carried} workers and not {workers}, or raise the limit"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
