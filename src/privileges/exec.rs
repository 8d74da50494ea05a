//! The last step: a clean process image for the program that takes over.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stdin, execve};

use super::SiteUser;
use crate::plan::AddressSpace;
use crate::sys;

/// What is executed, as whom it is already known.
#[derive(Debug)]
pub struct Program<'a> {
    pub path: &'a Path,
    pub argv: Vec<OsString>,
    pub environment: Vec<(&'a OsStr, &'a OsStr)>,
    /// RLIMIT_AS.
    pub address_space: AddressSpace,
    /// A server must not read the terminal; an operator's command may.
    pub keep_stdin: bool,
    /// What to do if it is not there.
    pub if_missing: &'static str,
}

/// Why nothing was executed. One line each.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error("executing {}: {cause}; {way_out}", path.display())]
    NotFound { path: PathBuf, cause: Errno, way_out: &'static str },
    #[error("executing {}: {cause}; {way_out}", path.display())]
    NotExecutable { path: PathBuf, cause: Errno, way_out: &'static str },
    #[error("{operation}: {cause}; {way_out}")]
    Preparation { operation: String, cause: io::Error, way_out: &'static str },
}

impl SiteUser {
    /// Becomes the program, with `directory` as its working directory.
    pub fn exec(self, directory: &Path, program: &Program) -> ExecError {
        match prepare(directory, program, self.ignored_signals).and_then(|()| replace_process(program)) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }
}

fn step(operation: &str, way_out: &'static str, result: io::Result<()>) -> Result<(), ExecError> {
    result.map_err(|cause| ExecError::Preparation { operation: operation.to_owned(), cause, way_out })
}

/// 022: what is made from here on does not depend on the caller's mask.
pub fn set_umask() -> Result<(), ExecError> {
    step("setting the umask", "let seccomp allow umask", sys::set_umask(0o022))
}

fn prepare(directory: &Path, program: &Program, ignored_signals: u64) -> Result<(), ExecError> {
    let entering = format!("entering {}", directory.display());
    step(&entering, "the site user must be able to enter its home", chdir(directory).map_err(Into::into))?;
    if !program.keep_stdin {
        step("opening /dev/null as stdin", "the container needs /dev", null_stdin())?;
    }
    step("closing descriptors", "let seccomp allow close_range, or mount /proc", close_descriptors())?;
    let reset = sys::default_signal_actions(ignored_signals);
    step("resetting signals", "let seccomp allow rt_sigaction", reset)?;
    let unblocked = SigSet::empty().thread_set_mask().map_err(Into::into);
    step("unblocking signals", "let seccomp allow rt_sigprocmask", unblocked)?;
    let limit = limit_address_space(program.address_space);
    step("setting RLIMIT_AS", "lower LSPHP_MEM_HARD_MB or raise the container's ulimit", limit)
}

fn null_stdin() -> io::Result<()> {
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(dup2_stdin(null)?)
}

/// One call on Linux 5.11 and later, a walk through /proc/self/fd where it is refused.
fn close_descriptors() -> io::Result<()> {
    if sys::close_descriptors_on_exec().is_ok() {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number: i32 = entry?.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        if number > 2 {
            sys::close_on_exec(number)?;
        }
    }
    Ok(())
}

/// A hard limit can only be lowered, so the one that is in force stays when it is tighter.
fn limit_address_space(wanted: AddressSpace) -> io::Result<()> {
    let bytes = |mib: Option<u32>| mib.map_or(rlim_t::MAX, |mib| rlim_t::from(mib) << 20);
    let (soft, hard) = (bytes(wanted.soft_mib), bytes(wanted.hard_mib));
    match setrlimit(Resource::RLIMIT_AS, soft, hard) {
        Err(Errno::EPERM) => {
            let (_, ceiling) = getrlimit(Resource::RLIMIT_AS)?;
            Ok(setrlimit(Resource::RLIMIT_AS, soft.min(ceiling), hard.min(ceiling))?)
        }
        result => Ok(result?),
    }
}

fn replace_process(program: &Program) -> Result<std::convert::Infallible, ExecError> {
    let path = c_string(program.path.as_os_str().to_owned())?;
    let argv = program.argv.iter().cloned().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let environment = program.environment.iter().map(|(name, value)| c_string(assignment(name, value)));
    let environment = environment.collect::<Result<Vec<_>, _>>()?;
    execve(&path, &argv, &environment).map_err(|cause| {
        let path = program.path.to_owned();
        match cause {
            Errno::ENOENT | Errno::ENOTDIR => {
                ExecError::NotFound { path, cause, way_out: program.if_missing }
            }
            Errno::E2BIG => {
                let way_out = "pass fewer or shorter arguments and variables";
                ExecError::NotExecutable { path, cause, way_out }
            }
            _ => {
                let way_out = "it must be an executable that the site user may run";
                ExecError::NotExecutable { path, cause, way_out }
            }
        }
    })
}

fn assignment(name: &OsStr, value: &OsStr) -> OsString {
    OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
}

fn c_string(text: OsString) -> Result<CString, ExecError> {
    CString::new(text.into_vec()).map_err(|cause| ExecError::Preparation {
        operation: "passing arguments and environment".to_owned(),
        cause: cause.into(),
        way_out: "remove the NUL byte",
    })
}
