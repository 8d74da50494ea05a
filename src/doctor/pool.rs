//! What two looks at the workers tell.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Finding, Symptom};
use crate::status::Status;

const MIB: u64 = 1 << 20;

/// A worker that waited at most so often between two looks has done nothing but wait, or calculate, for one
/// request.
const WAITS_OF_ONE_REQUEST: u64 = 1;

pub fn examine(first: &Status, second: &Status) -> Vec<Finding> {
    let found = [
        estimate(second),
        saturated(first, second),
        too_many_children(second),
        oom_kills(second),
        forks_refused(second),
    ];
    found.into_iter().flatten().chain(stuck(first, second)).collect()
}

fn estimate(status: &Status) -> Option<Finding> {
    let estimate = &status.estimate;
    let setting = u64::from(estimate.setting_mib);
    let largest = estimate.largest_peak_bytes?.div_ceil(MIB);
    if largest > setting {
        let hint = estimate.suggested_mib.map_or_else(
            || format!("raise LSPHP_WORKER_ESTIMATE_MB above {largest}, or the memory limit"),
            |_| estimate.message.clone(),
        );
        return Some(
            Symptom::ESTIMATE_TOO_LOW.found(format!(
                "a worker needed {largest} MiB, LSPHP_WORKER_ESTIMATE_MB is {setting}: {hint}"
            )),
        );
    }
    let (suggested, carried) = (u64::from(estimate.suggested_mib?), estimate.suggested_workers?);
    (suggested * 2 <= setting && carried > estimate.workers)
        .then(|| Symptom::ESTIMATE_TOO_HIGH.found(estimate.message.clone()))
}

/// Full once may be a burst; full at both looks is not.
fn saturated(first: &Status, second: &Status) -> Option<Finding> {
    let queue = second.pool.queue?;
    (first.pool.saturated && second.pool.saturated).then(|| {
        Symptom::SATURATED.found(format!(
            "{} connections wait, of {} that may, while {} of {} workers are busy: see in cac-lsphp status what they do; raise the memory limit, or lower the front end's maxConns",
            queue.length, queue.limit, second.pool.busy, second.pool.limit
        ))
    })
}

fn too_many_children(status: &Status) -> Option<Finding> {
    status.pool.workers.is_none().then(|| {
        Symptom::TOO_MANY_CHILDREN.found(
            "lsphp has more children than this looks through, such as programs that the site has left behind: end them, or restart the container",
        )
    })
}

fn oom_kills(status: &Status) -> Option<Finding> {
    let kills = status.memory.oom_kills.filter(|kills| *kills > 0)?;
    Some(Symptom::OOM_KILLS.found(format!(
        "{kills} since the container was started: raise the memory limit or LSPHP_WORKER_ESTIMATE_MB (now {}); the count starts anew with the container",
        status.estimate.setting_mib
    )))
}

fn forks_refused(status: &Status) -> Option<Finding> {
    let refused = status.memory.forks_refused.filter(|refused| *refused > 0)?;
    Some(Symptom::FORKS_REFUSED.found(format!(
        "{refused} by pids.max since the container was started: raise it (docker run --pids-limit), or end what the site has left running"
    )))
}

/// At least half of the workers that there may be, and two of them.
fn stuck(first: &Status, second: &Status) -> Option<Finding> {
    let mut scripts: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &second.workers {
        let is_same = |before: &&crate::status::Row| {
            (before.pid, before.start_ticks, &before.script) == (row.pid, row.start_ticks, &row.script)
        };
        let waited =
            first.workers.iter().find(is_same).and_then(|before| row.waits?.checked_sub(before.waits?));
        if let (Some(script), Some(0..=WAITS_OF_ONE_REQUEST)) = (&row.script, waited) {
            *scripts.entry(script).or_default() += 1;
        }
    }
    let (script, workers) = scripts.into_iter().max_by_key(|(_, workers)| *workers)?;
    (workers >= 2 && workers * 2 >= second.pool.limit).then(|| {
        Symptom::STUCK.found(format!(
            "{workers} of {} workers have been in one request of {script} for seconds: see what it waits for (a database, another host); LSAPI_MAX_PROCESS_TIME ends what takes too long",
            second.pool.limit
        ))
    })
}

/// Whether the file that was executed has been changed since.
pub fn old_lsphp(status: &Status, lsphp: &Path) -> Option<Finding> {
    let changed = u64::try_from(lsphp.metadata().ok()?.ctime()).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let started = now.checked_sub(status.lsphp.iter().map(|row| row.age_seconds).min()?)?;
    // Both are cut to whole seconds.
    (changed > started + 1).then(|| {
        Symptom::OLD_LSPHP.found(format!(
            "{} has changed since lsphp was started from it: restart the container, or run cac-lsphp reload where it is supervised",
            lsphp.display()
        ))
    })
}
