//! The containers that the tables run in.

use std::fs;

use crate::support::{docker, made};

/// Runs one of this binary's ignored tests in a container of the image, as root.
fn inside(test: &str, options: &[&str]) {
    let this = std::env::current_exe().unwrap();
    let program = format!("{}:/attack:ro", this.display());
    let boots = format!("CAC_TEST_RACE_BOOTS={}", std::env::var("CAC_TEST_RACE_BOOTS").unwrap_or_default());
    let image = made("CAC_TEST_IMAGE");
    // The two capabilities are for planting; boots are without them.
    let mut command = vec!["run", "--rm", "--network", "none", "--cap-add", "SYS_ADMIN"];
    command.extend(["--cap-add", "LINUX_IMMUTABLE", "--security-opt", "apparmor=unconfined"]);
    command.extend(["-v", "/home", "-v", &program, "-e", &boots, "--entrypoint", "/attack"]);
    command.extend(options);
    command.extend([&image, "--ignored", "--exact", test, "--nocapture", "--test-threads", "1"]);
    let output = docker(&command);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{stdout}");
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("test result: ok. 1 passed"), "{test} did not run:\n{stdout}");
}

/// A seccomp profile that refuses openat2, as those of old runtimes and kernels do.
fn without_openat2(errno: i32) -> tempfile::NamedTempFile {
    let profile = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{{"names": ["openat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": {errno}}}]}}"#
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), profile).unwrap();
    file
}

fn inside_without_openat2(test: &str, errno: i32) {
    let profile = without_openat2(errno);
    let option = format!("seccomp={}", profile.path().display());
    inside(test, &["--security-opt", &option, "-e", &format!("OPENAT2_ANSWERS={errno}")]);
}

#[test]
fn planted_homes() {
    inside("home::table", &[]);
}

#[test]
fn planted_homes_where_openat2_is_unknown() {
    inside_without_openat2("home::table", libc::ENOSYS);
}

#[test]
fn planted_homes_where_openat2_is_forbidden() {
    inside_without_openat2("home::table", libc::EPERM);
}

#[test]
fn planted_site_links() {
    inside("site_link::table", &[]);
}

#[test]
fn planted_site_links_where_openat2_is_forbidden() {
    inside_without_openat2("site_link::table", libc::EPERM);
}

#[test]
fn planted_runtime_directories() {
    inside("run::table", &[]);
}

#[test]
fn planted_account_files() {
    inside("etc::table", &[]);
}

#[test]
fn starts_at_once_in_one_etc() {
    inside("etc::starts_at_once", &[]);
}

#[test]
fn components_swapped_during_boots() {
    inside("race::boots", &[]);
}

#[test]
fn components_swapped_during_boots_where_openat2_is_unknown() {
    inside_without_openat2("race::boots", libc::ENOSYS);
}
