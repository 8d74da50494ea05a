//! The plan on a real kernel with cgroup v2, in qemu: Debian's cloud kernel, and an initramfs of busybox,
//! the program and `init`. `scripts/test --test cgroup_v2` prepares what it needs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

struct Expected {
    scenario: &'static str,
    limit_mib: Option<u64>,
    source: &'static str,
    lost: &'static [&'static str],
    pids_max: Option<u64>,
    /// Part of a warning that must be there; `None`: none may name a file of the kernel.
    warning: Option<&'static str>,
}

const NO_LIMIT: &str = "as no memory limit was found";

const EXPECTED: [Expected; 15] = [
    Expected {
        scenario: "root",
        limit_mib: None,
        source: NO_LIMIT,
        lost: &[],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "max",
        limit_mib: Some(512),
        source: "512 MiB from cgroup v2 memory.max of /max",
        lost: &[],
        pids_max: Some(200),
        warning: None,
    },
    Expected {
        scenario: "nested",
        limit_mib: Some(512),
        source: "512 MiB from cgroup v2 memory.max of /pod",
        lost: &["768 MiB from cgroup v2 memory.max of /pod/site"],
        pids_max: Some(50),
        warning: None,
    },
    Expected {
        scenario: "high",
        limit_mib: Some(400),
        source: "400 MiB from cgroup v2 memory.high of /high/site",
        lost: &["512 MiB from cgroup v2 memory.max of /high/site"],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "high_above",
        limit_mib: Some(300),
        source: "300 MiB from cgroup v2 memory.high of /slice",
        lost: &["512 MiB from cgroup v2 memory.max of /slice/site"],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "above_memtotal",
        limit_mib: None,
        source: NO_LIMIT,
        lost: &["65536 MiB from cgroup v2 memory.max of /huge: above the machine's "],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "zero",
        limit_mib: Some(256),
        source: "256 MiB from cgroup v2 memory.high of /zero",
        lost: &["512 MiB from cgroup v2 memory.max of /zero/site"],
        pids_max: None,
        warning: Some("/sys/fs/cgroup/zero/site/memory.high: a limit of 0"),
    },
    Expected {
        scenario: "undelegated",
        limit_mib: Some(640),
        source: "640 MiB from cgroup v2 memory.max of /undelegated",
        lost: &[],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "odd_name",
        limit_mib: Some(512),
        source: r"512 MiB from cgroup v2 memory.max of /my sites/alice: prod\x2d1",
        lost: &[],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "part_mounted",
        limit_mib: Some(512),
        source: r"512 MiB from cgroup v2 memory.max of /my sites/alice: prod\x2d1",
        lost: &[],
        pids_max: None,
        warning: None,
    },
    // What lies above a private namespace cannot be seen from inside.
    Expected {
        scenario: "private",
        limit_mib: Some(768),
        source: "768 MiB from cgroup v2 memory.max of /",
        lost: &[],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "private_over_host",
        limit_mib: Some(768),
        source: "768 MiB from cgroup v2 memory.max of /",
        lost: &[],
        pids_max: None,
        warning: None,
    },
    Expected {
        scenario: "mount_older",
        limit_mib: None,
        source: NO_LIMIT,
        lost: &[],
        pids_max: None,
        warning: Some(
            "/proc/self/cgroup: / is not below any cgroup that is mounted; the limits of /../.. are used",
        ),
    },
    Expected {
        scenario: "moved_with_host_mount",
        limit_mib: Some(256),
        source: "256 MiB from cgroup v2 memory.max of /../other",
        lost: &["512 MiB from cgroup v2 memory.max of /.."],
        pids_max: Some(50),
        warning: None,
    },
    Expected {
        scenario: "moved",
        limit_mib: Some(768),
        source: "768 MiB from cgroup v2 memory.max of /",
        lost: &[],
        pids_max: None,
        warning: Some(
            "/proc/self/cgroup: /../other is not below any cgroup that is mounted; the limits of / are used",
        ),
    },
];

#[test]
fn the_plan_finds_the_limits_of_a_real_kernel() {
    let console = boot();
    assert!(console.contains("@@ done"), "the machine did not get to its end:\n{console}");
    let failures: Vec<String> =
        EXPECTED.iter().filter_map(|expected| check(expected, &console).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// As many lines, each with this beginning: how much memory the machine has is in the rest of some.
fn begin_with(lines: &Value, beginnings: &[&str]) -> bool {
    let lines: Vec<&str> = lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    lines.len() == beginnings.len()
        && lines.iter().zip(beginnings).all(|(line, start)| line.starts_with(start))
}

fn check(expected: &Expected, console: &str) -> Result<(), String> {
    let begin = format!("@@ {}\n", expected.scenario);
    let report = console.split_once(&begin).and_then(|(_, rest)| rest.split_once("@@ end"));
    let Some((report, _)) = report else {
        return Err(format!("no scenario {} in\n{console}", expected.scenario));
    };
    let json: String = report.lines().filter(|line| !line.starts_with('#')).collect();
    let plan: Value = serde_json::from_str(&json).map_err(|error| format!("{error} in {report}"))?;

    let memory = &plan["memory"];
    let warnings = plan["warnings"].as_array().ok_or(report)?;
    let warned = |part: &str| warnings.iter().any(|warning| warning.as_str().unwrap().contains(part));
    let is_as_expected = memory["limit_mib"] == serde_json::json!(expected.limit_mib)
        && memory["source"].as_str().unwrap().ends_with(expected.source)
        && begin_with(&memory["lost"], expected.lost)
        && plan["workers"]["pids_max"] == serde_json::json!(expected.pids_max)
        && expected.warning.map_or_else(|| !warned("/proc/") && !warned("/sys/"), warned);
    if is_as_expected {
        return Ok(());
    }
    let shown: String = report.lines().filter(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
    Err(format!(
        "{}:\n{shown}\nmemory {memory:#}\npids {}\nwarnings {warnings:#?}",
        expected.scenario, plan["workers"]["pids_max"]
    ))
}

/// Boots the machine and gives back all that it printed.
fn boot() -> String {
    let kernel = std::env::var("CAC_TEST_KERNEL").expect("CAC_TEST_KERNEL is not set: run scripts/test");
    let scratch = tempfile::tempdir().unwrap();
    let initramfs = make_initramfs(scratch.path());
    // The machine ends by a reboot, which -no-reboot turns into an exit.
    let output = Command::new("timeout")
        .args(["--kill-after=5", "180", "qemu-system-x86_64"])
        .args(["-M", "microvm,acpi=off,rtc=on", "-accel", "tcg", "-cpu", "max", "-m", "1024"])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", &kernel])
        .args(["-append", "console=ttyS0 quiet loglevel=0 panic=-1 reboot=t", "-initrd"])
        .arg(initramfs)
        .stdin(Stdio::null())
        .output()
        .expect("running timeout and qemu-system-x86_64");
    let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(output.status.success(), "{}: {console}", output.status);
    console
}

fn make_initramfs(scratch: &Path) -> std::path::PathBuf {
    let root = scratch.join("root");
    for directory in ["bin", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cgroup_v2/init");
    fs::copy(init, root.join("init")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is needed: run scripts/test");
    fs::copy(env!("CARGO_BIN_EXE_cac-lsphp"), root.join("bin/cac-lsphp")).unwrap();
    copy_with_libraries("/usr/bin/unshare", &root);

    let archive = scratch.join("initramfs");
    let status = Command::new("sh")
        .args(["-c", "find . | busybox cpio -o -H newc >\"$0\" 2>/dev/null"])
        .arg(&archive)
        .current_dir(&root)
        .status()
        .unwrap();
    assert!(status.success(), "cpio: {status}");
    archive
}

/// Busybox's own unshare makes no cgroup namespaces.
fn copy_with_libraries(program: &str, root: &Path) {
    let ldd = Command::new("ldd").arg(program).output().unwrap();
    let libraries = String::from_utf8(ldd.stdout).unwrap();
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([program]) {
        let copy = root.join(&file[1..]);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(file, copy).unwrap();
    }
}
