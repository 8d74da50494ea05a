//! Status as OpenMetrics, for one site or for many: php-fpm's names where the meaning is the same.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::distribution::Distribution;
use super::{Down, Row, Status};

/// A gauge or a counter: its name without unit and `_total`, which the library appends.
struct Metric {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    kind: MetricType,
    /// `None`: not known, so not exposed.
    value: Value,
}

type Value = fn(&Status) -> Option<u64>;

const UP: (&str, &str) = ("phpfpm_up", "1: lsphp runs and listens, 0: it does not");

const fn metric(name: &'static str, help: &'static str, value: Value) -> Metric {
    Metric { name, unit: None, help, kind: MetricType::Gauge, value }
}

const fn bytes(name: &'static str, help: &'static str, value: Value) -> Metric {
    Metric { name, unit: Some(Unit::Bytes), help, kind: MetricType::Gauge, value }
}

const fn seconds(name: &'static str, help: &'static str, value: Value) -> Metric {
    Metric { name, unit: Some(Unit::Seconds), help, kind: MetricType::Gauge, value }
}

const fn counter(name: &'static str, help: &'static str, value: Value) -> Metric {
    Metric { name, unit: None, help, kind: MetricType::Counter, value }
}

const METRICS: [Metric; 25] = [
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
    metric("lsphp_worker_samples", "Workers that the peaks are from", |site| Some(site.estimate.samples)),
    seconds("lsphp_worker_samples_span", "How long ago the first of these was started", |site| {
        Some(site.estimate.span_seconds)
    }),
    counter("lsphp_oom_kills", "Processes of the site killed for lack of memory", |site| {
        site.memory.oom_kills
    }),
    counter("lsphp_forks_refused", "Forks refused by pids.max", |site| site.memory.forks_refused),
];

/// A site's, in their order.
type Labels = Vec<(&'static str, String)>;

/// How much memory workers needed at most, where enough were seen to be worth a histogram.
const PEAKS: (&str, &str) = ("lsphp_worker_peak", "The most that each worker needed, at least");

/// A site, and what is exposed of it.
#[derive(Debug)]
pub struct Site {
    /// What its samples have beside `user` and `domain`.
    pub labels: Labels,
    pub status: Result<Status, Down>,
    /// `None`: it was not watched.
    pub peaks: Option<Distribution>,
}

/// The exposition of these sites, each with the labels `user` and `domain`, and of what `more` registers.
///
/// # Errors
/// None that is known; the library writes to a string.
pub fn render(sites: Vec<Site>, more: impl FnOnce(&mut Registry)) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Sites::new(sites)));
    more(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Sites with all their labels: written one after the other, without a copy of each number in between.
#[derive(Debug)]
struct Sites(Vec<(Labels, Site)>);

impl Sites {
    fn new(sites: Vec<Site>) -> Self {
        Self(sites.into_iter().map(|site| (labels(&site), site)).collect())
    }

    /// What is known of `value`, by labels.
    fn known<'a>(
        &'a self,
        value: impl Fn(&'a Status) -> Option<u64>,
    ) -> impl Iterator<Item = (&'a Labels, u64)> {
        self.0.iter().filter_map(move |(labels, site)| Some((labels, value(site.status.as_ref().ok()?)?)))
    }
}

impl Collector for Sites {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut up = encoder.encode_descriptor(UP.0, UP.1, None, MetricType::Gauge)?;
        for (labels, site) in &self.0 {
            up.encode_family(labels)?.encode_gauge(&u32::from(site.status.is_ok()))?;
        }
        for Metric { name, help, unit, kind, value } in &METRICS {
            let mut known = self.known(value).peekable();
            if known.peek().is_none() {
                continue;
            }
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            for (labels, value) in known {
                let mut sample = family.encode_family(labels)?;
                match kind {
                    MetricType::Counter => sample.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                    _ => sample.encode_gauge(&value)?,
                }
            }
        }
        self.encode_peaks(encoder)
    }
}

impl Sites {
    fn encode_peaks(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut watched =
            self.0.iter().filter_map(|(labels, site)| Some((labels, site.peaks.as_ref()?))).peekable();
        if watched.peek().is_none() {
            return Ok(());
        }
        let unit = Some(&Unit::Bytes);
        let mut family = encoder.encode_descriptor(PEAKS.0, PEAKS.1, unit, MetricType::Histogram)?;
        watched.try_for_each(|(labels, peaks)| {
            let (sum, count) = (peaks.sum_bytes() as f64, peaks.samples());
            family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &peaks.buckets(), None)
        })
    }
}

fn labels(site: &Site) -> Labels {
    let (user, domain) = super::names(&site.status);
    let own = [("user", user.to_owned()), ("domain", domain.unwrap_or_default().to_owned())];
    own.into_iter().chain(site.labels.iter().cloned()).collect()
}

fn sum(site: &Status, bytes: fn(&Row) -> Option<u64>) -> Option<u64> {
    site.pool.workers?;
    Some(site.workers.iter().filter_map(bytes).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests;
