//! The host's exporter beside real containers and plain processes. `scripts/test --test exporter` prepares what they
//! need.

#[path = "../deploy/podman.rs"]
mod podman;
#[path = "../support/mod.rs"]
mod support;

mod command_line;
mod examples;
mod hostile;
mod plain;
mod privileges;
mod serve;
mod sites;
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use cac_lsphp::lsapi::Request;
use serde_json::Value;
use support::{PATIENCE, Running, Site, client, docker, made, run, text, wait_until};

/// The exporter as root, which the tests are.
fn exporter<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(made("CAC_TEST_EXPORTER"));
    command.args(arguments);
    command
}

/// What `list` says, of all sites of the machine: those of other tests are among them.
fn list() -> Value {
    parse(&run(&mut exporter(["list", "--format", "json"])))
}

fn parse(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The start of the container's id, as the exporter shows it.
fn container(site: &Running) -> String {
    site.inspect("{{.Id}}")[..12].to_owned()
}

/// The sites of this container.
fn seen<'a>(look: &'a Value, container: &str) -> Vec<&'a Value> {
    let all = look["sites"].as_array().unwrap_or_else(|| panic!("{look}"));
    all.iter().filter(|site| site["container"] == container).collect()
}

/// The reasons for which records of this container are not shown.
fn refused(look: &Value, container: &str) -> Vec<String> {
    let all = look["refused"].as_array().unwrap_or_else(|| panic!("{look}"));
    let of_it = all.iter().filter(|refusal| refusal["container"] == container);
    of_it.map(|refusal| refusal["reason"].as_str().unwrap().to_owned()).collect()
}

/// The one site of this container.
#[track_caller]
fn one<'a>(look: &'a Value, container: &str) -> &'a Value {
    let [site] = seen(look, container)[..] else { panic!("{container} once in {look:#}") };
    site
}

/// A site of `user`, with [`PAGES`] at `/srv`.
fn site(user: &str, uid: u32) -> Site {
    Site::new()
        .options(["--no-healthcheck", "-v", &format!("{}:/srv:ro", PAGES.display())])
        .env("user", user)
        .env("uid", &uid.to_string())
        .env("domain", &format!("{user}.example"))
}

/// The same, started without root: its record is its own.
fn without_root(user: &str, uid: u32) -> Site {
    let own = format!("uid={uid},gid={uid}");
    site(user, uid)
        .options(["--user", &format!("{uid}:{uid}"), "--tmpfs", &format!("/run:{own},size=200m")])
        .options(["--tmpfs", &format!("/home/{user}:{own}")])
}

/// What any site's user may read. Not a temporary folder: a static one is never removed.
static PAGES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exporter-pages");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("page.php"), "<?php echo 'served';").unwrap();
    fs::write(folder.join("sleep.php"), "<?php sleep(600);").unwrap();
    // Two seconds of CPU time, however long that takes.
    let busy = "<?php $s = str_repeat('x', 20 << 20); while (getrusage()['ru_utime.tv_sec'] < 2);";
    fs::write(folder.join("busy.php"), busy).unwrap();
    folder
});

/// Asks for `page` of [`PAGES`] so many times at once, and does not wait for answers. The connections stay while the
/// tests run.
fn ask(site: &Running, page: &str, times: usize) {
    for _ in 0..times {
        let mut client = site.client();
        let request = Request::new("GET", format!("/srv/{page}"), format!("/{page}"));
        std::thread::spawn(move || client.fetch(&request, None, PATIENCE * 10));
    }
}
