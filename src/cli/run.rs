//! `cac-lsphp run`: the entrypoint.

use crate::exit::Exit;
use crate::start;
use crate::supervise::pool::Ending;

/// Becomes lsphp, or supervises it; returns when that failed, or when it is over.
pub fn run() -> Exit {
    match start::start() {
        Ok(Ending::Stopped | Ending::Cut) => Exit::Success,
        // lsphp's own code, as if it were pid 1 itself.
        Ok(Ending::Failed(code)) => std::process::exit(code.into()),
        Ok(Ending::NoListener) => Exit::System,
        Err(error) => error.report(),
    }
}
