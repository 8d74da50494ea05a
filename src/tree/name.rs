//! One component of a path: the type that makes `..`, `/` and NUL inexpressible.

use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One component of a path: not empty, not `.` or `..`, without `/` and NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(CString);

impl Name {
    pub(super) fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if text.is_empty() || text == "." || text == ".." || text.contains('/') {
            return Err(NotAName(text.to_owned()));
        }
        CString::new(text).map(Self).map_err(|_| NotAName(text.to_owned()))
    }
}

/// The system's directory at the top of an absolute path, and the names below it.
pub(super) fn components(path: &Path) -> io::Result<(PathBuf, Vec<Name>)> {
    let mut names = path.components().skip(1).map(|component| component.as_os_str().to_string_lossy());
    let top = Path::new("/").join(names.next().unwrap_or_default().as_ref());
    Ok((top, names.map(|name| name.parse()).collect::<Result<_, _>>()?))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

/// The text is a path, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of one file")]
pub struct NotAName(String);

impl From<NotAName> for io::Error {
    fn from(error: NotAName) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_component_is_refused() {
        for text in ["", ".", "..", "/", "a/b", "/etc", "a/", "../a", "a\0", "\0"] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        for text in ["a", "...", "..a", "-rf", "*.example.com", "a b", "é"] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
    }
}
