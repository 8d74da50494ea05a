//! The opcode cache: how large it is, and what of it outlives lsphp.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::settings::directive::is_off;
use crate::settings::{Settings, variable};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpcachePlan {
    pub memory_mib: u32,
    pub memory_source: String,
    pub max_files: u32,
    pub max_files_source: String,
    /// The directory of opcache's file cache; null: there is none.
    pub file_cache: Option<PathBuf>,
    /// Pages that a reload asks for before the new lsphp takes over.
    pub warm_up: Vec<String>,
}

pub(super) fn decide(settings: &Settings, warnings: &mut Vec<Fault>) -> OpcachePlan {
    let Settings { options, given, .. } = settings;
    warnings.extend(contradictions(settings));
    OpcachePlan {
        memory_mib: options.opcache_memory_mib,
        memory_source: given.source(&variable::OPCACHE_MEMORY),
        max_files: options.opcache_max_files,
        max_files_source: given.source(&variable::OPCACHE_MAX_FILES),
        file_cache: options.warm_start.file_cache.clone(),
        warm_up: options.warm_start.warm_up.clone(),
    }
}

/// Directives of the site's own that do not go with a file cache.
fn contradictions(settings: &Settings) -> Vec<Fault> {
    let Some(given) = settings.given.get(&variable::OPCACHE_FILE_CACHE) else { return Vec::new() };
    let set = |name: &str| settings.options.directives.get(name).map(String::as_str);
    let found = [
        (
            set("opcache.validate_timestamps").is_some_and(is_off),
            "opcache.validate_timestamps is off, so not even a restart sees code that has changed",
            "run cac-lsphp opcache reset after each deploy",
        ),
        (
            set("opcache.preload").is_some(),
            "PHP 8.4 and 8.5 crash on cached code that uses constants of a preload script (php-src GH-21052)",
            "define none there, or unset one of the two",
        ),
        (
            set("opcache.jit_buffer_size").is_some_and(|size| !is_off(size)),
            "PHP keeps no code in files while its JIT is on",
            "unset one of the two",
        ),
    ];
    let faults = found.into_iter().filter(|(is_so, ..)| *is_so);
    faults.map(|(_, cause, hint)| Fault::new("reading", &given.source, cause, hint)).collect()
}
