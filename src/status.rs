//! What every worker of a site does and needs, told by the kernel alone: nothing of the site's is asked, woken or
//! followed, and all workers may be busy.
//!
//! [`look`] takes a sample with the readers in [`crate::running`]; [`estimate`] says what it means for the
//! setting; [`text`], [`openmetrics`] and serde show it.

pub mod distribution;
pub mod estimate;
pub mod openmetrics;
pub mod text;
pub mod watch;

use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};

use self::estimate::{Estimate, Peaks};
use crate::cgroup::{self, Limits};
use crate::failure::Failure;
use crate::health::{self, Reason};
use crate::identity::{Domain, Site};
use crate::privileges::{Privileged, Target};
use crate::root::Root;
pub(crate) use crate::running::StatusPlan;
use crate::running::connections::Connections;
use crate::running::place::Place;
use crate::running::socket::Queue;
use crate::running::worker::{self, Activity, Clock, Worker};
use crate::running::{RunRecord, cgroup_memory, events, lineage};
use crate::settings::variable;
use crate::sizing::Demand;
use crate::supervise::name::{self, Doing};

/// Children of a site that are looked through from outside at most, whatever it says that its limit is.
const MOST_OUTSIDE: usize = 1024;

/// CPU time in which a site's workers are read from outside. Each takes some 0.2 ms, unless the site makes it more.
const TIME_OUTSIDE: Duration = Duration::from_millis(500);

/// A site at one moment. The shape that docs/status.md documents; null is what the kernel does not say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub up: bool,
    pub user: String,
    pub domain: Option<String>,
    /// What a supervising pid 1 is doing.
    pub doing: Option<Doing>,
    /// Seconds since 1970.
    pub started_at: u64,
    pub pool: Pool,
    pub memory: Memory,
    /// The processes that accept and fork.
    pub lsphp: Vec<Row>,
    pub workers: Vec<Row>,
    pub estimate: Estimate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Workers that there may be.
    pub limit: u32,
    /// `None`: too many other children to look through.
    pub workers: Option<usize>,
    pub busy: usize,
    pub connected: usize,
    pub idle: usize,
    pub queue: Option<Queue>,
    pub saturated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The tightest limit now.
    pub limit_bytes: Option<u64>,
    pub limit_source: Option<String>,
    pub used_bytes: Option<u64>,
    /// Of it what cannot be dropped: anonymous and shared memory.
    pub held_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
    pub forks_refused: Option<u64>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub pid: u32,
    pub state: &'static str,
    /// The end of the script's path, escaped.
    pub script: Option<String>,
    pub own_bytes: Option<u64>,
    pub proportional_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub cpu_seconds: f64,
    pub age_seconds: u64,
    /// Tells it from a later process with its pid.
    #[serde(skip)]
    pub start_ticks: u64,
    /// How often it has waited.
    #[serde(skip)]
    pub waits: Option<u64>,
}

/// Why there is no status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// `None`: nothing was recorded.
    pub site: Option<Box<Site>>,
    pub reason: Reason,
}

impl Serialize for Down {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            up: bool,
            user: Option<&'a str>,
            domain: Option<&'a str>,
            reason: String,
            message: String,
        }
        let site = self.site.as_ref();
        Json {
            up: false,
            user: site.map(|site| site.user.as_str()),
            domain: site.and_then(|site| site.domain.as_ref().map(Domain::as_str)),
            reason: self.reason.name(),
            message: self.reason.to_string(),
        }
        .serialize(serializer)
    }
}

/// User and domain of a site, whether or not it is up.
pub fn names(site: &Result<Status, Down>) -> (&str, Option<&str>) {
    match site {
        Ok(status) => (&status.user, status.domain.as_deref()),
        Err(Down { site: None, .. }) => ("", None),
        Err(Down { site: Some(site), .. }) => (site.user.as_str(), site.domain.as_ref().map(Domain::as_str)),
    }
}

/// Root in a container, without CAP_SYS_PTRACE, may not read the memory of another uid's process, so it becomes
/// that uid. Nothing is executed afterwards.
///
/// # Errors
/// The drop failed.
pub fn become_its_user(site: &Site) -> Result<(), Failure> {
    let privileged = Privileged::take()?;
    if !privileged.is_root() {
        return Ok(());
    }
    let target = Target { uid: site.uid, gid: site.gid, no_new_privs: true };
    privileged.become_site_user(target).map(|_| ())
}

/// The record of the site below `root`.
///
/// # Errors
/// Nothing was started, or it cannot be read.
pub fn record(root: &Path) -> Result<RunRecord<StatusPlan>, Down> {
    health::read_record(root).map_err(|reason| Down { site: None, reason })
}

/// Takes a sample of this container's site, which `run` records, with the kernel's files below `root`. The workers'
/// peaks go to `peaks`, which may have seen earlier samples.
///
/// # Errors
/// lsphp does not run.
pub fn look(root: &Path, run: &RunRecord<StatusPlan>, peaks: &mut Peaks) -> Result<Status, Down> {
    let place = health::process::place(root, run).map_err(|reason| down(run, reason))?;
    look_at(&place, run, peaks)
}

/// Takes one of a site, wherever that is.
///
/// # Errors
/// lsphp does not run.
pub fn look_at(place: &Place, run: &RunRecord<StatusPlan>, peaks: &mut Peaks) -> Result<Status, Down> {
    sample(place, run, peaks).map_err(|reason| down(run, reason))
}

fn down(run: &RunRecord<StatusPlan>, reason: Reason) -> Down {
    Down { site: Some(Box::new(run.plan.site.clone())), reason }
}

fn sample(place: &Place, run: &RunRecord<StatusPlan>, peaks: &mut Peaks) -> Result<Status, Reason> {
    let (plan, proc) = (&run.plan, &place.proc);
    let comm = health::process::judge(place, run, plan.supervision.is_some())?;
    let supervisor = name::parse(&comm);
    let limit = supervisor.map_or(plan.workers.total(), |(_, limit)| limit);
    let (most, until) = match place.is_outside() {
        true => (health::most(limit).min(MOST_OUTSIDE), Some(cpu_time() + TIME_OUTSIDE)),
        false => (health::most(limit), None),
    };
    let lineage = lineage::find(proc, place.pid, &run.lsphp, supervisor.is_some(), most).ok().flatten();
    let parents = lineage.as_ref().map_or(&[][..], |found| &found.parents);
    let queue = match health::queue(place, &run.listener, parents) {
        Err(Reason::Unreadable { .. }) => None,
        queue => queue?,
    };
    if lineage.as_ref().is_some_and(|lineage| lineage.parents.is_empty()) {
        return Err(Reason::Restarting { pid: place.pid });
    }
    let clock = Clock::now()
        .map_err(|error| Reason::Unreadable { file: "the clock".to_owned(), cause: error.to_string() })?;
    let connections = Connections::of(place, &run.listener.address, parents);
    let read = |pid: &u32| worker::read(proc, *pid, &connections, clock);
    // What was a worker's pid a moment ago may be anybody's by now.
    let is_ours = |worker: &Worker| worker.parent == place.pid || parents.contains(&worker.parent);
    let workers = lineage.as_ref().and_then(|found| read_until(until, &found.workers, read));
    let workers: Option<Vec<_>> = workers.map(|found| found.into_iter().filter(is_ours).collect());
    // Of a whole host nobody asks what each parent has.
    let read_parent = |pid: &u32| {
        if place.is_outside() { worker::read_parent(proc, *pid, clock) } else { read(pid) }
    };
    let parents = parents.iter().filter_map(read_parent);

    if let Some(workers) = &workers {
        peaks.see(place.pid, workers, clock);
    }
    let memory = memory(&place.root);
    let estimate = estimate::decide(peaks, clock, demand_now(plan, limit, memory.limit_bytes), limit);
    Ok(Status {
        up: true,
        user: plan.site.user.to_string(),
        domain: plan.site.domain.as_ref().map(ToString::to_string),
        doing: supervisor.map(|(doing, _)| doing),
        started_at: run.started_at,
        pool: pool(limit, workers.as_deref(), queue),
        memory,
        lsphp: parents.map(|parent| Row { state: "lsphp", ..row(&parent) }).collect(),
        workers: workers.iter().flatten().map(row).collect(),
        estimate,
    })
}

/// Those of `pids` that are there; `None`: not all were read when this thread had used `until` of CPU time.
fn read_until<T>(until: Option<Duration>, pids: &[u32], read: impl Fn(&u32) -> Option<T>) -> Option<Vec<T>> {
    let is_in_time = || until.is_none_or(|until| cpu_time() < until);
    let read: Option<Vec<_>> = pids.iter().map(|pid| is_in_time().then(|| read(pid))).collect();
    read.map(|found| found.into_iter().flatten().collect())
}

/// That this thread has used: on a busy machine it is no longer than on an idle one.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// What the plan was sized from, with a number of workers that the panel gave left out.
pub fn demand(plan: &StatusPlan) -> Demand {
    Demand {
        budget_mib: plan.memory.budget_mib,
        opcache_mib: plan.opcache.memory_mib,
        estimate_mib: plan.workers.estimate_mib,
        extra: plan.workers.extra,
        children: None,
        pids_max: plan.workers.pids_max,
    }
}

/// The same of a pool with `limit` workers: where these are not the plan's, pid 1 has resized it by itself, for the memory
/// limit as it is now. Of a site that root has started it may not write so.
fn demand_now(plan: &StatusPlan, limit: u32, limit_bytes: Option<u64>) -> Demand {
    let is_given = variable::MEMORY.names.iter().any(|name| plan.given.contains_key(*name));
    let is_planned = limit == plan.workers.total() || is_given;
    let budget_mib = limit_bytes.filter(|_| !is_planned).map(|bytes| bytes >> 20);
    Demand { budget_mib: budget_mib.unwrap_or(plan.memory.budget_mib), ..demand(plan) }
}

fn pool(limit: u32, workers: Option<&[Worker]>, queue: Option<Queue>) -> Pool {
    let all = workers.unwrap_or_default();
    let count = |is: fn(&Activity) -> bool| all.iter().filter(|worker| is(&worker.activity)).count();
    Pool {
        limit,
        workers: workers.map(<[_]>::len),
        busy: count(|activity| matches!(activity, Activity::Busy { .. })),
        connected: count(|activity| matches!(activity, Activity::Connected)),
        idle: count(|activity| matches!(activity, Activity::Idle)),
        queue,
        saturated: queue.is_some_and(Queue::is_saturated),
    }
}

fn memory(root: &Root) -> Memory {
    let Limits { memory: limit, event_files, .. } = cgroup::detect_in(root);
    let used = cgroup_memory::read(root, &event_files);
    let events = events::read_in(root, &event_files);
    Memory {
        limit_bytes: limit.as_ref().map(|limit| limit.bytes),
        limit_source: limit.map(|limit| limit.source),
        used_bytes: used.used,
        held_bytes: used.held,
        peak_bytes: used.peak,
        oom_kills: events.oom_kills,
        forks_refused: events.forks_refused,
    }
}

fn row(worker: &Worker) -> Row {
    let (state, script) = match &worker.activity {
        Activity::Busy { script } => ("busy", Some(script.clone())),
        Activity::Connected => ("connected", None),
        Activity::Idle => ("idle", None),
    };
    Row {
        pid: worker.pid,
        state,
        script,
        own_bytes: worker.memory.map(|memory| memory.own),
        proportional_bytes: worker.memory.map(|memory| memory.proportional),
        peak_bytes: worker.memory.map(|memory| memory.peak),
        cpu_seconds: worker.cpu.as_millis() as f64 / 1000.0,
        age_seconds: worker.age.as_secs(),
        start_ticks: worker.start_ticks,
        waits: worker.waits,
    }
}

#[cfg(test)]
pub(crate) mod tests;
