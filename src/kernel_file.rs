//! Files that the kernel makes up when they are read: their status has no size to plan with.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More than any of them has; what lies beyond is not wanted, whatever the file is.
const MAX_SIZE: u64 = 4 << 20;

/// More than most of them have: one read, and one that finds the end.
const USUAL_SIZE: usize = 4096;

/// Reads all of `path`.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(USUAL_SIZE);
    File::open(path)?.take(MAX_SIZE).read_to_end(&mut content)?;
    Ok(content)
}
