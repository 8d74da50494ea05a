//! The drop, in the one order that works: sets that need SETPCAP, groups, gid, uid, the rest.

use nix::unistd::{self, setgroups, setresgid, setresuid};

use super::proof::{self, Credentials};
use super::{Target, capabilities, not_dropped};
use crate::failure::Failure;
use crate::fault::{Fault, Object};
use crate::identity::StartedAs;

const NEEDS: &str = "start the container as root with the capabilities SETUID and SETGID";

pub(super) fn irrevocably(
    started_as: StartedAs,
    target: Target,
) -> Result<(Credentials, Vec<Fault>), Failure> {
    let before = Credentials::read()?;
    let mut warnings = Vec::new();
    empty_bounding_set(&before, target, &mut warnings);
    if started_as.uid == 0 {
        change_ids(target)?;
    } else {
        drop_groups(&before, target, &mut warnings);
    }
    // setresuid does most of this, but not where securebits forbid it, not to the inheritable set, and
    // not on a start that keeps its ids.
    capabilities::clear_sets()?;
    if target.no_new_privs {
        nix::sys::prctl::set_no_new_privs()
            .map_err(|cause| not_dropped("prctl(PR_SET_NO_NEW_PRIVS)", cause, "use Linux 3.5 or later"))?;
    }
    let after = Credentials::read_twice()?;
    proof::check(&before, &after, target)?;
    Ok((after, warnings))
}

/// Needs CAP_SETPCAP. Without it only no_new_privs keeps setuid programs from using the set.
fn empty_bounding_set(before: &Credentials, target: Target, warnings: &mut Vec<Fault>) {
    if let Err(cause) = capabilities::drop_bounding(before.capabilities.bounding) {
        let outcome = match target.no_new_privs {
            true => {
                "it stays and no_new_privs keeps it out of use; add the capability SETPCAP to silence this"
            }
            false => {
                "it stays and setuid programs can use it; add the capability SETPCAP or unset CAC_NO_NEW_PRIVS"
            }
        };
        warnings.push(Fault::new("emptying the capability bounding set", Object::Nothing, cause, outcome));
    }
}

/// Groups first: without CAP_SETGID nothing else would tell that root's groups stayed.
fn change_ids(target: Target) -> Result<(), Failure> {
    let (uid, gid) = (unistd::Uid::from(target.uid), unistd::Gid::from(target.gid));
    setgroups(&[gid]).map_err(|cause| not_dropped(format!("setgroups({gid})"), cause, NEEDS))?;
    setresgid(gid, gid, gid).map_err(|cause| not_dropped(format!("setresgid({gid})"), cause, NEEDS))?;
    setresuid(uid, uid, uid).map_err(|cause| not_dropped(format!("setresuid({uid})"), cause, NEEDS))
}

/// A start without root cannot change its ids, which the proof looks at; its groups can only be reported.
fn drop_groups(before: &Credentials, target: Target, warnings: &mut Vec<Fault>) {
    let others = before.groups.iter().any(|group| *group != target.gid.as_raw());
    if others && setgroups(&[target.gid.into()]).is_err() {
        let operation = format!("dropping supplementary groups {:?}", before.groups);
        let hint = "start the container without them";
        warnings.push(Fault::new(operation, Object::Nothing, "only root can do that", hint));
    }
}
