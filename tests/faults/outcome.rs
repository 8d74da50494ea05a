//! How a boot ended, and whether it may have ended so.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::sandbox::{Boot, INI, Sandbox};

/// How strace and timeout(1) tell that what they ran was killed.
const KILLED: i32 = 128 + libc::SIGKILL;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// lsphp ran, as it should: the fault did not matter, or a warning told of it.
    Started,
    /// One ERROR line and an exit code of the contract.
    Refused,
    Killed,
    /// Before `main` the C and Rust libraries stop a process that they cannot set up.
    DiedBeforeMain,
}

/// Classifies `boot`; `healthy` is what the probe says of an undisturbed one.
pub fn judge(boot: &Boot, healthy: &str, before_main: bool) -> Result<Ending, String> {
    let probed = boot.probed();
    let stderr = String::from_utf8_lossy(&boot.output.stderr);
    let status = boot.output.status;
    if boot.hung {
        return Err(format!("hung: {stderr}"));
    }
    if !boot.output.stdout.is_empty() {
        let right = probed == healthy && status.success();
        return if right { Ok(Ending::Started) } else { Err(format!("lsphp ran as\n{probed}({status})")) };
    }
    let errors: Vec<_> = stderr.lines().filter(|line| line.trim_start().starts_with("ERROR")).collect();
    if status.code() == Some(KILLED) || status.signal() == Some(libc::SIGKILL) {
        return Ok(Ending::Killed);
    }
    match (status.code(), errors.as_slice()) {
        (Some(71 | 77 | 78 | 126 | 127), [line]) if names_operation_and_object(line) => Ok(Ending::Refused),
        (code, []) if before_main && code != Some(0) => Ok(Ending::DiedBeforeMain),
        _ => Err(format!("{status}: {stderr}")),
    }
}

/// `ERROR operation object: cause and way out`.
fn names_operation_and_object(line: &str) -> bool {
    let message = line.trim_start().trim_start_matches("ERROR").trim();
    let Some((what, why)) = message.split_once(": ") else { return false };
    let object = what.contains(' ') || what.contains('(');
    object && !why.is_empty()
}

/// What must hold after any boot, however it ended.
pub fn leftovers(sandbox: &Sandbox, healthy_ini: &str) -> Result<(), String> {
    if let Ok(ini) = fs::read_to_string(INI)
        && ini != healthy_ini
    {
        return Err(format!("left {INI} as {ini:?}"));
    }
    match sandbox.torn_account_file() {
        Some(path) => Err(format!("left {path} as {:?}", fs::read_to_string(path))),
        None => Ok(()),
    }
}
