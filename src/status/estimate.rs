//! What a worker really needed so far, beside `LSPHP_WORKER_ESTIMATE_MB`, and what that would mean.
//!
//! From peaks, never from what workers have at the moment: estimates from a moment are how 60, 96 and 115 MB came
//! about, each of which ended in OOM kills.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::distribution::{Distribution, Peak};
use crate::running::process_memory::ProcessMemory;
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

/// What every worker that was seen needed, those that have left included.
#[derive(Debug, Default)]
pub struct Peaks {
    /// Of workers that were there at the last look at their pool.
    here: BTreeMap<Id, Peak>,
    left: Distribution,
}

/// A worker's pool, start time and pid. A site can have several pools, by the pid of each one's recorded process: two
/// containers while one takes the other's place, or replicas.
type Id = (u32, u64, u32);

impl Peaks {
    /// With what was seen of workers that have left.
    pub fn after(left: Distribution) -> Self {
        Self { here: BTreeMap::new(), left }
    }

    /// Adds what all workers that there are in `pool` had and did so far.
    pub fn see(&mut self, pool: u32, workers: &[Worker], clock: Clock) {
        let mut before = self.take(|of| of == pool);
        for worker in workers {
            let id = (pool, worker.start_ticks, worker.pid);
            let last = before.remove(&id);
            if let Some(peak) = worker.memory.map(|memory| peak(worker, memory, clock)).or(last) {
                self.here.insert(id, peak);
            }
        }
        self.leave(before);
    }

    /// Who was in a pool that is none of `pools` has left.
    pub fn keep(&mut self, pools: &BTreeSet<u32>) {
        let gone = self.take(|of| !pools.contains(&of));
        self.leave(gone);
    }

    /// Takes out those of certain pools.
    fn take(&mut self, of: impl Fn(u32) -> bool) -> BTreeMap<Id, Peak> {
        let all = std::mem::take(&mut self.here);
        let (taken, here) = all.into_iter().partition(|((pool, ..), _)| of(*pool));
        self.here = here;
        taken
    }

    fn leave(&mut self, gone: BTreeMap<Id, Peak>) {
        gone.into_values().filter(counts).for_each(|peak| self.left.add(peak));
    }

    /// Of those that have left: what is worth keeping, as the others can be looked at again.
    pub fn left(&self) -> &Distribution {
        &self.left
    }

    /// Of all that count.
    pub fn distribution(&self) -> Distribution {
        let mut all = self.left.clone();
        self.here().for_each(|peak| all.add(*peak));
        all
    }

    /// Those that count and have not left.
    fn here(&self) -> impl Iterator<Item = &Peak> {
        self.here.values().filter(|peak| counts(peak))
    }

    /// Exact while nobody has left.
    fn percentile_95(&self, all: &Distribution) -> Option<u64> {
        if self.left.samples() > 0 {
            return all.percentile_95();
        }
        let mut sizes: Vec<u64> = self.here().map(|peak| peak.bytes).collect();
        sizes.sort_unstable();
        percentile_95(&sizes)
    }
}

fn peak(worker: &Worker, memory: ProcessMemory, clock: Clock) -> Peak {
    Peak {
        bytes: memory.peak,
        page_tables: memory.page_tables,
        own: memory.own,
        worked: worker.cpu,
        started_at: clock.wall(worker.start_ticks),
    }
}

fn counts(peak: &Peak) -> bool {
    peak.worked >= WORKED
}

/// The setting, what was measured beside it, and what follows. Peaks are at least what was needed, never more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    pub setting_mib: u32,
    /// Workers that have worked long enough to count.
    pub samples: u64,
    /// The CPU time of these.
    pub worked_seconds: u64,
    /// Since the first of them was started.
    pub span_seconds: u64,
    pub largest_peak_bytes: Option<u64>,
    /// 95 % of the workers needed no more than this; up to half as much again as is exact once some have left.
    pub p95_peak_bytes: Option<u64>,
    /// The most that one of them had when it was last looked at; null: all have left.
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
    let all = peaks.distribution();
    let (samples, worked) = (all.samples(), all.worked());
    let span = all.since().map_or(0, |since| clock.now_wall().saturating_sub(since));
    let enough = samples >= u64::from(ENOUGH_SAMPLES.min(workers))
        && worked >= ENOUGH_WORK
        && span >= ENOUGH_TIME.as_secs();
    let suggested_mib = all.largest_need().filter(|_| enough).map(with_headroom);
    let suggested_workers =
        suggested_mib.map(|estimate_mib| sizing::size(Demand { estimate_mib, ..demand }).total());
    let mut estimate = Estimate {
        setting_mib: demand.estimate_mib,
        samples,
        worked_seconds: worked.as_secs(),
        span_seconds: span,
        largest_peak_bytes: all.largest(),
        p95_peak_bytes: peaks.percentile_95(&all),
        largest_own_bytes: peaks.here().map(|peak| peak.own).max(),
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
