//! Directories held as descriptors, and the only operations root may do below a tenant's home.
//!
//! A path is a list of [`Name`]s, so `..`, `/` and links cannot be expressed; each step opens one
//! component with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`, or with `O_NOFOLLOW` where the
//! kernel or a seccomp profile refuses `openat2`. That is the answer to CVE-2018-6954 and
//! CVE-2018-21269, where root tools followed a link in the middle of a path.

use std::ffi::{CStr, CString, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::{self, UnlinkatFlags};

use crate::settings::identity::{Gid, Uid};

/// One component of a path: not empty, not `.` or `..`, without `/` and NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(CString);

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if text.is_empty() || text == "." || text == ".." || text.contains('/') {
            return Err(NotAName(text.to_owned()));
        }
        CString::new(text).map(Self).map_err(|_| NotAName(text.to_owned()))
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

impl Name {
    fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

/// An open directory. The descriptor decides what is acted on; the path is for messages.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// What a name stands for, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    Link,
    Other,
}

impl Directory {
    /// Opens a directory that belongs to the system, such as `/home` or `/run`, following links.
    pub fn open_system(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let descriptor = nix::fcntl::open(path, flags, Mode::empty())?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// Opens the directory `name`, links refused.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` or `ELOOP` for what is not a directory; `EACCES`.
    pub fn child(&self, name: &Name) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        Ok(Self { descriptor: self.open_below(name, flags, Mode::empty())?, path: self.join(name) })
    }

    /// Opens the directory `name`, which is made with `mode` if nothing is there.
    pub fn child_or_make(&self, name: &Name, mode: Mode) -> io::Result<Self> {
        match self.child(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match nix::sys::stat::mkdirat(self, name.as_c_str(), mode) {
                    Ok(()) | Err(Errno::EEXIST) => self.child(name),
                    Err(error) => Err(error.into()),
                }
            }
            opened => opened,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in here, for messages.
    pub fn join(&self, name: &Name) -> PathBuf {
        self.path.join(name.to_string())
    }

    pub fn status(&self) -> io::Result<FileStat> {
        Ok(nix::sys::stat::fstat(self)?)
    }

    /// Gives this directory itself to another owner.
    pub fn give(&self, uid: Uid, gid: Gid) -> io::Result<()> {
        let (uid, gid) = (uid.as_raw().into(), gid.as_raw().into());
        Ok(unistd::fchownat(self, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?)
    }

    /// What `name` is; `None` when nothing is there.
    pub fn kind(&self, name: &Name) -> io::Result<Option<Kind>> {
        match nix::sys::stat::fstatat(self, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFDIR => Kind::Directory,
                SFlag::S_IFLNK => Kind::Link,
                _ => Kind::Other,
            })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub fn read_link(&self, name: &Name) -> io::Result<OsString> {
        Ok(nix::fcntl::readlinkat(self, name.as_c_str())?)
    }

    pub fn make_link(&self, name: &Name, target: &Path) -> io::Result<()> {
        Ok(unistd::symlinkat(target, self, name.as_c_str())?)
    }

    pub fn remove_file(&self, name: &Name) -> io::Result<()> {
        Ok(unistd::unlinkat(self, name.as_c_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes `name` if it is an empty directory.
    pub fn remove_directory(&self, name: &Name) -> io::Result<()> {
        Ok(unistd::unlinkat(self, name.as_c_str(), UnlinkatFlags::RemoveDir)?)
    }

    pub fn rename(&self, from: &Name, to: &Name) -> io::Result<()> {
        Ok(nix::fcntl::renameat(self, from.as_c_str(), self, to.as_c_str())?)
    }

    /// Puts each of two names in the other's place in one step.
    pub fn exchange(&self, one: &Name, other: &Name) -> io::Result<()> {
        let flags = RenameFlags::RENAME_EXCHANGE;
        Ok(nix::fcntl::renameat2(self, one.as_c_str(), self, other.as_c_str(), flags)?)
    }

    /// Whether anything is in here.
    pub fn has_entries(&self) -> io::Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut entries = Dir::openat(self, c".", flags, Mode::empty())?;
        for entry in entries.iter() {
            if ![c".", c".."].contains(&entry?.file_name()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the regular file `name`, of at most `limit` bytes, and its status.
    pub fn read_file(&self, name: &Name, limit: u64) -> io::Result<(Vec<u8>, FileStat)> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(self.open_below(name, flags, Mode::empty())?);
        let status = nix::sys::stat::fstat(&file)?;
        if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {limit} bytes")));
        }
        Ok((bytes, status))
    }

    /// Writes `name` anew as `temporary`, for a later [`Directory::rename`]. What an interrupted
    /// start left under the temporary name is replaced.
    pub fn write_file(&self, temporary: &Name, bytes: &[u8], mode: Mode) -> io::Result<File> {
        match self.remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let mut file = File::from(self.open_below(temporary, flags, mode)?);
        nix::sys::stat::fchmod(&file, mode)?;
        file.write_all(bytes)?;
        Ok(file)
    }

    /// Opens one component without following a link, wherever it leads.
    pub fn open_below(&self, name: &Name, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let how = OpenHow::new().flags(flags).mode(mode).resolve(resolve);
        match nix::fcntl::openat2(self, name.as_c_str(), how) {
            // ENOSYS: a kernel before 5.6; EPERM: how old seccomp profiles refuse a call.
            Err(Errno::ENOSYS | Errno::EPERM) => {
                let descriptor = nix::fcntl::openat(self, name.as_c_str(), flags | OFlag::O_NOFOLLOW, mode)?;
                Ok(descriptor)
            }
            opened => Ok(opened?),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
