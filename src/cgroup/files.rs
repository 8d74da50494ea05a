//! Reads the kernel's small files, and the forms of text they have.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use crate::fault::{Cause, Fault};
use crate::root::Root;

/// What happens to a file that is wrong.
pub(super) const NOT_USED: &str = "it is not used";

/// The kernel's files below one root, and what was wrong with them.
pub(super) struct KernelFiles<'a> {
    pub(super) root: &'a Root,
    pub(super) warnings: Vec<Fault>,
}

impl<'a> KernelFiles<'a> {
    pub(super) fn below(root: &'a Root) -> Self {
        Self { root, warnings: Vec::new() }
    }

    /// Reads `path`, or warns that it cannot be read.
    pub(super) fn read_or_warn(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.some_or_warn(path, self.root.read(path))
    }

    /// Reads the table `path`, as [`Root::read_table`] does, or warns that it cannot be read.
    pub(super) fn read_table_or_warn(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.some_or_warn(path, self.root.read_table(path))
    }

    fn some_or_warn(&mut self, path: &Path, content: io::Result<Vec<u8>>) -> Option<Vec<u8>> {
        content.map_err(|error| self.warn(path, error, "")).ok()
    }

    /// Reads the limit `name` in `directory`; 0, an empty file and garbage are no limits, and warned about. So is
    /// an absent file unless it has a `twin` that is absent too, as where its controller is not enabled and in the
    /// topmost cgroup.
    pub(super) fn read_limit(&mut self, directory: &Path, name: &str, twin: Option<&str>) -> Option<u64> {
        let path = directory.join(name);
        let is_absent = |twin: &str| !self.root.exists(&directory.join(twin));
        let limit = match self.root.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && twin.is_some_and(is_absent) => {
                return None;
            }
            content => content.map_err(Cause::from).and_then(|content| parse_limit(&content)),
        };
        limit.unwrap_or_else(|cause| {
            self.warn(&path, cause, NOT_USED);
            None
        })
    }

    /// Keeps what was wrong with `path` for the plan, once.
    pub(super) fn warn(&mut self, path: &Path, cause: impl Into<Cause>, hint: impl Into<Cow<'static, str>>) {
        let warning = Fault::new("reading", &Path::new("/").join(path), cause, hint);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// What a limit file says: a number, or `max` for none.
fn parse_limit(content: &[u8]) -> Result<Option<u64>, Cause> {
    match content.trim_ascii() {
        b"" => Err("it is empty".into()),
        b"max" => Ok(None),
        text => match parse_number(text) {
            Some(0) => Err("a limit of 0 cannot be right".into()),
            Some(number) => Ok(Some(number)),
            None => Err(format!("{:?} is not a number", excerpt(text)).into()),
        },
    }
}

/// The number after `key` in lines of `key number`, as in `memory.stat`.
pub(crate) fn keyed_number(content: &[u8], key: &str) -> Option<u64> {
    content.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(key.as_bytes())?.strip_prefix(b" ")?;
        parse_number(value.trim_ascii())
    })
}

pub(super) fn parse_number(digits: &[u8]) -> Option<u64> {
    // `u64::from_str` would take a leading `+`.
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The lines of `content`; what follows the last newline is a line only if there is something.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_numbers_or_max() {
        for (content, limit) in [
            ("1073741824\n", Some(1_073_741_824)),
            ("1073741824", Some(1_073_741_824)),
            (" 7 \n", Some(7)),
            ("max\n", None),
            ("18446744073709551615\n", Some(u64::MAX)),
        ] {
            assert_eq!(parse_limit(content.as_bytes()), Ok(limit), "{content:?}");
        }
        for content in [
            "",
            "\n",
            "0\n",
            "00\n",
            "-1\n",
            "+5\n",
            "1.5\n",
            "512M\n",
            "1 2\n",
            "18446744073709551616\n",
            "\0",
        ] {
            assert!(parse_limit(content.as_bytes()).is_err(), "{content:?}");
        }
    }

    #[test]
    fn a_problem_is_one_short_line() {
        let problem = parse_limit("x\ny\u{1b}[2J".repeat(100).as_bytes()).unwrap_err();
        assert!(!problem.text.contains(char::is_control) && problem.text.len() < 200, "{problem:?}");
    }

    #[test]
    fn keys_match_as_whole_words() {
        let stat = b"cache 1\nhierarchical_memory_limit 536870912\nhierarchical_memsw_limit 7\n";
        assert_eq!(keyed_number(stat, "hierarchical_memory_limit"), Some(536_870_912));
        assert_eq!(keyed_number(stat, "hierarchical_memory"), None);
        assert_eq!(keyed_number(stat, "memory_limit"), None);
        assert_eq!(keyed_number(b"oom 3\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(keyed_number(b"oom_kill \n", "oom_kill"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            let _ = parse_limit(&bytes);
            let _ = keyed_number(&bytes, "max");
        }

        #[test]
        fn every_number_reads_back(number in 1u64..) {
            prop_assert_eq!(parse_limit(format!("{number}\n").as_bytes()), Ok(Some(number)));
            prop_assert_eq!(keyed_number(format!("a 1\nkey {number}\n").as_bytes(), "key"), Some(number));
        }
    }
}
