//! Without root: what two capabilities show, and what is said without them.

use super::*;

/// What examples/exporter gives it.
pub const TWO: &str = ",+sys_ptrace,+dac_read_search";

/// As nobody, with these capabilities and no other.
fn as_nobody(capabilities: &str, arguments: &[&str]) -> Output {
    traced_as_nobody(&[], capabilities, arguments)
}

/// The same under `tracer`, which is root.
pub fn traced_as_nobody(tracer: &[&str], capabilities: &str, arguments: &[&str]) -> Output {
    let sets = format!("-all{capabilities}");
    let mut command = Command::new("env");
    command
        .args(tracer)
        .args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps", &sets, "--ambient-caps", &sets, "--bounding-set", &sets, "--"])
        .arg(made("CAC_TEST_EXPORTER"))
        .args(arguments);
    run(&mut command)
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
    let (as_root, look) = (list(), parse(&as_nobody(TWO, &["list", "--format", "json"])));
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

/// A site with two busy workers and one that holds a connection, and its process as this machine numbers it.
fn busy_and_connected(user: &str, uid: u32) -> (Running, client::Client, String) {
    let site = site(user, uid).start();
    let mut kept = site.client();
    let request = Request::new("GET", "/srv/page.php", "/page.php");
    assert_eq!(kept.fetch(&request, None, PATIENCE).unwrap().status, 200);
    ask(&site, "sleep.php", 2);
    let pid = site.inspect("{{.State.Pid}}");
    (site, kept, pid)
}

/// Busy, connected, and waiting connections.
fn pool(look: &Value, site: &Running) -> [Option<u64>; 3] {
    let pool = &one(look, &container(site))["status"]["pool"];
    ["/busy", "/connected", "/queue/length"].map(|place| pool.pointer(place).and_then(Value::as_u64))
}

/// To read either table to its end takes the kernel a walk over all connections of the machine, for each site.
#[test]
fn with_two_capabilities_no_table_of_sockets_is_read() {
    let (site, _kept, pid) = busy_and_connected("unwalked", 62103);
    let trace = tempfile::NamedTempFile::new().unwrap();
    let path = trace.path().to_str().unwrap();
    let strace = ["strace", "-f", "-e", "trace=openat,setns", "-o", path];
    wait_until(|| {
        let look = parse(&traced_as_nobody(&strace, TWO, &["list", "--format", "json"]));
        match pool(&look, &site) {
            [Some(2), Some(1), Some(0)] => Ok(()),
            other => Err(format!("{other:?} in {look:#}")),
        }
    });
    let trace = fs::read_to_string(&trace).unwrap();
    assert!(trace.contains(&format!("/proc/{pid}/fd")), "it was looked at: {trace}");
    let walks: Vec<_> = trace.lines().filter(|line| line.contains(&format!("/proc/{pid}/net/"))).collect();
    assert!(walks.is_empty(), "{walks:?}");
}

/// An old kernel, or a seccomp profile that does not know CAP_SYS_PTRACE: then the tables say the same.
#[test]
fn where_no_descriptor_can_be_taken_the_tables_are_read() {
    let (site, _kept, _) = busy_and_connected("walked", 62104);
    for error in ["EPERM", "ENOSYS"] {
        let refuse = format!("inject=pidfd_getfd:error={error}");
        let strace = ["strace", "-f", "-e", "trace=pidfd_getfd", "-e", &refuse, "-o", "/dev/null"];
        wait_until(|| {
            let look = parse(&traced_as_nobody(&strace, TWO, &["list", "--format", "json"]));
            match pool(&look, &site) {
                [Some(2), Some(1), Some(0)] => Ok(()),
                other => Err(format!("{error}: {other:?} in {look:#}")),
            }
        });
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
    let site = without_root("node", 62102).start();
    // The tables do not say how many may wait: by them it would be what the site says, and by its socket what is true.
    let lie = r#"sed -i 's/"backlog":10,/"backlog":999,/' /run/cac-lsphp/run.json; grep -c '"backlog":999,' /run/cac-lsphp/run.json"#;
    text(docker(["exec", "--user", "62102", &site.name, "sh", "-c", lie]));
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
    assert_eq!(inside["pool"]["queue"]["limit"], 10, "no seccomp profile is in the way");
    for place in ["/up", "/user", "/pool", "/memory/limit_bytes", "/memory/oom_kills"] {
        assert!(!outside.pointer(place).unwrap().is_null(), "{place} in {outside:#}");
        assert_eq!(inside.pointer(place), outside.pointer(place), "{place}");
    }
}
