//! A supervised site in real containers, with real PHP: what a reload, a stop and an end of lsphp cost its
//! visitors. Counted is what was asked, what was answered, and what was executed.

#[path = "../support/mod.rs"]
mod support;

mod busy_count;
mod deaths;
mod failures;
mod hostile;
mod load;
mod memory;
mod pid1;
mod reload;
mod stop;

use std::process::Output;

use crate::support::{Running, Site, docker, lines, wait_until};

/// A site that is supervised, with the page of [`support::orders`].
fn supervised() -> Site {
    Site::new().env("CAC_SUPERVISE", "1").page("order.php", support::orders::PAGE)
}

/// Reloads as an operator does: as root, in the container.
fn reload(site: &Running) -> Output {
    reload_with(site, &[])
}

/// With options of `docker exec`.
fn reload_with(site: &Running, options: &[&str]) -> Output {
    docker([&["exec"], options, &[&site.name, "cac-lsphp", "reload"]].concat())
}

/// What pid 1 calls itself: `serving:7`.
fn name(site: &Running) -> String {
    std::fs::read_to_string(site.proc("comm")).unwrap_or_default().trim().to_owned()
}

fn wait_for_name(site: &Running, wanted: &str) {
    wait_until(|| match name(site) {
        name if name == wanted => Ok(()),
        name => Err(format!("{name}, not {wanted}\n{}", site.logs())),
    });
}

/// The pids of the lsphp's that pid 1 has started, as the container numbers them.
fn generations(site: &Running) -> Vec<u32> {
    let children = site.exec(["sh", "-c", "cat /proc/1/task/1/children"]);
    let is_lsphp = |pid: &u32| {
        let path = format!("/proc/{pid}/comm");
        docker(["exec", &site.name, "cat", &path]).stdout.starts_with(b"lsphp")
    };
    children.split_whitespace().map(|pid| pid.parse().unwrap()).filter(is_lsphp).collect()
}

/// Lines of the log with all of these words.
fn said(site: &Running, words: &[&str]) -> usize {
    site.logs().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}
