//! The home and the directories that lsphp needs in it: given to the site, never what is in them.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::sys::stat::Mode;

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
    let may_take = privileged.is_root() && (owner == 0 || take_ownership);
    if !may_take {
        let cause = format!("it belongs to uid {owner}, the site is uid {uid}");
        let way_out = "correct uid or the volume, or set CAC_TAKE_OWNERSHIP=1 and start as root";
        return Err(EffectError::refused("taking", path, cause, way_out));
    }
    home.give(uid, gid).map_err(failed)
}

fn open_or_make(path: &Path) -> Result<Directory, EffectError> {
    let failed = |cause| EffectError::failed("opening", path, cause, "mount the site's home there");
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name: Name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .parse()
        .map_err(|e: crate::tree::NotAName| failed(e.into()))?;
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

fn make_system_directory(path: &Path) -> io::Result<Directory> {
    std::fs::create_dir(path)?;
    Directory::open_system(path)
}

/// Gives a directory below the home to the site if it exists and is not the site's yet. What is no
/// directory is left alone, and so are a mount and what root cannot look into for lack of
/// CAP_DAC_OVERRIDE.
pub fn give_directory(
    privileged: &Privileged,
    home: &Path,
    below: &str,
    uid: Uid,
    gid: Gid,
) -> Result<(), EffectError> {
    if !privileged.is_root() {
        return Ok(());
    }
    let path = home.join(below);
    let left_alone = |what| tracing::warn!("giving {}: {what}, and is left alone", path.display());
    match open_below(home, below) {
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

fn open_below(home: &Path, below: &str) -> io::Result<Directory> {
    let homes = Directory::open_system(home.parent().unwrap_or(Path::new("/")))?;
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    let top = homes.child(&name.parse()?)?;
    below.split('/').try_fold(top, |directory, component| directory.child_on_same_mount(&component.parse()?))
}

fn give(directory: &Directory, uid: Uid, gid: Gid) -> io::Result<()> {
    if directory.status()?.st_uid == uid.as_raw() {
        return Ok(());
    }
    directory.give(uid, gid)
}
