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
    text(run(Command::new("promtool").args(["check", "rules", "rules.yaml"]).current_dir(&folder)));
    text(run(Command::new("promtool").args(["test", "rules", "rules-test.yaml"]).current_dir(&folder)));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (rules, tests) = (read("rules.yaml"), read("rules-test.yaml"));
    let cases: Vec<_> = tests.split("alertname: ").skip(1).filter_map(|case| case.split_once('\n')).collect();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires =
            cases.iter().any(|(name, case)| *name == alert && case.trim().starts_with("exp_alerts:\n"));
        assert!(fires, "no case of rules-test.yaml has {alert} fire");
    }
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cac-lsphp-exporter.service");
    fs::write(&path, unit.replace("/usr/local/bin/cac-lsphp-exporter", &made("CAC_TEST_EXPORTER"))).unwrap();
    let checked = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    let exposure =
        run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=25"]).arg(&path));
    assert!(exposure.status.success(), "{}", String::from_utf8_lossy(&exposure.stdout));
}

/// Names of system calls, those of groups included.
fn system_calls(names: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for name in names.split_whitespace() {
        if !name.starts_with('@') {
            calls.insert(name.to_owned());
            continue;
        }
        let group = text(run(Command::new("systemd-analyze").args(["syscall-filter", name])));
        let members: Vec<_> =
            group.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#')).collect();
        calls.extend(system_calls(&members.join(" ")));
    }
    calls
}

/// What it is refused it would do without, and nobody would notice: such as to see by a descriptor.
#[test]
fn the_unit_allows_every_system_call() {
    let unit = fs::read_to_string(example("exporter/cac-lsphp-exporter.service")).unwrap();
    let mut allowed = BTreeSet::new();
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match filter.strip_prefix('~') {
            None => allowed.extend(system_calls(filter)),
            Some(refused) => {
                let refused = system_calls(refused);
                allowed.retain(|call| !refused.contains(call));
            }
        }
    }
    let site = site("filtered", 62105).start();
    ask(&site, "sleep.php", 1);
    let trace = tempfile::NamedTempFile::new().unwrap();
    let strace = ["strace", "-f", "-o", trace.path().to_str().unwrap()];
    let look = parse(&privileges::traced_as_nobody(&strace, privileges::TWO, &["list", "--format", "json"]));
    assert_eq!(one(&look, &container(&site))["status"]["up"], true);
    let trace = fs::read_to_string(&trace).unwrap();
    let calls = trace.lines().filter_map(|line| line.split_once(' ')?.1.trim().split_once('('));
    let names: Vec<_> = calls.map(|(name, _)| name).collect();
    // By the last one the exporter began.
    let own = names.rsplit(|name| *name == "execve").next().unwrap();
    let used: BTreeSet<_> = own.iter().map(|name| (*name).to_owned()).collect();
    assert!(used.contains("pidfd_getfd") && used.contains("openat2"), "{used:?}");
    // A look into a network is made where there is nothing else, and may fail.
    let refused: Vec<_> = used.difference(&allowed).filter(|call| !call.starts_with('<')).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
