//! A cgroup's path as `/proc` shows it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::one_line::OneLine;

/// Where a cgroup is, relative to the root of the reader's cgroup namespace.
///
/// A cgroup outside of that root is shown as `/../name`, so `..` is part of the notation and must
/// not be handed to the file system: it would walk out of the mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupPath {
    /// Steps up from the namespace's root, before the names go down again.
    above: usize,
    names: Vec<OsString>,
}

impl CgroupPath {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut path = Self { above: 0, names: Vec::new() };
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => {
                    if path.names.pop().is_none() {
                        path.above += 1;
                    }
                }
                name => path.names.push(OsStr::from_bytes(name).to_owned()),
            }
        }
        path
    }

    /// The names that lead from `ancestor` down to this cgroup; `None` when it is not below it, or
    /// when a name on the way is not known (it lies above the namespace's root).
    pub(super) fn below(&self, ancestor: &Self) -> Option<&[OsString]> {
        if self.above != ancestor.above {
            return None;
        }
        self.names.strip_prefix(ancestor.names.as_slice())
    }

    /// The cgroup that is `name` in this one.
    pub(super) fn join(&self, name: &OsStr) -> Self {
        let mut path = self.clone();
        path.names.push(name.to_owned());
        path
    }

    pub(super) fn depth(&self) -> usize {
        self.names.len()
    }

    /// The names as a relative path, for mount points; `..` at the root of the tree stays there.
    pub(super) fn to_relative(&self) -> PathBuf {
        self.names.iter().collect()
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.above == 0 && self.names.is_empty() {
            return f.write_str("/");
        }
        for _ in 0..self.above {
            f.write_str("/..")?;
        }
        for name in &self.names {
            write!(f, "/{}", OneLine(name.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> CgroupPath {
        CgroupPath::parse(text.as_bytes())
    }

    #[test]
    fn dots_are_resolved_without_the_file_system() {
        for (given, shown) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//a/./b/", "/a/b"),
            ("/a/../b", "/b"),
            ("/..", "/.."),
            ("/../..", "/../.."),
            ("/../a", "/../a"),
            ("/a/../../b", "/../b"),
            ("/...", "/..."),
            ("/with space:and colon", "/with space:and colon"),
            ("/new\nline", "/new\\nline"),
        ] {
            assert_eq!(path(given).to_string(), shown, "{given:?}");
        }
    }

    #[test]
    fn below_knows_only_names_that_are_shown() {
        let names =
            |from: &str, to: &str| path(to).below(&path(from)).map(|names| names.iter().collect::<PathBuf>());
        for (ancestor, descendant, way) in [
            ("/", "/", Some("")),
            ("/", "/a/b", Some("a/b")),
            ("/a", "/a/b", Some("b")),
            ("/a/b", "/a/b", Some("")),
            ("/..", "/../a", Some("a")),
            ("/a", "/ab", None),
            ("/a/b", "/a", None),
            ("/", "/../a", None),
            ("/..", "/a", None),
            ("/../..", "/../a", None),
        ] {
            assert_eq!(names(ancestor, descendant), way.map(PathBuf::from), "{ancestor} to {descendant}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_lead_out_of_the_tree(bytes in "[a./\\PC]{0,60}") {
            let relative = path(&bytes).to_relative();
            prop_assert!(relative.components().all(|c| matches!(c, std::path::Component::Normal(_))));
        }

        #[test]
        fn a_shown_path_reads_back(names in proptest::collection::vec("[a-z: ]{1,5}", 0..5), above in 0usize..3) {
            let text = format!("{}/{}", "/..".repeat(above), names.join("/"));
            let parsed = path(&text);
            prop_assert_eq!(path(&parsed.to_string()), parsed);
        }
    }
}
