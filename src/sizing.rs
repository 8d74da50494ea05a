//! From memory to workers: the arithmetic that is published to customers, and nothing else.
//!
//! ```text
//! fixed   = opcache + 16 MiB                                  shared opcode cache + the lsphp parent
//! workers = max(2, floor((budget - fixed) / estimate))        lsphp's extra children included
//! ```

use std::cmp::Ordering;
use std::fmt;

/// The lsphp parent beside its workers, in MiB.
const PARENT_MIB: u64 = 16;

/// Below two children lsphp runs without its process manager: as PID 1 it would ignore SIGTERM and
/// stop the container after its request limit.
pub const MIN_CHILDREN: u32 = 2;

/// lsphp itself takes no more.
pub const MAX_CHILDREN: u32 = 10_000;

/// Kept free below `pids.max` for lsphp's parent, a health check and an operator's shell.
const RESERVED_PIDS: u64 = 8;

/// What a container may use when no limit says anything, in MiB.
const UNLIMITED_MIB: u64 = 1024;

/// What the number of workers depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub budget_mib: u64,
    pub opcache_mib: u32,
    pub estimate_mib: u32,
    /// Children that lsphp adds on top.
    pub extra: u32,
    /// The panel's number instead of the computed one.
    pub children: Option<u32>,
    pub pids_max: Option<u64>,
}

/// How many workers there will be and what they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// lsphp's `PHP_LSAPI_CHILDREN`.
    pub children: u32,
    /// lsphp's `LSAPI_EXTRA_CHILDREN`.
    pub extra: u32,
    /// Opcode cache, parent and every worker at its estimate, in MiB.
    pub needed_mib: u64,
    /// The children that were wanted, where `pids.max` allows fewer.
    pub capped_from: Option<u32>,
    /// Of a computed number.
    pub reason: Reason,
}

/// The sum behind a number of workers, and whether it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    budget_mib: u64,
    fixed_mib: u64,
    estimate_mib: u64,
    /// The workers compared with what the sum gives.
    kept: Ordering,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget_mib, fixed_mib, estimate_mib, kept } = self;
        write!(f, "computed: ({budget_mib} - {fixed_mib}) MiB / {estimate_mib} MiB a worker")?;
        f.write_str(match kept {
            Ordering::Greater => ", raised to the least lsphp needs",
            Ordering::Equal => "",
            Ordering::Less => ", lowered to what is allowed",
        })
    }
}

impl Workers {
    pub fn total(self) -> u32 {
        self.children.saturating_add(self.extra)
    }
}

/// Sizes the pool.
pub fn size(demand: Demand) -> Workers {
    let budget_mib = demand.budget_mib;
    let estimate_mib = u64::from(demand.estimate_mib.max(1));
    let fixed_mib = fixed_mib(demand.opcache_mib);
    let fitting = budget_mib.saturating_sub(fixed_mib) / estimate_mib;
    let wanted = demand.children.unwrap_or_else(|| children_within(fitting, demand.extra));
    let allowed = demand
        .pids_max
        .map_or(u32::MAX, |max| children_within(max.saturating_sub(RESERVED_PIDS), demand.extra));
    let children = wanted.min(allowed).max(MIN_CHILDREN);
    let total = u64::from(children) + u64::from(demand.extra);
    Workers {
        children,
        extra: demand.extra,
        // Of a run record that the site has written the numbers are anything.
        needed_mib: fixed_mib.saturating_add(total.saturating_mul(estimate_mib)),
        capped_from: (wanted > children).then_some(wanted),
        reason: Reason { budget_mib, fixed_mib, estimate_mib, kept: total.cmp(&fitting) },
    }
}

/// What is used whatever the number of workers, in MiB.
pub fn fixed_mib(opcache_mib: u32) -> u64 {
    u64::from(opcache_mib) + PARENT_MIB
}

/// The budget when the kernel sets no limit: a sidecar never sizes itself on the host's memory.
pub fn unlimited_budget_mib(mem_total_mib: Option<u64>) -> u64 {
    mem_total_mib.map_or(UNLIMITED_MIB, |total| UNLIMITED_MIB.min(total / 4))
}

fn children_within(total: u64, extra: u32) -> u32 {
    let children = total.saturating_sub(extra.into());
    u32::try_from(children).unwrap_or(MAX_CHILDREN).clamp(MIN_CHILDREN, MAX_CHILDREN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demand(budget_mib: u64) -> Demand {
        Demand { budget_mib, opcache_mib: 64, estimate_mib: 130, extra: 0, children: None, pids_max: None }
    }

    #[test]
    fn the_published_table() {
        for (mib, workers) in [(256, 2), (512, 3), (768, 5), (1024, 7), (1536, 11), (2048, 15), (4096, 30)] {
            assert_eq!(size(demand(mib)).total(), workers, "{mib} MiB");
        }
    }

    #[test]
    fn pids_max_caps_and_says_so() {
        let capped = size(Demand { pids_max: Some(13), ..demand(4096) });
        assert_eq!((capped.children, capped.capped_from), (5, Some(30)));
        let floored = size(Demand { pids_max: Some(3), ..demand(4096) });
        assert_eq!(floored.children, MIN_CHILDREN);
    }

    #[test]
    fn without_a_limit_the_budget_is_small() {
        assert_eq!(unlimited_budget_mib(None), 1024);
        assert_eq!(unlimited_budget_mib(Some(2048)), 512);
        assert_eq!(unlimited_budget_mib(Some(262_144)), 1024);
    }

    /// What an exporter reads in the run record of a site that was started without root.
    #[test]
    fn no_number_is_too_large() {
        let most = Demand {
            budget_mib: u64::MAX,
            opcache_mib: u32::MAX,
            estimate_mib: u32::MAX,
            extra: u32::MAX,
            children: Some(u32::MAX),
            pids_max: Some(u64::MAX),
        };
        assert_eq!(size(most).needed_mib, u64::MAX);
        assert_eq!(size(Demand { estimate_mib: 0, ..most }).total(), u32::MAX);
    }

    prop_compose! {
        fn any_demand()(
            budget_mib in 64u64..=1 << 20,
            opcache_mib in 8u32..=4096,
            estimate_mib in 16u32..=4096,
            extra in 0u32..=10_000,
            children in proptest::option::of(2u32..=10_000),
            pids_max in proptest::option::of(0u64..=40_000),
        ) -> Demand {
            Demand { budget_mib, opcache_mib, estimate_mib, extra, children, pids_max }
        }
    }

    proptest! {
        #[test]
        fn workers_fit_the_budget_above_the_floor(demand in any_demand()) {
            let workers = size(Demand { children: None, ..demand });
            prop_assert!(workers.children == MIN_CHILDREN || workers.needed_mib <= demand.budget_mib);
        }

        #[test]
        fn more_memory_never_gives_fewer_workers(demand in any_demand(), more in 0u64..=1 << 20) {
            let roomier = Demand { budget_mib: demand.budget_mib + more, ..demand };
            prop_assert!(size(roomier).children >= size(demand).children);
        }

        #[test]
        fn pids_max_is_kept_above_the_floor(demand in any_demand()) {
            let workers = size(demand);
            if let Some(max) = demand.pids_max {
                prop_assert!(workers.children == MIN_CHILDREN || u64::from(workers.total()) + 8 <= max);
            }
        }
    }
}
