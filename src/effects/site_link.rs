//! `/mnt/users/<user>/<domain>` → the home: how the shared front end's paths reach the site.

use std::io;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::sys::stat::Mode;

use super::EffectError;
use crate::privileges::Privileged;
use crate::tree::{Directory, Kind, Name};

const WAY_OUT: &str =
    "mount a tmpfs on /mnt, or set CAC_SITE_LINK=0 if the front end sends paths below the home";

/// The new link before it takes its place; an interrupted start may leave it.
const TEMPORARY: &str = ".cac-lsphp-link";

/// Makes the link, or replaces one that points elsewhere and an empty directory, in one step.
///
/// A directory with files and a mount stay, with a warning; anything else is refused.
pub fn make(privileged: &Privileged, link: &Path, target: &Path) -> Result<(), EffectError> {
    let made = open_parent(link).and_then(|(parent, name)| place(&parent, &name, target));
    match made {
        Ok(Placed::Done) => Ok(()),
        Ok(Placed::LeftAlone(what)) => {
            tracing::warn!(
                "linking {}: {what} is there and is left alone; remove it to get the link",
                link.display()
            );
            Ok(())
        }
        Ok(Placed::Refused) => {
            let cause = "something that is neither a link nor a directory is there";
            Err(EffectError::refused("linking", link, cause, "remove it"))
        }
        Err(error) if !privileged.is_root() => {
            tracing::warn!("linking {}: {error}; only root can, {WAY_OUT}", link.display());
            Ok(())
        }
        Err(error) => Err(EffectError::failed("linking", link, error, WAY_OUT)),
    }
}

enum Placed {
    Done,
    LeftAlone(&'static str),
    Refused,
}

/// Every component below the file system's first directory is opened without following links.
fn open_parent(link: &Path) -> io::Result<(Directory, Name)> {
    let mut names = link.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    });
    let top = Path::new("/").join(names.next().unwrap_or_default().as_ref());
    let mut names = names.map(|name| name.parse::<Name>()).collect::<Result<Vec<_>, _>>()?;
    let last = names.pop().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mode = Mode::from_bits_truncate(0o755);
    let parent = names
        .iter()
        .try_fold(Directory::open_system(&top)?, |directory, name| directory.child_or_make(name, mode))?;
    Ok((parent, last))
}

fn place(parent: &Directory, name: &Name, target: &Path) -> io::Result<Placed> {
    match parent.kind(name)? {
        None => parent.make_link(name, target).map(|()| Placed::Done),
        Some(Kind::Link) if parent.read_link(name)? == target.as_os_str() => Ok(Placed::Done),
        Some(Kind::Link | Kind::Directory) => replace(parent, name, target),
        Some(Kind::Other) => Ok(Placed::Refused),
    }
}

/// Exchanges the new link with what is there, then removes that if it is a link or empty, else puts
/// it back: nothing with content is ever without a name.
fn replace(parent: &Directory, name: &Name, target: &Path) -> io::Result<Placed> {
    if is_directory_with_files(parent, name)? {
        return Ok(Placed::LeftAlone("a directory with files"));
    }
    let temporary: Name = TEMPORARY.parse()?;
    discard(parent, &temporary)?;
    parent.make_link(&temporary, target)?;
    match parent.exchange(&temporary, name) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
            parent.remove_file(&temporary)?;
            return Ok(Placed::LeftAlone("a mount"));
        }
        // A file system that cannot exchange: two steps, and an interruption in between leaves
        // nothing under the name, which the next start makes good.
        Err(_) => {
            discard(parent, name)?;
            parent.rename(&temporary, name)?;
            return Ok(Placed::Done);
        }
    }
    match discard(parent, &temporary) {
        Ok(()) => Ok(Placed::Done),
        Err(_) => {
            parent.exchange(&temporary, name)?;
            parent.remove_file(&temporary)?;
            Ok(Placed::LeftAlone("a directory with files"))
        }
    }
}

fn is_directory_with_files(parent: &Directory, name: &Name) -> io::Result<bool> {
    if parent.kind(name)? != Some(Kind::Directory) {
        return Ok(false);
    }
    parent.child(name)?.has_entries()
}

/// Removes a link or an empty directory; nothing there is fine.
fn discard(parent: &Directory, name: &Name) -> io::Result<()> {
    match parent.kind(name)? {
        None => Ok(()),
        Some(Kind::Directory) => parent.remove_directory(name),
        Some(Kind::Link) => parent.remove_file(name),
        Some(Kind::Other) => {
            Err(io::Error::other(format!("{} is in the way; remove it", parent.join(name).display())))
        }
    }
}
