//! A unix socket for the front end's group.
//!
//! Who may write to a directory may put anything in a socket's place, so root makes none unless every directory on
//! the way there is root's alone; a start without root accepts its own too. Then a path names the same thing until
//! the end, and nobody but root, or the site itself, has put there what is found there.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};

use crate::failure::Failure;
use crate::identity::Uid;
use crate::plan::SocketPlan;
use crate::sys;

const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Opens the socket `path`, with nobody but `plan`'s group and `owner` let in before it listens; `None`: whoever
/// this process is. A stale socket is replaced.
///
/// # Errors
/// Refused: a directory that others can change, somebody who listens there, or something that is not a socket.
pub fn open(path: &Path, backlog: u32, plan: &SocketPlan, owner: Option<Uid>) -> Result<OwnedFd, Failure> {
    judge_directories(path)?;
    remove_stale(path)?;
    bound(path, backlog, plan, owner).map_err(|cause| {
        Failure::system("listening on", path, cause, "correct CAC_LISTEN, CAC_SOCKET_MODE or CAC_SOCKET_GID")
    })
}

fn bound(path: &Path, backlog: u32, plan: &SocketPlan, owner: Option<Uid>) -> io::Result<OwnedFd> {
    let socket = unix_socket(SockFlag::empty())?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    // The mode first: whose it is not may not change it, without CAP_FOWNER.
    std::fs::set_permissions(path, Permissions::from_mode(plan.mode.bits()))?;
    lchown(path, owner.map(Uid::as_raw), Some(plan.gid.as_raw()))?;
    sys::start_listening(socket.as_fd(), backlog)?;
    Ok(socket)
}

fn unix_socket(flags: SockFlag) -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::Stream, flags | SockFlag::SOCK_CLOEXEC, None)
}

/// From the root down, so that each is looked at where nobody can have moved it.
fn judge_directories(path: &Path) -> Result<(), Failure> {
    let own = nix::unistd::geteuid().as_raw();
    let mut directories: Vec<&Path> = path.ancestors().skip(1).collect();
    directories.reverse();
    directories.into_iter().try_for_each(|directory| {
        let found = std::fs::symlink_metadata(directory).map_err(|cause| {
            Failure::system("opening", directory, cause, "make it, or correct CAC_LISTEN")
        })?;
        let fault = if !found.is_dir() {
            "it is a link or not a directory".to_owned()
        } else if ![0, own].contains(&found.uid()) {
            format!("it belongs to uid {}", found.uid())
        } else if found.mode() & WRITABLE_BY_OTHERS != 0 {
            format!("its mode {:04o} lets others change it", found.mode() & 0o7777)
        } else {
            return Ok(());
        };
        let hint = "put CAC_LISTEN's socket where only root can write";
        Err(Failure::refused("trusting", directory, fault, hint))
    })
}

/// Removes the socket of a site that is gone.
fn remove_stale(path: &Path) -> Result<(), Failure> {
    let refused = |fault: &'static str| {
        Err(Failure::refused("replacing", path, fault, "move it away, or correct CAC_LISTEN"))
    };
    let failed = |cause: io::Error| Failure::system("replacing", path, cause, "correct CAC_LISTEN");
    let owner = match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed(cause)),
        Ok(found) if !found.file_type().is_socket() => return refused("it is not a socket"),
        Ok(found) => found.uid(),
    };
    match dial_as(owner, path) {
        Err(Errno::ECONNREFUSED) => std::fs::remove_file(path).map_err(failed),
        // A full queue is somebody's too, and of a datagram socket nobody knows.
        Ok(()) | Err(Errno::EAGAIN) => refused("somebody listens there"),
        Err(cause) => Err(failed(cause.into())),
    }
}

/// Root without CAP_DAC_OVERRIDE may not connect to what is the site's.
fn dial_as(owner: u32, path: &Path) -> nix::Result<()> {
    match dial(path) {
        Err(Errno::EACCES) => {
            let own = nix::unistd::setfsuid(owner.into());
            let dialled = dial(path);
            nix::unistd::setfsuid(own);
            dialled
        }
        dialled => dialled,
    }
}

fn dial(path: &Path) -> nix::Result<()> {
    let socket = unix_socket(SockFlag::SOCK_NONBLOCK)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    use super::*;
    use crate::identity::Gid;

    /// In a directory of root's alone, which /tmp is not in.
    fn directory() -> tempfile::TempDir {
        tempfile::Builder::new().prefix("cac-lsphp-test-").tempdir_in("/run").expect("this test needs root")
    }

    fn opened(path: &Path) -> Result<OwnedFd, String> {
        let plan = SocketPlan { mode: "0620".parse().unwrap(), gid: Gid::new(33).unwrap() };
        open(path, 511, &plan, Uid::new(61045)).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(path: &Path, why: &str) {
        let error = opened(path).unwrap_err();
        assert!(error.contains(why) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn it_is_the_owners_and_the_groups_from_the_start() {
        let directory = directory();
        let path = directory.path().join("a.sock");
        let _listener = opened(&path).unwrap();
        let found = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (61045, 33, 0o620));
        assert!(UnixStream::connect(&path).is_ok());
        refused(&path, "somebody listens there");
    }

    #[test]
    fn only_what_nobody_listens_on_any_more_is_replaced() {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        drop(UnixListener::bind(path("stale")).unwrap());
        assert!(opened(&path("stale")).is_ok());

        let full = UnixListener::bind(path("full")).unwrap();
        sys::start_listening(full.as_fd(), 0).unwrap();
        let _waiting = UnixStream::connect(path("full")).unwrap();
        refused(&path("full"), "somebody listens there");

        std::fs::write(path("file"), "precious").unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        drop(UnixListener::bind(path("another")).unwrap());
        symlink(path("another"), path("link")).unwrap();
        for name in ["file", "directory", "link"] {
            refused(&path(name), "it is not a socket");
        }
        assert_eq!(std::fs::read_to_string(path("file")).unwrap(), "precious");
        assert!(path("another").exists());
    }

    #[test]
    fn every_directory_on_the_way_must_be_roots_alone() {
        let directory = directory();
        let make = |name: &str, mode: u32, uid: u32| -> PathBuf {
            let path = directory.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            std::os::unix::fs::chown(&path, Some(uid), None).unwrap();
            path
        };
        refused(&make("tenants", 0o755, 61045).join("a.sock"), "belongs to uid 61045");
        refused(&make("groups", 0o775, 0).join("a.sock"), "0775 lets others");
        let sticky = make("sticky", 0o1777, 0);
        std::fs::create_dir(sticky.join("inner")).unwrap();
        refused(&sticky.join("inner/a.sock"), "1777 lets others");
        let good = make("good", 0o755, 0);
        symlink(&good, directory.path().join("link")).unwrap();
        refused(&directory.path().join("link/a.sock"), "a link or not a directory");
        refused(&good.join("missing/a.sock"), "make it");
        assert!(opened(&good.join("a.sock")).is_ok());
    }
}
