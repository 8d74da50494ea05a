//! The plan: everything that start will do, decided once, as plain data.
//!
//! [`decide`] is pure. `cac-lsphp plan` prints its value and `cac-lsphp run` applies the same one.

mod effects;
mod exec;
mod listener;
mod memory;
mod opcache;
pub mod php_ini;
pub mod php_scripts;
#[cfg(test)]
mod tests;
mod text;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::effects::{Effects, OpenControlSocket, OpenListener, RootEffect, SiteUserEffect};
pub use self::exec::{ChildEnvironment, ExecPlan};
pub use self::listener::{ListenerPlan, Opener, SocketPlan};
pub use self::memory::MemoryPlan;
pub use self::opcache::OpcachePlan;
use self::php_ini::IniPlan;
use crate::address::Address;
use crate::address_space::AddressSpace;
use crate::cgroup::{EventFiles, Limits};
use crate::fault::{Fault, Object};
use crate::identity::Site;
use crate::lsphp::Lsphp;
use crate::paths::PUBLIC_HTML;
use crate::settings::environment::Environment;
use crate::settings::{AllGiven, Options, Settings, variable};
use crate::sizing::{self, Demand, Workers};

/// The operation that warnings about the number of workers name.
const SIZING: &str = "sizing the pool";

/// All that is decided, in the shape that `plan --format json` documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What was set, by the setting's name; all else is at its default.
    pub given: AllGiven,
    pub site: Site,
    pub memory: MemoryPlan,
    pub workers: WorkersPlan,
    pub opcache: OpcachePlan,
    pub front_end: FrontEndPlan,
    pub listener: ListenerPlan,
    pub ini: IniPlan,
    pub exec: ExecPlan,
    /// null: cac-lsphp becomes lsphp, and nothing of it stays.
    pub supervision: Option<SupervisionPlan>,
    pub effects: Effects,
    /// For the run record; nothing that an operator asks a plan for.
    #[serde(skip)]
    pub event_files: EventFiles,
    pub warnings: Vec<Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkersPlan {
    /// lsphp's `PHP_LSAPI_CHILDREN`; `extra` come on top.
    pub value: u32,
    pub source: String,
    pub lost: Vec<String>,
    /// lsphp's `LSAPI_EXTRA_CHILDREN`.
    pub extra: u32,
    /// lsphp's `LSAPI_MAX_BUSY_WORKER`, decided by [`max_busy_worker`].
    pub max_busy_worker: i32,
    pub estimate_mib: u32,
    /// Opcode cache, parent and all workers at their estimate.
    pub needed_mib: u64,
    /// By how much that exceeds the limit; 0 when it fits.
    pub overcommitted_mib: u64,
    /// The tightest `pids.max`, where one applies.
    pub pids_max: Option<u64>,
}

impl WorkersPlan {
    /// The size of the pool.
    pub fn total(&self) -> u32 {
        self.value.saturating_add(self.extra)
    }
}

/// How pid 1 stays above lsphp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisionPlan {
    /// Seconds that a stop waits for requests in flight.
    pub stop_timeout_s: u32,
    /// Seconds that new workers wait for the memory of old ones.
    pub reload_grace_s: u32,
    /// Seconds between looks at the memory limit; null: none.
    pub watch_memory_s: Option<u32>,
}

/// What the front end must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontEndPlan {
    /// OpenLiteSpeed's `maxConns`, which counts for each of its processes: one alone can use every worker.
    /// That together they hold more than there are workers is what `LSAPI_MAX_BUSY_WORKER` is for.
    pub max_conns: u32,
    pub address: Address,
    /// Where the front end finds the site's files.
    pub document_root: Option<PathBuf>,
}

/// What the plan is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub settings: &'a Settings,
    pub environment: &'a Environment,
    pub limits: &'a Limits,
    pub lsphp: &'a Lsphp,
    /// `net.core.somaxconn`, where it could be read.
    pub somaxconn: Option<u32>,
    /// A limit in MiB to suppose instead of the real one: "what would 2 GB give?".
    pub suppose_mib: Option<u64>,
}

/// Decides everything.
pub fn decide(inputs: Inputs) -> Plan {
    let Settings { site, options, given, warnings } = inputs.settings;
    let mut warnings = [warnings.as_slice(), &inputs.limits.warnings].concat();
    let memory = memory::decide(inputs.settings, inputs.limits, inputs.suppose_mib, &mut warnings);
    let listener = listener::decide(site, options, inputs.somaxconn, &mut warnings);
    let workers = decide_workers(inputs.settings, inputs.limits, &memory, &listener, &mut warnings);
    let address_space = AddressSpace::decide(
        options.mem_soft_mib,
        options.mem_hard_mib,
        options.opcache_memory_mib,
        &mut warnings,
    );
    let ini = php_ini::decide(site, options);
    let environment = ChildEnvironment::decide(inputs.environment, site, options, &workers);
    let link = site.link().filter(|_| options.site_link);
    let document_root = link.as_ref().map(|link| link.join(PUBLIC_HTML));
    let effects = Effects::decide(site, link, options, &listener, &ini);
    if site.domain.is_none() && options.site_link {
        let cause = "it is not set, so no link is made below /mnt/users";
        let hint = "set it, or have the front end send paths below the home";
        warnings.push(Fault::new("reading", Object::variable("domain"), cause, hint));
    }
    warnings.extend(inputs.lsphp.usable().err());
    Plan {
        given: given.clone(),
        front_end: FrontEndPlan {
            max_conns: workers.total(),
            address: options.listen.clone(),
            document_root,
        },
        site: site.clone(),
        opcache: opcache::decide(inputs.settings, &mut warnings),
        exec: ExecPlan {
            lsphp: inputs.lsphp.clone(),
            argv: argv(options, &listener),
            environment,
            address_space,
            no_new_privs: options.no_new_privs,
        },
        supervision: options.supervise.then(|| SupervisionPlan {
            stop_timeout_s: options.stop_timeout,
            reload_grace_s: options.reload_grace,
            watch_memory_s: Some(options.watch_memory).filter(|seconds| *seconds > 0),
        }),
        memory,
        workers,
        listener,
        ini,
        effects,
        event_files: inputs.limits.event_files.clone(),
        warnings,
    }
}

/// A listener that cac-lsphp opens is lsphp's descriptor 0; without one it opens its own.
fn argv(options: &Options, listener: &ListenerPlan) -> Vec<String> {
    let mut argv = vec!["lsphp".to_owned()];
    if listener.opened_by == Opener::Lsphp {
        argv.extend(["-b".to_owned(), options.listen.to_string()]);
    }
    argv
}

fn decide_workers(
    settings: &Settings,
    limits: &Limits,
    memory: &MemoryPlan,
    listener: &ListenerPlan,
    warnings: &mut Vec<Fault>,
) -> WorkersPlan {
    let options = &settings.options;
    let pids_max = limits.pids.as_ref().map(|pids| pids.max);
    let workers = sizing::size(Demand {
        budget_mib: memory.budget_mib,
        opcache_mib: options.opcache_memory_mib,
        estimate_mib: options.worker_estimate_mib,
        extra: options.extra_children,
        children: options.children,
        pids_max,
    });
    let ceiling = memory.ceiling_mib();
    let overcommitted_mib = workers.needed_mib.saturating_sub(ceiling);
    if overcommitted_mib > 0 {
        let (total, needed) = (workers.total(), workers.needed_mib);
        let cause = format!(
            "overcommitted by {overcommitted_mib} MiB: {total} workers need {needed} MiB of {ceiling} MiB"
        );
        let hint = "raise the memory limit, or lower PHP_LSAPI_CHILDREN";
        warnings.push(Fault::new(SIZING, Object::Nothing, cause, hint));
    }
    if let (Some(wanted), Some(pids)) = (workers.capped_from, &limits.pids) {
        let (children, max) = (workers.children, pids.max);
        let cause =
            format!("{} allows {max} processes, so {children} workers instead of {wanted}", pids.source);
        warnings.push(Fault::new(SIZING, Object::Nothing, cause, "raise it for more workers"));
    }
    let max_busy_worker = max_busy_worker(options, &workers, listener.opened_by);
    if options.supervise && max_busy_worker != 1 {
        let cause = format!(
            "{max_busy_worker}: workers keep connections, and whatever comes over one delays a stop and a reload"
        );
        let hint = "leave it unset where CAC_SUPERVISE is 1";
        warnings.push(Fault::new("reading", Object::variable("LSAPI_MAX_BUSY_WORKER"), cause, hint));
    }
    let (source, lost) = match settings.given.get(&variable::CHILDREN) {
        Some(given) => (given.source.to_string(), given.lost.clone()),
        None => (workers.reason.to_string(), Vec::new()),
    };
    WorkersPlan {
        value: workers.children,
        source,
        lost,
        extra: workers.extra,
        max_busy_worker,
        estimate_mib: options.worker_estimate_mib,
        needed_mib: workers.needed_mib,
        overcommitted_mib,
        pids_max,
    }
}

/// While this many workers hold a connection, each closes its own after the answer.
///
/// OpenLiteSpeed keeps `maxConns` connections open for each of its processes, each with a worker. At the number of
/// workers the next in the queue gets its turn when all are held, and none is given up before: behind lsphp's
/// backlog of 10 a connect costs more than its 50 µs now and then, as the kernel drops it when the queue is full.
///
/// For 0, lsphp's own word for half of them and one, the number is put: lsphp 8.2 looks for it before it has read
/// the variable, and then never closes (seen).
fn max_busy_worker(options: &Options, workers: &Workers, opener: Opener) -> i32 {
    let total = i32::try_from(workers.total()).unwrap_or(i32::MAX);
    match options.max_busy_worker {
        // Behind a long backlog no connect is dropped, and no kept connection is best.
        None if opener != Opener::Lsphp => 1,
        None => total,
        Some(0) => total / 2 + 1,
        Some(given) => given,
    }
}
