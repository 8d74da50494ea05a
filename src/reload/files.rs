//! The files that differ from plan to plan: written beside their places, and put there when the plan is proven.

use std::path::{Path, PathBuf};

use super::fault;
use crate::effects;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::paths::{FILE_CACHE_INI, FILE_CACHE_INI_DIRECTORY, NEXT_DIRECTORY, RUN_RECORD, RUNTIME_DIRECTORY};
use crate::plan::Plan;
use crate::privileges::Privileged;
use crate::running::{RunRecord, StatusPlan};

/// Until they are where they belong.
pub struct Files {
    /// Where each waits, and its place.
    waiting: Vec<(PathBuf, PathBuf)>,
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
                Ok(Self { waiting: Vec::new() })
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
        let places = [(ini.to_owned(), text.into_bytes()), (RUN_RECORD.into(), json)];
        effects::make_runtime_directory(privileged, Path::new(NEXT_DIRECTORY), plan.site.uid)?;
        let mut files = Self { waiting: Vec::new() };
        for (place, bytes) in places {
            let waiting = files.add(place);
            effects::write_file(privileged, &waiting, &bytes).inspect_err(|_| files.discard())?;
        }
        if let Some(directory) = &plan.opcache.file_cache {
            let (uid, gid) = (plan.site.uid, plan.site.gid);
            let waiting = files.add(FILE_CACHE_INI.into());
            effects::make_runtime_directory(privileged, Path::new(FILE_CACHE_INI_DIRECTORY), uid)
                .and_then(|()| effects::file_cache::prepare(privileged, directory, &waiting, uid, gid))
                .inspect_err(|_| files.discard())?;
        }
        Ok(files)
    }

    /// Where a file waits for its place.
    fn add(&mut self, place: PathBuf) -> PathBuf {
        let waiting = Path::new(NEXT_DIRECTORY).join(place.file_name().unwrap_or_default());
        self.waiting.push((waiting.clone(), place));
        waiting
    }

    /// Needs no room on the disk.
    pub fn publish(&self) -> Result<(), Failure> {
        for (waiting, place) in &self.waiting {
            std::fs::rename(waiting, place).map_err(|cause| {
                Failure::system("renaming", waiting, cause, "see what happened to /run/cac-lsphp")
            })?;
        }
        let _ = std::fs::remove_dir(NEXT_DIRECTORY); // empty now; the next reload makes it anew
        Ok(())
    }

    pub fn discard(&self) {
        for (waiting, _) in &self.waiting {
            let _ = std::fs::remove_file(waiting);
        }
        let _ = std::fs::remove_dir(NEXT_DIRECTORY);
    }
}

/// Whether PHP finds the file cache that the plan names, or one that is not fit, where the start has named it.
fn is_as_before(plan: &Plan, record: &RunRecord<StatusPlan>) -> bool {
    plan.opcache.file_cache.is_none() || plan.opcache.file_cache == record.plan.opcache.file_cache
}
