//! The home and the directories that lsphp needs in it: owned by the site, never what is in them.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;

use super::{is_missing, is_not_a_directory};
use crate::failure::Failure;
use crate::fault::{Cause, Fault};
use crate::identity::{Gid, Uid};
use crate::privileges::Privileged;
use crate::tree::{Directory, Name};

/// The operation that messages name.
const CHOWN: &str = "changing the owner of";

const HOME_MODE: Mode = Mode::from_bits_truncate(0o755);

/// Makes the home if it is missing, and the site the owner of its top if that is root. What belongs to another
/// uid may be another customer's site that a panel named by mistake.
pub fn prepare(
    privileged: &Privileged,
    path: &Path,
    uid: Uid,
    gid: Gid,
    take_ownership: bool,
) -> Result<Directory, Failure> {
    let home = open_or_make(path)?;
    let failed = |cause| Failure::system(CHOWN, path, cause, "check the volume and the capability CHOWN");
    let owner = home.status().map_err(failed)?.st_uid;
    if owner == uid.as_raw() {
        return Ok(home);
    }
    if owner == 0 && !privileged.is_root() {
        warn_root_owned(path);
        return Ok(home);
    }
    let may_take = privileged.is_root() && (owner == 0 || take_ownership);
    if !may_take {
        let cause = format!("it belongs to uid {owner}, the site is uid {uid}");
        let hint = "correct uid or the volume, or set CAC_TAKE_OWNERSHIP=1 and start as root";
        return Err(Failure::refused("taking over", path, cause, hint));
    }
    match home.chown(uid.into(), gid.into()) {
        // The site can read what is open to all; that it cannot write is no reason not to serve it.
        Err(cause) if owner == 0 => {
            let hint =
                "it stays root's and the site cannot write there: check the volume and the capability CHOWN";
            Fault::new(CHOWN, path, cause, hint).warn();
        }
        chowned => chowned.map_err(failed)?,
    }
    Ok(home)
}

/// A start without root leaves root's home as it is. Kubernetes gives a volume to the site's group only
/// (`fsGroup`), which is enough to write there.
fn warn_root_owned(path: &Path) {
    match nix::unistd::access(path, AccessFlags::W_OK) {
        Ok(()) => {
            let cause = "it is root's and stays so, but the site's group can write there";
            Fault::new(CHOWN, path, cause, "").info();
        }
        Err(errno) => {
            let text = format!("it is root's and the site cannot write there: {}", errno.desc());
            let cause = Cause { text: text.into(), errno: Some(errno) };
            Fault::new(CHOWN, path, cause, "chown it, or set fsGroup to the site's gid").warn();
        }
    }
}

fn open_or_make(path: &Path) -> Result<Directory, Failure> {
    let open_or_make = || Directory::open_or_make(path, HOME_MODE);
    let opened = match open_or_make() {
        // It is the system's directory for homes that an image can lack.
        Err(error) if is_missing(&error) => {
            std::fs::create_dir(path.parent().unwrap_or(path)).and_then(|()| open_or_make())
        }
        opened => opened,
    };
    opened.map_err(|cause| {
        if is_not_a_directory(&cause) {
            Failure::refused("opening", path, "it is a link or not a directory", "put a directory there")
        } else {
            Failure::system("opening", path, cause, "mount the site's home there")
        }
    })
}

/// Makes the site the owner of the directories `names` in the home, each if it exists and is root's. What is not
/// a directory is left alone, and so are a mount and what root cannot look into for lack of CAP_DAC_OVERRIDE,
/// with all that is in it.
///
/// `names` are paths below the home, each after its parent's.
pub fn chown_directories(
    privileged: &Privileged,
    home: Directory,
    names: &[&'static str],
    uid: Uid,
    gid: Gid,
) -> Result<(), Failure> {
    if !privileged.is_root() {
        return Ok(());
    }
    let mut chowned = vec![("", home)];
    for path in names {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = chowned.iter().find(|(path, _)| *path == parent);
        if let Some((_, parent)) = parent
            && let Some(directory) = chown_directory(parent, name, uid, gid)?
        {
            chowned.push((path, directory));
        }
    }
    Ok(())
}

/// `None`: missing or left alone.
fn chown_directory(parent: &Directory, name: &str, uid: Uid, gid: Gid) -> Result<Option<Directory>, Failure> {
    let path = parent.path().join(name);
    let left_alone = |what: &'static str| Fault::new(CHOWN, &path, what, "it is left alone").warn();
    match name.parse().map_err(io::Error::from).and_then(|name: Name| parent.child_on_same_mount(&name)) {
        Ok(directory) => match chown(&directory, uid, gid) {
            Ok(None) => return Ok(Some(directory)),
            Ok(Some(what)) => left_alone(what),
            Err(cause) => {
                let hint = "the site may be unable to write there: check the volume and the capability CHOWN";
                Fault::new(CHOWN, &path, cause, hint).warn();
            }
        },
        Err(error) if is_missing(&error) => {}
        Err(error) if is_not_a_directory(&error) => left_alone("it is a link or not a directory"),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => left_alone("it is a mount"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Fault::new(CHOWN, &path, error, "it is left to the site user").debug();
        }
        Err(error) => return Err(Failure::system("opening", &path, error, "check the volume")),
    }
    Ok(None)
}

/// Changes the owner of what is root's, unless root has closed it and it holds something: the site may have renamed
/// it there to get it. Returns why it is left alone; `None`: it is the site's.
fn chown(directory: &Directory, uid: Uid, gid: Gid) -> io::Result<Option<&'static str>> {
    const OPEN_TO_ALL: u32 = 0o005;
    let status = directory.status()?;
    if status.st_uid == uid.as_raw() {
        return Ok(None);
    }
    if status.st_uid != 0 {
        return Ok(Some("it belongs neither to root nor to the site"));
    }
    if status.st_mode & OPEN_TO_ALL != OPEN_TO_ALL && directory.has_entries()? {
        return Ok(Some("root has closed it and something is in it (chown it if it is the site's)"));
    }
    directory.chown(uid.into(), gid.into()).map(|()| None)
}
