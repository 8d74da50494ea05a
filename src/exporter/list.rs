//! A look for people: a line a site.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use super::discovery::Author;
use super::look::{Look, Sighting};
use crate::status::Status;
use crate::status::text::{mib, number, time};
use crate::supervise::name::Doing;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Column {
    User,
    Domain,
    /// Busy workers
    Workers,
    Queue,
    /// Memory used
    Memory,
    /// Memory of a worker
    Worker,
    Oom,
    State,
}

/// By `column`, of numbers the largest first and what is not known last; then by user, domain and container.
pub fn sort(sites: &mut [Sighting], column: Column) {
    let names =
        |site: &Sighting| (site.user().to_owned(), site.domain().map(str::to_owned), site.container.clone());
    sites.sort_by(|one, other| {
        let by_column = match column {
            Column::User => Ordering::Equal,
            Column::Domain => one.domain().cmp(&other.domain()),
            Column::State => state(one).cmp(&state(other)),
            Column::Workers | Column::Queue | Column::Memory | Column::Worker | Column::Oom => {
                value(other, column).cmp(&value(one, column))
            }
        };
        by_column.then_with(|| names(one).cmp(&names(other)))
    });
}

fn value(site: &Sighting, column: Column) -> Option<u64> {
    let status = site.status.as_ref().ok()?;
    match column {
        Column::Workers => status.pool.workers.map(|_| status.pool.busy as u64),
        Column::Queue => Some(status.pool.queue?.length.into()),
        Column::Memory => status.memory.used_bytes,
        Column::Worker => status.estimate.p95_peak_bytes,
        Column::Oom => status.memory.oom_kills,
        Column::User | Column::Domain | Column::State => None,
    }
}

/// `serving`, or what is wrong.
fn state(site: &Sighting) -> String {
    match &site.status {
        Err(down) => down.reason.name(),
        Ok(status) if status.pool.saturated => "saturated".to_owned(),
        Ok(status) => status.doing.unwrap_or(Doing::Serving).word().to_owned(),
    }
}

/// All sites.
pub struct Table<'a>(pub &'a Look);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (users, domains) = (width(self.0, user), width(self.0, domain));
        let (user_head, domain_head) = ("USER", "DOMAIN");
        writeln!(
            f,
            "{user_head:users$}  {domain_head:domains$}  {:>9} {:>9} {:>13} {:>7} {:>5}  STATE",
            "WORKERS", "QUEUE", "MEMORY MiB", "WORKER", "OOM"
        )?;
        for site in &self.0.sites {
            write!(f, "{:users$}  {:domains$}  ", user(site), domain(site))?;
            match &site.status {
                Ok(status) => write_numbers(f, status)?,
                Err(_) => write!(f, "{:>9} {:>9} {:>13} {:>7} {:>5}", "-", "-", "-", "-", "-")?,
            }
            writeln!(f, "  {}", state(site))?;
        }
        if self.0.sites.iter().any(|site| site.recorded_by == Author::Site) {
            writeln!(f, "* started without root, so that user and domain are what the site says")?;
        }
        Ok(())
    }
}

/// The middle of a line.
fn write_numbers(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    let Status { pool, memory, estimate, .. } = status;
    let busy = pool.workers.map(|_| pool.busy as u64);
    let workers = format!("{}/{}", number(busy), pool.limit);
    let queue = pool.queue.map_or("?".to_owned(), |queue| format!("{}/{}", queue.length, queue.limit));
    let memory_of = format!("{}/{}", mib(memory.used_bytes), mib(memory.limit_bytes));
    let (worker, kills) = (mib(estimate.p95_peak_bytes), number(memory.oom_kills));
    write!(f, "{workers:>9} {queue:>9} {memory_of:>13} {worker:>7} {kills:>5}")
}

/// The upper left of `text`, on a terminal of that size, the last line of which is the cursor's; 0: its size is not known.
pub fn fit(text: &str, rows: u16, columns: u16) -> String {
    let most = |size: u16| if size == 0 { usize::MAX } else { size.into() };
    let lines = text.lines().take(most(rows).saturating_sub(1));
    lines.map(|line| line.chars().take(most(columns)).collect::<String>() + "\n").collect()
}

/// What the limits could carry.
pub struct Suggestions<'a>(pub &'a Look);

impl fmt::Display for Suggestions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (users, domains) = (width(self.0, user), width(self.0, domain));
        let (user_head, domain_head) = ("USER", "DOMAIN");
        writeln!(
            f,
            "{user_head:users$}  {domain_head:domains$}  {:>9} {:>8} {:>8} {:>9} {:>9} {:>8}  SEEN FOR",
            "LIMIT MiB", "WORKERS", "ESTIMATE", "SUGGESTED", "CARRIES", "SAMPLES"
        )?;
        let mut total = Total::default();
        for site in &self.0.sites {
            let Ok(status) = &site.status else { continue };
            total.add(status);
            let estimate = &status.estimate;
            writeln!(
                f,
                "{:users$}  {:domains$}  {:>9} {:>8} {:>8} {:>9} {:>9} {:>8}  {}",
                user(site),
                domain(site),
                mib(status.memory.limit_bytes),
                estimate.workers,
                estimate.setting_mib,
                number(estimate.suggested_mib.map(u64::from)),
                number(estimate.suggested_workers.map(u64::from)),
                estimate.samples,
                time(Duration::from_secs(estimate.span_seconds)),
            )?;
        }
        write!(f, "{total}")
    }
}

/// Of the sites that serve.
#[derive(Default)]
struct Total {
    sites: u64,
    workers: u64,
    limit_bytes: u64,
    /// Of those for which there is a suggestion.
    suggested: u64,
    carried: u64,
    instead_of: u64,
}

impl Total {
    fn add(&mut self, status: &Status) {
        let workers = u64::from(status.estimate.workers);
        self.sites += 1;
        self.workers = self.workers.saturating_add(workers);
        self.limit_bytes = self.limit_bytes.saturating_add(status.memory.limit_bytes.unwrap_or_default());
        if let Some(carried) = status.estimate.suggested_workers {
            self.suggested += 1;
            self.carried = self.carried.saturating_add(carried.into());
            self.instead_of = self.instead_of.saturating_add(workers);
        }
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = mib(Some(self.limit_bytes));
        writeln!(f, "{} sites with {} workers, limits of {limits} MiB together", self.sites, self.workers)?;
        match self.suggested {
            0 => writeln!(f, "too little was seen of each to suggest anything"),
            sites => writeln!(
                f,
                "{sites} of them have been seen for long enough: their limits carry {} workers instead of {}",
                self.carried, self.instead_of
            ),
        }
    }
}

fn user(site: &Sighting) -> String {
    let mark = if site.recorded_by == Author::Site { "*" } else { "" };
    format!("{}{mark}", site.user())
}

fn domain(site: &Sighting) -> String {
    site.domain().unwrap_or("-").to_owned()
}

fn width(look: &Look, cell: fn(&Sighting) -> String) -> usize {
    look.sites.iter().map(|site| cell(site).chars().count()).max().unwrap_or_default().max("DOMAIN".len())
}

#[cfg(test)]
mod tests;
