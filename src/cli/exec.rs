//! `cac-lsphp exec -- CMD`: any command as the site user, with the site's environment and ini.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::errno::Errno;

use super::complain;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::gather::{self, Asker};
use crate::identity::StartedAs;
use crate::plan::Plan;
use crate::privileges::{Program, Stdin, not_executed};
use crate::start;

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The command and its arguments, such as: wp cron event run --due-now
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// An argument that is not a subcommand, as in `docker run IMAGE php -v`: executed as the site user
/// when a site is named, and as it came when none is.
pub fn run_external(command: &[OsString]) -> Exit {
    let euid = StartedAs::of_this_process().uid;
    if gather::names_a_site(Path::new("/"), euid) { as_site_user(command) } else { as_it_came(command) }
}

/// Becomes the command, through the same drop as lsphp; returns only when that failed.
pub fn as_site_user(command: &[OsString]) -> Exit {
    let Err(error) = become_command(command);
    error.report()
}

fn become_command(command: &[OsString]) -> Result<std::convert::Infallible, Failure> {
    let (privileged, plan) = start::begin(Asker::Later)?;
    let site_user = start::drop_privileges(privileged, &plan)?;
    let path = find(command.first().map(OsString::as_os_str).unwrap_or_default(), &plan);
    let program = Program {
        path: &path,
        argv: command.to_vec(),
        environment: plan.exec.environment.iter().collect(),
        address_space: plan.exec.address_space,
        stdin: Stdin::Keep,
        if_missing: "name a program in PATH or give its path; a script needs its interpreter too",
    };
    Err(site_user.exec(&working_directory(&plan), &program))
}

/// Where the operator stands, if that is in the home (`docker exec -w`), else the home.
fn working_directory(plan: &Plan) -> PathBuf {
    let home = &plan.site.home;
    std::env::current_dir().ok().filter(|here| here.starts_with(home)).unwrap_or_else(|| home.clone())
}

/// The first executable of that name in the site's PATH; the bare name, which execve then refuses,
/// when there is none.
fn find(command: &OsStr, plan: &Plan) -> PathBuf {
    let bare = PathBuf::from(command);
    if bare.components().count() > 1 || bare.is_absolute() {
        return bare;
    }
    let mut environment = plan.exec.environment.iter();
    let path = environment.find(|(name, _)| *name == "PATH").map(|(_, value)| value).unwrap_or_default();
    let may_run = |candidate: &PathBuf| {
        nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok() && candidate.is_file()
    };
    // An empty element is the current directory, which exec is about to change.
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(command)).find(may_run).unwrap_or(bare)
}

fn as_it_came(command: &[OsString]) -> Exit {
    let Some((program, arguments)) = command.split_first() else {
        return Exit::Usage;
    };
    let error = std::process::Command::new(program).args(arguments).exec();
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL));
    let if_missing = "name a command of cac-lsphp (see --help) or a program in PATH";
    let error = not_executed(Path::new(program), errno, if_missing);
    complain(&error);
    error.exit
}
