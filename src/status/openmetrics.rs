//! Status as OpenMetrics, for one site or for many: php-fpm's names where the meaning is the same.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Down, Row, Status};

/// A metric: its name without unit and `_total`, which the library appends.
struct Metric {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    /// `None`: not known, so not exposed.
    value: fn(&Status) -> Option<u64>,
}

const UP: (&str, &str) = ("phpfpm_up", "1: lsphp runs and listens, 0: it does not");

const fn metric(name: &'static str, help: &'static str, value: fn(&Status) -> Option<u64>) -> Metric {
    Metric { name, unit: None, help, value }
}

const fn bytes(name: &'static str, help: &'static str, value: fn(&Status) -> Option<u64>) -> Metric {
    Metric { name, unit: Some(Unit::Bytes), help, value }
}

const fn seconds(name: &'static str, help: &'static str, value: fn(&Status) -> Option<u64>) -> Metric {
    Metric { name, unit: Some(Unit::Seconds), help, value }
}

const GAUGES: [Metric; 23] = [
    metric("phpfpm_listen_queue", "Connections that wait to be accepted", |site| {
        Some(site.pool.queue?.length.into())
    }),
    metric("phpfpm_listen_queue_length", "The listener's backlog", |site| {
        Some(site.pool.queue?.limit.into())
    }),
    metric("phpfpm_active_processes", "Workers with a script or a connection", |site| {
        site.pool.workers.map(|_| (site.pool.busy + site.pool.connected) as u64)
    }),
    metric("phpfpm_idle_processes", "Workers that wait for a connection", |site| {
        site.pool.workers.map(|_| site.pool.idle as u64)
    }),
    metric("phpfpm_total_processes", "Workers", |site| site.pool.workers.map(|workers| workers as u64)),
    metric("lsphp_workers_limit", "Workers that there may be", |site| Some(site.pool.limit.into())),
    metric("lsphp_workers_busy", "Workers that run a script", |site| {
        site.pool.workers.map(|_| site.pool.busy as u64)
    }),
    metric("lsphp_workers_connected", "Workers that hold a connection and run no script", |site| {
        site.pool.workers.map(|_| site.pool.connected as u64)
    }),
    metric("lsphp_saturated", "1: the queue is full, 0: it is not", |site| {
        site.pool.queue.map(|_| site.pool.saturated.into())
    }),
    seconds("lsphp_start_time", "When the site was started, since 1970", |site| Some(site.started_at)),
    bytes("lsphp_memory_limit", "The tightest memory limit", |site| site.memory.limit_bytes),
    bytes("lsphp_memory_used", "Memory charged to the site, files included", |site| site.memory.used_bytes),
    bytes("lsphp_memory_held", "Anonymous and shared memory of the site", |site| site.memory.held_bytes),
    bytes("lsphp_memory_peak", "The most memory that was charged to the site", |site| site.memory.peak_bytes),
    bytes("lsphp_workers_own", "Memory that only one worker has, over all workers", |site| {
        sum(site, |row| row.own_bytes)
    }),
    bytes("lsphp_workers_proportional", "The workers' share of the site's held memory", |site| {
        sum(site, |row| row.proportional_bytes)
    }),
    bytes("lsphp_worker_estimate", "LSPHP_WORKER_ESTIMATE_MB", |site| {
        Some(u64::from(site.estimate.setting_mib) << 20)
    }),
    bytes("lsphp_worker_largest_peak", "The most that a worker needed, at least", |site| {
        site.estimate.largest_peak_bytes
    }),
    bytes("lsphp_worker_p95_peak", "What 95 % of the workers did not exceed", |site| {
        site.estimate.p95_peak_bytes
    }),
    bytes("lsphp_worker_suggested_estimate", "The estimate that the peaks suggest", |site| {
        site.estimate.suggested_mib.map(|mib| u64::from(mib) << 20)
    }),
    metric("lsphp_workers_suggested", "Workers that the limit carries with that estimate", |site| {
        site.estimate.suggested_workers.map(u64::from)
    }),
    metric("lsphp_worker_samples", "Workers that the peaks are from", |site| {
        Some(site.estimate.samples as u64)
    }),
    seconds("lsphp_worker_samples_span", "How long ago the first of these was started", |site| {
        Some(site.estimate.span_seconds)
    }),
];

const COUNTERS: [Metric; 2] = [
    metric("lsphp_oom_kills", "Processes of the site killed for lack of memory", |site| {
        site.memory.oom_kills
    }),
    metric("lsphp_forks_refused", "Forks refused by pids.max", |site| site.memory.forks_refused),
];

type Labels = Vec<(&'static str, String)>;

/// The exposition of these sites, each with the labels `user` and `domain`.
///
/// # Errors
/// None that is known; the library writes to a string.
pub fn render(sites: &[Result<Status, Down>]) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    let up = Family::<Labels, Gauge>::default();
    registry.register(UP.0, UP.1, up.clone());
    for site in sites {
        up.get_or_create(&labels(site)).set(site.is_ok().into());
    }
    let known = |metric: &Metric| -> Vec<(Labels, u64)> {
        let value = |site: &Result<Status, Down>| Some((labels(site), (metric.value)(site.as_ref().ok()?)?));
        sites.iter().filter_map(value).collect()
    };
    for metric in GAUGES {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in known(&metric) {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        register(&mut registry, metric, family);
    }
    for metric in COUNTERS {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in known(&metric) {
            family.get_or_create(&labels).inc_by(value);
        }
        register(&mut registry, metric, family);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn register(registry: &mut Registry, metric: Metric, family: impl prometheus_client::registry::Metric) {
    match metric.unit {
        Some(unit) => registry.register_with_unit(metric.name, metric.help, unit, family),
        None => registry.register(metric.name, metric.help, family),
    }
}

fn labels(site: &Result<Status, Down>) -> Labels {
    let (user, domain) = match site {
        Ok(status) => (status.user.clone(), status.domain.clone()),
        Err(down) => {
            let site = down.site.as_ref();
            let domain = site.and_then(|site| site.domain.as_ref().map(ToString::to_string));
            (site.map(|site| site.user.to_string()).unwrap_or_default(), domain)
        }
    };
    vec![("user", user), ("domain", domain.unwrap_or_default())]
}

fn sum(site: &Status, bytes: fn(&Row) -> Option<u64>) -> Option<u64> {
    site.pool.workers?;
    Some(site.workers.iter().filter_map(bytes).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests;
