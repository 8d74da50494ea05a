//! What PHP tells of opcache, where a worker may be taken for it.

use std::time::Duration;

use super::{Finding, Symptom};
use crate::lsapi::Deadline;
use crate::opcache;
use crate::running::RunRecord;
use crate::status::StatusPlan;

/// As long as a health check has.
const TIME: Duration = Duration::from_secs(3);

pub fn examine(run: &RunRecord<StatusPlan>) -> Vec<Finding> {
    let cache = match opcache::look(run, Deadline::after(TIME)) {
        Ok(cache) => cache,
        Err(unknown) => return vec![Symptom::OPCACHE.found(unknown.to_string())],
    };
    let pending = cache.restarts.pending.then(|| format!("it restarts: {}", opcache::PENDING));
    let advice = cache.advice.into_iter().map(|advice| advice.message);
    pending.into_iter().chain(advice).map(|message| Symptom::OPCACHE.found(message)).collect()
}
