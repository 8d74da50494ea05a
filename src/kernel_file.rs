//! Files that the kernel makes up when they are read: their status has no size to plan with.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// 3.5 MiB, more than any of them has; what lies beyond is not wanted, whatever the file is.
pub const MAX_SIZE: u64 = (USUAL_SIZE as u64) << 11;

/// More than most of them have, `/proc/self/status` with its 1.4 KiB included.
const USUAL_SIZE: usize = 1792;

/// More than most tables have.
const USUAL_TABLE: u64 = 16 << 10;

/// Reads all of `path`, which the kernel makes up in one go, as it does all files of a cgroup and most of
/// a process (`single_open` of its seq_file.c): a read that leaves room was the last.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_from(open(path)?)
}

/// The same of a file that is open.
pub fn read_from(mut file: File) -> io::Result<Vec<u8>> {
    let mut content = vec![0; USUAL_SIZE];
    let mut length = 0;
    while let Some(room) = content.get_mut(length..) {
        match file.read(room) {
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if length < content.len() || length as u64 >= MAX_SIZE {
            break;
        }
        content.resize(2 * length, 0);
    }
    content.truncate(length);
    Ok(content)
}

/// Reads the first `most` bytes of any file that somebody else may have written, or of a table that the kernel
/// makes up line by line, such as mountinfo: a read of that ends before the line that its page has no room for, and
/// only one of nothing is the last.
pub fn read_start(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_start_from(open(path)?, most)
}

/// The same of a file that is open.
pub fn read_start_from(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(most.min(USUAL_TABLE)).unwrap_or_default());
    file.take(most).read_to_end(&mut content)?;
    Ok(content)
}

/// A fifo in its place is not waited for, and a link not followed.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_table(path: &Path) -> io::Result<Vec<u8>> {
        read_start(path, MAX_SIZE)
    }

    #[test]
    fn files_of_every_size_are_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for size in [0, 1, USUAL_SIZE - 1, USUAL_SIZE, USUAL_SIZE + 1, 2 * USUAL_SIZE, 5 * USUAL_SIZE + 7] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(&path).unwrap(), bytes, "{size}");
            assert_eq!(read_table(&path).unwrap(), bytes, "{size}");
        }
    }

    #[test]
    fn no_file_fills_the_memory() {
        let endless = Path::new("/dev/zero");
        assert_eq!(read(endless).unwrap().len() as u64, MAX_SIZE);
        assert_eq!(read_table(endless).unwrap().len() as u64, MAX_SIZE);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, link) = (folder.path().join("fifo"), folder.path().join("link"));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/proc/meminfo", &link).unwrap();
        for refused in [Path::new("/nonexistent"), Path::new("/"), &link] {
            assert!(read(refused).is_err() && read_table(refused).is_err(), "{}", refused.display());
        }
        assert_eq!(read(&fifo).unwrap(), b"", "it was not waited for");
    }

    /// The mappings of a process with what each weighs take many pages, each ended before its end.
    #[test]
    fn a_table_of_many_pages_is_read_whole() {
        let path = Path::new("/proc/self/smaps");
        let lines = |bytes: Vec<u8>| bytes.iter().filter(|byte| **byte == b'\n').count();
        let whole = lines(std::fs::read(path).unwrap());
        assert!(lines(read_table(path).unwrap()) > whole / 2, "{whole}");
    }
}
