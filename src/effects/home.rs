//! The home and the directories that lsphp needs in it: given to the site, never what is in them.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;

use super::{EffectError, is_missing, is_no_directory};
use crate::fault::{Cause, Fault};
use crate::identity::{Gid, Uid};
use crate::privileges::Privileged;
use crate::tree::{Directory, Name};

const HOME_MODE: Mode = Mode::from_bits_truncate(0o755);

/// Makes the home if it is missing and gives its top to the site if it is root's. Anybody else's
/// may be another customer's site that a panel named by mistake.
pub fn prepare(
    privileged: &Privileged,
    path: &Path,
    uid: Uid,
    gid: Gid,
    take_ownership: bool,
) -> Result<Directory, EffectError> {
    let home = open_or_make(path)?;
    let failed =
        |cause| EffectError::failed("giving", path, cause, "check the volume and the capability CHOWN");
    let owner = home.status().map_err(failed)?.st_uid;
    if owner == uid.as_raw() {
        return Ok(home);
    }
    if owner == 0 && !privileged.is_root() {
        tell_of_roots(path);
        return Ok(home);
    }
    let may_take = privileged.is_root() && (owner == 0 || take_ownership);
    if !may_take {
        let cause = format!("it belongs to uid {owner}, the site is uid {uid}");
        let way_out = "correct uid or the volume, or set CAC_TAKE_OWNERSHIP=1 and start as root";
        return Err(EffectError::refused("taking", path, cause, way_out));
    }
    match home.give(uid, gid) {
        // The site can read what is open to all; that it cannot write is no reason not to serve it.
        Err(cause) if owner == 0 => {
            let hint =
                "it stays root's and the site cannot write there: check the volume and the capability CHOWN";
            Fault::new("giving", path, cause, hint).warn();
        }
        given => given.map_err(failed)?,
    }
    Ok(home)
}

/// A start without root leaves root's home as it is. Kubernetes gives a volume to the site's group only
/// (`fsGroup`), which is enough to write there.
fn tell_of_roots(path: &Path) {
    match nix::unistd::access(path, AccessFlags::W_OK) {
        Ok(()) => {
            let cause = "it is root's and stays, and the site's group can write there";
            Fault::new("giving", path, cause, "").info();
        }
        Err(errno) => {
            let text = format!("it is root's and the site cannot write there: {}", errno.desc());
            let cause = Cause { text: text.into(), errno: Some(errno) };
            Fault::new("giving", path, cause, "chown it, or set fsGroup to the site's gid").warn();
        }
    }
}

fn open_or_make(path: &Path) -> Result<Directory, EffectError> {
    let open_or_make = || Directory::open_or_make(path, HOME_MODE);
    let opened = match open_or_make() {
        // It is the system's directory for homes that an image can lack.
        Err(error) if is_missing(&error) => {
            std::fs::create_dir(path.parent().unwrap_or(path)).and_then(|()| open_or_make())
        }
        opened => opened,
    };
    opened.map_err(|cause| {
        if is_no_directory(&cause) {
            EffectError::refused("opening", path, "it is a link or no directory", "put a directory there")
        } else {
            EffectError::failed("opening", path, cause, "mount the site's home there")
        }
    })
}

/// Gives the directories `names` in the home to the site, each if it exists and is not the site's
/// yet. What is no directory is left alone, and so are a mount and what root cannot look into for
/// lack of CAP_DAC_OVERRIDE, with all that is in it.
///
/// `names` are paths below the home, each after its parent's.
pub fn give_directories(
    privileged: &Privileged,
    home: Directory,
    names: &[&'static str],
    uid: Uid,
    gid: Gid,
) -> Result<(), EffectError> {
    if !privileged.is_root() {
        return Ok(());
    }
    let mut given = vec![("", home)];
    for path in names {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = given.iter().find(|(path, _)| *path == parent);
        if let Some((_, parent)) = parent
            && let Some(directory) = give_directory(parent, name, uid, gid)?
        {
            given.push((path, directory));
        }
    }
    Ok(())
}

/// `None`: missing or left alone.
fn give_directory(
    parent: &Directory,
    name: &str,
    uid: Uid,
    gid: Gid,
) -> Result<Option<Directory>, EffectError> {
    let path = parent.path().join(name);
    let left_alone =
        |what: &'static str| Fault::new("giving", path.as_path(), what, "it is left alone").warn();
    match name.parse().map_err(io::Error::from).and_then(|name: Name| parent.child_on_same_mount(&name)) {
        Ok(directory) => match give(&directory, uid, gid) {
            Ok(Given::IsTheSites) => return Ok(Some(directory)),
            Ok(Given::LeftAlone(what)) => left_alone(what),
            Err(cause) => {
                let hint = "the site may be unable to write there: check the volume and the capability CHOWN";
                Fault::new("giving", path.as_path(), cause, hint).warn();
            }
        },
        Err(error) if is_missing(&error) => {}
        Err(error) if is_no_directory(&error) => left_alone("it is a link or no directory"),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => left_alone("it is a mount"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Fault::new("giving", path.as_path(), error, "it is left to the site user").debug();
        }
        Err(error) => return Err(EffectError::failed("opening", &path, error, "check the volume")),
    }
    Ok(None)
}

/// What became of a directory that is to be the site's.
enum Given {
    IsTheSites,
    LeftAlone(&'static str),
}

/// Gives what is root's, unless it holds something that root has closed: the site may have renamed it there
/// to be given it.
fn give(directory: &Directory, uid: Uid, gid: Gid) -> io::Result<Given> {
    const OPEN_TO_ALL: u32 = 0o005;
    let status = directory.status()?;
    if status.st_uid == uid.as_raw() {
        return Ok(Given::IsTheSites);
    }
    if status.st_uid != 0 {
        return Ok(Given::LeftAlone("it belongs neither to root nor to the site"));
    }
    if status.st_mode & OPEN_TO_ALL != OPEN_TO_ALL && directory.has_entries()? {
        return Ok(Given::LeftAlone(
            "root has closed it and something is in it (chown it if it is the site's)",
        ));
    }
    directory.give(uid, gid).map(|()| Given::IsTheSites)
}
