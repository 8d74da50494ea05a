//! Without root: what two capabilities show, and what is said without them.

use super::*;

/// As nobody, with these capabilities and no other.
fn as_nobody(capabilities: &str, arguments: &[&str]) -> Output {
    let sets = format!("-all{capabilities}");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps", &sets, "--ambient-caps", &sets, "--bounding-set", &sets, "--"])
        .arg(made("CAC_TEST_EXPORTER"))
        .args(arguments);
    output(&mut command)
}

#[test]
fn two_capabilities_show_everything() {
    let site = site("seen", 62100).start();
    ask(&site, "sleep.php", 2);
    let container = container(&site);
    wait_until(|| {
        let look = list();
        let busy = &one(&look, &container)["status"]["pool"]["busy"];
        if busy == 2 { Ok(()) } else { Err(look.to_string()) }
    });
    let (as_root, look) =
        (list(), parse(&as_nobody(",+sys_ptrace,+dac_read_search", &["list", "--format", "json"])));
    assert_eq!(look["hidden_processes"], 0);
    let (expected, found) = (&one(&as_root, &container)["status"], &one(&look, &container)["status"]);
    for place in [
        "/pool",
        "/memory/limit_bytes",
        "/memory/oom_kills",
        "/workers/0/peak_bytes",
        "/workers/1/own_bytes",
        "/lsphp/0/pid",
    ] {
        assert!(!expected.pointer(place).unwrap().is_null(), "{place} in {expected:#}");
        assert_eq!(found.pointer(place), expected.pointer(place), "{place}");
    }
}

#[test]
fn without_them_it_says_that_it_does_not_see() {
    let site = site("unseen", 62101).start();
    let output = as_nobody("", &["list", "--format", "json"]);
    let look = parse(&output);
    assert_eq!(seen(&look, &container(&site)).len(), 0);
    assert!(look["hidden_processes"].as_u64().unwrap() > 0);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"), "{stderr}");
}

/// As `examples/exporter/daemonset.yaml` has it, from the sidecar's own image.
#[test]
fn in_a_container_of_its_own_it_sees_the_others() {
    let site = site("node", 62102).start();
    let image = made("CAC_TEST_IMAGE");
    let restricted =
        ["--read-only", "--network", "none", "--security-opt", "no-new-privileges", "--cap-drop", "ALL"];
    let mut command =
        vec!["run", "--rm", "--pid", "host", "--cap-add", "SYS_PTRACE", "--cap-add", "DAC_READ_SEARCH"];
    command.extend(restricted);
    command.extend(["--entrypoint", "/usr/local/bin/cac-lsphp-exporter", &image, "list", "--format", "json"]);
    let look = parse(&docker(command));
    let (inside, outside) = (&one(&look, &container(&site))["status"], &list());
    let outside = &one(outside, &container(&site))["status"];
    assert_eq!(look["hidden_processes"], 0);
    for place in ["/up", "/user", "/pool", "/memory/limit_bytes", "/memory/oom_kills"] {
        assert!(!outside.pointer(place).unwrap().is_null(), "{place} in {outside:#}");
        assert_eq!(inside.pointer(place), outside.pointer(place), "{place}");
    }
}
