//! The last step: a clean process image for the program that takes over.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, chdir, dup2_stdin, execve};

use super::SiteUser;
use crate::address_space::AddressSpace;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fault::{Fault, Object};
use crate::listener::Listener;
use crate::sys;

/// What is executed, as whom it is already known.
#[derive(Debug)]
pub struct Program<'a> {
    pub path: &'a Path,
    pub argv: Vec<OsString>,
    pub environment: Vec<(&'a OsStr, &'a OsStr)>,
    /// RLIMIT_AS.
    pub address_space: AddressSpace,
    pub stdin: Stdin,
    /// What to do if it is not there.
    pub if_missing: &'static str,
}

/// Descriptor 0.
#[derive(Debug)]
pub enum Stdin {
    /// A server must not read the terminal.
    Null,
    /// An operator's command may.
    Keep,
    /// Where lsphp looks for a listener; the other one of its group is descriptor 3.
    Listener(Listener),
}

/// execve(2) did not execute `program`.
pub fn not_executed(program: &Path, cause: Errno, if_missing: &'static str) -> Failure {
    let hint = match cause {
        Errno::ENOENT | Errno::ENOTDIR => if_missing,
        // execve(2): the uid changed when it already had as many processes as RLIMIT_NPROC lets it have.
        Errno::EAGAIN => {
            "the site's uid has as many processes as RLIMIT_NPROC allows, those of other containers included; raise ulimit nproc or give the site a uid of its own"
        }
        Errno::ENOMEM => "the container's memory is used up; raise its limit",
        Errno::E2BIG => "pass fewer or shorter arguments and variables",
        _ => "it must be an executable that the site user may run",
    };
    unusable(Fault::new("executing", program, cause, hint))
}

/// The shell's 126 and 127, where it is the program's own fault.
pub fn unusable(fault: Fault) -> Failure {
    let exit = match fault.cause.errno {
        Some(Errno::ENOENT | Errno::ENOTDIR) => Exit::NotFound,
        Some(Errno::EAGAIN | Errno::ENOMEM) => Exit::System,
        _ => Exit::NotExecutable,
    };
    Failure::new(exit, fault)
}

impl SiteUser {
    /// Becomes the program, with `directory` as its working directory.
    pub fn exec(self, directory: &Path, program: &Program) -> Failure {
        match prepare(directory, program, self.ignored_signals).and_then(|()| replace_process(program)) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Gets ready to stay: what a program that is executed once gets for itself, its children get from here.
    pub fn settle(&self, directory: &Path) -> Result<(), Failure> {
        enter(directory)?;
        step("opening /dev/null as stdin", "the container needs /dev", null_stdin())?;
        step("closing descriptors", "let seccomp allow close_range, or mount /proc", close_descriptors())?;
        // But for SIGPIPE: a log that nobody reads any more must not end the site. Children have it reset.
        let ignored = self.ignored_signals & !(1 << (libc::SIGPIPE - 1));
        step("resetting signals", "let seccomp allow rt_sigaction", sys::default_signal_actions(ignored))
    }

    /// Starts `program` as a child with `listener` as its descriptor 0 and `stderr` as its descriptor 2.
    ///
    /// # Errors
    /// The system's, of the fork or of the exec: then there is no child.
    pub fn spawn(&self, program: &Program, listener: OwnedFd, stderr: OwnedFd) -> Result<Pid, Failure> {
        let image = Image::of(program)?;
        let address_space = program.address_space;
        let parent = Pid::this();
        let mut command = Command::new(program.path);
        command.stdin(Stdio::from(listener)).stderr(Stdio::from(stderr));
        sys::before_exec(&mut command, move || {
            // pid 1 blocks what it reads from a descriptor, and Command leaves that as it is.
            SigSet::empty().thread_set_mask()?;
            // Which one that is stopped takes too. Its workers follow within a second, as they look for their parent.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if Pid::parent() != parent {
                return Err(Errno::ESRCH.into()); // it ended before that
            }
            limit_address_space(address_space)?;
            // Here, because Command sorts the environment: lsphp destroys what comes first.
            let never = execve(&image.path, &image.argv, &image.environment)?;
            match never {}
        });
        let child = command.spawn().map_err(|cause| {
            exec_error(program, Errno::from_raw(cause.raw_os_error().unwrap_or(libc::EIO)))
        })?;
        Ok(Pid::from_raw(child.id().cast_signed()))
    }
}

fn step(operation: &'static str, hint: &'static str, result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|cause| Failure::system(operation, Object::Nothing, cause, hint))
}

/// 022: what is made from here on does not depend on the caller's mask.
pub fn set_umask() -> Result<(), Failure> {
    step("setting the umask", "let seccomp allow umask", sys::set_umask(0o022))
}

/// The site can close its own home; its start and an operator's command are in `/` then.
fn enter(directory: &Path) -> Result<(), Failure> {
    match chdir(directory) {
        Err(cause @ (Errno::EACCES | Errno::ENOENT | Errno::ENOTDIR)) => {
            let hint = "the program starts in / instead; see who may enter that directory";
            Fault::new("entering", directory, cause, hint).warn();
            step("entering /", "the container needs a root directory", chdir("/").map_err(Into::into))
        }
        entered => entered.map_err(|cause| {
            Failure::system("entering", directory, cause, "the site user must be able to enter its home")
        }),
    }
}

fn prepare(directory: &Path, program: &Program, ignored_signals: u64) -> Result<(), Failure> {
    enter(directory)?;
    if let Stdin::Null = program.stdin {
        step("opening /dev/null as stdin", "the container needs /dev", null_stdin())?;
    }
    step("closing descriptors", "let seccomp allow close_range, or mount /proc", close_descriptors())?;
    if let Stdin::Listener(listener) = &program.stdin {
        step("handing the listener over", "let seccomp allow dup2", hand_over(listener))?;
    }
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

/// After all descriptors were marked to be closed: these are not.
fn hand_over(listener: &Listener) -> io::Result<()> {
    dup2_stdin(&listener.serving)?;
    listener.parking.as_ref().map_or(Ok(()), |parking| sys::keep_as_descriptor_3(parking.as_fd()))
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

/// A program in the form that execve(2) takes.
struct Image {
    path: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn of(program: &Program) -> Result<Self, Failure> {
        let argv = program.argv.iter().cloned().map(c_string);
        let environment = program.environment.iter().map(|(name, value)| c_string(assignment(name, value)));
        Ok(Self {
            path: c_string(program.path.as_os_str().to_owned())?,
            argv: argv.collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
        })
    }
}

fn replace_process(program: &Program) -> Result<std::convert::Infallible, Failure> {
    let Image { path, argv, environment } = Image::of(program)?;
    execve(&path, &argv, &environment).map_err(|cause| exec_error(program, cause))
}

fn exec_error(program: &Program, cause: Errno) -> Failure {
    not_executed(program.path, cause, program.if_missing)
}

fn assignment(name: &OsStr, value: &OsStr) -> OsString {
    OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
}

fn c_string(text: OsString) -> Result<CString, Failure> {
    CString::new(text.into_vec()).map_err(|_| {
        let operation = "passing arguments and environment";
        let cause = "one of them holds a NUL byte";
        Failure::system(operation, Object::Nothing, cause, "remove it")
    })
}
