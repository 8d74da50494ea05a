//! The plan in real containers: every tier of the published table, nested limits, no limit, pids.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{docker, made, not_run, text};

/// The plan that the image's program prints in a container with these options.
fn plan(options: &[&str]) -> Value {
    let image = made("CAC_TEST_IMAGE");
    let site = [
        "-e",
        "user=alice",
        "-e",
        "uid=61045",
        "-e",
        "domain=example.com",
        "-e",
        "CAC_LISTEN=127.0.0.1:9000",
    ];
    let arguments = [&["run", "--rm"], options, &site, &[&image, "plan", "--format", "json"]].concat();
    serde_json::from_str(&text(docker(arguments))).unwrap()
}

fn source(plan: &Value) -> &str {
    plan["memory"]["source"].as_str().unwrap()
}

fn warnings(plan: &Value) -> Vec<&str> {
    plan["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect()
}

/// `v1` or `v2`, as the engine has it.
fn cgroup_version() -> String {
    format!("v{}", text(docker(["info", "--format", "{{.CgroupVersion}}"])).trim())
}

#[test]
fn every_tier_gets_its_workers() {
    let file = match cgroup_version().as_str() {
        "v1" => "cgroup v1 memory.limit_in_bytes of /",
        _ => "cgroup v2 memory.max of /",
    };
    for (mib, workers) in [(256, 2), (512, 3), (768, 5), (1024, 7), (1536, 11), (2048, 15), (4096, 30)] {
        let plan = plan(&["--memory", &format!("{mib}m")]);
        assert_eq!(plan["memory"]["limit_mib"], json!(mib));
        assert!(source(&plan).starts_with(&format!("{mib} MiB from {file}")), "{}", source(&plan));
        let lost = plan["memory"]["lost"].as_array().unwrap();
        assert!(lost.iter().all(|lost| lost.as_str().unwrap().ends_with("so no limit")), "{lost:?}");
        assert_eq!(plan["workers"]["value"], json!(workers), "at {mib} MiB");
        assert_eq!(warnings(&plan).iter().any(|warning| warning.contains("overcommitted")), mib == 256);
    }
}

#[test]
fn the_namespace_of_the_container_makes_no_difference() {
    for namespace in ["host", "private"] {
        let plan = plan(&["--memory", "768m", "--pids-limit", "300", "--cgroupns", namespace]);
        assert_eq!(plan["memory"]["limit_mib"], json!(768), "{namespace}");
        assert_eq!(plan["workers"]["pids_max"], json!(300), "{namespace}");
        assert!(warnings(&plan).is_empty(), "{namespace}: {:?}", warnings(&plan));
    }
}

#[test]
fn without_a_limit_the_host_is_not_the_measure() {
    let plan = plan(&[]);
    assert_eq!(plan["memory"]["limit_mib"], Value::Null);
    assert!(plan["memory"]["budget_mib"].as_u64().unwrap() <= 1024);
    assert!(warnings(&plan).iter().any(|warning| warning.contains("no memory limit was found")));
}

#[test]
fn a_limit_above_the_machines_memory_is_none_and_listed() {
    let plan = plan(&["--memory", "64t"]);
    assert_eq!(plan["memory"]["limit_mib"], Value::Null);
    let lost = plan["memory"]["lost"][0].as_str().unwrap();
    assert!(lost.starts_with("67108864 MiB from cgroup ") && lost.ends_with("so no limit"), "{lost}");
}

/// lxcfs (LXC, Incus, Docker with it) and gVisor show the container's limit as the machine's memory.
#[test]
fn a_limit_equal_to_the_machines_memory_counts() {
    let meminfo = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(meminfo.path(), "MemTotal:        1048576 kB\nMemFree:          900000 kB\n").unwrap();
    let mount = format!("{}:/proc/meminfo:ro", meminfo.path().display());
    let plan = plan(&["--memory", "1g", "-v", &mount]);
    assert_eq!(plan["memory"]["limit_mib"], json!(1024));
    assert_eq!(plan["workers"]["value"], json!(7));
}

#[test]
fn a_limit_on_processes_caps_the_workers() {
    let plan = plan(&["--memory", "4g", "--pids-limit", "20"]);
    assert_eq!(plan["workers"]["pids_max"], json!(20));
    assert_eq!(plan["workers"]["value"], json!(12));
}

#[test]
fn a_limit_changed_later_counts_at_the_next_start() {
    let image = made("CAC_TEST_IMAGE");
    let name = format!("cac-test-{}-update", std::process::id());
    let create =
        ["create", "--name", &name, "--memory", "512m", "-e", "user=alice", "-e", "uid=61045", &image];
    text(docker([&create[..], &["plan", "--format", "json"]].concat()));
    let _removed = Container(name.clone());
    text(docker(["update", "--memory", "1g", "--memory-swap", "1g", &name]));
    let plan: Value = serde_json::from_str(&text(docker(["start", "-a", &name]))).unwrap();
    assert_eq!(plan["memory"]["limit_mib"], json!(1024));
}

/// Made by hand, as a panel's slice around its sites is. In a private namespace v2 shows nothing of
/// it, and v1 its limit. tests/cgroup_v2 has those of v2.
#[test]
fn a_tighter_parent_wins() {
    if cgroup_version() != "v1" {
        return not_run("a_tighter_parent_wins", "an engine on cgroup v1");
    }
    let parent = Parent::with_limit("402653184");
    for namespace in ["host", "private"] {
        let options = ["--memory", "1g", "--cgroupns", namespace, "--cgroup-parent", &parent.name];
        let plan = plan(&options);
        assert_eq!(plan["memory"]["limit_mib"], json!(384), "{namespace}");
        let lost = plan["memory"]["lost"][0].as_str().unwrap();
        assert!(lost.starts_with("1024 MiB from cgroup v1 memory.limit_in_bytes of /"), "{lost}");
        assert!(source(&plan).contains("hierarchical_memory_limit in memory.stat of /"), "{}", source(&plan));
    }
}

/// A cgroup with a memory limit, in which the engine makes those of containers.
struct Parent {
    name: String,
}

impl Parent {
    fn with_limit(bytes: &str) -> Self {
        let name = format!("/cac-test-{}", std::process::id());
        let directory = Path::new("/sys/fs/cgroup/memory").join(&name[1..]);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("memory.limit_in_bytes"), bytes).unwrap();
        Self { name }
    }
}

impl Drop for Parent {
    /// The engine made it in the other hierarchies too.
    fn drop(&mut self) {
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let _ = fs::remove_dir(hierarchy.unwrap().path().join(&self.name[1..]));
        }
    }
}

/// Removed at the end of a test, however it ends.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        docker(["rm", "-f", &self.0]);
    }
}
