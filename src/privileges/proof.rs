//! What the kernel says this process is, read back after the drop.

use nix::unistd::{getgroups, getresgid, getresuid};

use super::{DropError, Target};

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
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
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
}

const CAP_SETPCAP: u32 = 8; // capability.h

/// Read here, not by the procfs crate: its map of all lines needs random numbers, and panics on a
/// machine that has none to give.
const STATUS: &str = "/proc/self/status";

impl Credentials {
    pub fn read() -> Result<Self, DropError> {
        let fault = |operation: &str, cause: &dyn std::fmt::Display| {
            DropError::new(operation, cause, "the drop cannot be proven, so nothing is executed")
        };
        let uids = getresuid().map_err(|cause| fault("getresuid", &cause))?;
        let gids = getresgid().map_err(|cause| fault("getresgid", &cause))?;
        let groups = getgroups().map_err(|cause| fault("getgroups", &cause))?;
        let status = std::fs::read(STATUS).map_err(|cause| fault(&format!("reading {STATUS}"), &cause))?;
        let status = String::from_utf8_lossy(&status);
        let number = |line: &str, radix| {
            let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
            value
                .and_then(|value| u64::from_str_radix(value.trim(), radix).ok())
                .ok_or_else(|| fault(&format!("reading {STATUS}"), &format!("no {line} line")))
        };
        Ok(Self {
            uids: Ids {
                real: uids.real.as_raw(),
                effective: uids.effective.as_raw(),
                saved: uids.saved.as_raw(),
            },
            gids: Ids {
                real: gids.real.as_raw(),
                effective: gids.effective.as_raw(),
                saved: gids.saved.as_raw(),
            },
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
            capabilities: Capabilities {
                inheritable: number("CapInh", 16)?,
                permitted: number("CapPrm", 16)?,
                effective: number("CapEff", 16)?,
                bounding: number("CapBnd", 16)?,
                ambient: number("CapAmb", 16)?,
            },
            no_new_privs: number("NoNewPrivs", 10)? == 1,
        })
    }

    fn may_empty_bounding_set(&self) -> bool {
        self.capabilities.effective >> CAP_SETPCAP & 1 == 1
    }

    fn was_root(&self) -> bool {
        self.uids.effective == 0
    }
}

/// Holds what was planned against what is; one difference refuses all.
pub(super) fn check(before: &Credentials, after: &Credentials, target: Target) -> Result<(), DropError> {
    let all = |id: u32| Ids { real: id, effective: id, saved: id };
    let caps = after.capabilities;
    let groups_may_stay = !before.was_root() && after.groups == before.groups;
    let facts = [
        ("user ids", after.uids == all(target.uid.as_raw())),
        ("group ids", after.gids == all(target.gid.as_raw())),
        ("supplementary groups", after.groups == [target.gid.as_raw()] || groups_may_stay),
        ("inheritable capabilities", caps.inheritable == 0),
        ("permitted capabilities", caps.permitted == 0),
        ("effective capabilities", caps.effective == 0),
        ("ambient capabilities", caps.ambient == 0),
        ("bounding capabilities", caps.bounding == 0 || !before.may_empty_bounding_set()),
        ("no_new_privs", after.no_new_privs || !target.no_new_privs),
    ];
    match facts.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((fact, _)) => Err(DropError::new(
            &format!("reading back the {fact}"),
            format!("they are not as planned: {after:?}"),
            "lsphp is not executed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::identity::{Gid, Uid};

    const NO_CAPABILITIES: Capabilities =
        Capabilities { inheritable: 0, permitted: 0, effective: 0, bounding: 0, ambient: 0 };

    fn ids(id: u32) -> Ids {
        Ids { real: id, effective: id, saved: id }
    }

    fn root() -> Credentials {
        let capabilities = Capabilities { effective: !0, permitted: !0, bounding: !0, ..NO_CAPABILITIES };
        Credentials { uids: ids(0), gids: ids(0), groups: vec![0, 4], capabilities, no_new_privs: false }
    }

    fn site() -> Credentials {
        Credentials {
            uids: ids(1000),
            gids: ids(1001),
            groups: vec![1001],
            capabilities: NO_CAPABILITIES,
            no_new_privs: true,
        }
    }

    fn target() -> Target {
        Target { uid: Uid::new(1000).unwrap(), gid: Gid::new(1001).unwrap(), no_new_privs: true }
    }

    #[test]
    fn the_planned_state_passes() {
        assert!(check(&root(), &site(), target()).is_ok());
    }

    #[test]
    fn each_single_difference_is_refused() {
        type Difference = (&'static str, fn(&mut Credentials));
        let differences: [Difference; 13] = [
            ("user ids", |c| c.uids.real = 0),
            ("user ids", |c| c.uids.effective = 0),
            ("user ids", |c| c.uids.saved = 0),
            ("group ids", |c| c.gids.real = 0),
            ("group ids", |c| c.gids.saved = 0),
            ("supplementary groups", |c| c.groups = vec![]),
            ("supplementary groups", |c| c.groups = vec![1001, 4]),
            ("inheritable capabilities", |c| c.capabilities.inheritable = 1),
            ("permitted capabilities", |c| c.capabilities.permitted = 1 << 40),
            ("effective capabilities", |c| c.capabilities.effective = 1),
            ("ambient capabilities", |c| c.capabilities.ambient = 1),
            ("bounding capabilities", |c| c.capabilities.bounding = 1 << 63),
            ("no_new_privs", |c| c.no_new_privs = false),
        ];
        for (fact, differ) in differences {
            let mut after = site();
            differ(&mut after);
            let message = check(&root(), &after, target()).unwrap_err().to_string();
            assert!(message.contains(fact), "{fact}: {message}");
        }
    }

    #[test]
    fn without_setpcap_the_bounding_set_may_stay() {
        let mut before = root();
        before.capabilities.effective &= !(1 << CAP_SETPCAP);
        let mut after = site();
        after.capabilities.bounding = 1;
        assert!(check(&before, &after, target()).is_ok());
    }

    #[test]
    fn only_a_non_root_start_may_keep_its_groups() {
        let mut after = site();
        after.groups = vec![0, 4];
        assert!(check(&root(), &after, target()).is_err());
        let mut before = site();
        before.groups = vec![0, 4];
        assert!(check(&before, &after, target()).is_ok());
    }
}
