//! The process environment as plain data: bytes in, no panic on what is not UTF-8.

use std::ffi::{OsStr, OsString};

/// Names and values in the order the process was given them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    pub fn of_this_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The first value of `name`, as getenv(3) finds it.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }

    /// The same as a setting: blanks are as unset, because panels pass them.
    pub fn setting(&self, name: &str) -> Option<&OsStr> {
        self.get(name).filter(|value| !is_blank(value))
    }

    /// Sets `name` where nobody has.
    pub fn set_if_missing(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.0.push((name.into(), value.into()));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

/// Nothing, or nothing but blanks.
pub(super) fn is_blank(value: &OsStr) -> bool {
    value.as_encoded_bytes().iter().all(u8::is_ascii_whitespace)
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
