//! The site file: `name = value` lines with the variables' names, read and never executed.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_ini::{Item, Parser};

use crate::fault::{Cause, Fault};

/// A site file holds some dozens of short lines; more is a mistake, and would be memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// Names and values, the last of a name winning, and the path for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFile {
    path: PathBuf,
    lines: Vec<(String, String)>,
}

impl SiteFile {
    /// The default place.
    pub const PATH: &str = "/etc/cac-lsphp/site.ini";

    /// Reads `path`; `None`: there is no such file. `euid` is the id this process acts with: what
    /// decides the site's identity must be under nobody else's control.
    ///
    /// # Errors
    /// It cannot be read, or should not be, or holds what is not `name = value`.
    pub fn read(path: &Path, euid: u32) -> Result<Option<Self>, Fault> {
        match read_trusted(path, euid) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let hint = "make it a file that root owns and only root can write, or unset CAC_SITE_FILE";
                Err(Fault::new("reading", path, error, hint))
            }
        }
    }

    /// A site file from text, for callers that have it already.
    ///
    /// # Errors
    /// A line is not `name = value`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let fault = |cause| Fault::new("reading", path, cause, "write lines of the form name = value only");
        Ok(Self { path: path.to_owned(), lines: parse(text).map_err(fault)? })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().filter(|(key, _)| *key == name).map(|(_, value)| value).last()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Non-blocking, so that a fifo in its place is refused rather than waited for.
fn read_trusted(path: &Path, euid: u32) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let status = file.metadata()?;
    let refuse = |cause: &str| Err(io::Error::other(cause.to_owned()));
    if !status.is_file() {
        return refuse("it is not a regular file");
    }
    if status.uid() != 0 && status.uid() != euid {
        return refuse("it belongs to another user, who could change the site's identity");
    }
    if status.mode() & 0o022 != 0 {
        return refuse("its group or others may write to it");
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return refuse("it is larger than 1 MiB");
    }
    Ok(text)
}

/// The cause names the line.
fn parse(text: &str) -> Result<Vec<(String, String)>, Cause> {
    // What some editors begin a file with, and nobody sees.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let trimmed = text.lines().map(|line| Ok::<_, Infallible>(line.trim()));
    let mut lines = Vec::new();
    for (item, number) in Parser::new(trimmed).zip(1..) {
        match item {
            Ok(Item::Value { key, value }) => lines.push((key, value)),
            Ok(Item::Empty | Item::Comment { .. }) => {}
            Ok(Item::Section { .. }) => return Err(format!("line {number} is a section").into()),
            Err(error) => return Err(format!("line {number}: {error}").into()),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SiteFile, Fault> {
        SiteFile::parse(Path::new("/site.ini"), text)
    }

    #[test]
    fn lines_comments_and_blanks() {
        assert_eq!(parsed("\u{feff}user = alice\n").unwrap().get("user"), Some("alice"), "a byte order mark");
        let file = parsed("; a comment\n \nuser = alice\r\nCAC_INI_x=a = b\nuser=bob\n").unwrap();
        assert_eq!(file.get("user"), Some("bob"));
        assert_eq!(file.get("CAC_INI_x"), Some("a = b"));
        assert_eq!(file.get("uid"), None);
    }

    #[test]
    fn what_is_not_name_and_value_is_refused() {
        assert!(parsed("[section]\nuser=alice\n").is_err());
        assert!(parsed("user\n").is_err());
        assert!(parsed("[open\n").is_err());
    }

    #[test]
    fn an_absent_file_is_empty_and_a_fifo_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let euid = nix::unistd::geteuid().as_raw();
        assert_eq!(SiteFile::read(&folder.path().join("none"), euid), Ok(None));
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let fault = SiteFile::read(&fifo, euid).unwrap_err();
        assert_eq!(fault.path(), Some(fifo.as_path()));
        assert_eq!(fault.cause.text, "it is not a regular file");
    }
}
