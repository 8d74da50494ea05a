//! The site's entries in /etc/passwd and /etc/group, so that PHP and shells can name the user.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag};
use nix::sys::stat::{FileStat, Mode};

use super::EffectError;
use crate::privileges::Privileged;
use crate::settings::identity::{Gid, Uid, User};
use crate::tree::{Directory, Name};

/// No real file comes near; a larger one is not read into memory.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// The site's user as passwd(5) knows it.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    pub user: &'a User,
    pub uid: Uid,
    pub gid: Gid,
    pub home: &'a Path,
}

impl Account<'_> {
    fn passwd_line(&self) -> String {
        let Account { user, uid, gid, home } = self;
        format!("{user}:x:{uid}:{gid}::{}:/bin/sh\n", home.display())
    }

    fn group_line(&self) -> String {
        format!("{}:x:{}:\n", self.user, self.gid)
    }
}

/// Adds what is missing. An /etc that cannot be written is a warning: PHP works with numbers.
///
/// # Errors
/// The name belongs to another uid.
pub fn add(privileged: &Privileged, etc: &Path, account: &Account) -> Result<(), EffectError> {
    let passwd = etc.join("passwd");
    let outcome = Directory::open_system(etc).and_then(|etc| {
        let taken = add_entry(&etc, "passwd", account.user, account.uid.as_raw(), &account.passwd_line())?;
        let group_taken =
            add_entry(&etc, "group", account.user, account.gid.as_raw(), &account.group_line())?;
        Ok((taken, group_taken))
    });
    match outcome {
        Ok((Some(other), _)) => {
            let cause =
                format!("user {} is uid {other} there, the site is uid {}", account.user, account.uid);
            Err(EffectError::refused("adding to", &passwd, cause, "correct user or uid"))
        }
        Ok((None, group_taken)) => {
            if let Some(other) = group_taken {
                tracing::warn!(
                    "adding to {}: group {} is gid {other} there and stays, the site is gid {}",
                    etc.join("group").display(),
                    account.user,
                    account.gid
                );
            }
            Ok(())
        }
        Err(error) if privileged.is_root() => {
            tracing::warn!(
                "adding {} to {}: {error}; PHP shows the uid instead of a name",
                account.user,
                passwd.display()
            );
            Ok(())
        }
        Err(error) => {
            tracing::info!(
                "adding {} to {}: {error}; only root can, PHP shows the uid instead",
                account.user,
                passwd.display()
            );
            Ok(())
        }
    }
}

/// Returns the other id that the name already has, if any; then nothing is written.
fn add_entry(etc: &Directory, file: &str, user: &User, id: u32, line: &str) -> io::Result<Option<u32>> {
    let name: Name = file.parse()?;
    if let Some(found) = find(&etc.read_file(&name, LARGEST_FILE)?.0, user) {
        return Ok(Some(found).filter(|found| *found != id));
    }
    let _lock = lock(etc)?;
    // Read again: whoever held the lock may have added it.
    let (text, status) = etc.read_file(&name, LARGEST_FILE)?;
    if let Some(found) = find(&text, user) {
        return Ok(Some(found).filter(|found| *found != id));
    }
    replace(etc, &name, &with_line(text, line), &status)?;
    Ok(None)
}

/// The id in the third field of the line that begins with `user`. An id that is no number counts
/// as somebody else's.
fn find(text: &[u8], user: &User) -> Option<u32> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        if fields.next()? != user.as_str().as_bytes() {
            return None;
        }
        let id = fields.nth(1).and_then(|field| std::str::from_utf8(field).ok());
        Some(id.and_then(|id| id.parse().ok()).unwrap_or(u32::MAX))
    })
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
    let result =
        etc.write_file(&temporary, text, Mode::from_bits_truncate(status.st_mode)).and_then(|file| {
            let (uid, gid) = (status.st_uid.into(), status.st_gid.into());
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
fn lock(etc: &Directory) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = etc.open_below(&".pwd.lock".parse()?, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let whole_file = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    const TRIES: u32 = 20;
    for _ in 0..TRIES {
        match nix::fcntl::fcntl(&file, FcntlArg::F_SETLK(&whole_file)) {
            Ok(_) => return Ok(file),
            Err(nix::errno::Errno::EACCES | nix::errno::Errno::EAGAIN) => sleep(Duration::from_millis(25)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("another program holds /etc/.pwd.lock"))
}
