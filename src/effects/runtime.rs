//! `/run/cac-lsphp`: made anew at every start, each file whole or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;

use super::{EffectError, is_no_directory};
use crate::plan::Plan;
use crate::privileges::Privileged;
use crate::running::RunRecord;
use crate::settings::identity::{Gid, Uid};
use crate::tree::{Directory, replacing};

/// The script that PHP runs before each of the site's.
const NORMALISER: &str = include_str!("../../ini/cac-lsphp-normalize.php");

/// The script that `healthcheck --deep` asks for.
const PING: &str = include_str!("../../ini/cac-lsphp-ping.php");

const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o755);

const WAY_OUT: &str = "/run must be writable: mount a tmpfs there";

/// Where `cac-lsphp reload` speaks to a supervising pid 1.
pub const CONTROL_SOCKET: &str = "/run/cac-lsphp/control.sock";

/// Makes the control socket, the site's: pid 1 is the site's user, and may ask itself for a reload.
pub fn open_control_socket(privileged: &Privileged, uid: Uid, gid: Gid) -> Result<UnixListener, EffectError> {
    let path = Path::new(CONTROL_SOCKET);
    let making = |cause: io::Error| failed("making", path, cause);
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(making(cause)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(making)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(making)?;
    if privileged.is_root() {
        std::os::unix::fs::lchown(path, Some(uid.as_raw()), Some(gid.as_raw())).map_err(making)?;
    }
    Ok(listener)
}

/// The directory itself and the one that PHP scans.
pub fn make_directories(privileged: &Privileged, path: &Path) -> Result<(), EffectError> {
    make_directory(privileged, path)?;
    make_directory(privileged, &path.join("php.d"))
}

/// A directory that somebody else owns could hold anything, so it is refused; one that is ours is
/// put right, as PHP silently goes without an ini that it may not read.
pub fn make_directory(privileged: &Privileged, path: &Path) -> Result<(), EffectError> {
    let making = |cause: io::Error| failed("making", path, cause);
    let in_the_way = |what: &str| EffectError::failed("making", path, what, "remove it");
    let directory = Directory::open_or_make(path, DIRECTORY_MODE).map_err(|cause| {
        if is_no_directory(&cause) { in_the_way("a link or no directory is there") } else { making(cause) }
    })?;
    let status = directory.status().map_err(making)?;
    if status.st_uid != 0 && status.st_uid != privileged.started_as().uid {
        return Err(in_the_way(&format!("it belongs to uid {}", status.st_uid)));
    }
    if Mode::from_bits_truncate(status.st_mode) != DIRECTORY_MODE && privileged.is_root() {
        directory.set_mode(DIRECTORY_MODE).map_err(making)?;
    }
    Ok(())
}

pub fn write_normaliser(privileged: &Privileged, path: &Path) -> Result<(), EffectError> {
    replace(privileged, path, NORMALISER.as_bytes(), make_older)
}

/// opcache does not keep a file that is younger than `opcache.file_update_protection`, which is 2 s: a
/// site that is busy from the first moment would have each of its requests compile it.
fn make_older(normaliser: &File) {
    const HOUR: Duration = Duration::from_secs(3600);
    if let Err(cause) = normaliser.set_modified(SystemTime::now() - HOUR) {
        tracing::debug!("dating the normaliser: {cause}; PHP compiles it anew in its first two seconds");
    }
}

pub fn write_ping(privileged: &Privileged, path: &Path) -> Result<(), EffectError> {
    write(privileged, path, PING.as_bytes())
}

pub fn write_run_record(
    privileged: &Privileged,
    path: &Path,
    run: &RunRecord<&Plan>,
) -> Result<(), EffectError> {
    let json = run.to_json().map_err(|cause| failed("writing", path, cause))?;
    write(privileged, path, &json)
}

/// Writes `path` whole or not at all. No fsync: what is in `/run` is made anew at every boot.
pub fn write(privileged: &Privileged, path: &Path, bytes: &[u8]) -> Result<(), EffectError> {
    replace(privileged, path, bytes, |_| {})
}

/// The directory is our own, see [`make_directory`], so its path may be followed.
fn replace(
    _privileged: &Privileged,
    path: &Path,
    bytes: &[u8],
    finish: impl FnOnce(&File),
) -> Result<(), EffectError> {
    // Not `*.ini`: PHP must never read half a file.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.new"));
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary);
    let write = || -> io::Result<()> {
        let mut file = replacing(create, || std::fs::remove_file(&temporary))?;
        file.write_all(bytes)?;
        finish(&file);
        std::fs::rename(&temporary, path)
    };
    write().map_err(|cause| failed("writing", path, cause))
}

fn failed(operation: &str, path: &Path, cause: io::Error) -> EffectError {
    EffectError::failed(operation, path, cause, WAY_OUT)
}
