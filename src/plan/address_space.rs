//! RLIMIT_AS of lsphp: a worker that leaks fails an allocation instead of taking the container down.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Object};
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

pub fn decide(options: &Options, warnings: &mut Vec<Fault>) -> AddressSpace {
    let least = options.opcache_memory_mib.saturating_add(LEAST_BESIDE_OPCACHE_MIB);
    let mut limit = |name: &str, mib: u32| match mib {
        0 => None,
        mib if mib < least => {
            let cause =
                format!("{mib} has no room for {} MiB of opcache and PHP itself", options.opcache_memory_mib);
            warnings.push(Fault::new("reading", Object::variable(name), cause, format!("{least} is used")));
            Some(least)
        }
        mib => Some(mib),
    };
    let hard_mib = limit("LSPHP_MEM_HARD_MB", options.mem_hard_mib);
    let soft_mib = limit("LSPHP_MEM_SOFT_MB", options.mem_soft_mib);
    match (soft_mib, hard_mib) {
        (Some(soft), Some(hard)) if soft > hard => {
            let cause = format!("{soft} is above LSPHP_MEM_HARD_MB");
            let object = Object::variable("LSPHP_MEM_SOFT_MB");
            warnings.push(Fault::new("reading", object, cause, format!("{hard} is used")));
            AddressSpace { soft_mib: hard_mib, hard_mib }
        }
        (None, Some(_)) => AddressSpace { soft_mib: hard_mib, hard_mib },
        _ => AddressSpace { soft_mib, hard_mib },
    }
}
