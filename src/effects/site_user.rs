//! What the site user makes in its own home. As the site user, so paths and links are its own.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::user_ini::{self, ShutOut};
use crate::fault::Fault;
use crate::paths::RUNTIME_DIRECTORY;

/// Makes a directory, 0755, unless anything has its name.
pub fn make_directory(path: &Path) -> Result<(), Fault> {
    made(path, DirBuilder::new().mode(0o755).create(path), "PHP goes on without it")
}

/// Makes the empty error log unless anything has its name; what is there is never opened, as
/// opening a fifo would wait for its reader.
pub fn make_error_log(path: &Path) -> Result<(), Fault> {
    let made_log = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    made(path, made_log.map(drop), "PHP logs to stderr instead")
}

fn made(path: &Path, result: io::Result<()>, hint: &'static str) -> Result<(), Fault> {
    match result {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Fault::new("making", path, error, hint))
        }
        _ => Ok(()),
    }
}

/// Says so where pages would fail.
pub fn look_at_user_ini(path: &Path, directives: &BTreeMap<String, String>) -> Result<(), Fault> {
    let when = match user_ini::shuts_normaliser_out(path, directives) {
        Ok(ShutOut::Never) => return Ok(()),
        Ok(ShutOut::WhileOpcacheRestarts) => {
            "every page fails while an opcache_reset() waits for requests to end"
        }
        Ok(ShutOut::Always) => "opcache is off, so every page fails",
        Err(error) => return Err(Fault::new("reading", path, error, "PHP may go on without it")),
    };
    let cause = format!("its open_basedir keeps PHP from {RUNTIME_DIRECTORY}/ and {when}");
    Err(Fault::new("reading", path, cause, format!("add :{RUNTIME_DIRECTORY}/ to it")))
}
