//! What the kernel says this process is, read back after the drop.

use std::fmt;
use std::path::Path;

use caps::Capability;
use nix::sys::prctl;
use nix::unistd::{getresgid, getresuid};

use super::{Target, capabilities, not_dropped};
use crate::failure::Failure;
use crate::fault::Cause;
use crate::kernel_file;
use crate::sys::{self, CapabilitySets};

/// Real, effective and saved id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
}

/// The five capability sets as bit masks, as in `/proc/self/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub sets: CapabilitySets,
    pub bounding: u64,
    pub ambient: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub uids: Ids,
    pub gids: Ids,
    pub groups: Vec<u32>,
    pub capabilities: Capabilities,
    pub no_new_privs: bool,
    /// `SigIgn`: a bit a signal, the lowest for signal 1.
    pub ignored_signals: u64,
}

/// NGROUPS_MAX, linux/limits.h
const MOST_GROUPS: usize = 65_536;

/// All but SIGKILL and SIGSTOP, whose action cannot be set.
const EVERY_SIGNAL: u64 = !(1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1));

/// Read here, not by the procfs crate: its map of all lines needs random numbers, and panics on a
/// machine that has none to give.
const STATUS: &str = "/proc/self/status";

/// What `/proc/self/status` says. A line may be missing: gVisor has neither Groups nor SigIgn nor NoNewPrivs,
/// Linux has NoNewPrivs from 4.10 on and CapAmb from 4.3 on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Status {
    uids: Option<Ids>,
    gids: Option<Ids>,
    groups: Option<Vec<u32>>,
    inheritable: Option<u64>,
    permitted: Option<u64>,
    effective: Option<u64>,
    bounding: Option<u64>,
    ambient: Option<u64>,
    no_new_privs: Option<bool>,
    ignored_signals: Option<u64>,
}

impl Status {
    fn read() -> Result<Self, Failure> {
        let status = kernel_file::read(Path::new(STATUS))
            .map_err(|cause| unproven(format!("reading {STATUS}"), cause))?;
        let status = String::from_utf8_lossy(&status);
        Self::parse(&status)
            .map_err(|line| unproven(format!("reading {STATUS}"), format!("the {line} line makes no sense")))
    }

    /// The error is the name of the line that is there and wrong.
    fn parse(status: &str) -> Result<Self, &'static str> {
        let mut read = Self::default();
        for (line, value) in status.lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match line {
                "Uid" => read.uids = Some(ids(value).ok_or("Uid")?),
                "Gid" => read.gids = Some(ids(value).ok_or("Gid")?),
                "Groups" => read.groups = Some(numbers(value).ok_or("Groups")?),
                "CapInh" => read.inheritable = Some(mask(value).ok_or("CapInh")?),
                "CapPrm" => read.permitted = Some(mask(value).ok_or("CapPrm")?),
                "CapEff" => read.effective = Some(mask(value).ok_or("CapEff")?),
                "CapBnd" => read.bounding = Some(mask(value).ok_or("CapBnd")?),
                "CapAmb" => read.ambient = Some(mask(value).ok_or("CapAmb")?),
                "NoNewPrivs" => read.no_new_privs = Some(value == "1"),
                "SigIgn" => read.ignored_signals = Some(mask(value).ok_or("SigIgn")?),
                _ => {}
            }
        }
        Ok(read)
    }
}

fn mask(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}

fn ids(text: &str) -> Option<Ids> {
    match numbers(text)?[..] {
        [real, effective, saved, _file_system] => Some(Ids { real, effective, saved }),
        _ => None,
    }
}

impl Credentials {
    /// Everything as `/proc/self/status` has it, in one look; what has no line there, as the kernel answers.
    pub fn read() -> Result<Self, Failure> {
        let status = Status::read()?;
        Ok(Self {
            uids: status.uids.map_or_else(user_ids, Ok)?,
            gids: status.gids.map_or_else(group_ids, Ok)?,
            groups: match status.groups {
                Some(groups) => groups,
                None => supplementary_groups(MOST_GROUPS)?,
            },
            capabilities: Capabilities {
                sets: match (status.effective, status.permitted, status.inheritable) {
                    (Some(effective), Some(permitted), Some(inheritable)) => {
                        CapabilitySets { effective, permitted, inheritable }
                    }
                    _ => capability_sets()?,
                },
                bounding: status.bounding.unwrap_or_else(capabilities::bounding),
                ambient: status.ambient.unwrap_or_else(capabilities::ambient),
            },
            no_new_privs: status.no_new_privs.map_or_else(has_no_new_privs, Ok)?,
            // What may be ignored is reset, and resetting what is not changes nothing.
            ignored_signals: status.ignored_signals.unwrap_or(EVERY_SIGNAL),
        })
    }

    /// The same, and the kernel asked for each fact a second way: a `/proc` that is not this kernel's proves
    /// nothing. The ambient set is no larger than the permitted one, which is asked for.
    pub fn read_twice() -> Result<Self, Failure> {
        let status = Self::read()?;
        let told = Self {
            uids: user_ids()?,
            gids: group_ids()?,
            groups: supplementary_groups(status.groups.len())?,
            capabilities: Capabilities {
                sets: capability_sets()?,
                bounding: capabilities::bounding(),
                ..status.capabilities
            },
            no_new_privs: has_no_new_privs()?,
            ..status
        };
        if told != status {
            let answer = format!("the kernel itself says {told:x?}");
            return Err(unproven(format!("reading {STATUS}"), answer));
        }
        Ok(status)
    }

    fn may_empty_bounding_set(&self) -> bool {
        self.capabilities.sets.effective & Capability::CAP_SETPCAP.bitmask() != 0
    }

    fn was_root(&self) -> bool {
        self.uids.effective == 0
    }
}

fn user_ids() -> Result<Ids, Failure> {
    let ids = getresuid().map_err(|cause| unproven("getresuid", cause))?;
    Ok(Ids { real: ids.real.as_raw(), effective: ids.effective.as_raw(), saved: ids.saved.as_raw() })
}

fn group_ids() -> Result<Ids, Failure> {
    let ids = getresgid().map_err(|cause| unproven("getresgid", cause))?;
    Ok(Ids { real: ids.real.as_raw(), effective: ids.effective.as_raw(), saved: ids.saved.as_raw() })
}

fn supplementary_groups(expected: usize) -> Result<Vec<u32>, Failure> {
    sys::groups(expected).map_err(|cause| unproven("getgroups", cause))
}

fn capability_sets() -> Result<CapabilitySets, Failure> {
    sys::capability_sets().map_err(|cause| unproven("capget", cause))
}

fn has_no_new_privs() -> Result<bool, Failure> {
    prctl::get_no_new_privs().map_err(|cause| unproven("prctl(PR_GET_NO_NEW_PRIVS)", cause))
}

fn unproven(operation: impl fmt::Display, cause: impl Into<Cause>) -> Failure {
    not_dropped(operation, cause, "the drop cannot be proven, so nothing is executed")
}

/// Holds what was planned against what is; one difference refuses all.
pub(super) fn check(before: &Credentials, after: &Credentials, target: Target) -> Result<(), Failure> {
    let all = |id: u32| Ids { real: id, effective: id, saved: id };
    let caps = after.capabilities;
    let groups_may_stay = !before.was_root() && after.groups == before.groups;
    let facts = [
        ("user ids", after.uids == all(target.uid.as_raw())),
        ("group ids", after.gids == all(target.gid.as_raw())),
        ("supplementary groups", after.groups == [target.gid.as_raw()] || groups_may_stay),
        ("inheritable capabilities", caps.sets.inheritable == 0),
        ("permitted capabilities", caps.sets.permitted == 0),
        ("effective capabilities", caps.sets.effective == 0),
        ("ambient capabilities", caps.ambient == 0),
        ("bounding capabilities", caps.bounding == 0 || !before.may_empty_bounding_set()),
        ("no_new_privs", after.no_new_privs || !target.no_new_privs),
    ];
    match facts.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((fact, _)) => Err(not_dropped(
            format!("reading back the {fact}"),
            format!("they are not as planned: {after:?}"),
            "lsphp is not executed",
        )),
    }
}

#[cfg(test)]
mod tests;
