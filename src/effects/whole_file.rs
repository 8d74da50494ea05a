//! Files in `/run/cac-lsphp`, each whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::kernel_file;
use crate::tree::replacing;

const MODE: u32 = 0o644;

/// Makes `path` hold `bytes` and be this process's own: `finish` puts the last touch to a new file. A file
/// that is so already stays: a full disk is no reason not to start again as before.
///
/// The directory is our own, so its path may be followed. No fsync: what is in `/run` is made anew at every
/// boot.
pub fn put(path: &Path, bytes: &[u8], finish: impl Fn(&File)) -> io::Result<()> {
    if is_so_already(path, bytes) {
        return Ok(());
    }
    let renamed = || -> io::Result<()> {
        let (temporary, mut file) = create_beside(path)?;
        let written = file.write_all(bytes).and_then(|()| {
            finish(&file);
            replace(&temporary, path)
        });
        written.inspect_err(|_| drop(std::fs::remove_file(&temporary)))
    };
    match renamed() {
        // What is there is not what shall be there, and takes up the room for it.
        Err(cause) if is_full(&cause) && std::fs::remove_file(path).is_ok() => renamed(),
        result => result,
    }
}

/// Whether there is no room for a file.
pub fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Takes what is at `path` out of the way, whatever it is; it stays beside it under a name that nobody reads.
pub fn move_aside(path: &Path) -> io::Result<()> {
    std::fs::rename(path, beside(path, &format!("{}.moved", now())))
}

/// Takes all that is in `directory`, which is root's now, out of the way of what root puts there: PHP would read
/// its ini files. It stays below one name that nobody reads.
pub fn move_aside_all_in(directory: &Path) -> io::Result<()> {
    let names = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    if names.is_empty() {
        return Ok(());
    }
    let aside = directory.join(format!(".{}.moved", now()));
    std::fs::create_dir(&aside)?;
    names.iter().try_for_each(|name| std::fs::rename(directory.join(name), aside.join(name)))
}

/// Makes the name `path` free: of what a start left, or of what the site put there in a start without root.
pub fn remove_or_move_aside(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) if is_in_the_way(&cause) => move_aside(path),
        removed => removed,
    }
}

/// Somebody else's file, a link or one with more names could be changed later.
fn is_so_already(path: &Path, bytes: &[u8]) -> bool {
    let Ok(file) = kernel_file::open(path) else { return false };
    let is_ours = file.metadata().is_ok_and(|found| {
        found.is_file()
            && found.uid() == nix::unistd::geteuid().as_raw()
            && found.mode() & 0o7777 == MODE
            && found.nlink() == 1
            && found.len() == bytes.len() as u64
    });
    let read = || kernel_file::read_start_from(file, bytes.len() as u64 + 1);
    is_ours && read().is_ok_and(|found| found == bytes)
}

/// Under one name, which an interrupted start may have left. In a start without root the directory is the site's,
/// which may have put a directory of its own there: then under one that nobody knows before.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let create =
        |temporary: &Path| OpenOptions::new().write(true).create_new(true).mode(MODE).open(temporary);
    let usual = beside(path, "new");
    let created = replacing(|| create(&usual), || std::fs::remove_file(&usual));
    match created {
        Err(cause) if is_in_the_way(&cause) => {
            let other = beside(path, &format!("{}.new", now()));
            create(&other).map(|file| (other, file))
        }
        created => created.map(|file| (usual, file)),
    }
}

fn replace(temporary: &Path, path: &Path) -> io::Result<()> {
    match std::fs::rename(temporary, path) {
        Err(cause) if is_in_the_way(&cause) => {
            move_aside(path)?;
            std::fs::rename(temporary, path)
        }
        result => result,
    }
}

/// Something that cannot be replaced, where the site could put it. In a directory of root's it is somebody's
/// mistake, who should know.
fn is_in_the_way(cause: &io::Error) -> bool {
    let kinds = [ErrorKind::IsADirectory, ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists];
    kinds.contains(&cause.kind()) && !nix::unistd::geteuid().is_root()
}

fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    format!("{time:x}")
}

/// Not `*.ini`: PHP must never read half a file.
fn beside(path: &Path, word: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{word}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn inode(path: &Path) -> u64 {
        fs::symlink_metadata(path).unwrap().ino()
    }

    #[test]
    fn what_is_so_already_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.json");
        put(&path, b"one", |_| {}).unwrap();
        let first = inode(&path);
        put(&path, b"one", |_| {}).unwrap();
        assert_eq!(inode(&path), first);
        put(&path, b"two", |_| {}).unwrap();
        assert_ne!(inode(&path), first);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing stays beside it");
    }

    #[test]
    fn what_could_be_changed_later_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.json");
        let elsewhere = directory.path().join("elsewhere");
        let plants: [&dyn Fn(); 3] =
            [&|| symlink(&elsewhere, &path).unwrap(), &|| fs::hard_link(&elsewhere, &path).unwrap(), &|| {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            }];
        for (number, plant) in plants.iter().enumerate() {
            let _ = fs::remove_file(&elsewhere);
            put(&elsewhere, b"same", |_| {}).unwrap();
            if number != 2 {
                let _ = fs::remove_file(&path);
            }
            plant();
            put(&path, b"same", |_| {}).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert!(found.is_file() && found.nlink() == 1 && found.mode() & 0o777 == 0o644, "{number}");
            assert_eq!(fs::read(&elsewhere).unwrap(), b"same");
        }
    }
}
