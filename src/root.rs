//! A root directory, and opening files below it: our own, or that of a process whose files somebody else arranges.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};

use crate::kernel_file;

/// Paths are relative to it, with or without a slash at their start.
#[derive(Debug)]
pub enum Root {
    /// Our own, or a test's. A link in a path is followed, the file itself must be none.
    Own(PathBuf),
    Other(OtherRoot),
}

/// A container's, seen from outside. No path leads out of it, no link is followed, nothing but regular files is opened,
/// and nothing is waited for: a device's `open` may do something, and a fifo's does not return.
///
/// Its own `/proc` is not looked at: ours stands in its place, in which `self` is that process. So what is below
/// `proc` is the kernel's word.
#[derive(Debug)]
pub struct OtherRoot {
    directory: OwnedFd,
    proc: PathBuf,
    process: PathBuf,
}

impl Root {
    pub fn own(path: &Path) -> Self {
        Self::Own(path.to_owned())
    }

    /// That of process `pid` in our `proc`.
    ///
    /// # Errors
    /// It is gone, or may not be looked at: that takes CAP_SYS_PTRACE.
    pub fn of_process(proc: &Path, pid: u32) -> io::Result<Self> {
        let process = proc.join(pid.to_string());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(&process.join("root"), flags, Mode::empty())?;
        Ok(Self::Other(OtherRoot { directory, proc: proc.to_owned(), process }))
    }

    /// # Errors
    /// `NotFound`; `ELOOP` for a link; `InvalidInput` for what is no regular file in another's root.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        match self {
            Self::Own(root) => kernel_file::open(&root.join(relative(path))),
            Self::Other(root) => root.open(relative(path)),
        }
    }

    /// Reads a file as [`kernel_file::read`] does.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        kernel_file::read_from(self.open(path)?)
    }

    /// Reads a table as [`kernel_file::read_start`] does, all of it.
    pub fn read_table(&self, path: &Path) -> io::Result<Vec<u8>> {
        kernel_file::read_start_from(self.open(path)?, kernel_file::MAX_SIZE)
    }

    pub fn exists(&self, path: &Path) -> bool {
        match self {
            Self::Own(root) => root.join(relative(path)).exists(),
            Self::Other(root) => root.status(relative(path)).is_ok(),
        }
    }

    pub fn is_directory(&self, path: &Path) -> bool {
        match self {
            Self::Own(root) => root.join(relative(path)).is_dir(),
            Self::Other(root) => {
                root.status(relative(path)).is_ok_and(|found| kind(&found) == SFlag::S_IFDIR)
            }
        }
    }

    /// Who owns `path`, which may be anything; `None`: nothing is there.
    pub fn owner(&self, path: &Path) -> Option<u32> {
        match self {
            Self::Own(root) => Some(std::fs::symlink_metadata(root.join(relative(path))).ok()?.uid()),
            Self::Other(root) => Some(root.status(relative(path)).ok()?.st_uid),
        }
    }
}

impl OtherRoot {
    fn open(&self, path: &Path) -> io::Result<File> {
        if let Ok(file) = path.strip_prefix("proc/self") {
            return kernel_file::open(&self.process.join(file));
        }
        if let Ok(file) = path.strip_prefix("proc") {
            return kernel_file::open(&self.proc.join(file));
        }
        let found = self.find(path)?;
        if kind(&nix::sys::stat::fstat(&found)?) != SFlag::S_IFREG {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        // The descriptor is what was looked at, whatever has the name by now.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let name = format!("/proc/self/fd/{}", found.as_raw_fd());
        Ok(nix::fcntl::open(name.as_str(), flags, Mode::empty())?.into())
    }

    fn status(&self, path: &Path) -> io::Result<FileStat> {
        Ok(nix::sys::stat::fstatat(self.find(path)?, c"", AtFlags::AT_EMPTY_PATH)?)
    }

    /// Names what is at `path` without opening it.
    fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_IN_ROOT
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let how = OpenHow::new().flags(flags).resolve(resolve);
        Ok(nix::fcntl::openat2(&self.directory, path, how)?)
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// As if `directory` were the root of this very process.
    fn other(directory: &Path) -> Root {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let directory = nix::fcntl::open(directory, flags, Mode::empty()).unwrap();
        Root::Other(OtherRoot { directory, proc: "/proc".into(), process: "/proc/self".into() })
    }

    #[test]
    fn what_is_below_another_root_is_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("run/x")).unwrap();
        fs::write(folder.path().join("run/x/file"), "inside").unwrap();
        let root = other(folder.path());
        for path in ["/run/x/file", "run/x/file", "run/../../../run/x/file"] {
            assert_eq!(root.read(Path::new(path)).unwrap(), b"inside", "{path}");
            assert_eq!(root.read_table(Path::new(path)).unwrap(), b"inside", "{path}");
        }
        assert!(root.is_directory(Path::new("run/x")) && !root.is_directory(Path::new("run/x/file")));
        assert!(root.exists(Path::new("run/x/file")) && !root.exists(Path::new("run/y")));
        assert_eq!(root.owner(Path::new("/run/x")), Some(nix::unistd::geteuid().as_raw()));
        assert_eq!(root.read(Path::new("run/y")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn nothing_leads_out_of_it_and_only_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("root");
        fs::create_dir_all(inside.join("real")).unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        fs::write(inside.join("real/secret"), "another").unwrap();
        symlink("../secret", inside.join("up")).unwrap();
        symlink(folder.path().join("secret"), inside.join("absolute")).unwrap();
        symlink("real", inside.join("directory")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        nix::unistd::mkfifo(&inside.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(inside.join("socket")).unwrap();
        let root = other(&inside);
        for path in
            ["../secret", "up", "absolute", "directory/secret", "magic/etc/passwd", "fifo", "socket", "real"]
        {
            assert!(root.read(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn its_proc_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        fs::write(folder.path().join("proc/self/comm"), "a lie").unwrap();
        fs::write(folder.path().join("proc/meminfo"), "a lie").unwrap();
        let root = other(folder.path());
        for file in ["comm", "cgroup"] {
            let own = fs::read(Path::new("/proc/self").join(file)).unwrap();
            assert_eq!(root.read(&Path::new("proc/self").join(file)).unwrap(), own);
        }
        assert!(root.read(Path::new("/proc/meminfo")).unwrap().starts_with(b"MemTotal"));
    }
}
