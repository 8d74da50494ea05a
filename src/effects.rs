//! What start does to the system: the plan's list, walked in order.

pub mod accounts;
pub use self::runtime::{make_directory as make_runtime_directory, open_control_socket, write as write_file};

pub use self::site_user::look_at_user_ini;
pub use self::user_ini::value as user_ini_value;

pub mod file_cache;
mod home;
mod runtime;
mod site_link;
mod site_user;
mod user_ini;
mod whole_file;

use std::io;
use std::path::Path;

use crate::failure::Failure;
use crate::plan::{Plan, RootEffect, SiteUserEffect, php_scripts};
use crate::privileges::{Privileged, SiteUser};
use crate::running::RunRecord;

/// Applies what needs root, in order. Also called on a non-root start, which finds most of it done.
pub(crate) fn apply_as_root(privileged: &Privileged, run: &RunRecord<&Plan>) -> Result<(), Failure> {
    run.plan.effects.root.iter().try_for_each(|effect| apply(privileged, run, effect))
}

fn apply(privileged: &Privileged, run: &RunRecord<&Plan>, effect: &RootEffect) -> Result<(), Failure> {
    match effect {
        RootEffect::MakeRuntimeDirectories { path } => {
            runtime::make_directories(privileged, path, run.plan.site.uid)
        }
        RootEffect::WriteNormaliser { path, link, home } => {
            runtime::write_normaliser(privileged, path, link.as_deref(), home)
        }
        RootEffect::WritePreload { path, own } => {
            runtime::write(privileged, path, php_scripts::preload(own.as_deref()).as_bytes())
        }
        RootEffect::WritePing { path } => runtime::write(privileged, path, php_scripts::PING.as_bytes()),
        RootEffect::WriteOpcacheScript { path } => {
            runtime::write(privileged, path, php_scripts::OPCACHE.as_bytes())
        }
        RootEffect::WriteIni { path } => runtime::write(privileged, path, run.plan.ini.render().as_bytes()),
        RootEffect::WriteRunRecord { path } => runtime::write_run_record(privileged, path, run),
        RootEffect::AddAccount { .. } => accounts::add(privileged, Path::new("/etc"), &run.plan.site),
        RootEffect::PrepareHome { path, directories, uid, gid, take_ownership } => {
            let home = home::prepare(privileged, path, *uid, *gid, *take_ownership)?;
            home::chown_directories(privileged, home, directories, *uid, *gid)
        }
        RootEffect::LinkSite { link, target } => site_link::make(privileged, link, target),
        RootEffect::PrepareFileCache { path, ini, uid, gid } => {
            file_cache::prepare(privileged, path, ini, (*uid, *gid), file_cache::Followed::ByTheSiteUser)
        }
    }
}

/// Applies what the site user does itself. Nothing here stops a site from being served: the tenant
/// may have put anything in these places.
pub(crate) fn apply_as_site_user(_site_user: &SiteUser, plan: &Plan) {
    for effect in &plan.effects.site_user {
        let result = match effect {
            SiteUserEffect::MakeDirectory { path } => site_user::make_directory(path),
            SiteUserEffect::MakeErrorLog { path } => site_user::make_error_log(path),
            SiteUserEffect::MakeFileCache { path } => file_cache::make(path),
            SiteUserEffect::LookAtUserIni { path } => site_user::look_at_user_ini(path, &plan.ini.directives),
        };
        if let Err(warning) = result {
            warning.warn();
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// A link, a file or anything else that opening a directory without following links refuses.
fn is_not_a_directory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP))
}
