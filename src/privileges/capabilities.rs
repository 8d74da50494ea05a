//! Capabilities by name, through the `caps` crate, and by number where a kernel knows more than it does.
//!
//! Not its `read` and `all`: their hash sets need random numbers, which a machine may have none of.

use caps::{CapSet, Capability};

use super::DropError;
use crate::fault::Cause;
use crate::sys;

/// The capabilities that the crate has a name for, in the kernel's order: the number of each is its place.
const NAMED: [Capability; 41] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_LINUX_IMMUTABLE,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_BROADCAST,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_IPC_OWNER,
    Capability::CAP_SYS_MODULE,
    Capability::CAP_SYS_RAWIO,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_PACCT,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_BOOT,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_TIME,
    Capability::CAP_SYS_TTY_CONFIG,
    Capability::CAP_MKNOD,
    Capability::CAP_LEASE,
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_AUDIT_CONTROL,
    Capability::CAP_SETFCAP,
    Capability::CAP_MAC_OVERRIDE,
    Capability::CAP_MAC_ADMIN,
    Capability::CAP_SYSLOG,
    Capability::CAP_WAKE_ALARM,
    Capability::CAP_BLOCK_SUSPEND,
    Capability::CAP_AUDIT_READ,
    Capability::CAP_PERFMON,
    Capability::CAP_BPF,
    Capability::CAP_CHECKPOINT_RESTORE,
];

/// The numbers that the crate has no name for: a mask of the kernel's has room for 64.
const UNNAMED: std::ops::Range<u32> = 41..64;

/// One of the five sets as a bit mask, as the kernel answers when it is asked for each capability. A kernel
/// that does not know the set or the number has nothing in it.
pub(super) fn ask(set: CapSet) -> u64 {
    let held = |capability: &&Capability| caps::has_cap(None, set, **capability).unwrap_or(false);
    let named: u64 = NAMED.iter().filter(held).map(Capability::bitmask).sum();
    match set {
        CapSet::Bounding => named | unnamed_bounding(),
        // Of these the crate has no way to ask for a number, and only `/proc` says.
        CapSet::Inheritable | CapSet::Permitted | CapSet::Effective | CapSet::Ambient => named,
    }
}

fn unnamed_bounding() -> u64 {
    UNNAMED.filter(|number| sys::is_in_bounding_set(*number)).map(|number| 1 << number).sum()
}

/// What of a mask the crate can be asked for.
pub(super) fn named(mask: u64) -> u64 {
    mask & NAMED.iter().map(Capability::bitmask).sum::<u64>()
}

/// Empties effective, permitted and inheritable set. The kernel empties the ambient set with them: nothing
/// is ambient that is not both permitted and inheritable, see capabilities(7).
pub(super) fn clear_sets() -> Result<(), DropError> {
    let cleared = caps::clear(None, CapSet::Inheritable).and_then(|()| caps::clear(None, CapSet::Permitted));
    cleared.map_err(|cause| {
        DropError::new("emptying the capability sets", cause.to_string(), "let seccomp allow capset")
    })
}

/// Takes every capability of `mask` out of the bounding set, until one stays; that is the error.
pub(super) fn drop_bounding(mask: u64) -> Result<(), Cause> {
    for capability in NAMED.iter().filter(|capability| mask & capability.bitmask() != 0) {
        caps::drop(None, CapSet::Bounding, *capability).map_err(|cause| cause.to_string())?;
    }
    for number in UNNAMED.filter(|number| mask >> number & 1 == 1) {
        sys::drop_from_bounding_set(number)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_names_place_is_its_number() {
        for (number, capability) in NAMED.iter().enumerate() {
            assert_eq!(usize::from(capability.index()), number);
        }
        assert_eq!(NAMED.len(), caps::all().len(), "none that the crate knows is left out");
        assert_eq!(UNNAMED.start as usize, NAMED.len());
    }

    #[test]
    fn the_kernel_answers_what_its_file_says() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mask = |line: &str| {
            let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        for (set, line) in [
            (CapSet::Inheritable, "CapInh:"),
            (CapSet::Permitted, "CapPrm:"),
            (CapSet::Effective, "CapEff:"),
            (CapSet::Bounding, "CapBnd:"),
            (CapSet::Ambient, "CapAmb:"),
        ] {
            assert_eq!(ask(set), mask(line), "{line}");
        }
    }
}
