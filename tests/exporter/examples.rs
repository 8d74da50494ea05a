//! `examples/prometheus`, `examples/grafana` and `examples/exporter`, under the tools that read them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

#[test]
fn the_alerts_fire_when_they_should() {
    let folder = example("prometheus");
    text(output(Command::new("promtool").args(["check", "rules", "rules.yaml"]).current_dir(&folder)));
    text(output(Command::new("promtool").args(["test", "rules", "rules-test.yaml"]).current_dir(&folder)));
}

/// Words that are metrics by their start.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("lsphp_") || word.starts_with("phpfpm_"))
        .map(str::to_owned)
        .collect()
}

/// The tables of docs/status.md and docs/exporter.md have each metric, as tests of the library see to.
#[test]
fn alerts_and_dashboard_name_metrics_that_exist() {
    let page = |name: &str| fs::read_to_string(example("../docs").join(name)).unwrap();
    let known = metrics_in(&(page("status.md") + &page("exporter.md")));
    let queries = |value: &Value| -> String {
        let panels = value["panels"].as_array().unwrap().iter();
        panels
            .flat_map(|panel| panel["targets"].as_array().unwrap())
            .map(|target| target["expr"].to_string())
            .collect()
    };
    let dashboard = fs::read_to_string(example("grafana/dashboard.json")).unwrap();
    let dashboard = metrics_in(&queries(&serde_json::from_str(&dashboard).unwrap()));
    let rules = fs::read_to_string(example("prometheus/rules.yaml")).unwrap();
    let expressions: String = rules.lines().filter(|line| line.trim_start().starts_with("expr:")).collect();
    let alerts = metrics_in(&expressions);
    assert!(dashboard.len() > 10 && alerts.len() > 8, "{dashboard:?} {alerts:?}");
    for name in dashboard.union(&alerts) {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(known.contains(family), "there is no metric {name}");
    }
}

/// systemd is not pid 1 here: its own checker reads the unit.
#[test]
fn the_unit_is_one_and_gives_little_away() {
    let unit = fs::read_to_string(example("exporter/cac-lsphp-exporter.service")).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cac-lsphp-exporter.service");
    fs::write(&path, unit.replace("/usr/local/bin/cac-lsphp-exporter", &made("CAC_TEST_EXPORTER"))).unwrap();
    let checked = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    let exposure = output(
        Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=25"]).arg(&path),
    );
    assert!(exposure.status.success(), "{}", String::from_utf8_lossy(&exposure.stdout));
}
