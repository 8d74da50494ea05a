//! Whether the cache is as large as the site needs, and which variable makes it so.

use serde::Serialize;

use super::Opcache;
use crate::sizing::{self, Demand};

const MIB: u64 = 1 << 20;

/// PHP's own limits of the variables.
const MOST_MEMORY_MIB: u64 = 4096;
const MOST_FILES: u64 = 1_000_000;

/// The last of the buffer is too small for what is still to come: 128 KiB of PHP's 8 MiB.
const LAST_PART: u64 = 64;

/// A setting that should be another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The variable.
    pub setting: &'static str,
    pub value: u64,
    pub message: String,
}

impl Advice {
    fn new(setting: &'static str, value: u64, message: impl FnOnce(&str) -> String) -> Self {
        Self { setting, value, message: message(&format!("{setting}={value}")) }
    }
}

/// What should be changed. `demand` is what the number of workers was decided from.
pub fn give(opcache: &Opcache, demand: Demand) -> Vec<Advice> {
    [memory(opcache, demand), files(opcache), strings(opcache)].into_iter().flatten().collect()
}

/// How much more is needed is not known while what does not fit is not there, so it is doubled.
fn memory(opcache: &Opcache, demand: Demand) -> Option<Advice> {
    let runs_out = opcache.restarts.out_of_memory > 0 || (opcache.memory.full && !has_no_keys(opcache));
    let more = (u64::from(demand.opcache_mib) * 2).min(MOST_MEMORY_MIB);
    let opcache_mib = u32::try_from(more).ok().filter(|more| runs_out && *more > demand.opcache_mib)?;
    let now = sizing::size(demand).total();
    let then = sizing::size(Demand { opcache_mib, ..demand }).total();
    Some(Advice::new("OPCACHE_MEMORY_MB", more, |setting| {
        format!(
            "{} MiB are too few for what the site runs: set {setting}, with which this limit carries {then} workers instead of {now}",
            demand.opcache_mib
        )
    }))
}

/// PHP rounds up to one of a few sizes, and more than what it has now gives the next.
fn files(opcache: &Opcache) -> Option<Advice> {
    let limit = opcache.files.keys_limit;
    let more = (limit / 1000).saturating_add(1).saturating_mul(1000).min(MOST_FILES);
    (has_no_keys(opcache) && more > limit).then(|| {
        Advice::new("OPCACHE_MAX_FILES", more, |setting| {
            format!("{limit} keys are too few for the files that the site runs: set {setting}")
        })
    })
}

fn has_no_keys(opcache: &Opcache) -> bool {
    opcache.restarts.out_of_keys > 0 || opcache.files.keys >= opcache.files.keys_limit
}

fn strings(opcache: &Opcache) -> Option<Advice> {
    let strings = opcache.strings?;
    let left = strings.limit_bytes.saturating_sub(strings.used_bytes);
    let more = (strings.limit_bytes.div_ceil(MIB)).saturating_mul(2);
    (left < strings.limit_bytes / LAST_PART).then(|| {
        Advice::new("CAC_INI_opcache__interned_strings_buffer", more, |setting| {
            format!(
                "the {} MiB for strings that scripts share are full, so each has its own: set {setting}",
                strings.limit_bytes.div_ceil(MIB)
            )
        })
    })
}
