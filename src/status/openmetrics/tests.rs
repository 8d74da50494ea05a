use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::status::tests::example;

/// Names as they are exposed.
fn names() -> BTreeSet<String> {
    let unit =
        |metric: &Metric| metric.unit.as_ref().map_or(String::new(), |unit| format!("_{}", unit.as_str()));
    let gauges = GAUGES.map(|metric| format!("{}{}", metric.name, unit(&metric)));
    let counters = COUNTERS.map(|metric| format!("{}_total", metric.name));
    [gauges.as_slice(), &counters, &[UP.0.to_owned()]].concat().into_iter().collect()
}

#[test]
fn a_site_has_every_metric_with_its_labels() {
    let status = example();
    let labels = r#"{user="alice",domain="example.com"}"#;
    let text = render(&[Ok(status)]).unwrap();
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
    let text = render(&[Ok(example()), Ok(other), Err(down)]).unwrap();
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
