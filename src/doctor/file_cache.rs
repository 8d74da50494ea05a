//! opcache's file cache, where the plan names one.

use std::path::Path;

use super::{Finding, Symptom};
use crate::effects;
use crate::kernel_file;
use crate::paths::FILE_CACHE_INI_DIRECTORY;
use crate::running::file_cache;
use crate::running::{RunRecord, StatusPlan};
use crate::status::Status;

pub fn examine(run: &RunRecord<StatusPlan>, status: &Status) -> Vec<Finding> {
    let Some(directory) = &run.plan.opcache.file_cache else { return Vec::new() };
    let found = [unfit(directory, run), switched_off(status), damaged(directory)];
    found.into_iter().flatten().map(|message| Symptom::FILE_CACHE.found(message)).collect()
}

fn unfit(directory: &Path, run: &RunRecord<StatusPlan>) -> Option<String> {
    let site = &run.plan.site;
    let cause = effects::file_cache::unfit(directory, site.uid)?;
    Some(format!(
        "{}: {cause}, so PHP goes without: chown it to {}:{} and chmod 700, or correct CAC_OPCACHE_FILE_CACHE; then restart, or reload",
        directory.display(),
        site.uid,
        site.gid
    ))
}

/// pid 1 has started lsphp without what names the cache to PHP.
fn switched_off(status: &Status) -> Option<String> {
    let lsphp = status.lsphp.last().filter(|_| status.doing.is_some())?;
    let environment = Path::new("/proc").join(lsphp.pid.to_string()).join("environ");
    let environment = kernel_file::read_start(&environment, kernel_file::MAX_SIZE).ok()?;
    let needle = FILE_CACHE_INI_DIRECTORY.as_bytes();
    let is_named = environment.windows(needle.len()).any(|part| part == needle);
    (!is_named && !environment.is_empty()).then(|| {
        "it is switched off, because workers crashed: run cac-lsphp opcache reset, then cac-lsphp reload"
            .to_owned()
    })
}

fn damaged(directory: &Path) -> Option<String> {
    let contents = file_cache::look(directory).ok()?;
    let first = contents.first_damaged?;
    Some(format!(
        "{} of its {} files are damaged, such as {}: PHP crashes on them, after a restart too; run cac-lsphp opcache reset",
        contents.damaged, contents.files, first
    ))
}
