//! A status for people.

use std::fmt;
use std::time::Duration;

use super::{Pool, Row, Status};

const MIB: u64 = 1 << 20;

/// More than a title has, escaped; the end tells more than the start.
const LONGEST_SCRIPT: usize = 60;

/// All of it, a line a worker. `busy_for` knows how long a worker has been busy with the same, where that was
/// watched.
pub struct Table<'a, F: Fn(&Row) -> Option<Duration>> {
    pub status: &'a Status,
    pub busy_for: F,
}

impl<F: Fn(&Row) -> Option<Duration>> fmt::Display for Table<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { pool, memory, estimate, .. } = self.status;
        writeln!(f, "{}", heading(self.status))?;
        writeln!(f, "workers   {}", pool_line(pool))?;
        writeln!(
            f,
            "memory    {} of {} MiB, {} of it held by processes and opcache; peak {}; OOM kills {}, forks refused {}",
            mib(memory.used_bytes),
            mib(memory.limit_bytes),
            mib(memory.held_bytes),
            mib(memory.peak_bytes),
            number(memory.oom_kills),
            number(memory.forks_refused),
        )?;
        writeln!(f, "estimate  {} MiB; {}", estimate.setting_mib, estimate.message)?;
        if estimate.samples > 0 {
            write!(
                f,
                "          from {} workers over {}: peaks at least {} MiB, 95 % of them at most {}",
                estimate.samples,
                time(Duration::from_secs(estimate.span_seconds)),
                mib(estimate.largest_peak_bytes),
                mib(estimate.p95_peak_bytes),
            )?;
            match estimate.largest_own_bytes {
                Some(own) => writeln!(f, "; at most {} now", mib(Some(own)))?,
                None => writeln!(f)?,
            }
        }
        let [pid, state, own, share, peak, cpu, age] = ["PID", "STATE", "OWN", "SHARE", "PEAK", "CPU", "AGE"];
        writeln!(f, "\n{pid:>7} {state:9} {own:>7} {share:>7} {peak:>7} {cpu:>9} {age:>10}  SCRIPT")?;
        self.status.lsphp.iter().chain(&self.status.workers).try_for_each(|row| self.row(f, row))
    }
}

impl<F: Fn(&Row) -> Option<Duration>> Table<'_, F> {
    fn row(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        write!(
            f,
            "{:>7} {:9} {:>7} {:>7} {:>7} {:>7.2} s {:>10}",
            row.pid,
            row.state,
            tenths(row.own_bytes),
            tenths(row.proportional_bytes),
            tenths(row.peak_bytes),
            row.cpu_seconds,
            time(Duration::from_secs(row.age_seconds)),
        )?;
        if let Some(script) = &row.script {
            write!(f, "  {}", end_of(script))?;
        }
        if let Some(busy) = (self.busy_for)(row) {
            write!(f, " for {}", time(busy))?;
        }
        writeln!(f)
    }
}

/// One line, for a log.
pub fn line(status: &Status) -> String {
    format!("{}; memory {} MiB", pool_line(&status.pool), mib(status.memory.used_bytes))
}

fn heading(status: &Status) -> String {
    let domain = status.domain.as_deref().unwrap_or("no domain");
    let pids: Vec<String> = status.lsphp.iter().map(|row| row.pid.to_string()).collect();
    let doing = status.doing.map_or("serving", |doing| doing.word());
    format!("{doing} {} ({domain}), lsphp {}", status.user, pids.join(" and "))
}

fn pool_line(pool: &Pool) -> String {
    let queue = pool
        .queue
        .map_or("queue unknown".to_owned(), |queue| format!("queue {} of {}", queue.length, queue.limit));
    let saturated = if pool.saturated { ", saturated" } else { "" };
    match pool.workers {
        Some(workers) => format!(
            "{workers} of {}: {} busy, {} connected, {} idle; {queue}{saturated}",
            pool.limit, pool.busy, pool.connected, pool.idle
        ),
        None => format!("unknown, lsphp has too many other children; {queue}{saturated}"),
    }
}

/// Rounded up.
pub fn mib(bytes: Option<u64>) -> String {
    number(bytes.map(|bytes| bytes.div_ceil(MIB)))
}

fn tenths(bytes: Option<u64>) -> String {
    bytes.map_or("?".to_owned(), |bytes| format!("{:.1}M", bytes as f64 / MIB as f64))
}

/// `?` for what is not known.
pub fn number(number: Option<u64>) -> String {
    number.map_or("?".to_owned(), |number| number.to_string())
}

/// `5 s`, `12 min`, `3 h 5 min`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn end_of(script: &str) -> String {
    match script.chars().count().checked_sub(LONGEST_SCRIPT) {
        Some(more @ 1..) => format!("…{}", script.chars().skip(more).collect::<String>()),
        _ => script.to_owned(),
    }
}
