use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::status::distribution::Peak;
use crate::status::tests::example;

fn rendered(sites: Vec<Result<Status, Down>>) -> String {
    let site = |status| Site { labels: vec![], status, peaks: None };
    render(sites.into_iter().map(site).collect(), |_| {}).unwrap()
}

/// Names as they are exposed.
fn names() -> BTreeSet<String> {
    let exposed = METRICS.map(|metric| match metric.kind {
        MetricType::Counter => format!("{}_total", metric.name),
        _ => metric.unit.map_or(metric.name.to_owned(), |unit| format!("{}_{}", metric.name, unit.as_str())),
    });
    exposed.into_iter().chain([UP.0.to_owned()]).collect()
}

#[test]
fn a_site_has_every_metric_with_its_labels() {
    let status = example();
    let labels = r#"{user="alice",domain="example.com"}"#;
    let text = rendered(vec![Ok(status)]);
    for line in [
        format!("phpfpm_up{labels} 1"),
        format!("phpfpm_listen_queue{labels} 3"),
        format!("phpfpm_active_processes{labels} 1"),
        format!("lsphp_memory_limit_bytes{labels} 1073741824"),
        format!("lsphp_oom_kills_total{labels} 0"),
        "# TYPE lsphp_oom_kills counter".into(),
        "# UNIT lsphp_memory_limit_bytes bytes".into(),
    ] {
        assert!(text.lines().any(|has| has == line), "{line} in {text}");
    }
    assert!(!text.contains("lsphp_forks_refused_total"), "it is not known: {text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn sites_share_a_metric_and_one_that_is_down_says_so() {
    let down = Down { site: None, reason: crate::health::Reason::NotStarted };
    let other = Status { user: "bob\"\\\n".into(), domain: None, ..example() };
    let text = rendered(vec![Ok(example()), Ok(other), Err(down)]);
    assert_eq!(text.matches("# TYPE phpfpm_up gauge").count(), 1);
    assert!(text.contains(r#"phpfpm_up{user="bob\"\\\n",domain=""} 1"#), "{text}");
    assert!(text.contains(r#"phpfpm_up{user="",domain=""} 0"#), "{text}");
    assert_eq!(text.matches("\nphpfpm_idle_processes{").count(), 2);
}

#[test]
fn the_page_about_status_shows_every_metric_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.lines().skip_while(|line| *line != "| metric | meaning |").skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let cells: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).collect();
    let documented =
        cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    assert_eq!(names(), documented, "edit docs/status.md: its table of metrics");
}

#[test]
fn a_watched_site_has_its_workers_peaks_as_a_histogram() {
    let mut peaks = Distribution::default();
    for mib in [20, 20, 5000] {
        peaks.add(Peak { bytes: mib << 20, ..Peak::default() });
    }
    let labels = vec![("container", "0123".to_owned())];
    let text = render(vec![Site { labels, status: Ok(example()), peaks: Some(peaks) }], |_| {}).unwrap();
    let site = r#"user="alice",domain="example.com",container="0123""#;
    for line in [
        "# TYPE lsphp_worker_peak_bytes histogram".to_owned(),
        format!("lsphp_worker_peak_bytes_count{{{site}}} 3"),
        format!("lsphp_worker_peak_bytes_sum{{{site}}} 5284823040.0"),
        format!(r#"lsphp_worker_peak_bytes_bucket{{le="16777216.0",{site}}} 0"#),
        format!(r#"lsphp_worker_peak_bytes_bucket{{le="25165824.0",{site}}} 2"#),
        format!(r#"lsphp_worker_peak_bytes_bucket{{le="+Inf",{site}}} 3"#),
    ] {
        assert!(text.lines().any(|has| has == line), "{line} in {text}");
    }
}
