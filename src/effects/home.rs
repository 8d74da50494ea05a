//! The home and the directories that lsphp needs in it: given to the site, never what is in them.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;

use super::{EffectError, is_missing, is_no_directory};
use crate::privileges::Privileged;
use crate::settings::identity::{Gid, Uid};
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
) -> Result<(), EffectError> {
    let home = open_or_make(path)?;
    let failed =
        |cause| EffectError::failed("giving", path, cause, "check the volume and the capability CHOWN");
    let owner = home.status().map_err(failed)?.st_uid;
    if owner == uid.as_raw() {
        return Ok(());
    }
    if owner == 0 && !privileged.is_root() {
        tell_of_roots(path);
        return Ok(());
    }
    let may_take = privileged.is_root() && (owner == 0 || take_ownership);
    if !may_take {
        let cause = format!("it belongs to uid {owner}, the site is uid {uid}");
        let way_out = "correct uid or the volume, or set CAC_TAKE_OWNERSHIP=1 and start as root";
        return Err(EffectError::refused("taking", path, cause, way_out));
    }
    home.give(uid, gid).map_err(failed)
}

/// A start without root leaves root's home as it is. Kubernetes gives a volume to the site's group only
/// (`fsGroup`), which is enough to write there.
fn tell_of_roots(path: &Path) {
    let access = nix::unistd::access(path, AccessFlags::W_OK);
    let path = path.display();
    match access {
        Ok(()) => tracing::info!("giving {path}: it is root's and stays, the site's group can write there"),
        Err(error) => tracing::warn!(
            "giving {path}: it is root's and the site cannot write there: {error}; chown it, or set fsGroup to the site's gid"
        ),
    }
}

fn open_or_make(path: &Path) -> Result<Directory, EffectError> {
    let failed = |cause| EffectError::failed("opening", path, cause, "mount the site's home there");
    let (parent, name) = split(path).map_err(failed)?;
    let homes = match Directory::open_system(parent) {
        Err(error) if is_missing(&error) => make_system_directory(parent).map_err(failed)?,
        opened => opened.map_err(failed)?,
    };
    homes.child_or_make(&name, HOME_MODE).map_err(|cause| {
        if is_no_directory(&cause) {
            EffectError::refused("opening", path, "it is a link or no directory", "put a directory there")
        } else {
            failed(cause)
        }
    })
}

/// The home's parent, which is the system's, and its name in there.
fn split(home: &Path) -> io::Result<(&Path, Name)> {
    let name = home.file_name().unwrap_or_default().to_string_lossy().parse()?;
    Ok((home.parent().unwrap_or(Path::new("/")), name))
}

fn make_system_directory(path: &Path) -> io::Result<Directory> {
    std::fs::create_dir(path)?;
    Directory::open_system(path)
}

/// Gives the directories `names` below the home to the site, each if it exists and is not the
/// site's yet. What is no directory is left alone, and so are a mount and what root cannot look
/// into for lack of CAP_DAC_OVERRIDE.
pub fn give_directories(
    privileged: &Privileged,
    home: &Path,
    names: &[&str],
    uid: Uid,
    gid: Gid,
) -> Result<(), EffectError> {
    if !privileged.is_root() {
        return Ok(());
    }
    let top =
        open_top(home).map_err(|cause| EffectError::failed("opening", home, cause, "check the volume"))?;
    names.iter().try_for_each(|below| give_directory(&top, below, uid, gid))
}

fn open_top(home: &Path) -> io::Result<Directory> {
    let (parent, name) = split(home)?;
    Directory::open_system(parent)?.child(&name)
}

fn give_directory(top: &Directory, below: &str, uid: Uid, gid: Gid) -> Result<(), EffectError> {
    let path = top.path().join(below);
    let left_alone = |what| tracing::warn!("giving {}: {what}, and is left alone", path.display());
    match open_below(top, below) {
        Ok(directory) => give(&directory, uid, gid).map_err(|cause| {
            EffectError::failed("giving", &path, cause, "check the volume and the capability CHOWN")
        })?,
        Err(error) if is_missing(&error) => {}
        Err(error) if is_no_directory(&error) => left_alone("it is a link or no directory"),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => left_alone("it is a mount or in one"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tracing::debug!("giving {}: {error}; it is left to the site user", path.display());
        }
        Err(error) => return Err(EffectError::failed("opening", &path, error, "check the volume")),
    }
    Ok(())
}

fn open_below(top: &Directory, below: &str) -> io::Result<Directory> {
    let (first, rest) = below.split_once('/').unwrap_or((below, ""));
    let directory = top.child_on_same_mount(&first.parse()?)?;
    if rest.is_empty() { Ok(directory) } else { open_below(&directory, rest) }
}

fn give(directory: &Directory, uid: Uid, gid: Gid) -> io::Result<()> {
    if directory.status()?.st_uid == uid.as_raw() {
        return Ok(());
    }
    directory.give(uid, gid)
}
