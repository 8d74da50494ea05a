//! `cac-lsphp run`: the entrypoint.

use crate::exit::Exit;
use crate::start::{self, StartError};

/// Becomes lsphp; returns only when that failed.
pub fn run() -> Exit {
    match start::start() {
        Ok(never) => match never {},
        Err(error) => {
            report(&error);
            error.exit()
        }
    }
}

/// One line each.
fn report(error: &StartError) {
    match error {
        StartError::Refused(faults) => faults.iter().for_each(|fault| tracing::error!("{fault}")),
        error => tracing::error!("{error}"),
    }
}
