//! `/proc/self/cgroup`: which cgroups this process is in.
//!
//! Parsed here, not by the procfs crate: that one gives up the whole file for one line it does not
//! understand or one byte that is not UTF-8, and this file is the one we cannot do without.

use super::files::{lines, parse_number};
use super::path::CgroupPath;

/// One line: `4:cpu,memory:/docker/0123`, or `0::/` for the v2 hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Membership {
    /// Comma-separated, as in the file; empty for v2.
    controllers: Vec<u8>,
    pub(super) path: CgroupPath,
}

impl Membership {
    fn parse(line: &[u8]) -> Option<Self> {
        // The path comes last and may contain colons.
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_v2 = parse_number(id)? == 0;
        if is_v2 != controllers.is_empty() || !path.starts_with(b"/") {
            return None;
        }
        Some(Self { controllers: controllers.to_owned(), path: CgroupPath::parse(path) })
    }

    pub(super) fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether this is the v1 hierarchy of `controller`. A named hierarchy (`name=memory`) is not.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.split(|byte| *byte == b',').any(|name| name == controller.as_bytes())
    }
}

/// The lines that make sense, and how many do not.
pub(super) fn parse(content: &[u8]) -> (Vec<Membership>, usize) {
    let mut garbage = 0;
    let memberships = lines(content)
        .filter_map(|line| {
            let membership = Membership::parse(line);
            garbage += usize::from(membership.is_none());
            membership
        })
        .collect();
    (memberships, garbage)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Option<Membership> {
        Membership::parse(line.as_bytes())
    }

    #[test]
    fn lines_of_both_versions() {
        let v2 = one("0::/system.slice/docker-0.scope").unwrap();
        assert!(v2.is_v2() && !v2.has("memory"));
        assert_eq!(v2.path.to_string(), "/system.slice/docker-0.scope");

        let comounted = one("4:cpu,memory:/a").unwrap();
        assert!(comounted.has("memory") && comounted.has("cpu") && !comounted.is_v2());

        let named = one("1:name=memory:/a").unwrap();
        assert!(!named.has("memory") && !named.is_v2());
    }

    #[test]
    fn a_path_keeps_its_colons_and_spaces() {
        assert_eq!(one("4:memory:/a:b/c d").unwrap().path.to_string(), "/a:b/c d");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in [
            "",
            "garbage",
            "4:memory",
            "4:memory:",
            "4:memory:relative",
            "x:memory:/",
            "0:memory:/",
            "3::/",
            ":::",
        ] {
            assert_eq!(one(line), None, "{line:?}");
        }
    }

    #[test]
    fn garbage_costs_only_its_own_line() {
        let (memberships, garbage) = parse(b"\xff\xfe\n4:memory:/a\nwhat\n\n0::/b");
        assert_eq!((memberships.len(), garbage), (2, 2));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(content: Vec<u8>) {
            parse(&content);
        }

        #[test]
        fn almost_lines_are_parsed(content in "[0-9:,=./a\\n]{0,80}") {
            let (memberships, garbage) = parse(content.as_bytes());
            prop_assert_eq!(memberships.len() + garbage, content.split('\n').filter(|l| !l.is_empty()).count());
        }
    }
}
