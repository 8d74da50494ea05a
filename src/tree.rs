//! Directories held as descriptors, and the only operations root may do below a tenant's home.
//!
//! A path is a list of [`Name`]s, so `..`, `/` and links cannot be expressed; each step opens one
//! component with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`, or with `O_NOFOLLOW` where the
//! kernel or a seccomp profile refuses `openat2`. That is the answer to CVE-2018-6954 and
//! CVE-2018-21269, where root tools followed a link in the middle of a path.

mod name;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag};
use nix::unistd::{self, Gid, Uid, UnlinkatFlags};

pub use self::name::Name;
use self::name::components;

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

/// Whether a step may lead onto another mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mounts {
    Enter,
    Refuse,
}

impl Directory {
    /// Opens a directory that belongs to the system, such as `/home` or `/run`, following links.
    pub fn open_system(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let descriptor = uninterrupted(|| nix::fcntl::open(path, flags, Mode::empty()))?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// Opens the directory `path`, and makes what is missing of it with `mode`. Its first component is
    /// the system's, such as `/home`, and may be a link; links below are refused.
    ///
    /// # Errors
    /// `NotFound` when the first component is missing; `ENOTDIR` or `ELOOP` for what is not a directory
    /// below it.
    pub fn open_or_make(path: &Path, mode: Mode) -> io::Result<Self> {
        let (top, names) = components(path)?;
        Self::open_without_links(path).or_else(|_| {
            let top = Self::open_top(&top)?;
            names.iter().try_fold(top, |directory, name| directory.child_or_make(name, mode))
        })
    }

    /// Opens the directory `path` in the same way, component by component, and makes nothing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (top, names) = components(path)?;
        names.iter().try_fold(Self::open_top(&top)?, |directory, name| directory.child(name))
    }

    fn open_top(top: &Path) -> io::Result<Self> {
        Self::open_system(top)
            .map_err(|cause| io::Error::new(cause.kind(), format!("opening {}: {cause}", top.display())))
    }

    /// Opens the whole path in one call, where all of it is there. Why it fails otherwise, the walk finds
    /// out.
    fn open_without_links(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let descriptor = uninterrupted(|| nix::fcntl::openat2(AT_FDCWD, path, how))?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// Opens the directory `name`, links refused. It may be a mount, as a site's home mostly is.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` or `ELOOP` for what is not a directory; `EACCES`.
    fn child(&self, name: &Name) -> io::Result<Self> {
        self.open_directory(name, Mounts::Enter)
    }

    /// Opens the directory `name` as [`Directory::child`] does, unless it is a mount: what an
    /// operator mounted into a home belongs to somewhere else, and stays as it is.
    ///
    /// # Errors
    /// `EXDEV` for a mount.
    pub fn child_on_same_mount(&self, name: &Name) -> io::Result<Self> {
        self.open_directory(name, Mounts::Refuse)
    }

    fn open_directory(&self, name: &Name, mounts: Mounts) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let descriptor = self.open_component(name, flags, Mode::empty(), mounts)?;
        Ok(Self { descriptor, path: self.join(name) })
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

    /// Changes the owner of this directory itself.
    pub fn chown(&self, uid: Uid, gid: Gid) -> io::Result<()> {
        Ok(unistd::fchownat(self, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?)
    }

    pub fn set_mode(&self, mode: Mode) -> io::Result<()> {
        // By way of ".", because fchmod refuses a descriptor that only names its file.
        Ok(nix::sys::stat::fchmodat(self, c".", mode, FchmodatFlags::FollowSymlink)?)
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

    pub fn symlink(&self, name: &Name, target: &Path) -> io::Result<()> {
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
        let open = |more| uninterrupted(|| Dir::openat(self, c".", flags | more, Mode::empty()));
        // Its time of access stays as it is, where the caller owns it.
        let mut entries = open(OFlag::O_NOATIME).or_else(|_| open(OFlag::empty()))?;
        for entry in entries.iter() {
            if ![c".", c".."].contains(&entry?.file_name()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the regular file `name`, of at most `limit` bytes, and its status.
    pub fn read_file(&self, name: &Name, limit: u64) -> io::Result<(Vec<u8>, FileStat)> {
        // A fifo or a terminal in its place must neither be waited for nor taken.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(self.open_below(name, flags, Mode::empty())?);
        let status = nix::sys::stat::fstat(&file)?;
        if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes =
            Vec::with_capacity(usize::try_from(status.st_size.clamp(0, 1 << 20)).unwrap_or(0) + 1);
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {limit} bytes")));
        }
        Ok((bytes, status))
    }

    /// Writes a new file under the name `temporary`, for a later [`Directory::rename`]. What an
    /// interrupted start left there is replaced.
    pub fn write_file(&self, temporary: &Name, bytes: &[u8], mode: Mode) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let create = || self.open_below(temporary, flags, mode);
        let mut file = File::from(replacing(create, || self.remove_file(temporary))?);
        file.write_all(bytes)?;
        Ok(file)
    }

    /// Opens one component without following a link, wherever it leads.
    pub fn open_below(&self, name: &Name, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
        self.open_component(name, flags, mode, Mounts::Enter)
    }

    /// A kernel before 5.6 answers `openat2` with ENOSYS, an old seccomp profile with EPERM. For one
    /// component the fallback is as strict, so an EPERM that is the file's own is only met twice.
    fn open_component(&self, name: &Name, flags: OFlag, mode: Mode, mounts: Mounts) -> io::Result<OwnedFd> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match self.openat2(name, flags, mode, mounts) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                self.openat_nofollow(name, flags, mode, mounts)
            }
            opened => opened,
        }
    }

    fn openat2(&self, name: &Name, flags: OFlag, mode: Mode, mounts: Mounts) -> io::Result<OwnedFd> {
        let mut resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        resolve.set(ResolveFlag::RESOLVE_NO_XDEV, mounts == Mounts::Refuse);
        let how = OpenHow::new().flags(flags).mode(mode).resolve(resolve);
        uninterrupted(|| nix::fcntl::openat2(self, name.as_c_str(), how))
    }

    fn openat_nofollow(&self, name: &Name, flags: OFlag, mode: Mode, mounts: Mounts) -> io::Result<OwnedFd> {
        let opened = uninterrupted(|| nix::fcntl::openat(self, name.as_c_str(), flags, mode))?;
        if mounts == Mounts::Refuse && mount_id(&opened)? != mount_id(&self.descriptor)? {
            return Err(Errno::EXDEV.into());
        }
        Ok(opened)
    }
}

/// Creates what an interrupted start may have left: then that is removed first.
pub fn replacing<T>(
    create: impl Fn() -> io::Result<T>,
    remove: impl FnOnce() -> io::Result<()>,
) -> io::Result<T> {
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove().and_then(|()| create()),
        created => created,
    }
}

/// Repeats a call that a signal interrupted, which the file systems of FUSE and NFS let happen.
fn uninterrupted<T>(call: impl Fn() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// The mount a descriptor is on. From /proc, because `statx` tells it only from Linux 5.8 on, and
/// this is for kernels before.
fn mount_id(descriptor: &OwnedFd) -> io::Result<String> {
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let text = std::fs::read_to_string(&path)?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.map(str::to_owned).ok_or_else(|| io::Error::other(format!("{path} names no mnt_id")))
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
