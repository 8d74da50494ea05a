//! Exit codes: sysexits(3) where one fits, the shell's 126 and 127 for a program that cannot be run.

use std::process::ExitCode;

/// How the program ends when it does not become lsphp; [`Exit::MEANINGS`] says what each tells. The numbers are
/// the contract with panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    /// `healthcheck` knows no other failure.
    Unhealthy = 1,
    Usage = 64,      // EX_USAGE
    Internal = 70,   // EX_SOFTWARE
    System = 71,     // EX_OSERR
    Privileges = 77, // EX_NOPERM
    Refused = 78,    // EX_CONFIG
    NotExecutable = 126,
    NotFound = 127,
}

impl Exit {
    /// What each code tells an operator.
    pub const MEANINGS: [(Self, &str); 9] = [
        (Self::Success, "done"),
        (
            Self::Unhealthy,
            "healthcheck: the site is not healthy, or the check itself failed; status: lsphp does not run; doctor: something was found; opcache: PHP did not tell, or it is off",
        ),
        (Self::Usage, "the command line is wrong"),
        (Self::Internal, "an internal error: please report it"),
        (
            Self::System,
            "the system refused something; request: no complete answer; reload: the new lsphp did not take over",
        ),
        (Self::Privileges, "privileges could not be dropped"),
        (Self::Refused, "the environment or the plan is refused"),
        (Self::NotExecutable, "lsphp or the command is not executable"),
        (Self::NotFound, "lsphp or the command was not found"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
