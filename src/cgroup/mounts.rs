//! `/proc/self/mountinfo`: where cgroups can be read.
//!
//! Parsed here, not by the procfs crate: its line parser leaves the octal escapes in paths, and its
//! file parser gives up everything for one line it does not understand or one byte that is not
//! UTF-8. A mount of anything else must not cost us the cgroup's.

use std::path::PathBuf;

use super::files::{lines, parse_number};
use super::path::CgroupPath;
use super::version::Version;

/// A mounted cgroup hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The cgroup that the mount shows at its top.
    pub(super) root: CgroupPath,
    /// Where, relative to the root of the file system.
    pub(super) point: PathBuf,
    /// The v1 mount's super options, its controllers among them; `None` for v2.
    v1_options: Option<Vec<u8>>,
}

impl Mount {
    /// A mount that nobody saw, of the whole hierarchy.
    pub(super) fn assumed(version: Version, point: PathBuf) -> Self {
        let v1_options = (version == Version::V1).then(Vec::new);
        Self { root: CgroupPath::parse(b"/"), point, v1_options }
    }

    pub(super) fn is_v2(&self) -> bool {
        self.v1_options.is_none()
    }

    /// Whether this is the v1 hierarchy of `controller`, alone or with others.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.v1_options.as_ref().is_some_and(|options| {
            options.split(|byte| *byte == b',').any(|name| name == controller.as_bytes())
        })
    }
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 … - type source super,options`, see proc(5);
/// `Ok(None)`: no cgroup.
fn parse_line(line: &[u8]) -> Result<Option<Mount>, Garbage> {
    // Split at each single space: a source may be empty.
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next().ok_or(Garbage);
    let (id, _parent, _device, root, point, _options) =
        (next()?, next()?, next()?, next()?, next()?, next()?);
    parse_number(id).ok_or(Garbage)?;
    while next()? != b"-" {}
    let (kind, _source, super_options) = (next()?, next()?, next()?);

    let v1_options = match kind {
        b"cgroup" => Some(super_options.to_owned()),
        b"cgroup2" => None,
        _ => return Ok(None),
    };
    if !root.starts_with(b"/") || !point.starts_with(b"/") {
        return Err(Garbage);
    }
    let root = CgroupPath::parse(&unescape(root));
    let point = CgroupPath::parse(&unescape(point)).to_relative();
    Ok(Some(Mount { root, point, v1_options }))
}

/// A line that is not as proc(5) says.
#[derive(Debug, PartialEq, Eq)]
struct Garbage;

/// The cgroup mounts that can be reached, and how many lines make no sense.
pub(super) fn parse(content: &[u8]) -> (Vec<Mount>, usize) {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut garbage = 0;
    for line in lines(content) {
        match parse_line(line) {
            Ok(Some(mount)) => {
                // A later mount covers an earlier one at the same point.
                mounts.retain(|earlier| earlier.point != mount.point);
                mounts.push(mount);
            }
            Ok(None) => {}
            Err(Garbage) => garbage += 1,
        }
    }
    (mounts, garbage)
}

/// Replaces `\040` and the like, three octal digits, by the byte they stand for.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Mount {
        parse_line(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn mounts_of_both_versions() {
        let v1 =
            one("35 31 0:32 /docker/0 /sys/fs/cgroup/cpu,memory ro,nosuid - cgroup cgroup rw,cpu,memory");
        assert_eq!(v1.root.to_string(), "/docker/0");
        assert_eq!(v1.point, PathBuf::from("sys/fs/cgroup/cpu,memory"));
        assert!(v1.has("memory") && v1.has("cpu") && !v1.has("pids") && !v1.is_v2());

        let v2 = one("41 31 0:38 / /sys/fs/cgroup rw shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate");
        assert!(v2.is_v2() && !v2.has("memory"));
    }

    #[test]
    fn an_empty_source_moves_nothing() {
        assert!(one("35 31 0:32 / /m rw - cgroup  rw,memory").has("memory"));
    }

    #[test]
    fn a_named_hierarchy_is_no_controller() {
        assert!(!one("40 31 0:37 / /m rw - cgroup cgroup rw,xattr,name=memory").has("memory"));
    }

    #[test]
    fn escapes_are_octal_and_three_digits() {
        for (escaped, bytes) in [
            (r"/a\040b", &b"/a b"[..]),
            (r"\011\012\134\043", b"\t\n\\#"),
            (r"\134040", br"\040"),
            (r"\377", b"\xff"),
            (r"\400", br"\400"),
            (r"\04", br"\04"),
            (r"\", br"\"),
            (r"\089", br"\089"),
        ] {
            assert_eq!(unescape(escaped.as_bytes()), bytes, "{escaped}");
        }
    }

    #[test]
    fn other_mounts_are_passed_over_and_garbage_is_counted() {
        let (mounts, garbage) = parse(
            b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
              \xff\xfe garbage\n\
              35 31 0:32 / /m rw shared:1 cgroup cgroup rw\n\
              36 31 0:32 / m rw - cgroup cgroup rw,memory\n\
              41 31 0:38 / /u rw - cgroup2 cgroup2 rw",
        );
        assert_eq!((mounts.len(), garbage), (1, 3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(content: Vec<u8>) {
            parse(&content);
        }

        #[test]
        fn almost_lines_are_parsed(content in "([0-9]{1,2}|/|/a|\\\\040|-|cgroup2?|memory|,| |\\n){0,60}") {
            parse(content.as_bytes());
        }

        #[test]
        fn what_the_kernel_escapes_is_given_back(name in "[ -~\\t\\n]{0,20}") {
            let escaped: String = name.chars().map(|c| match c {
                ' ' | '\t' | '\n' | '\\' | '#' => format!("\\{:03o}", u32::from(c)),
                c => c.to_string(),
            }).collect();
            prop_assert_eq!(unescape(escaped.as_bytes()), name.into_bytes());
        }
    }
}
