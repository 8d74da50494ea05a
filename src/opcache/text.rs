//! The cache for people.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Contents, Forgotten, Opcache};
use crate::status::text::{mib, time};

/// A line for each thing, then what should be changed.
impl fmt::Display for Opcache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, files, restarts, .. } = self;
        let waste = mib(Some(memory.wasted_bytes));
        writeln!(f, "opcache   of PHP {}, started {} ago", self.php, since(self.started_at))?;
        writeln!(
            f,
            "memory    {} of {} MiB used, {waste} wasted, {} free",
            mib(Some(memory.used_bytes)),
            mib(Some(memory.limit_bytes)),
            mib(Some(memory.free_bytes)),
        )?;
        writeln!(f, "files     {}, with {} of {} keys", files.cached, files.keys, files.keys_limit)?;
        if let Some(strings) = self.strings {
            let (used, limit) = (mib(Some(strings.used_bytes)), mib(Some(strings.limit_bytes)));
            writeln!(f, "strings   {used} of {limit} MiB")?;
        }
        let asked = self.hits.saturating_add(self.misses);
        let percent = self.hits as f64 * 100.0 / asked.max(1) as f64;
        writeln!(f, "hits      {percent:.1} % of {asked}")?;
        write!(
            f,
            "restarts  {} for lack of memory, {} for lack of keys, {} by opcache_reset()",
            restarts.out_of_memory, restarts.out_of_keys, restarts.manual
        )?;
        match restarts.last_at {
            Some(last) => writeln!(f, "; the last {} ago", since(last))?,
            None => writeln!(f)?,
        }
        if restarts.pending {
            writeln!(f, "restart   {}", super::PENDING)?;
        }
        if let Some(file_cache) = &self.file_cache {
            writeln!(f, "on disk   {file_cache}")?;
        }
        self.advice.iter().try_for_each(|advice| writeln!(f, "advice    {}", advice.message))?;
        if self.advice.is_empty() {
            writeln!(f, "advice    none: OPCACHE_MEMORY_MB and OPCACHE_MAX_FILES are enough")?;
        }
        Ok(())
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB in {} files", mib(Some(self.bytes)), self.files)?;
        match self.damaged {
            0 => Ok(()),
            damaged => write!(f, ", {damaged} of them damaged: run cac-lsphp opcache reset"),
        }
    }
}

/// In one line.
impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reset: {} scripts are compiled anew when they are next asked for", self.scripts)?;
        if let Some(removed) = &self.file_cache {
            write!(f, "; removed from the file cache: {removed}")?;
        }
        if self.restart_pending { write!(f, "; {}", super::PENDING) } else { Ok(()) }
    }
}

fn since(time_then: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    time(Duration::from_secs(now.saturating_sub(time_then)))
}
