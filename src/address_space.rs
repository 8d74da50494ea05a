//! RLIMIT_AS of lsphp: a worker that leaks fails an allocation instead of taking the container down.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Object};

/// What PHP maps beside the opcode cache before it runs a line: its binary, libraries, locale and
/// one script's heap. Below this lsphp dies at start with an error that names no limit.
const LEAST_BESIDE_OPCACHE_MIB: u32 = 512;

/// RLIMIT_AS in MiB; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSpace {
    pub soft_mib: Option<u32>,
    pub hard_mib: Option<u32>,
}

impl AddressSpace {
    /// As much as is asked for, 0 for no limit, if PHP can start in it beside an opcode cache of `opcache_mib`.
    pub fn decide(soft_mib: u32, hard_mib: u32, opcache_mib: u32, warnings: &mut Vec<Fault>) -> Self {
        let least = opcache_mib.saturating_add(LEAST_BESIDE_OPCACHE_MIB);
        let mut limit = |name: &str, mib: u32| match mib {
            0 => None,
            mib if mib < least => {
                let cause = format!("{mib} has no room for {opcache_mib} MiB of opcache and PHP itself");
                let hint = format!("{least} is used");
                warnings.push(Fault::new("reading", Object::variable(name), cause, hint));
                Some(least)
            }
            mib => Some(mib),
        };
        let hard_mib = limit("LSPHP_MEM_HARD_MB", hard_mib);
        let soft_mib = limit("LSPHP_MEM_SOFT_MB", soft_mib);
        match (soft_mib, hard_mib) {
            (Some(soft), Some(hard)) if soft > hard => {
                let cause = format!("{soft} is above LSPHP_MEM_HARD_MB");
                let object = Object::variable("LSPHP_MEM_SOFT_MB");
                warnings.push(Fault::new("reading", object, cause, format!("{hard} is used")));
                Self { soft_mib: hard_mib, hard_mib }
            }
            (None, Some(_)) => Self { soft_mib: hard_mib, hard_mib },
            _ => Self { soft_mib, hard_mib },
        }
    }
}
