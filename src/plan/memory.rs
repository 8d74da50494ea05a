//! The budget: which limit counts, and what lost to it.

use serde::{Deserialize, Serialize};

use crate::cgroup::Limits;
use crate::settings::Options;
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

pub fn decide(
    options: &Options,
    limits: &Limits,
    suppose_mib: Option<u64>,
    warnings: &mut Vec<String>,
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
    if let Some(budget) = &options.memory_mib {
        warn_when_above(limit_mib, budget.value, &budget.source, warnings);
        return MemoryPlan {
            limit_mib,
            budget_mib: budget.value.into(),
            source: format!("{} MiB, {}", budget.value, budget.source),
            lost: [budget.lost.clone(), found(limits)].concat(),
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

fn unlimited(limits: &Limits, warnings: &mut Vec<String>) -> MemoryPlan {
    let budget_mib = sizing::unlimited_budget_mib(limits.mem_total.map(|bytes| bytes / MIB));
    warnings.push(format!(
        "no memory limit was found: sizing for {budget_mib} MiB, not for the host's memory; start the container with --memory or set CAC_MEMORY_MB"
    ));
    MemoryPlan {
        limit_mib: None,
        budget_mib,
        source: format!("{budget_mib} MiB, as no memory limit was found"),
        lost: looser(limits),
    }
}

fn warn_when_above(limit_mib: Option<u64>, budget_mib: u32, source: &str, warnings: &mut Vec<String>) {
    if let Some(limit) = limit_mib.filter(|limit| *limit < budget_mib.into()) {
        warnings.push(format!(
            "{source} is {budget_mib} MiB but the container's limit is {limit} MiB: the kernel kills workers at the limit; lower it or raise the limit"
        ));
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
