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
        write!(f, "{}: {}", self.fault.name(), OneLine(&self.message))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Symptom {
    Down,
    PlanRefused,
    PlanWarning,
    Changed,
    NormaliserReplaced,
    NormaliserShutOut,
    DocumentRoot,
    ErrorLog,
    Volume,
    FileCache,
    EstimateTooLow,
    EstimateTooHigh,
    Saturated,
    Stuck,
    TooManyChildren,
    OomKills,
    ForksRefused,
    OldLsphp,
    Opcache,
}

impl Symptom {
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::PlanRefused => "plan refused",
            Self::PlanWarning => "plan warning",
            Self::Changed => "changed",
            Self::NormaliserReplaced => "normaliser replaced",
            Self::NormaliserShutOut => "normaliser shut out",
            Self::DocumentRoot => "document root",
            Self::ErrorLog => "error log",
            Self::Volume => "volume",
            Self::FileCache => "file cache",
            Self::EstimateTooLow => "estimate too low",
            Self::EstimateTooHigh => "estimate too high",
            Self::Saturated => "saturated",
            Self::Stuck => "stuck",
            Self::TooManyChildren => "too many children",
            Self::OomKills => "OOM kills",
            Self::ForksRefused => "forks refused",
            Self::OldLsphp => "old lsphp",
            Self::Opcache => "opcache",
        }
    }

    fn found(self, message: impl Into<String>) -> Finding {
        Finding { fault: self, message: message.into() }
    }
}

impl Serialize for Symptom {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

/// Looks at the site that `run` records, as its user; `deep`ly: over a worker too.
pub fn examine(root: &Path, run: &RunRecord<StatusPlan>, deep: bool) -> Vec<Finding> {
    let mut peaks = Peaks::default();
    let first = match status::look(root, run, &mut peaks) {
        Ok(status) => status,
        Err(down) => return vec![is_down(&down)],
    };
    std::thread::sleep(BETWEEN_LOOKS);
    let second = match status::look(root, run, &mut peaks) {
        Ok(status) => status,
        Err(down) => return vec![is_down(&down)],
    };
    let mut findings = home::examine(run);
    findings.extend(file_cache::examine(run, &second));
    findings.extend(pool::examine(&first, &second));
    findings.extend(pool::old_lsphp(&second, &run.lsphp));
    if deep {
        findings.extend(opcache::examine(run));
    }
    findings
}

pub fn is_down(down: &Down) -> Finding {
    let hint = match down.reason {
        Reason::Starting { .. } | Reason::Restarting { .. } => "; look again in a moment",
        _ => "",
    };
    Symptom::Down.found(format!("{}{hint}", down.reason))
}

#[cfg(test)]
mod tests;
