//! `cac-lsphp run`: the entrypoint.

use crate::exit::Exit;
use crate::start;

/// Becomes lsphp; returns only when that failed.
pub fn run() -> Exit {
    let Err(error) = start::start();
    error.report();
    error.exit()
}
