//! RLIMIT_AS of lsphp: a worker that leaks fails an allocation instead of taking the container down.

use serde::{Deserialize, Serialize};

use crate::settings::Options;

/// What PHP maps beside the opcode cache before it runs a line: its binary, libraries, locale and
/// one script's heap. Below this lsphp dies at start with an error that names no limit.
const LEAST_BESIDE_OPCACHE_MIB: u32 = 512;

/// RLIMIT_AS in MiB; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSpace {
    pub soft_mib: Option<u32>,
    pub hard_mib: Option<u32>,
}

pub fn decide(options: &Options, warnings: &mut Vec<String>) -> AddressSpace {
    let least = options.opcache_memory_mib.value.saturating_add(LEAST_BESIDE_OPCACHE_MIB);
    let mut limit = |name: &str, mib: u32| match mib {
        0 => None,
        mib if mib < least => {
            warnings.push(format!(
                "{name}={mib} is raised to {least}: {} MiB of opcache and PHP itself would not fit",
                options.opcache_memory_mib.value
            ));
            Some(least)
        }
        mib => Some(mib),
    };
    let hard_mib = limit("LSPHP_MEM_HARD_MB", options.mem_hard_mib.value);
    let soft_mib = limit("LSPHP_MEM_SOFT_MB", options.mem_soft_mib.value);
    match (soft_mib, hard_mib) {
        (Some(soft), Some(hard)) if soft > hard => {
            warnings.push(format!("LSPHP_MEM_SOFT_MB={soft} is lowered to LSPHP_MEM_HARD_MB={hard}"));
            AddressSpace { soft_mib: hard_mib, hard_mib }
        }
        (None, Some(_)) => AddressSpace { soft_mib: hard_mib, hard_mib },
        _ => AddressSpace { soft_mib, hard_mib },
    }
}
