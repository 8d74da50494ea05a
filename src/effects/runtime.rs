//! `/run/cac-lsphp`: made anew at every start, each file whole or not at all.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;

use super::{is_not_a_directory, site_link, whole_file};
use crate::failure::Failure;
use crate::fault::{Cause, Fault, Object};
use crate::identity::Uid;
use crate::plan::{Plan, php_scripts};
use crate::privileges::Privileged;
use crate::running::RunRecord;
use crate::tree::Directory;

const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o755);

const HINT: &str = "/run must be writable: mount a tmpfs there";

/// Makes the control socket, the site's: pid 1 is the site's user, and may ask itself for a reload. Its group is
/// root's, which may connect without CAP_DAC_OVERRIDE then.
pub fn open_control_socket(privileged: &Privileged, path: &Path, uid: Uid) -> Result<UnixListener, Failure> {
    let making = |cause: io::Error| failed("making", path, cause);
    whole_file::remove_or_move_aside(path).map_err(making)?;
    let listener = UnixListener::bind(path).map_err(making)?;
    let mode = if privileged.is_root() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(making)?;
    if privileged.is_root() {
        std::os::unix::fs::lchown(path, Some(uid.as_raw()), Some(0)).map_err(making)?;
    }
    Ok(listener)
}

/// The directory itself and the one that PHP scans.
pub fn make_directories(privileged: &Privileged, path: &Path, site: Uid) -> Result<(), Failure> {
    make_directory(privileged, path, site)?;
    make_directory(privileged, &path.join("php.d"), site)
}

/// A directory of ours is put right, as PHP silently goes without an ini that it may not read. One that a
/// start without root left to the site is taken back, and what the site put in the place of one is moved
/// aside; whatever else is there could hold anything, and is refused.
pub fn make_directory(privileged: &Privileged, path: &Path, site: Uid) -> Result<(), Failure> {
    let making = |cause: io::Error| failed("making", path, cause);
    let in_the_way = |cause: Cause| Failure::system("making", path, cause, "remove it");
    let open_or_make = || Directory::open_or_make(path, DIRECTORY_MODE);
    let directory = match open_or_make() {
        Err(cause) if is_not_a_directory(&cause) && belongs_to(path.parent(), site) => {
            whole_file::move_aside(path).and_then(|()| open_or_make())
        }
        opened => opened,
    };
    let directory = directory.map_err(|cause| {
        if is_not_a_directory(&cause) {
            in_the_way("something other than a directory is there".into())
        } else {
            making(cause)
        }
    })?;
    let status = directory.status().map_err(making)?;
    let is_ours = status.st_uid == 0 || status.st_uid == privileged.started_as().uid;
    if !is_ours && (status.st_uid != site.as_raw() || !privileged.is_root()) {
        return Err(in_the_way(format!("it belongs to uid {}", status.st_uid).into()));
    }
    if !is_ours {
        directory.chown(nix::unistd::ROOT, nix::unistd::Gid::from_raw(0)).map_err(making)?;
    }
    if Mode::from_bits_truncate(status.st_mode) != DIRECTORY_MODE && privileged.is_root() {
        directory.set_mode(DIRECTORY_MODE).map_err(making)?;
    }
    if !is_ours {
        // Only now: as long as the mode was the site's, so was what is in it.
        whole_file::move_aside_all_in(path).map_err(making)?;
    }
    Ok(())
}

fn belongs_to(directory: Option<&Path>, uid: Uid) -> bool {
    let found = directory.and_then(|directory| std::fs::symlink_metadata(directory).ok());
    found.is_some_and(|found| found.uid() == uid.as_raw())
}

/// The link's ends are told to PHP only where it leads to the home: what is left alone in its place is no
/// other name of the home.
pub fn write_normaliser(
    _privileged: &Privileged,
    path: &Path,
    link: Option<&Path>,
    home: &Path,
) -> Result<(), Failure> {
    let link = link.filter(|link| site_link::leads_to(link, home));
    let script = php_scripts::normaliser(link, home);
    whole_file::put(path, script.as_bytes(), make_older).map_err(|cause| failed("writing", path, cause))
}

/// opcache does not keep a file that is younger than `opcache.file_update_protection`, which is 2 s: a
/// site that is busy from the first moment would have each of its requests compile it.
fn make_older(normaliser: &File) {
    const HOUR: Duration = Duration::from_secs(3600);
    if let Err(cause) = normaliser.set_modified(SystemTime::now() - HOUR) {
        let hint = "PHP compiles it anew in its first two seconds";
        Fault::new("setting the time of the normaliser", Object::Nothing, cause, hint).debug();
    }
}

/// A site without a record serves all the same; only those who look at it find nothing.
pub fn write_run_record(
    _privileged: &Privileged,
    path: &Path,
    run: &RunRecord<&Plan>,
) -> Result<(), Failure> {
    let written = run.to_json().and_then(|json| whole_file::put(path, &json, |_| {}));
    match written {
        Err(cause) if whole_file::is_full(&cause) => {
            let hint = "the site starts, but healthcheck will find it not started: make room, or mount a tmpfs on /run";
            Fault::new("writing", path, cause, hint).warn();
            Ok(())
        }
        result => result.map_err(|cause| failed("writing", path, cause)),
    }
}

/// Writes `path` whole or not at all.
pub fn write(_privileged: &Privileged, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    whole_file::put(path, bytes, |_| {}).map_err(|cause| failed("writing", path, cause))
}

fn failed(operation: &'static str, path: &Path, cause: io::Error) -> Failure {
    Failure::system(operation, path, cause, HINT)
}
