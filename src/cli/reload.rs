//! `cac-lsphp reload`: a new plan without losing a request.

use crate::exit::Exit;
use crate::reload;

/// Has a new lsphp take over, or says why not; what served before then goes on.
pub fn run() -> Exit {
    match reload::reload() {
        Ok(reloaded) => {
            // It is done, whether or not it can be told: who reads another exit code would do it again.
            let _ = super::write_out(format!("{reloaded}\n").as_bytes());
            Exit::Success
        }
        Err(error) => error.report(),
    }
}
