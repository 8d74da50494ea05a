//! Capabilities by number: a kernel may know more of them than any library has names for.
//!
//! Not by `read` and `all` of the `caps` crate: their hash sets need random numbers, which a machine may have none of.

use std::io;

use caps::CapSet;

use super::not_dropped;
use crate::failure::Failure;
use crate::sys;

/// A mask of the kernel's has room for so many.
const NUMBERS: std::ops::Range<u32> = 0..64;

/// The bounding set as a bit mask, as the kernel answers for each.
pub(super) fn bounding() -> u64 {
    held(sys::is_in_bounding_set)
}

/// The same of the ambient set, which a kernel before Linux 4.3 has not.
pub(super) fn ambient() -> u64 {
    held(sys::is_ambient)
}

/// Ends at the first number that the kernel does not know.
fn held(is_held: fn(u32) -> io::Result<bool>) -> u64 {
    NUMBERS.map_while(|number| Some(u64::from(is_held(number).ok()?) << number)).sum()
}

/// Empties effective, permitted and inheritable set. The kernel empties the ambient set with them: nothing
/// is ambient that is not both permitted and inheritable, see capabilities(7).
pub(super) fn clear_sets() -> Result<(), Failure> {
    let cleared = caps::clear(None, CapSet::Inheritable).and_then(|()| caps::clear(None, CapSet::Permitted));
    cleared.map_err(|cause| {
        not_dropped("emptying the capability sets", cause.to_string(), "let seccomp allow capset")
    })
}

/// Takes every capability of `mask` out of the bounding set, until one stays; that is the error.
pub(super) fn drop_bounding(mask: u64) -> io::Result<()> {
    NUMBERS.filter(|number| mask >> number & 1 == 1).try_for_each(sys::drop_from_bounding_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_what_its_file_says() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mask = |line: &str| {
            let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let sets = sys::capability_sets().unwrap();
        for (set, line) in [
            (sets.inheritable, "CapInh:"),
            (sets.permitted, "CapPrm:"),
            (sets.effective, "CapEff:"),
            (bounding(), "CapBnd:"),
            (ambient(), "CapAmb:"),
        ] {
            assert_eq!(set, mask(line), "{line}");
        }
    }
}
