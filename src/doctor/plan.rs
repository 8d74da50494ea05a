//! What a start would decide now, beside what the start decided.

use super::{Finding, Symptom};
use crate::fault::Fault;
use crate::plan::Plan;
use crate::reload;
use crate::running::{RunRecord, StatusPlan};
use crate::supervise::name;

/// Compares the plan now, from this process's environment, the site file and the kernel, or its faults, with what
/// `run` was started with.
pub fn examine(run: &RunRecord<StatusPlan>, now: &Result<Plan, Vec<Fault>>) -> Vec<Finding> {
    let plan = match now {
        Ok(plan) => plan,
        Err(faults) => {
            return faults.iter().map(|fault| Symptom::PLAN_REFUSED.found(fault.to_string())).collect();
        }
    };
    let warnings = plan.warnings.iter().map(|warning| Symptom::PLAN_WARNING.found(warning.to_string()));
    // pid 1 may have resized the pool already.
    let is_resized = name::workers(run.pid) == Some(plan.workers.total());
    let workers = if is_resized { plan.workers.total() } else { run.plan.workers.total() };
    let changes = reload::changes(&run.plan, workers, plan).join(", ");
    let hint = match run.plan.supervision {
        Some(_) => "run cac-lsphp reload",
        None => "restart the container (with CAC_SUPERVISE=1, cac-lsphp reload would be enough)",
    };
    let changed =
        (!changes.is_empty()).then(|| Symptom::CHANGED.found(format!("since the start: {changes}; {hint}")));
    warnings.chain(changed).collect()
}
