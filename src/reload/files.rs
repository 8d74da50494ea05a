//! The files that differ from plan to plan: written beside their places, put there when the plan is proven, and taken
//! back where nothing comes of it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::fault;
use crate::effects;
use crate::effects::file_cache::{self, Followed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::paths::{
    FILE_CACHE_INI, FILE_CACHE_INI_DIRECTORY, NEXT_DIRECTORY, RELOAD_LOCK, RUN_RECORD, RUNTIME_DIRECTORY,
};
use crate::plan::Plan;
use crate::privileges::Privileged;
use crate::running::{RunRecord, StatusPlan};

/// Until they are where they belong, or what was there before is.
pub struct Files {
    changes: Vec<Change>,
    /// As long as it is held no other reload writes any. `None`: nor does this one.
    _lock: Option<File>,
}

struct Change {
    place: PathBuf,
    /// Where the new file waits.
    waiting: PathBuf,
    /// A second name of what is in the place, where anything is.
    before: PathBuf,
}

impl Files {
    /// Without root a site that was started with it keeps its files: then they must say what the plan says.
    pub fn write(
        privileged: &Privileged,
        plan: &Plan,
        lsphp: &Path,
        record: &RunRecord<StatusPlan>,
    ) -> Result<Self, Failure> {
        let ini = Path::new(&plan.ini.path);
        let text = plan.ini.render();
        let may_write = nix::unistd::access(RUNTIME_DIRECTORY, nix::unistd::AccessFlags::W_OK).is_ok();
        if !may_write {
            return if std::fs::read(ini).is_ok_and(|bytes| bytes == text.as_bytes())
                && is_as_before(plan, record)
            {
                Ok(Self { changes: Vec::new(), _lock: None })
            } else {
                let cause = "PHP's settings have changed, and only root may write them";
                let hint = "run cac-lsphp reload as root in the container";
                Err(Failure::new(Exit::Refused, fault(cause, hint)))
            };
        }
        let run = record.with_plan(plan, lsphp);
        let json = run
            .to_json()
            .map_err(|cause| Failure::system("writing", Path::new("run.json"), cause, "report it"))?;
        let mut files = Self { changes: Vec::new(), _lock: Some(lock()?) };
        effects::make_runtime_directory(privileged, Path::new(NEXT_DIRECTORY), plan.site.uid)?;
        for (place, bytes) in [(ini.to_owned(), text.into_bytes()), (RUN_RECORD.into(), json)] {
            let waiting = files.add(place)?;
            effects::write_file(privileged, &waiting, &bytes)?;
        }
        if let Some(directory) = &plan.opcache.file_cache {
            let (uid, gid) = (plan.site.uid, plan.site.gid);
            effects::make_runtime_directory(privileged, Path::new(FILE_CACHE_INI_DIRECTORY), uid)?;
            let waiting = files.add(FILE_CACHE_INI.into())?;
            file_cache::prepare(privileged, directory, &waiting, (uid, gid), Followed::ByNobody)?;
        }
        Ok(files)
    }

    /// Where a file waits for its place. Whatever taking it back needs is there before anything changes.
    fn add(&mut self, place: PathBuf) -> Result<PathBuf, Failure> {
        let waiting = Path::new(NEXT_DIRECTORY).join(place.file_name().unwrap_or_default());
        let before = waiting.with_extension("before"); // not *.ini: PHP reads what is in there
        let _ = std::fs::remove_file(&before); // of a reload that was killed
        match std::fs::hard_link(&place, &before) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                let hint = "see what happened to /run/cac-lsphp";
                return Err(Failure::system("keeping a second name of", &place, cause, hint));
            }
            _ => {}
        }
        self.changes.push(Change { place, waiting: waiting.clone(), before });
        Ok(waiting)
    }

    /// Needs no room on the disk.
    pub fn publish(&self) -> Result<(), Failure> {
        self.changes.iter().try_for_each(|Change { waiting, place, .. }| {
            std::fs::rename(waiting, place).map_err(|cause| {
                Failure::system("renaming", waiting, cause, "see what happened to /run/cac-lsphp")
            })
        })
    }

    /// Puts back what was there before, of those that are published: what serves on may be started again.
    pub fn take_back(&self) {
        for Change { place, before, .. } in &self.changes {
            let taken_back = match std::fs::rename(before, place) {
                Err(cause) if cause.kind() == ErrorKind::NotFound => std::fs::remove_file(place),
                renamed => renamed,
            };
            match taken_back {
                Err(cause) if cause.kind() != ErrorKind::NotFound => {
                    let hint = "run cac-lsphp reload once more, or lsphp's next start may read it";
                    Fault::new("taking back", place, cause, hint).warn();
                }
                _ => {}
            }
        }
    }
}

impl Drop for Files {
    /// Nothing stays in the way of the next reload, which makes the directory anew.
    fn drop(&mut self) {
        for Change { waiting, before, .. } in &self.changes {
            let _ = std::fs::remove_file(waiting);
            let _ = std::fs::remove_file(before);
        }
        if !self.changes.is_empty() {
            let _ = std::fs::remove_dir(NEXT_DIRECTORY);
        }
    }
}

/// The files of two reloads would be mixed up, and so would their sockets. Only who may write them can hold it up.
fn lock() -> Result<File, Failure> {
    let path = Path::new(RELOAD_LOCK);
    let failed = |cause| Failure::system("locking", path, cause, "see what happened to /run/cac-lsphp");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let cause = "another reload is under way";
            Err(Failure::new(Exit::System, fault(cause, "try again when it is done")))
        }
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// Whether PHP finds the file cache that the plan names, or one that is not fit, where the start has named it.
fn is_as_before(plan: &Plan, record: &RunRecord<StatusPlan>) -> bool {
    plan.opcache.file_cache.is_none() || plan.opcache.file_cache == record.plan.opcache.file_cache
}
