//! opcache's file cache: PHP is told of a directory that only the site may write to, and of no other. What is in
//! there is compiled code, which PHP runs as it finds it.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{is_missing, is_not_a_directory, runtime};
use crate::failure::Failure;
use crate::fault::{Cause, Fault};
use crate::identity::{Gid, Uid};
use crate::paths::FILE_CACHE_INI;
use crate::plan::php_ini;
use crate::privileges::Privileged;
use crate::tree::{Directory, Name};

const CLOSED: Mode = Mode::from_bits_truncate(0o700);

/// The bits that let somebody else put code there.
const OTHERS_WRITE: u32 = 0o022;

const NOT_A_DIRECTORY: &str = "it is a link or not a directory";

const ONLY_THE_SITE: &str =
    "it is missing, and only the site's user may make it: do that, or restart the container";

const GO_WITHOUT: &str = "PHP goes without a file cache";

/// What comes after root's part, where only the site's user may make the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// [`make`], as in a start.
    ByTheSiteUser,
    /// Nothing, as in a reload.
    ByNobody,
}

/// Writes `ini`: it names the directory where that is fit for a file cache, and none where it is not.
pub fn prepare(
    privileged: &Privileged,
    path: &Path,
    ini: &Path,
    owner: (Uid, Gid),
    followed: Followed,
) -> Result<(), Failure> {
    let (uid, gid) = owner;
    let fit = open_or_make(path)
        .map_err(|error| if is_not_a_directory(&error) { NOT_A_DIRECTORY.into() } else { error.into() })
        .and_then(|directory| match directory {
            Some(directory) => take(privileged, &directory, uid, gid),
            None if followed == Followed::ByTheSiteUser => Ok(()),
            None => Err(ONLY_THE_SITE.into()),
        });
    let directory = match fit {
        Ok(()) => Some(path),
        Err(cause) => {
            Fault::new("using the file cache", path, cause, GO_WITHOUT).warn();
            None
        }
    };
    runtime::make_directory(privileged, ini.parent().unwrap_or(ini), uid)?;
    runtime::write(privileged, ini, php_ini::file_cache(directory).as_bytes())
}

/// `None`: it is missing, and only the site's user may make it, as where root lacks CAP_DAC_OVERRIDE in the home.
fn open_or_make(path: &Path) -> io::Result<Option<Directory>> {
    match Directory::open(path) {
        Err(error) if is_missing(&error) => {
            let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            let (above, name): (_, Name) = (Directory::open(above)?, name.to_string_lossy().parse()?);
            match above.child_or_make(&name, CLOSED) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
                made => made.map(Some),
            }
        }
        opened => opened.map(Some),
    }
}

/// Gives an empty directory of root's, such as a new volume, to the site. Another may hold anybody's code.
fn take(privileged: &Privileged, directory: &Directory, uid: Uid, gid: Gid) -> Result<(), Cause> {
    let status = directory.status()?;
    if status.st_uid != 0 || !privileged.is_root() {
        return not_the_sites(&status, uid).map_or(Ok(()), Err);
    }
    if directory.has_entries()? {
        return Err("it is root's, and something is in it".into());
    }
    // In this order: once it is the site's, root may lack the capability to close it.
    directory.set_mode(CLOSED)?;
    Ok(directory.chown(uid.into(), gid.into())?)
}

/// Why somebody else may put code there.
fn not_the_sites(status: &FileStat, uid: Uid) -> Option<Cause> {
    if status.st_uid != uid.as_raw() {
        return Some(format!("it belongs to uid {}", status.st_uid).into());
    }
    (status.st_mode & OTHERS_WRITE != 0).then(|| "others than the site may write there".into())
}

/// What keeps PHP from using the directory as it is now.
pub fn unfit(path: &Path, uid: Uid) -> Option<String> {
    match Directory::open(path).and_then(|directory| directory.status()) {
        Err(cause) => Some(cause.to_string()),
        Ok(status) => match not_the_sites(&status, uid) {
            Some(cause) => Some(cause.text.into_owned()),
            None => may_write(path).err().map(|errno| errno.desc().to_owned()),
        },
    }
}

/// The site user's part, where PHP was told of the directory.
pub fn make(path: &Path) -> Result<(), Fault> {
    let ini = std::fs::read_to_string(FILE_CACHE_INI).unwrap_or_default();
    if ini != php_ini::file_cache(Some(path)) {
        return Ok(());
    }
    let fault = |operation: &'static str, cause: Cause| Fault::new(operation, path, cause, GO_WITHOUT);
    match DirBuilder::new().mode(CLOSED.bits()).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(fault("making the file cache", error.into()));
        }
        _ => {}
    }
    match may_write(path) {
        Err(errno) => Err(fault("writing to the file cache", errno.into())),
        Ok(()) if is_full(path) => {
            let hint =
                "PHP reads what is there and keeps nothing new; make room, or run cac-lsphp opcache reset";
            Err(Fault::new("writing to the file cache", path, "its volume is full", hint))
        }
        Ok(()) => Ok(()),
    }
}

fn may_write(path: &Path) -> Result<(), Errno> {
    access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)
}

fn is_full(path: &Path) -> bool {
    statvfs(path).is_ok_and(|file_system| file_system.blocks_available() == 0)
}
