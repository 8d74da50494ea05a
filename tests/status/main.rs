//! `status`, `doctor` and `opcache` in real containers, in both forms. `scripts/test --test status` prepares what they need.

#[path = "../support/mod.rs"]
mod support;

mod busy;
mod changed;
mod cost;
mod doctor;
mod estimate;
mod formats;
mod hostile;
mod memory;
mod opcache;
mod wordfence;

use std::process::Output;
use std::thread::spawn;

use serde_json::Value;
use support::{PATIENCE, Running, Site, as_front_end, docker, wait_until};

/// Runs until the site goes.
const SLEEP: &str = "<?php sleep(600);";

/// `cac-lsphp status` in the site's container, as root.
fn status<const N: usize>(site: &Running, arguments: [&str; N]) -> Output {
    let command = ["exec", &site.name, "cac-lsphp", "status"];
    docker(command.iter().chain(&arguments))
}

fn json(site: &Running) -> Value {
    let output = status(site, ["--format", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What `json` says of the pool: busy, connected, idle.
fn activities(json: &Value) -> [u64; 3] {
    ["busy", "connected", "idle"].map(|name| json["pool"][name].as_u64().unwrap_or_else(|| panic!("{json}")))
}

/// Asks for `page` so many times at once, and does not wait for answers. The connections stay while the tests run.
fn ask(site: &Running, page: &str, times: usize) {
    for _ in 0..times {
        let (mut client, request) = (site.client(), as_front_end(page));
        spawn(move || client.fetch(&request, None, PATIENCE * 10));
    }
}

/// Asks, and waits until `busy` workers are busy.
fn occupy(site: &Running, page: &str, times: usize, busy: u64) -> Value {
    ask(site, page, times);
    wait_until(|| {
        let json = json(site);
        if activities(&json)[0] == busy { Ok(json) } else { Err(json.to_string()) }
    })
}
