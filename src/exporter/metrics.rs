//! A look as OpenMetrics: what `status` exposes of each site, and what this process has to say of itself.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::look::Look;
use crate::status::openmetrics::{self, Site};

/// A record that is not shown: never with a name that it gives itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    container: String,
    reason: &'static str,
}

/// The exposition of `look`, which took so long.
///
/// # Errors
/// None that is known; the library writes to a string.
pub fn render(look: Look, took: Duration) -> Result<String, Error> {
    let Look { sites, refused, hidden_processes } = look;
    let count = sites.len();
    let site = |site: super::look::Sighting| Site {
        labels: vec![("container", site.container)],
        status: site.status,
        peaks: Some(site.peaks),
    };
    openmetrics::render(sites.into_iter().map(site).collect(), |registry| {
        gauge(registry, "lsphp_exporter_sites", "Sites that were found", count);
        let help = "Processes of containers that may not be looked at, so that sites may be missing";
        gauge(registry, "lsphp_exporter_hidden_processes", help, hidden_processes);
        let took_seconds: Gauge<f64, std::sync::atomic::AtomicU64> = Gauge::default();
        took_seconds.set(took.as_secs_f64());
        let help = "How long the look at all sites took";
        registry.register_with_unit("lsphp_exporter_look", help, Unit::Seconds, took_seconds);
        let by_reason = Family::<Refused, Gauge>::default();
        for (label, count) in
            counted(refused.into_iter().map(|refusal| (refusal.container, refusal.reason.name())))
        {
            by_reason.get_or_create(&Refused { container: label.0, reason: label.1 }).set(count);
        }
        let help = "Records that are not what their container says: lies, or left by a site that has gone";
        registry.register("lsphp_exporter_refused_records", help, by_reason);
    })
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: usize) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn counted<T: Ord>(all: impl Iterator<Item = T>) -> BTreeMap<T, i64> {
    let mut counts = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts
}
