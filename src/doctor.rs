//! Holds a site against what is known to go wrong. Each finding is one line with its way out.
//!
//! [`plan`] compares the start with what a start would do now, [`pool`] looks at lsphp through the kernel, and
//! [`home`] at the site's files, as the site's user; [`opcache`] asks PHP, only when it is told to.

mod file_cache;
mod home;
mod opcache;
mod plan;
mod pool;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::health::Reason;
use crate::one_line::OneLine;
use crate::running::RunRecord;
use crate::status::estimate::Peaks;
use crate::status::{self, Down, StatusPlan};

pub use self::plan::examine as compare;

/// Between two looks at the workers: whoever serves requests waits for something more than once in that time.
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

/// What is wrong, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub fault: Symptom,
    pub message: String,
}

/// `saturated: …`, on one line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault.0, OneLine(&self.message))
    }
}

/// The short name of a fault, the same in every release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Symptom(&'static str);

impl Symptom {
    const DOWN: Self = Self("down");
    const PLAN_REFUSED: Self = Self("plan refused");
    const PLAN_WARNING: Self = Self("plan warning");
    const CHANGED: Self = Self("changed");
    const NORMALISER_REPLACED: Self = Self("normaliser replaced");
    const NORMALISER_SHUT_OUT: Self = Self("normaliser shut out");
    const DOCUMENT_ROOT: Self = Self("document root");
    const ERROR_LOG: Self = Self("error log");
    const VOLUME: Self = Self("volume");
    const FILE_CACHE: Self = Self("file cache");
    const ESTIMATE_TOO_LOW: Self = Self("estimate too low");
    const ESTIMATE_TOO_HIGH: Self = Self("estimate too high");
    const SATURATED: Self = Self("saturated");
    const STUCK: Self = Self("stuck");
    const TOO_MANY_CHILDREN: Self = Self("too many children");
    const OOM_KILLS: Self = Self("OOM kills");
    const FORKS_REFUSED: Self = Self("forks refused");
    const OLD_LSPHP: Self = Self("old lsphp");
    const OPCACHE: Self = Self("opcache");

    fn found(self, message: impl Into<String>) -> Finding {
        Finding { fault: self, message: message.into() }
    }
}

/// Looks at the site that `run` records, as its user; `deep`ly: over a worker too.
///
/// # Errors
/// lsphp does not run.
pub fn examine(root: &Path, run: &RunRecord<StatusPlan>, deep: bool) -> Result<Vec<Finding>, Down> {
    let mut peaks = Peaks::default();
    let first = status::look(root, run, &mut peaks)?;
    std::thread::sleep(BETWEEN_LOOKS);
    let second = status::look(root, run, &mut peaks)?;
    let mut findings = home::examine(run);
    findings.extend(file_cache::examine(run, &second));
    findings.extend(pool::examine(&first, &second));
    findings.extend(pool::old_lsphp(&second, &run.lsphp));
    if deep {
        findings.extend(opcache::examine(run));
    }
    Ok(findings)
}

pub fn is_down(down: &Down) -> Finding {
    let hint = match down.reason {
        Reason::Starting { .. } | Reason::Restarting { .. } => "; look again in a moment",
        _ => "",
    };
    Symptom::DOWN.found(format!("{}{hint}", down.reason))
}

#[cfg(test)]
mod tests;
