//! The plan as a whole: shape, secrets, and what operators must be warned about.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::{Inputs, Plan, RootEffect, decide};
use crate::cgroup::{Limits, MemoryLimit, PidsLimit};
use crate::identity::StartedAs;
use crate::lsphp::Lsphp;
use crate::settings;
use crate::settings::environment::Environment;

const SITE: [(&str, &str); 3] = [("user", "alice"), ("uid", "61045"), ("domain", "example.com")];

fn no_limits() -> Limits {
    Limits { mem_total: Some(64 << 30), ..Limits::default() }
}

fn limit(mib: u64) -> Limits {
    let memory = MemoryLimit { bytes: mib << 20, source: "cgroup v2 memory.max of /site".into() };
    Limits { memory: Some(memory), ..no_limits() }
}

fn plan(more: &[(&str, &str)], limits: &Limits, suppose_mib: Option<u64>) -> Plan {
    let environment: Environment = SITE.iter().chain(more).copied().collect();
    let settings = settings::read(&environment, None, StartedAs { uid: 0, gid: 0 }).1.unwrap();
    let lsphp = Lsphp::Found { path: Path::new("/opt/lsphp").into() };
    decide(Inputs {
        settings: &settings,
        environment: &environment,
        limits,
        lsphp: &lsphp,
        somaxconn: None,
        suppose_mib,
    })
}

fn json(plan: &Plan) -> Value {
    serde_json::to_value(plan).unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_documented_shape() {
    let json = json(&plan(&[], &limit(1024), None));
    let top = [
        "given",
        "site",
        "memory",
        "workers",
        "opcache",
        "front_end",
        "listener",
        "ini",
        "exec",
        "supervision",
        "effects",
        "warnings",
    ];
    assert_eq!(keys(&json), top.into());
    assert_eq!(json["memory"]["limit_mib"], 1024);
    assert_eq!(json["memory"]["budget_mib"], 1024);
    assert_eq!(json["memory"]["source"], "1024 MiB from cgroup v2 memory.max of /site");
    assert_eq!(json["workers"]["value"], 7);
    assert_eq!(json["workers"]["extra"], 0);
    assert_eq!(json["workers"]["max_busy_worker"], 7);
    assert_eq!(json["workers"]["estimate_mib"], 130);
    assert_eq!(json["workers"]["overcommitted_mib"], 0);
    assert_eq!(json["opcache"]["memory_mib"], 64);
    assert_eq!(json["opcache"]["max_files"], 8000);
    assert_eq!(json["front_end"]["max_conns"], 7);
    assert_eq!(json["ini"]["path"], "/run/cac-lsphp/php.d/90-cac-lsphp.ini");
    assert_eq!(json["exec"]["argv"], serde_json::json!(["lsphp", "-b", "0.0.0.0:9000"]));
    assert_eq!(json["exec"]["environment"]["set"]["PHP_LSAPI_CHILDREN"], "7");
    assert_eq!(json["exec"]["environment"]["set"]["LSAPI_EXTRA_CHILDREN"], "0");
    assert_eq!(json["effects"][0]["effect"], "make_runtime_directories");
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1, "open to everybody: {}", json["warnings"]);
}

/// What a start opens is listed where it opens it, and so is how it ends.
#[test]
fn what_is_opened_is_listed_in_its_place() {
    let listed = |more: &[(&str, &str)]| {
        let plan = json(&plan(more, &limit(1024), None));
        let effects = plan["effects"].as_array().unwrap().clone();
        let at = |name: &str| effects.iter().position(|effect| effect["effect"] == name);
        (at("open_listener"), at("open_control_socket"), at("drop_privileges").unwrap(), effects)
    };
    let (listener, control, _, effects) = listed(&[]);
    assert_eq!((listener, control, &effects.last().unwrap()["effect"]), (None, None, &"exec".into()));

    let (listener, _, _, effects) = listed(&[("CAC_BACKLOG", "99")]);
    let alone = serde_json::json!({"as": "root", "effect": "open_listener", "address": "0.0.0.0:9000", "group": false});
    assert_eq!((listener, &effects[0]), (Some(0), &alone));

    let (listener, control, drop, effects) = listed(&[("CAC_SUPERVISE", "1")]);
    assert_eq!((listener, control), (Some(0), Some(drop - 1)));
    assert_eq!(
        (&effects[0]["group"], &effects[drop - 1]["path"]),
        (&true.into(), &"/run/cac-lsphp/control.sock".into())
    );
    assert_eq!(effects.last().unwrap()["effect"], "supervise");
    let text = plan(&[("CAC_SUPERVISE", "1")], &limit(1024), None).to_string();
    for line in ["listen on 0.0.0.0:9000, and beside it", "listen on /run/cac-lsphp/control.sock for reloads"]
    {
        assert!(text.contains(line), "{text}");
    }
}

/// What is given twice, blank or clamped is told as it was given.
#[test]
fn every_setting_that_was_named_has_its_source() {
    let more =
        [("LSAPI_MAX_REQS", "9"), ("PHP_LSAPI_MAX_REQUESTS", "7"), ("LSAPI_MAX_IDLE", "0"), ("gid", "")];
    let plan = plan(&[&more[..], &[("CAC_INI_precision", "5")]].concat(), &limit(1024), None);
    let names: Vec<_> = plan.given.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["CAC_INI_precision", "LSAPI_MAX_IDLE", "PHP_LSAPI_MAX_REQUESTS", "domain", "uid", "user"];
    assert_eq!(names, expected);
    let requests = serde_json::json!({
        "value": "7",
        "source": "PHP_LSAPI_MAX_REQUESTS from the environment",
        "lost": ["LSAPI_MAX_REQS=9 from the environment"],
    });
    assert_eq!(json(&plan)["given"]["PHP_LSAPI_MAX_REQUESTS"], requests);
    assert!(plan.to_string().contains("maxConns is for each of OpenLiteSpeed's processes"), "{plan}");
    for line in ["LSAPI_MAX_IDLE from the environment: 0", "not: LSAPI_MAX_REQS=9 from the environment"] {
        assert!(plan.to_string().contains(line), "{plan}");
    }
}

#[test]
fn no_value_of_a_foreign_variable_is_shown() {
    let plan = plan(&[("DB_PASSWORD", "s3cret"), ("CAC_TYPO", "s3cret")], &limit(1024), None);
    for shown in [plan.to_string(), json(&plan).to_string()] {
        assert!(shown.contains("DB_PASSWORD"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let passed = plan.exec.environment.iter().find(|(name, _)| *name == "DB_PASSWORD");
    assert_eq!(passed.map(|(_, value)| value.to_owned()), Some("s3cret".into()));
}

#[test]
fn no_limit_is_null_and_a_warning() {
    let plan = plan(&[], &no_limits(), None);
    assert_eq!(json(&plan)["memory"]["limit_mib"], Value::Null);
    assert_eq!(plan.memory.budget_mib, 1024);
    assert!(
        plan.warnings.iter().any(|warning| warning.cause.text.contains("no memory limit")),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn an_override_beyond_the_limit_is_overcommitted_by_so_much() {
    let plan = plan(&[("PHP_LSAPI_CHILDREN", "10")], &limit(1024), None);
    assert_eq!(plan.workers.overcommitted_mib, 64 + 16 + 10 * 130 - 1024);
    assert_eq!(plan.workers.source, "PHP_LSAPI_CHILDREN from the environment");
    assert!(plan.warnings.iter().any(|warning| warning.cause.text.starts_with("overcommitted by 356 MiB")));
}

#[test]
fn a_budget_above_the_limit_is_measured_against_the_limit() {
    let plan = plan(&[("CAC_MEMORY_MB", "2048")], &limit(1024), None);
    assert_eq!(plan.workers.value, 15);
    assert_eq!(plan.workers.overcommitted_mib, 64 + 16 + 15 * 130 - 1024);
    assert_eq!(plan.memory.lost, ["1024 MiB from cgroup v2 memory.max of /site"]);
}

#[test]
fn what_if_answers_before_everything_else() {
    let plan = plan(&[("CAC_MEMORY_MB", "512")], &limit(1024), Some(2048));
    assert_eq!(plan.workers.value, 15);
    assert_eq!(plan.memory.source, "2048 MiB from --memory");
}

#[test]
fn extra_children_are_part_of_the_budget_and_of_max_conns() {
    let plan = plan(&[("LSAPI_EXTRA_CHILDREN", "2")], &limit(1024), None);
    assert_eq!((plan.workers.value, plan.workers.extra, plan.front_end.max_conns), (5, 2, 7));
}

/// One fewer and a connection is given up while a worker is free; one more and it is never given up.
#[test]
fn a_connection_is_given_up_when_every_worker_holds_one() {
    let busy = |more: &[(&str, &str)], mib| {
        let plan = plan(more, &limit(mib), None);
        (plan.workers.max_busy_worker, plan.exec.environment.set["LSAPI_MAX_BUSY_WORKER"].clone())
    };
    assert_eq!(busy(&[], 1024), (7, "7".into()));
    assert_eq!(busy(&[], 512), (3, "3".into()));
    assert_eq!(busy(&[("PHP_LSAPI_CHILDREN", "10")], 1024), (10, "10".into()));
    assert_eq!(busy(&[("LSAPI_EXTRA_CHILDREN", "2")], 1024), (7, "7".into()), "5 children and 2 extra");
    for (given, expected) in [("-1", -1), ("0", 4), ("1", 1), ("9", 9)] {
        let decided = busy(&[("LSAPI_MAX_BUSY_WORKER", given)], 1024);
        assert_eq!(decided, (expected, expected.to_string().into()), "{given}");
    }
}

#[test]
fn connections_that_are_kept_in_spite_of_supervision_are_a_warning() {
    for (given, warned) in [("", false), ("1", false), ("7", true), ("-1", true), ("0", true)] {
        let plan = plan(&[("CAC_SUPERVISE", "1"), ("LSAPI_MAX_BUSY_WORKER", given)], &limit(1024), None);
        let said = plan.warnings.iter().any(|warning| warning.variable() == Some("LSAPI_MAX_BUSY_WORKER"));
        assert_eq!(said, warned, "{given}: {:?}", plan.warnings);
    }
}

#[test]
fn pids_max_caps_an_override_with_its_source() {
    let pids = Some(PidsLimit { max: 12, source: "cgroup v2 pids.max of /site".into() });
    let limits = Limits { pids, ..limit(4096) };
    let plan = plan(&[("LSAPI_CHILDREN", "20")], &limits, None);
    assert_eq!(plan.workers.value, 4);
    assert!(plan.warnings.iter().any(|warning| warning.cause.text.contains("cgroup v2 pids.max of /site")));
}

#[test]
fn what_would_stop_the_container_is_removed() {
    let plan = plan(&[("LSAPI_PGRP_MAX_IDLE", "60"), ("CAC_LOG", "warn")], &limit(1024), None);
    assert_eq!(plan.exec.environment.removed, ["LSAPI_PGRP_MAX_IDLE", "CAC_LOG"]);
    assert!(plan.exec.environment.iter().all(|(name, _)| name != "LSAPI_PGRP_MAX_IDLE" && name != "CAC_LOG"));
    assert!(plan.warnings.iter().any(|warning| warning.variable() == Some("LSAPI_PGRP_MAX_IDLE")));
}

/// lsphp writes up to 46 bytes over what follows its arguments.
#[test]
fn the_first_46_bytes_of_the_environment_are_lsphps_own() {
    let plan = plan(&[("A_FIRST_VARIABLE", "x")], &limit(1024), None);
    let own: usize = plan
        .exec
        .environment
        .iter()
        .take_while(|(name, _)| name.to_string_lossy().contains("LSAPI_"))
        .map(|(name, value)| name.len() + 1 + value.len() + 1)
        .sum();
    assert!(own >= 46, "{own}");
}

#[test]
fn what_opcache_needs_is_added_to_the_address_space() {
    let plan = plan(&[("OPCACHE_MEMORY_MB", "1024"), ("LSPHP_MEM_HARD_MB", "0")], &limit(4096), None);
    assert_eq!((plan.exec.address_space.soft_mib, plan.exec.address_space.hard_mib), (Some(1536), None));
}

#[test]
fn without_a_link_the_plan_says_so() {
    let linked = plan(&[], &limit(1024), None);
    assert_eq!(linked.front_end.document_root, Some("/mnt/users/alice/example.com/public_html".into()));
    let unlinked = plan(&[("CAC_SITE_LINK", "0")], &limit(1024), None);
    assert_eq!(unlinked.front_end.document_root, None);
    assert!(!unlinked.effects.root.iter().any(|effect| matches!(effect, RootEffect::LinkSite { .. })));
}

#[test]
fn a_listener_of_our_own_is_handed_over() {
    let all = |given: &[(&str, &str)]| {
        let plan = plan(given, &limit(1024), None);
        let open = plan.warnings.iter().any(|warning| warning.cause.text.contains("open to everybody"));
        (plan.exec.argv.join(" "), plan.listener.backlog.unwrap(), plan.workers.max_busy_worker, open)
    };
    assert_eq!(all(&[]), ("lsphp -b 0.0.0.0:9000".into(), 10, 7, true));
    assert_eq!(all(&[("CAC_LISTEN", "127.0.0.1:9000")]), ("lsphp -b 127.0.0.1:9000".into(), 10, 7, false));
    assert_eq!(all(&[("CAC_BACKLOG", "40")]), ("lsphp".into(), 40, 1, true));
    assert_eq!(all(&[("CAC_ALLOWED_CLIENTS", "172.30.0.2")]), ("lsphp".into(), 511, 1, false));
    assert_eq!(all(&[("CAC_ALLOWED_CLIENTS", " ")]), all(&[]));
    const PATH: (&str, &str) = ("CAC_LISTEN", "/run/lsphp.sock");
    assert_eq!(all(&[PATH]), ("lsphp -b /run/lsphp.sock".into(), 10, 7, false));
    assert_eq!(all(&[PATH, ("CAC_BACKLOG", "40")]), ("lsphp".into(), 40, 1, false));
    assert_eq!(all(&[PATH, ("CAC_SOCKET_GID", "33")]), ("lsphp".into(), 511, 1, false));
    assert_eq!(all(&[PATH, ("CAC_SOCKET_MODE", "0662")]), ("lsphp".into(), 511, 1, true));
}

#[test]
fn a_socket_is_the_sites_groups_unless_another_is_named() {
    let socket = |name: &str, value: &str| {
        let plan = plan(&[("CAC_LISTEN", "/run/lsphp.sock"), (name, value)], &limit(1024), None);
        json(&plan)["listener"]["socket"].clone()
    };
    let gid = 61045;
    assert_eq!(socket("CAC_BACKLOG", "40"), serde_json::json!({"mode": "0660", "gid": gid}));
    assert_eq!(socket("CAC_SOCKET_GID", "33"), serde_json::json!({"mode": "0660", "gid": 33}));
    assert_eq!(socket("CAC_SOCKET_MODE", "600"), serde_json::json!({"mode": "0600", "gid": gid}));
    assert_eq!(socket("CAC_IGNORED", "1"), serde_json::Value::Null);
}

#[test]
fn an_idle_site_ends_after_the_seconds_of_a_worker_and_of_lsphp_together() {
    for (exit, max_idle, expected) in [
        ("90", "60", ("60", "30")),
        ("30", "60", ("29", "1")),
        ("1", "60", ("1", "1")),
        ("90", "1", ("1", "89")),
    ] {
        let handed_over = [("LISTEN_FDS", "1"), ("LISTEN_PID", "1"), ("LISTEN_FDNAMES", "x")];
        let given = [&handed_over[..], &[("CAC_IDLE_EXIT", exit), ("LSAPI_MAX_IDLE", max_idle)]].concat();
        let plan = plan(&given, &limit(1024), None);
        let environment: Vec<_> = plan.exec.environment.iter().collect();
        let value = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        let both = (value("LSAPI_MAX_IDLE").unwrap(), value("LSAPI_PGRP_MAX_IDLE").unwrap());
        assert_eq!((both.0.as_str(), both.1.as_str()), expected, "{exit} {max_idle}");
        assert!(handed_over.iter().all(|(name, _)| value(name).is_none()), "PHP sees nothing of it");
        assert_eq!((plan.exec.argv.join(" ").as_str(), plan.workers.max_busy_worker), ("lsphp", 1));
    }
    assert!(!json(&plan(&[], &limit(1024), None)).to_string().contains("\"LSAPI_PGRP_MAX_IDLE\":"));
}

#[test]
fn a_file_cache_is_named_to_php_where_it_is_planned() {
    const CACHE: (&str, &str) = ("CAC_OPCACHE_FILE_CACHE", "/cache");
    let value = |plan: &Plan, name: &str| plan.exec.environment.set.get(name).cloned();
    let effects = |plan: &Plan| json(plan)["effects"].to_string();
    let without = plan(&[], &limit(1024), None);
    assert_eq!(value(&without, "PHP_INI_SCAN_DIR"), Some(":/run/cac-lsphp/php.d".into()));
    assert!(!effects(&without).contains("file_cache"));
    let with = plan(&[CACHE], &limit(1024), None);
    let scan_dir = ":/run/cac-lsphp/php.d:/run/cac-lsphp/file-cache.d";
    assert_eq!(value(&with, "PHP_INI_SCAN_DIR"), Some(scan_dir.into()));
    assert!(effects(&with).contains("prepare_file_cache") && effects(&with).contains("make_file_cache"));
    assert_eq!(json(&with)["opcache"]["file_cache"], "/cache");
    // So that pid 1 learns of crashes.
    assert_eq!(value(&with, "LSAPI_CLEAN_SHUTDOWN"), None);
    let supervised = plan(&[CACHE, ("CAC_SUPERVISE", "1")], &limit(1024), None);
    assert_eq!(value(&supervised, "LSAPI_CLEAN_SHUTDOWN"), Some("0".into()));
}

#[test]
fn what_does_not_go_with_a_file_cache_is_said() {
    let warned = |name: &str, value: &str, cache: &str| {
        let plan = plan(&[("CAC_OPCACHE_FILE_CACHE", cache), (name, value)], &limit(1024), None);
        plan.warnings.iter().any(|warning| warning.variable() == Some("CAC_OPCACHE_FILE_CACHE"))
    };
    for (name, value, expected) in [
        ("CAC_INI_opcache__validate_timestamps", "0", true),
        ("CAC_INI_opcache__validate_timestamps", "1", false),
        ("CAC_INI_opcache__preload", "/home/alice/preload.php", true),
        ("CAC_INI_opcache__jit_buffer_size", "64M", true),
        ("CAC_INI_opcache__jit_buffer_size", "0", false),
    ] {
        assert_eq!(warned(name, value, "/cache"), expected, "{name}={value}");
        assert!(!warned(name, value, ""), "{name}={value} without a file cache");
    }
}

#[test]
fn lists_of_names_fit_a_terminal() {
    let long_names: Vec<(String, String)> =
        (0..60).map(|number| (format!("A_VARIABLE_{number}"), "x".into())).collect();
    let mut more: Vec<(&str, &str)> = long_names.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    more.push(("CAC_LISTEN", "127.0.0.1:9000")); // no warning, which is no list
    for line in plan(&more, &limit(1024), None).to_string().lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

proptest! {
    /// From what lsphp is really given: it never needs more than the budget unless the plan says so.
    #[test]
    fn what_lsphp_is_given_fits_or_is_said_not_to(
        limit_mib in 64u64..=1 << 20,
        children in proptest::option::of(2u32..=10_000),
        extra in 0u32..=10_000,
        estimate in 16u64..=4096,
        opcache in 8u64..=4096,
        budget in proptest::option::of(16u64..=1 << 20),
    ) {
        let mut more = vec![
            ("LSAPI_EXTRA_CHILDREN", extra.to_string()),
            ("LSPHP_WORKER_ESTIMATE_MB", estimate.to_string()),
            ("OPCACHE_MEMORY_MB", opcache.to_string()),
        ];
        more.extend(children.map(|children| ("PHP_LSAPI_CHILDREN", children.to_string())));
        more.extend(budget.map(|budget| ("CAC_MEMORY_MB", budget.to_string())));
        let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let plan = plan(&more, &limit(limit_mib), None);

        let given = |name: &str| -> u64 { plan.exec.environment.set[name].to_str().unwrap().parse().unwrap() };
        let total = given("PHP_LSAPI_CHILDREN") + given("LSAPI_EXTRA_CHILDREN");
        let needed = opcache + 16 + total * estimate;
        let allowed = budget.map_or(limit_mib, |budget| budget.min(limit_mib));
        prop_assert_eq!(plan.workers.overcommitted_mib, needed.saturating_sub(allowed));
        prop_assert_eq!(u64::from(plan.front_end.max_conns), total);
        prop_assert!(needed <= allowed || plan.warnings.iter().any(|warning| warning.cause.text.starts_with("overcommitted")));
    }
}
