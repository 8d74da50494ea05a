//! `/mnt/users/<user>/<domain>` → the home: how the shared front end's paths reach the site.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::sys::stat::Mode;

use super::is_missing;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::privileges::Privileged;
use crate::tree::{Directory, Kind, Name};

const HINT: &str =
    "mount a tmpfs on /mnt, or set CAC_SITE_LINK=0 if the front end sends paths below the home";

/// The new link before it takes its place; an interrupted start may leave it.
const TEMPORARY: &str = ".cac-lsphp-link";

/// Makes the link, or replaces one that points elsewhere and an empty directory, in one step.
///
/// A directory with files and a mount stay, with a warning; anything else is refused.
pub fn make(privileged: &Privileged, link: &Path, target: &Path) -> Result<(), Failure> {
    let made = open_parent(link).and_then(|(parent, name)| place(&parent, &name, target));
    match made {
        Ok(Placed::Done) => Ok(()),
        Ok(Placed::LeftAlone(what)) => {
            let cause = format!("{what} is there and is left alone");
            Fault::new("linking", link, cause, "remove it to get the link").warn();
            Ok(())
        }
        Ok(Placed::Refused) => {
            let cause = "something that is neither a link nor a directory is there";
            Err(Failure::refused("linking", link, cause, "remove it"))
        }
        Err(error) if !privileged.is_root() => {
            Fault::new("linking", link, error, format!("only root can do that; {HINT}")).warn();
            Ok(())
        }
        Err(error) => Err(Failure::system("linking", link, error, HINT)),
    }
}

/// Whether the link is there as [`make`] makes it.
pub fn leads_to(link: &Path, target: &Path) -> bool {
    let found = open_parent(link).and_then(|(parent, name)| parent.read_link(&name));
    found.is_ok_and(|found| found == target.as_os_str())
}

const WITH_FILES: &str = "a directory with files";

enum Placed {
    Done,
    LeftAlone(&'static str),
    Refused,
}

fn open_parent(link: &Path) -> io::Result<(Directory, Name)> {
    let name = link.file_name().unwrap_or_default().to_string_lossy().parse::<Name>()?;
    let parent = Directory::open_or_make(link.parent().unwrap_or(link), Mode::from_bits_truncate(0o755))?;
    Ok((parent, name))
}

/// Begins with the look that finds the link of an earlier start.
fn place(parent: &Directory, name: &Name, target: &Path) -> io::Result<Placed> {
    match parent.read_link(name) {
        Ok(found) if found == target.as_os_str() => Ok(Placed::Done),
        Ok(_) => {
            let temporary = make_temporary(parent, target)?;
            parent.rename(&temporary, name).map(|()| Placed::Done)
        }
        Err(error) if is_missing(&error) => parent.symlink(name, target).map(|()| Placed::Done),
        Err(error) if error.kind() == ErrorKind::InvalidInput => match parent.kind(name)? {
            Some(Kind::Directory) => replace_directory(parent, name, target),
            Some(Kind::Other) => Ok(Placed::Refused),
            None | Some(Kind::Link) => Err(io::Error::other("another start is changing it at this moment")),
        },
        Err(error) => Err(error),
    }
}

/// The new link takes the place of an empty directory; nothing with content is ever without a name.
fn replace_directory(parent: &Directory, name: &Name, target: &Path) -> io::Result<Placed> {
    if let Some(what) = what_must_stay(parent, name)? {
        return Ok(Placed::LeftAlone(what));
    }
    let temporary = make_temporary(parent, target)?;
    let replaced = match parent.exchange(&temporary, name) {
        Ok(()) => parent
            .remove_directory(&temporary)
            .or_else(|cause| parent.exchange(&temporary, name).and(Err(cause))),
        // Not every file system can exchange. In two steps an interruption leaves nothing under
        // the name, which the next start makes good.
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)) => {
            parent.remove_directory(name).and_then(|()| parent.rename(&temporary, name))
        }
        Err(cause) => Err(cause),
    };
    let Err(cause) = replaced else { return Ok(Placed::Done) };
    parent.remove_file(&temporary)?;
    match cause.kind() {
        ErrorKind::DirectoryNotEmpty => Ok(Placed::LeftAlone(WITH_FILES)),
        _ => Err(cause),
    }
}

fn what_must_stay(parent: &Directory, name: &Name) -> io::Result<Option<&'static str>> {
    match parent.child_on_same_mount(name) {
        Ok(directory) => Ok(directory.has_entries()?.then_some(WITH_FILES)),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => Ok(Some("a mount")),
        Err(error) => Err(error),
    }
}

/// The new link under another name. What an interrupted start left there goes; it can be an empty
/// directory that was exchanged.
fn make_temporary(parent: &Directory, target: &Path) -> io::Result<Name> {
    let temporary: Name = TEMPORARY.parse()?;
    let cleared = match parent.kind(&temporary)? {
        None => Ok(()),
        Some(Kind::Directory) => parent.remove_directory(&temporary),
        Some(Kind::Link | Kind::Other) => parent.remove_file(&temporary),
    };
    cleared.map_err(|cause| {
        io::Error::other(format!("removing {}: {cause}", parent.join(&temporary).display()))
    })?;
    parent.symlink(&temporary, target)?;
    Ok(temporary)
}
