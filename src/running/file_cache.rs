//! What is in opcache's file cache, in PHP's own layout: `SYSTEM_ID/path/of/script.php.bin`. The system id is a hash
//! of PHP's version and its build's ABI, so that versions share nothing (seen with 8.2 and 8.4). Builds with other
//! extensions do, so that `ini/cac-lsphp-preload.php` sees to it that there is one at a time.
//!
//! Only for the site's own user: what is in there may be changed meanwhile.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::kernel_file;

/// More than any site has scripts; a site that makes more files than this is not looked through for ever.
const MOST: usize = 1_000_000;

/// Of a file: `OPCACHE\0`, the system id, three sizes of 8 bytes, the script's time, and a checksum of the rest.
const HEADER: u64 = 80;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Contents {
    pub files: usize,
    pub bytes: u64,
    /// Those on which PHP crashes or fails, which it does again after each restart.
    pub damaged: usize,
    /// The path of one of them, for people.
    pub first_damaged: Option<String>,
}

/// What the cache holds, PHP's directories for all its versions together.
///
/// # Errors
/// The directory cannot be read; `NotFound`: nothing was ever cached.
pub fn look(directory: &Path) -> io::Result<Contents> {
    let mut contents = Contents::default();
    visit(directory, |path, system_id| {
        let Ok(found) = path.symlink_metadata() else { return };
        contents.files += 1;
        contents.bytes = contents.bytes.saturating_add(found.len()); // a site may make any of any length
        if is_damaged(path, found.len(), system_id) {
            contents.damaged += 1;
            contents.first_damaged.get_or_insert(path.display().to_string());
        }
    })?;
    Ok(contents)
}

/// Removes what PHP has cached and nothing else; what was there.
///
/// # Errors
/// The directory cannot be read, or the first file that cannot be removed.
pub fn empty(directory: &Path) -> io::Result<Contents> {
    let mut removed = Contents::default();
    let mut failed = None;
    let directories = visit(directory, |path, _| {
        let bytes = path.symlink_metadata().map_or(0, |found| found.len());
        match fs::remove_file(path) {
            Ok(()) => {
                removed.files += 1;
                removed.bytes = removed.bytes.saturating_add(bytes);
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => {
                let named = io::Error::new(cause.kind(), format!("{}: {cause}", path.display()));
                failed.get_or_insert(named);
            }
        }
    })?;
    // Innermost first. One that is not empty holds what is not PHP's, or what PHP has just put there.
    directories.iter().rev().for_each(|directory| drop(fs::remove_dir(directory)));
    failed.map_or(Ok(removed), Err)
}

/// Has `file` see each cached file and the system id that it is for; PHP's directories, outermost first. No link is
/// followed.
fn visit(directory: &Path, mut file: impl FnMut(&Path, &OsStr)) -> io::Result<Vec<PathBuf>> {
    let is_directory = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut directories = Vec::new();
    let mut seen = 0;
    for system in fs::read_dir(directory)?.flatten().filter(is_directory) {
        let system_id = system.file_name();
        if !is_system_id(&system_id) {
            continue;
        }
        let mut next = directories.len();
        directories.push(system.path());
        while let Some(inner) = directories.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(&inner).into_iter().flatten().flatten() {
                seen += 1;
                if seen > MOST {
                    return Err(io::Error::other(format!("more than {MOST} files are in it")));
                }
                if is_directory(&entry) {
                    directories.push(entry.path());
                } else if entry.file_name().as_bytes().ends_with(b".bin") {
                    file(&entry.path(), &system_id);
                }
            }
        }
    }
    Ok(directories)
}

fn is_system_id(name: &OsStr) -> bool {
    name.len() == 32 && name.as_bytes().iter().all(u8::is_ascii_hexdigit)
}

/// PHP finds most damage by itself and compiles anew; but it believes the sizes, and where in the file the script is,
/// which is always at its beginning.
fn is_damaged(path: &Path, length: u64, system_id: &OsStr) -> bool {
    let Ok(header) = kernel_file::read_start(path, HEADER) else { return false };
    let (Some((magic, rest)), true) = (header.split_at_checked(8), length >= HEADER) else { return false };
    let Some((id, numbers)) = rest.split_at_checked(32) else { return false };
    if magic != b"OPCACHE\0" || id != system_id.as_bytes() {
        return false; // PHP removes it
    }
    let number = |at: usize| {
        let bytes = numbers.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    let (code, strings, script) = (number(0), number(8), number(16));
    script != 0 || code.checked_add(strings).is_none_or(|sum| sum > length - HEADER)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn file(code: u64, strings: u64, script: u64) -> Vec<u8> {
        let numbers = [code, strings, script, 1, 2].map(u64::to_le_bytes).concat();
        [b"OPCACHE\0", ID.as_bytes(), &numbers, &[7; 48]].concat()
    }

    fn put(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn what_php_would_believe_and_is_wrong_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        for (bytes, damaged) in [
            (file(40, 8, 0), 0),
            (file(40, 8, 8), 1),
            (file(40, 9, 0), 1),
            (file(u64::MAX, 9, 0), 1),
            (file(40, 8, 0)[..60].to_vec(), 0),
            (file(40, 8, 0)[..100].to_vec(), 1),
            ([&[0; 8], &file(40, 8, 8)[8..]].concat(), 0),
            (vec![], 0),
        ] {
            let path = put(directory.path(), &format!("{ID}/a/b.php.bin"), &bytes);
            let expected = Contents {
                files: 1,
                bytes: bytes.len() as u64,
                damaged,
                first_damaged: (damaged > 0).then(|| path.display().to_string()),
            };
            assert_eq!(look(directory.path()).unwrap(), expected, "{bytes:?}");
        }
        assert!(look(&directory.path().join("nothing")).is_err());
    }

    #[test]
    fn no_length_of_files_is_too_much() {
        let cache = tempfile::tempdir_in("/dev/shm").unwrap(); // where one may be as long as there is a number
        for name in ["a", "b", "c"] {
            let path = put(cache.path(), &format!("{ID}/{name}.php.bin"), b"");
            fs::File::options().write(true).open(path).unwrap().set_len(i64::MAX as u64).unwrap();
        }
        assert_eq!(look(cache.path()).unwrap().bytes, u64::MAX);
        assert_eq!(empty(cache.path()).unwrap().bytes, u64::MAX);
    }

    #[test]
    fn only_what_php_has_put_there_is_removed() {
        let site = tempfile::tempdir().unwrap();
        let cache = site.path().join("cache");
        let kept = [
            put(&cache, "notes.txt", b"mine"),
            put(&cache, "backup/a.php.bin", b"mine"),
            put(&cache, &format!("{ID}/a/readme"), b"mine"),
            put(site.path(), "elsewhere/b.php.bin", b"mine"),
        ];
        put(&cache, &format!("{ID}/a/b.php.bin"), &file(40, 8, 0));
        put(&cache, &format!("{ID}/deep/er/b.php.bin"), b"");
        symlink(site.path().join("elsewhere"), cache.join(format!("{ID}/link"))).unwrap();
        let removed = empty(&cache).unwrap();
        assert_eq!((removed.files, removed.bytes), (2, 128));
        assert!(kept.iter().all(|path| fs::read(path).unwrap() == b"mine"));
        assert!(
            !cache.join(format!("{ID}/deep")).exists() && !cache.join(format!("{ID}/a/b.php.bin")).exists()
        );
        assert_eq!(empty(&cache).unwrap(), Contents::default());
    }
}
