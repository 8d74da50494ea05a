//! The budget: which limit counts, and what lost to it.

use serde::{Deserialize, Serialize};

use crate::cgroup::Limits;
use crate::fault::{Fault, Object};
use crate::settings::{Settings, Source, variable};
use crate::sizing;

const MIB: u64 = 1024 * 1024;

/// How much memory the site has and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// The limit that the kernel enforces; null when there is none.
    pub limit_mib: Option<u64>,
    /// What the pool is sized for.
    pub budget_mib: u64,
    pub source: String,
    /// Looser limits and other names of the budget.
    pub lost: Vec<String>,
}

impl MemoryPlan {
    /// What all workers together may need: the budget, or the kernel's limit where that is tighter.
    pub fn ceiling_mib(&self) -> u64 {
        self.limit_mib.map_or(self.budget_mib, |limit| limit.min(self.budget_mib))
    }
}

pub fn decide(
    settings: &Settings,
    limits: &Limits,
    suppose_mib: Option<u64>,
    warnings: &mut Vec<Fault>,
) -> MemoryPlan {
    if let Some(mib) = suppose_mib {
        let lost = found(limits);
        return MemoryPlan {
            limit_mib: Some(mib),
            budget_mib: mib,
            source: format!("{mib} MiB from --memory"),
            lost,
        };
    }
    let limit_mib = limits.memory.as_ref().map(|limit| limit.bytes / MIB);
    if let (Some(budget), Some(given)) = (settings.options.memory_mib, settings.given.get(&variable::MEMORY))
    {
        warn_when_above(limit_mib, budget, &given.source, warnings);
        return MemoryPlan {
            limit_mib,
            budget_mib: budget.into(),
            source: format!("{budget} MiB, {}", given.source),
            lost: [given.lost.clone(), found(limits)].concat(),
        };
    }
    match &limits.memory {
        Some(limit) => MemoryPlan {
            limit_mib,
            budget_mib: limit.bytes / MIB,
            source: format!("{} MiB from {}", limit.bytes / MIB, limit.source),
            lost: looser(limits),
        },
        None => unlimited(limits, warnings),
    }
}

fn unlimited(limits: &Limits, warnings: &mut Vec<Fault>) -> MemoryPlan {
    let budget_mib = sizing::unlimited_budget_mib(limits.mem_total.map(|bytes| bytes / MIB));
    let cause =
        format!("no memory limit was found, so it is for {budget_mib} MiB and not for the host's memory");
    let hint = "start the container with --memory, or set CAC_MEMORY_MB";
    warnings.push(Fault::new(super::SIZING, Object::Nothing, cause, hint));
    MemoryPlan {
        limit_mib: None,
        budget_mib,
        source: format!("{budget_mib} MiB, as no memory limit was found"),
        lost: looser(limits),
    }
}

fn warn_when_above(limit_mib: Option<u64>, budget_mib: u32, source: &Source, warnings: &mut Vec<Fault>) {
    if let Some(limit) = limit_mib.filter(|limit| *limit < budget_mib.into()) {
        let cause = format!(
            "{budget_mib} MiB is above the container's limit of {limit} MiB, at which the kernel kills workers"
        );
        warnings.push(Fault::new("reading", source, cause, "lower it, or raise the limit"));
    }
}

/// Every limit that was found, tightest first, and what is none.
fn found(limits: &Limits) -> Vec<String> {
    limits.memory.iter().map(described).chain(looser(limits)).collect()
}

fn looser(limits: &Limits) -> Vec<String> {
    let machine = limits.mem_total.map_or_else(
        || "any machine's memory".to_owned(),
        |bytes| format!("the machine's {} MiB", bytes / MIB),
    );
    let above = limits
        .above_machine
        .iter()
        .map(|limit| format!("{}: above {machine}, so no limit", described(limit)));
    limits.lost.iter().map(described).chain(above).collect()
}

fn described(limit: &crate::cgroup::MemoryLimit) -> String {
    format!("{} MiB from {}", limit.bytes / MIB, limit.source)
}
