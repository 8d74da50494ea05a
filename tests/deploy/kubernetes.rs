//! `examples/kubernetes.yaml`: held to the restricted Pod Security Standard, and run with `podman kube
//! play`, as far as that goes. podman knows neither fsGroup, readiness probes nor network policies.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::podman::Podman;
use crate::support::{
    ADDRESS, Client, PATIENCE, Site, UID, as_front_end, docker, parse, status_field, text, wait_until,
};
use crate::{lines, repository, run};

const IMAGE: &str = "image: cac-lsphp:php83";

fn manifest() -> Vec<Value> {
    let program = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let json = run(Command::new("/usr/bin/python3")
        .args(["-c", program])
        .arg(repository("examples/kubernetes.yaml")));
    serde_json::from_str(&text(json)).unwrap()
}

fn resource(kind: &str) -> Value {
    let found = manifest().into_iter().find(|resource| resource["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// The controls of the standard, as its page lists them: baseline's first, then restricted's.
#[test]
fn the_pod_meets_the_restricted_standard() {
    let deployment = resource("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(pod[forbidden], Value::Null, "{forbidden}");
    }
    let allowed = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"];
    for volume in pod["volumes"].as_array().unwrap() {
        let kinds: Vec<_> = volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
        assert!(kinds.iter().all(|kind| allowed.contains(&kind.as_str())), "{volume}");
    }
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    assert_ne!(context["runAsUser"], 0);
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(context["privileged"], Value::Null);
        assert_eq!(container["ports"], Value::Null, "no host port");
        assert_eq!(context["readOnlyRootFilesystem"], true, "more than the standard asks");
    }
}

#[test]
fn the_parts_of_the_manifest_name_each_other() {
    let deployment = resource("Deployment");
    let template = &deployment["spec"]["template"];
    let (pod, labels) = (&template["spec"], template["metadata"]["labels"].as_object().unwrap());
    let container = &pod["containers"][0];
    let variables = container["env"].as_array().unwrap();
    let variable =
        |name| variables.iter().find(|variable| variable["name"] == name).unwrap()["value"].clone();
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(pod["securityContext"][id].to_string(), variable("uid").as_str().unwrap(), "{id}");
    }
    let policy = resource("NetworkPolicy");
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &resource("Service")["spec"]["selector"],
        &policy["spec"]["podSelector"]["matchLabels"],
    ] {
        let matches = |(name, value)| labels.get(name) == Some(value);
        assert!(selector.as_object().unwrap().iter().all(matches), "{selector}");
    }
    // One peer with both selectors: two peers would admit everything in that namespace.
    let peers = policy["spec"]["ingress"][0]["from"].as_array().unwrap();
    assert_eq!(peers.len(), 1);
    assert!(peers[0]["namespaceSelector"].is_object() && peers[0]["podSelector"].is_object());
    let number = |name| variable(name).as_str().unwrap().parse::<u64>().unwrap();
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > number("CAC_STOP_TIMEOUT") + 1, "{grace}: the kubelet would cut a stop");
    assert_eq!((number("CAC_SUPERVISE"), number("CAC_WATCH_MEMORY") > 0), (1, true));
    let resize = json!([{"resourceName": "memory", "restartPolicy": "NotRequired"}]);
    assert_eq!(container["resizePolicy"], resize, "a restart would do without the watch");
    let mounts = container["volumeMounts"].as_array().unwrap();
    let home = format!("/home/{}", variable("user").as_str().unwrap());
    assert!(mounts.iter().any(|mount| mount["mountPath"] == home));
}

const PAGE: &str = "<?php echo json_encode(posix_getuid());";

fn home_of_roots(gid: u32, mode: u32) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(0), Some(gid)).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(mode)).unwrap();
    home
}

/// Volumes as Kubernetes gives them: root's, writable for the group that fsGroup names.
#[test]
fn volumes_that_are_only_the_groups_do() {
    let volume = format!("mode=2777,gid={UID}");
    let tmpfs = ["/run/cac-lsphp", "/mnt/users", "/tmp"].map(|path| format!("{path}:{volume}"));
    let user = format!("{UID}:{UID}");
    let home = home_of_roots(UID, 0o2775);
    let site = Site::at(home.path()).page("uid.php", PAGE);
    let restricted =
        ["--user", &user, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let site =
        tmpfs.iter().fold(site.options(restricted), |site, tmpfs| site.options(["--tmpfs", tmpfs])).start();
    assert_eq!(site.json("uid.php"), UID);
    site.exec(["cac-lsphp", "healthcheck", "--deep"]);
    assert!(home.path().join("logs/php-fpm/error.log").is_file(), "made by the site");
    let logs = site.logs();
    assert!(
        logs.lines().any(|line| line.contains("INFO changing the owner of /home/alice: it is root's")),
        "{logs}"
    );
}

#[test]
fn a_home_that_the_site_cannot_write_is_told_and_served() {
    let user = format!("{UID}:{UID}");
    let home = home_of_roots(0, 0o755);
    let site = Site::at(home.path()).page("uid.php", PAGE);
    let tmpfs = ["--tmpfs", "/run/cac-lsphp:mode=0777", "--tmpfs", "/mnt/users:mode=0777"];
    let site = site.options(["--user", &user]).options(tmpfs).start();
    assert_eq!(site.json("uid.php"), UID);
    let logs = site.logs();
    let told = logs
        .lines()
        .any(|line| line.contains("WARN changing the owner of /home/alice") && line.contains("fsGroup"));
    assert!(told, "{logs}");
}

impl Podman {
    fn exec(&self, command: &[&str]) -> Output {
        self.run(&[&["exec", "alice-pod-0-site"], command].concat())
    }
}

#[test]
fn podman_plays_the_manifest() {
    let podman = Podman::with_image();
    let manifest = fs::read_to_string(repository("examples/kubernetes.yaml")).unwrap();
    assert_eq!(manifest.matches(IMAGE).count(), 1);
    let local = manifest.replace(IMAGE, "image: localhost/cac-lsphp:php83");
    fs::write(podman.path("site.yaml"), local).unwrap();
    let file = podman.path("site.yaml");
    let played = podman.run(&["kube", "play", &file.display().to_string()]);
    assert!(played.status.success(), "{}", lines(&played));

    // Both probes, word for word.
    let container = resource("Deployment")["spec"]["template"]["spec"]["containers"][0].clone();
    for probe in ["livenessProbe", "readinessProbe"] {
        let command: Vec<String> =
            serde_json::from_value(container[probe]["exec"]["command"].clone()).unwrap();
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        wait_for_success(&podman, &command);
    }
    is_as_restricted_as_it_says(&podman);
    answers_as_in_docker(&podman);
    is_resized_in_place(&podman);
}

/// As the kubelet does it: the limit changes, and nobody tells the site.
fn is_resized_in_place(podman: &Podman) {
    text(podman.run(&["update", "--memory", "2g", "--memory-swap", "2g", "alice-pod-0-site"]));
    wait_until(|| {
        let name = text(podman.exec(&["cat", "/proc/1/comm"]));
        let logs = || lines(&podman.run(&["logs", "alice-pod-0-site"]));
        if name == "serving:15\n" { Ok(()) } else { Err(format!("{name:?}\n{}", logs())) }
    });
    text(podman.exec(&["cac-lsphp", "healthcheck", "--deep"]));
}

fn wait_for_success(podman: &Podman, command: &[&str]) {
    wait_until(|| {
        let output = podman.exec(command);
        let logs = || lines(&podman.run(&["logs", "alice-pod-0-site"]));
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("{command:?}: {}\n{}", lines(&output), logs()))
        }
    });
}

fn is_as_restricted_as_it_says(podman: &Podman) {
    let status = text(podman.exec(&["cat", "/proc/1/status"]));
    let uid = UID.to_string();
    for (name, expected) in [
        ("Name", "serving:7"),
        ("Uid", [uid.as_str(); 4].join(" ").as_str()),
        ("Groups", &uid),
        ("CapBnd", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(status_field(&status, name), expected, "{name}");
    }
    assert!(!podman.exec(&["touch", "/etc/passwd"]).status.success(), "the root is read-only");
}

/// The same plan and the same page as from Docker with the same limit.
fn answers_as_in_docker(podman: &Podman) {
    let code = "<?php echo json_encode([$_SERVER['SCRIPT_FILENAME'], posix_getuid(), ini_get('error_log'),
        opcache_get_configuration()['directives']['opcache.memory_consumption']]);";
    let in_docker = Site::new().page("same.php", code).start();

    let write = format!("cat >/home/alice/public_html/same.php <<'END'\n{code}\nEND\n");
    text(podman.exec(&["sh", "-c", &write]));
    let pod = text(podman.run(&["ps", "-q", "--filter", "name=infra"]));
    let address = text(podman.run(&["inspect", "--format", ADDRESS, pod.trim()]));
    let mut client = Client::new(format!("{}:9000", address.trim()).parse().unwrap());
    let page = client.fetch(&as_front_end("same.php"), None, PATIENCE);
    assert_eq!(parse(&page.unwrap()), in_docker.json("same.php"));

    let plan = |output: Output| {
        let plan: Value = serde_json::from_str(&text(output)).unwrap();
        [&plan["memory"]["limit_mib"], &plan["workers"]["value"], &plan["front_end"], &plan["ini"]]
            .map(Clone::clone)
    };
    let command = ["cac-lsphp", "plan", "--format", "json"];
    let from_docker = plan(docker([&["exec", &in_docker.name], &command[..]].concat()));
    assert_eq!(plan(podman.exec(&command)), from_docker);
}
