//! The site's entries in /etc/passwd and /etc/group, so that PHP and shells can name the user.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag};
use nix::sys::stat::{FileStat, Mode};

use crate::failure::Failure;
use crate::fault::Fault;
use crate::identity::{Site, User};
use crate::kernel_file;
use crate::privileges::Privileged;
use crate::tree::{Directory, Name};

/// No real file comes near; a larger one is not read into memory.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// How long another holder of the lock is waited for, once a file: a site without a name is served,
/// one that waits is not.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Adds what is missing. An /etc that cannot be written is a warning: PHP works with numbers.
///
/// # Errors
/// The name belongs to another uid.
pub fn add(privileged: &Privileged, etc: &Path, site: &Site) -> Result<(), Failure> {
    let Site { user, uid, gid, home, .. } = site;
    let add = |file: &str, id: u32, line: &str| {
        add_entry(etc, file, user, id, line).unwrap_or_else(|cause| {
            warn_of_missing(privileged, user, &etc.join(file), cause);
            None
        })
    };
    // As passwd(5) and group(5) have them.
    let passwd_line = format!("{user}:x:{uid}:{gid}::{}:/bin/sh\n", home.display());
    let group_line = format!("{user}:x:{gid}:\n");
    if let Some(other) = add("passwd", uid.as_raw(), &passwd_line) {
        let cause = format!("user {user} is uid {other} there, the site is uid {uid}");
        return Err(Failure::refused("adding to", &etc.join("passwd"), cause, "correct user or uid"));
    }
    if let Some(other) = add("group", gid.as_raw(), &group_line) {
        let cause = format!("group {user} is gid {other} there, the site is gid {gid}");
        Fault::new("adding to", &etc.join("group"), cause, "the entry stays as it is").warn();
    }
    Ok(())
}

/// Expected of a start without root, so not worth a warning there.
fn warn_of_missing(privileged: &Privileged, user: &User, file: &Path, cause: io::Error) {
    let operation = format!("adding {user} to");
    if privileged.is_root() {
        Fault::new(operation, file, cause, "PHP shows the id instead of a name").warn();
    } else {
        let hint = "only root can do that; PHP shows the id instead of a name";
        Fault::new(operation, file, cause, hint).info();
    }
}

/// Returns the other id that the name already has, if any; then nothing is written.
fn add_entry(etc: &Path, file: &str, user: &User, id: u32, line: &str) -> io::Result<Option<String>> {
    // A look that is enough where the entry is already there.
    if let Some(found) = look(&etc.join(file), user) {
        return Ok(other_than(id, found));
    }
    let etc = Directory::open_system(etc)?;
    let name: Name = file.parse()?;
    let lock = lock(&etc);
    let (text, status) = etc.read_file(&name, LARGEST_FILE)?;
    if let Some(found) = find(&text, user) {
        return Ok(other_than(id, found));
    }
    let _lock = lock?; // where nothing is written, none is needed
    replace(&etc, &name, &with_line(text, line), &status)?;
    Ok(None)
}

/// [`find`] without the care of [`Directory::read_file`]: what it misses is looked for again, and a line
/// that could be cut short does not count.
fn look(file: &Path, user: &User) -> Option<String> {
    let text = kernel_file::read(file).ok()?;
    let whole_lines = text.iter().rposition(|byte| *byte == b'\n')?;
    find(text.get(..whole_lines)?, user)
}

/// The third field of the first line that begins with `user`, as it is there.
fn find(text: &[u8], user: &User) -> Option<String> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let ours = fields.next()? == user.as_str().as_bytes();
        ours.then(|| String::from_utf8_lossy(fields.nth(1).unwrap_or_default()).into_owned())
    })
}

/// `found` unless it is the number `id`.
fn other_than(id: u32, found: String) -> Option<String> {
    (found.parse() != Ok(id)).then_some(found)
}

/// Every existing byte stays; a last line without its end gets one.
fn with_line(mut text: Vec<u8>, line: &str) -> Vec<u8> {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(line.as_bytes());
    text
}

/// Whole or not at all, also across a crash of the machine; mode and owner stay.
fn replace(etc: &Directory, name: &Name, text: &[u8], status: &FileStat) -> io::Result<()> {
    let temporary: Name = format!(".{name}.cac-lsphp").parse()?;
    let mode = Mode::from_bits_truncate(status.st_mode);
    let result = etc.write_file(&temporary, text, mode).and_then(|file| {
        let (uid, gid) = (status.st_uid.into(), status.st_gid.into());
        nix::sys::stat::fchmod(&file, mode)?; // the umask took its part
        nix::unistd::fchown(&file, Some(uid), Some(gid))?;
        file.sync_all()?;
        etc.rename(&temporary, name)
    });
    if result.is_err() {
        let _ = etc.remove_file(&temporary); // the first error is the one to report
    }
    result
}

/// The lock of lckpwdf(3), which passwd(1) and useradd(8) take too; let go when dropped.
fn lock(etc: &Directory) -> io::Result<OwnedFd> {
    let name: Name = ".pwd.lock".parse()?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK;
    let file = etc.open_below(&name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    #[allow(clippy::cast_possible_truncation, reason = "constants of the kernel's that are 0 and 1")]
    let whole_file = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    for _ in 0..LOCK_TRIES {
        match nix::fcntl::fcntl(&file, FcntlArg::F_SETLK(&whole_file)) {
            Ok(_) => return Ok(file),
            Err(Errno::EACCES | Errno::EAGAIN | Errno::EINTR) => sleep(LOCK_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other(format!("another program holds {}", etc.join(&name).display())))
}

#[cfg(test)]
mod tests;
