//! How much memory workers needed, of any number of them in the room for a few numbers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// Upper bounds of the buckets in MiB, each at most half as much again as the last: of what
/// `LSPHP_WORKER_ESTIMATE_MB` takes.
const BOUNDS_MIB: [u64; 16] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096];

/// What one worker has had and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    /// The most memory that it had, at least.
    pub bytes: u64,
    /// What the kernel needs to map it.
    pub page_tables: u64,
    /// What it had on its own when it was last looked at.
    pub own: u64,
    pub worked: Duration,
    /// When it was started, in seconds since 1970.
    pub started_at: u64,
}

/// Of workers that were added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// By bucket; the last is for what is above every bound.
    counts: [u64; BOUNDS_MIB.len() + 1],
    sum_bytes: u64,
    worked_ms: u64,
    largest_bytes: u64,
    /// With its page tables.
    largest_need_bytes: u64,
    /// When the first was started, in seconds since 1970.
    since: Option<u64>,
}

impl Distribution {
    pub fn add(&mut self, peak: Peak) {
        let bucket = BOUNDS_MIB.partition_point(|bound| bound * MIB < peak.bytes);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum_bytes = self.sum_bytes.saturating_add(peak.bytes);
        let worked = u64::try_from(peak.worked.as_millis()).unwrap_or(u64::MAX);
        self.worked_ms = self.worked_ms.saturating_add(worked);
        self.largest_bytes = self.largest_bytes.max(peak.bytes);
        self.largest_need_bytes = self.largest_need_bytes.max(peak.bytes.saturating_add(peak.page_tables));
        self.since = Some(self.since.map_or(peak.started_at, |since| since.min(peak.started_at)));
    }

    pub fn samples(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn sum_bytes(&self) -> u64 {
        self.sum_bytes
    }

    pub fn worked(&self) -> Duration {
        Duration::from_millis(self.worked_ms)
    }

    /// When the first was started, in seconds since 1970.
    pub fn since(&self) -> Option<u64> {
        self.since
    }

    pub fn largest(&self) -> Option<u64> {
        (self.samples() > 0).then_some(self.largest_bytes)
    }

    /// The largest with its page tables.
    pub fn largest_need(&self) -> Option<u64> {
        (self.samples() > 0).then_some(self.largest_need_bytes)
    }

    /// 95 % needed no more than this: the bound of a bucket, so up to half as much again as is exact.
    pub fn percentile_95(&self) -> Option<u64> {
        let rank = u128::from(self.samples()) * 95;
        let mut below = 0_u128;
        let bucket = self.counts.iter().position(|count| {
            below += u128::from(*count);
            below * 100 >= rank
        })?;
        let bound = BOUNDS_MIB.get(bucket).map_or(u64::MAX, |bound| bound * MIB);
        self.largest().map(|largest| largest.min(bound))
    }

    /// Upper bounds in bytes, the last without end, and how many are in each bucket.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_MIB.iter().map(|bound| (bound * MIB) as f64).chain([f64::INFINITY]);
        bounds.zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(sizes: &[u64]) -> Distribution {
        let mut distribution = Distribution::default();
        for bytes in sizes {
            distribution.add(Peak { bytes: *bytes, ..Peak::default() });
        }
        distribution
    }

    #[test]
    fn a_bucket_holds_what_is_at_most_its_bound() {
        let counts = of(&[0, 16 * MIB, 16 * MIB + 1, 4096 * MIB, 4096 * MIB + 1]).buckets();
        let filled: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            filled,
            [
                &(16.0 * MIB as f64, 2),
                &(24.0 * MIB as f64, 1),
                &(4096.0 * MIB as f64, 1),
                &(f64::INFINITY, 1)
            ]
        );
    }

    #[test]
    fn nothing_is_known_of_nobody() {
        let nobody = Distribution::default();
        assert_eq!(
            (nobody.samples(), nobody.largest(), nobody.percentile_95(), nobody.since()),
            (0, None, None, None)
        );
    }

    #[test]
    fn one_in_twenty_may_need_more_than_the_percentile() {
        let mut sizes = vec![20 * MIB; 95];
        sizes.extend([200 * MIB; 5]);
        assert_eq!(of(&sizes).percentile_95(), Some(24 * MIB));
        sizes.push(200 * MIB);
        assert_eq!(of(&sizes).percentile_95(), Some(192 * MIB + 8 * MIB), "the largest, if that is less");
    }

    proptest! {
        #[test]
        fn the_percentile_holds_and_is_near(sizes in proptest::collection::vec(0..9000 * MIB, 1..200)) {
            let bound = of(&sizes).percentile_95().unwrap();
            let within = sizes.iter().filter(|size| **size <= bound).count();
            prop_assert!(within * 100 >= sizes.len() * 95);
            let mut sorted = sizes;
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * 95).div_ceil(100) - 1];
            prop_assert!(bound <= (exact + exact / 2).max(16 * MIB) || exact > 4096 * MIB || exact > 2048 * MIB, "{} {}", bound, exact);
        }

        #[test]
        fn what_is_written_is_read(sizes in proptest::collection::vec(any::<u64>(), 0..9)) {
            let distribution = of(&sizes);
            let text = serde_json::to_string(&distribution).unwrap();
            prop_assert_eq!(serde_json::from_str::<Distribution>(&text).unwrap(), distribution);
        }
    }
}
