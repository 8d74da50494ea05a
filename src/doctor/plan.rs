//! What a start would decide now, beside what the start decided.

use std::path::Path;

use super::{Finding, Symptom};
use crate::plan::Plan;
use crate::reload::{self, OldPlan};
use crate::running::RunRecord;

/// Compares the plan now, from this process's environment, the site file and the kernel, or its faults, with what
/// the record below `root` was started with.
pub fn examine(root: &Path, now: &Result<Plan, Vec<crate::fault::Fault>>) -> Vec<Finding> {
    let plan = match now {
        Ok(plan) => plan,
        Err(faults) => {
            return faults.iter().map(|fault| Symptom::PlanRefused.found(fault.to_string())).collect();
        }
    };
    let warnings = plan.warnings.iter().map(|warning| Symptom::PlanWarning.found(warning.to_string()));
    let record: Option<RunRecord<OldPlan>> = RunRecord::read(root).ok();
    let changed = record.and_then(|record| {
        let changes = reload::changes(&record.plan, plan).join(", ");
        let way_out = match record.plan.supervision {
            Some(_) => "run cac-lsphp reload",
            None => "restart the container, which CAC_SUPERVISE=1 and cac-lsphp reload would spare",
        };
        (!changes.is_empty())
            .then(|| Symptom::Changed.found(format!("since the start: {changes}; {way_out}")))
    });
    warnings.chain(changed).collect()
}
