//! A look as OpenMetrics: what `status` exposes of each site, and what this process has to say of itself.

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
    reason: String,
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
        for refusal in refused {
            let label = Refused { container: refusal.container, reason: refusal.reason.name() };
            by_reason.get_or_create(&label).inc();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::exporter::discovery::Author;
    use crate::exporter::look::Sighting;
    use crate::exporter::refusal::{Reason, Refusal};
    use crate::status::distribution::Distribution;
    use crate::status::tests::example;

    fn look() -> Look {
        let site = Sighting {
            container: "0123".into(),
            pid: 7,
            uid: 61045,
            recorded_by: Author::Root,
            status: Ok(example()),
            peaks: Distribution::default(),
        };
        let refusal = || Refusal { container: "4567".into(), pid: 9, reason: Reason::SecondRecord };
        Look { sites: vec![site], refused: vec![refusal(), refusal()], hidden_processes: 3 }
    }

    #[test]
    fn what_is_refused_is_counted_and_not_named() {
        let text = render(look(), Duration::from_millis(250)).unwrap();
        for line in [
            r#"lsphp_exporter_refused_records{container="4567",reason="second record"} 2"#,
            r#"phpfpm_up{user="alice",domain="example.com",container="0123"} 1"#,
            "lsphp_exporter_hidden_processes 3",
            "lsphp_exporter_look_seconds 0.25",
        ] {
            assert!(text.lines().any(|has| has == line), "{line} in {text}");
        }
    }

    /// Beside those of each site, which docs/status.md has.
    #[test]
    fn the_page_has_every_metric_and_no_other() {
        let text = render(look(), Duration::ZERO).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let own = names.filter(|name| name.starts_with("lsphp_exporter_") || name.contains("_peak_bytes"));
        let of_a_site =
            ["lsphp_memory_peak_bytes", "lsphp_worker_largest_peak_bytes", "lsphp_worker_p95_peak_bytes"];
        let own: BTreeSet<_> = own.filter(|name| !of_a_site.contains(name)).map(str::to_owned).collect();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exporter.md");
        let page = std::fs::read_to_string(page).unwrap();
        let table = page.lines().skip_while(|line| *line != "| metric | meaning |").skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        let documented: BTreeSet<_> =
            rows.filter_map(|row| row.split('`').nth(1)).map(str::to_owned).collect();
        assert_eq!(documented, own, "edit docs/exporter.md: its table of metrics");
    }
}
