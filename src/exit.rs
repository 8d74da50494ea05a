//! Exit codes: sysexits(3) where one fits, the shell's 126 and 127 for a program that cannot be run.

use std::process::ExitCode;

/// How the program ends when it does not become lsphp. The numbers are the contract with panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// The site is not healthy, which `status` and `opcache` say too; `healthcheck` knows no other failure.
    Unhealthy = 1,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// A defect of this program (`EX_SOFTWARE`).
    Internal = 70,
    /// An effect on the system failed (`EX_OSERR`).
    System = 71,
    /// Privileges could not be dropped, or the proof of the drop failed (`EX_NOPERM`).
    Privileges = 77,
    /// The environment or the plan is refused (`EX_CONFIG`).
    Refused = 78,
    /// lsphp is there but cannot be executed.
    NotExecutable = 126,
    /// lsphp is not there.
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
        (Self::System, "an effect on the system failed"),
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
