//! What opcache has and does, and how to have it forget. The kernel does not know, so PHP is asked, over a worker.
//!
//! lsphp's processes share one cache: whichever worker answers speaks for all. [`advice`] holds the cache against its
//! settings; [`text`] and serde show it.

pub mod advice;
mod text;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use self::advice::Advice;
use crate::health::Reason;
use crate::lsapi::{self, Deadline};
use crate::own_script::{self, Question};
use crate::paths::OPCACHE_SCRIPT;
use crate::running::RunRecord;
use crate::running::file_cache::{self, Contents};
use crate::sizing::Demand;
use crate::status::{self, StatusPlan};

/// Whatever `opcache.restrict_api` reserves for the site's own scripts, and however many there are to list.
const DIRECTIVES: &[(&str, &str)] = &[("opcache.restrict_api", ""), ("memory_limit", "-1")];
const STATUS: Question = Question { script: OPCACHE_SCRIPT, query: "", directives: DIRECTIVES };
const RESET: Question = Question { query: "reset", ..STATUS };

/// What the script prints before its answer.
const GREETING: &[u8] = b"cac-lsphp opcache: ";

/// The cache at one moment. The shape that docs/opcache.md documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Opcache {
    pub enabled: bool,
    /// PHP's version.
    pub php: String,
    pub memory: Memory,
    pub files: Files,
    pub strings: Option<Strings>,
    pub hits: u64,
    pub misses: u64,
    pub restarts: Restarts,
    /// Seconds since 1970.
    pub started_at: u64,
    pub advice: Vec<Advice>,
    /// What outlives lsphp; null: there is no file cache.
    pub file_cache: Option<Contents>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    pub limit_bytes: u64,
    pub used_bytes: u64,
    pub free_bytes: u64,
    /// Held by what has been compiled anew or reset; free again only after a restart of the cache.
    pub wasted_bytes: u64,
    /// Something did not fit.
    pub full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Files {
    pub cached: u64,
    /// Names by which they are known, of which a file may have several.
    pub keys: u64,
    pub keys_limit: u64,
}

/// The part of the memory that strings of all scripts share, read in PHP's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strings {
    #[serde(rename(deserialize = "buffer_size"))]
    pub limit_bytes: u64,
    #[serde(rename(deserialize = "used_memory"))]
    pub used_bytes: u64,
}

/// How often the cache was emptied, by cause, since PHP was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Restarts {
    pub out_of_memory: u64,
    pub out_of_keys: u64,
    /// By `opcache_reset()`.
    pub manual: u64,
    /// Seconds since 1970.
    pub last_at: Option<u64>,
    /// It is to be emptied as soon as no request runs, and holds nothing until then.
    pub pending: bool,
}

/// Of a restart that is pending.
pub const PENDING: &str = "PHP empties it as soon as every request that runs now has ended, and compiles each page anew until then; cac-lsphp status shows what runs";

/// Every script is compiled anew when it is next asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    pub scripts: u64,
    /// See [`Restarts::pending`].
    pub restart_pending: bool,
    /// What was removed; null: there is no file cache.
    pub file_cache: Option<Contents>,
}

/// Why nothing is known or was reset.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    #[error("{0}")]
    Down(Reason),
    #[error(
        "the site's listener was handed over, and may be in another network, so lsphp cannot be asked; let a page of the site's call opcache_get_status()"
    )]
    HandedOver,
    #[error("{0}; it takes a worker, and cac-lsphp status tells whether one is free")]
    NoAnswer(#[from] lsapi::Error),
    #[error(
        "{OPCACHE_SCRIPT} came back with status {status} and not its text; see the site's error log, and restart the container if it was started by another version of cac-lsphp"
    )]
    WrongAnswer { status: u16 },
    #[error(
        "PHP has no opcache_get_status() or no opcache_invalidate(): let opcache be loaded, and take them out of disable_functions"
    )]
    Missing,
    #[error("emptying the file cache: {0}; see whose files are in it")]
    FileCache(io::Error),
    /// The half of a reset that needs no lsphp.
    #[error("the file cache is empty now (files removed: {}), but PHP still holds what it has: {unknown}", removed.files)]
    OnlyFileCache { removed: Contents, unknown: Box<Unknown> },
    #[error("opcache is off: set CAC_INI_opcache__enable=1, or unset it")]
    Off,
}

/// `{"enabled": …, "message": …}`; null is what is not known.
impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json {
            enabled: Option<bool>,
            message: String,
        }
        let enabled = matches!(self, Self::Off | Self::Missing).then_some(false);
        Json { enabled, message: self.to_string() }.serialize(serializer)
    }
}

/// Asks for the cache of the site that `run` records.
///
/// # Errors
/// PHP did not tell, or there is none.
pub fn look(run: &RunRecord<StatusPlan>, deadline: Deadline) -> Result<Opcache, Unknown> {
    let answer = ask(run, STATUS, deadline)?;
    let opcache = opcache(answer.php, answer.status.ok_or(Unknown::Off)?, status::demand(&run.plan));
    let file_cache = run.plan.opcache.file_cache.as_deref().map(file_cache::look);
    Ok(Opcache { file_cache: file_cache.map(Result::unwrap_or_default), ..opcache })
}

/// Empties the file cache, for which no lsphp is needed, and has opcache forget every script but those that were
/// preloaded.
///
/// # Errors
/// As for [`look`], or the file cache cannot be emptied.
pub fn reset(run: &RunRecord<StatusPlan>, deadline: Deadline) -> Result<Forgotten, Unknown> {
    // First of all: what PHP is asked for next would come from there.
    let removed = run.plan.opcache.file_cache.as_deref().map(empty).transpose()?;
    let forgotten = ask(run, RESET, deadline).and_then(|answer| {
        let restart_pending = answer.status.ok_or(Unknown::Off)?.restart_pending;
        Ok(Forgotten {
            scripts: answer.reset.unwrap_or_default(),
            restart_pending,
            file_cache: removed.clone(),
        })
    });
    forgotten.map_err(|unknown| match removed {
        Some(removed) => Unknown::OnlyFileCache { removed, unknown: Box::new(unknown) },
        None => unknown,
    })
}

/// One that is not there holds nothing.
fn empty(directory: &Path) -> Result<Contents, Unknown> {
    match file_cache::empty(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Contents::default()),
        emptied => emptied.map_err(Unknown::FileCache),
    }
}

/// What the script prints, in PHP's own names.
#[derive(Deserialize)]
struct Answer {
    php: String,
    #[serde(default)]
    missing: bool,
    /// The scripts that were forgotten.
    reset: Option<u64>,
    /// null: opcache is off.
    status: Option<RawStatus>,
}

#[derive(Deserialize)]
struct RawStatus {
    opcache_enabled: bool,
    cache_full: bool,
    restart_pending: bool,
    restart_in_progress: bool,
    memory_usage: RawMemory,
    interned_strings_usage: Option<Strings>,
    opcache_statistics: RawStatistics,
}

#[derive(Deserialize)]
struct RawMemory {
    used_memory: u64,
    free_memory: u64,
    wasted_memory: u64,
}

#[derive(Deserialize)]
struct RawStatistics {
    num_cached_scripts: u64,
    num_cached_keys: u64,
    max_cached_keys: u64,
    hits: u64,
    misses: u64,
    start_time: u64,
    last_restart_time: u64,
    oom_restarts: u64,
    hash_restarts: u64,
    manual_restarts: u64,
}

fn ask(run: &RunRecord<StatusPlan>, question: Question, deadline: Deadline) -> Result<Answer, Unknown> {
    if run.listener.handed_over.is_some() {
        return Err(Unknown::HandedOver);
    }
    let said = own_script::ask(&run.listener.address, question, deadline)?;
    let wrong = Unknown::WrongAnswer { status: said.status };
    let answer: Option<Answer> = said.line_after(GREETING).and_then(|line| serde_json::from_slice(line).ok());
    match answer {
        Some(answer) if answer.missing => Err(Unknown::Missing),
        Some(answer) if own_script::is_version(&answer.php) => Ok(answer),
        _ => Err(wrong),
    }
}

fn opcache(php: String, raw: RawStatus, demand: Demand) -> Opcache {
    let RawStatus { memory_usage: memory, opcache_statistics: statistics, .. } = raw;
    let mut opcache = Opcache {
        enabled: raw.opcache_enabled,
        php,
        memory: Memory {
            limit_bytes: memory
                .used_memory
                .saturating_add(memory.free_memory)
                .saturating_add(memory.wasted_memory),
            used_bytes: memory.used_memory,
            free_bytes: memory.free_memory,
            wasted_bytes: memory.wasted_memory,
            full: raw.cache_full,
        },
        files: Files {
            cached: statistics.num_cached_scripts,
            keys: statistics.num_cached_keys,
            keys_limit: statistics.max_cached_keys,
        },
        strings: raw.interned_strings_usage,
        hits: statistics.hits,
        misses: statistics.misses,
        restarts: Restarts {
            out_of_memory: statistics.oom_restarts,
            out_of_keys: statistics.hash_restarts,
            manual: statistics.manual_restarts,
            last_at: Some(statistics.last_restart_time).filter(|time| *time > 0),
            pending: raw.restart_pending || raw.restart_in_progress,
        },
        started_at: statistics.start_time,
        advice: Vec::new(),
        file_cache: None,
    };
    opcache.advice = advice::give(&opcache, demand);
    opcache
}

#[cfg(test)]
mod tests;
