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

use crate::support::{PATIENCE, Running, Site, docker, lines, wait_for};

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

#[track_caller]
fn wait_for_name(site: &Running, wanted: &str) {
    // A pool that could not grow within the grace, on a machine that is busy, tries again after a minute.
    wait_for(3 * PATIENCE, || match name(site) {
        name if name == wanted => Ok(()),
        name => Err(format!("{name}, not {wanted}\n{}", site.logs())),
    });
}

/// The pids of the lsphp's that pid 1 has started, as the container numbers them.
fn generations(site: &Running) -> Vec<u32> {
    // One may end in between.
    let list = "for c in $(cat /proc/1/task/1/children); do n=$(cat /proc/$c/comm) && echo $c $n; done; true";
    let children = site.exec(["sh", "-c", list]);
    let all = children.lines().filter_map(|line| line.split_once(' '));
    all.filter(|(_, name)| name.starts_with("lsphp")).map(|(pid, _)| pid.parse().unwrap()).collect()
}

/// Lines of the log with all of these words.
fn said(site: &Running, words: &[&str]) -> usize {
    site.logs().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}
