//! That the sizing never gets a site OOM-killed: at each memory limit, twice as many clients as workers ask for
//! a page that makes its worker grow to the estimate, with a full opcode cache; and again with a reload in the middle,
//! supervised. Beside it the same with the extra third of workers that lsphp adds by default. Takes minutes:
//! `scripts/prove-sizing` runs it.

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use support::{PATIENCE, Running, Site, as_front_end, wait_until};
use tempfile::TempDir;

const SCRIPTS_IN_CACHE: usize = 4000;
/// Requests that a client sends, one after the other.
const ROUNDS: usize = 2;
/// From this limit up a pool must use as much of it, in percent, or the estimate is too high.
const USED_FROM_MIB: u64 = 1024;
const LEAST_USED: u64 = 80;

const FILL: &str = r#"<?php
foreach (glob(__DIR__ . '/lib/*.php') as $file) {
    opcache_compile_file($file);
}
$status = opcache_get_status(false);
printf("%d scripts, %d MiB", $status['opcache_statistics']['num_cached_scripts'], $status['memory_usage']['used_memory'] >> 20);
"#;

/// Grows its worker, and then holds still until every worker has had time to be as large.
const GROW: &str = r#"<?php
$anonymous = fn () => preg_match('/^RssAnon:\s+(\d+)/m', file_get_contents('/proc/self/status'), $m) ? $m[1] >> 10 : 0;
for ($held = []; $anonymous() < $_GET['mib'];) {
    $held[] = str_repeat('x', 1 << 20); // written, so really there
}
usleep(2_500_000);
echo "grown to {$anonymous()} MiB\n";
"#;

/// What one pool did under load.
struct Load {
    workers: u64,
    peak_mib: u64,
    oom_kills: u64,
    failed: usize,
    requests: usize,
    cache: String,
}

#[test]
#[ignore = "takes minutes: scripts/prove-sizing runs it"]
fn no_tier_is_ever_killed() {
    let tiers = std::env::var("CAC_TEST_TIERS").expect("CAC_TEST_TIERS is not set: run scripts/prove-sizing");
    let home = home();
    println!(
        "each worker grows to the estimate (LSPHP_WORKER_ESTIMATE_MB) and holds it; clients: twice the workers"
    );
    println!("tier   pool      workers      peak      headroom    used  OOM kills    failed");
    let unproven: Vec<&str> = tiers.split_whitespace().filter(|tier| !is_proven(tier, home.path())).collect();
    assert!(unproven.is_empty(), "NOT PROVEN at {unproven:?}: see the rows above");
}

/// Prints the tier's rows.
fn is_proven(tier: &str, home: &Path) -> bool {
    let limit = mib(tier);
    if limit > available_mib() {
        println!("{tier}: DID NOT RUN, this machine has less memory available");
        return false;
    }
    let ours = load(tier, home, &[], |_, _| ());
    print_row(tier, "ours", limit, &ours);
    let reloaded = load(tier, home, &[("CAC_SUPERVISE", "1")], reload_in_the_middle);
    print_row("", "reloaded", limit, &reloaded);
    let (workers, extra) = (ours.workers.to_string(), (ours.workers / 3).to_string());
    let lsphps =
        load(tier, home, &[("PHP_LSAPI_CHILDREN", &workers), ("LSAPI_EXTRA_CHILDREN", &extra)], |_, _| ());
    print_row("", "default", limit, &lsphps);
    println!("       opcode cache when the load began: {}", ours.cache);
    let is_used = limit < USED_FROM_MIB || ours.peak_mib * 100 / limit >= LEAST_USED;
    is_used && [ours, reloaded].iter().all(|load| load.oom_kills == 0 && load.failed == 0)
}

/// What happens beside the requests, with how many of them are done.
type Beside = fn(&Running, &AtomicUsize);

/// Every worker is busy then, and as many clients wait. Ends when there is one pool at its full size again.
fn reload_in_the_middle(site: &Running, done: &AtomicUsize) {
    let name = || fs::read_to_string(site.proc("comm")).unwrap_or_default();
    let before = name();
    let workers: usize = before.trim_end().rsplit_once(':').unwrap().1.parse().unwrap();
    wait_until(|| match done.load(Ordering::Relaxed) {
        answers if answers >= workers * ROUNDS => Ok(()),
        answers => Err(format!("{answers} answers")),
    });
    let said = site.exec(["cac-lsphp", "reload"]);
    assert!(said.starts_with("reloaded: "), "{said}");
    wait_until(|| if name() == before { Ok(()) } else { Err(site.logs()) });
}

fn print_row(tier: &str, pool: &str, limit: u64, load: &Load) {
    let Load { workers, peak_mib, oom_kills, failed, requests, .. } = load;
    println!(
        "{tier:<6} {pool:<9} {workers:>7} {peak_mib:>5} MiB {:>9} MiB {:>5} % {oom_kills:>10} {:>9}",
        limit.saturating_sub(*peak_mib),
        peak_mib * 100 / limit,
        format!("{failed}/{requests}")
    );
}

fn load(tier: &str, home: &Path, more: &[(&str, &str)], beside: Beside) -> Load {
    let site = Site::at(home)
        .options(["--memory", tier, "--memory-swap", tier])
        .env("CAC_INI_memory_limit", "512M")
        .env("CAC_INI_max_execution_time", "0");
    let site = more.iter().fold(site, |site, (name, value)| site.env(name, value)).start();
    let cache = String::from_utf8(site.get("fill.php").body).unwrap();
    let plan: Value = serde_json::from_str(&site.exec(["cac-lsphp", "plan", "--format", "json"])).unwrap();
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number in {plan:#}"));
    let workers = number(&plan["front_end"]["max_conns"]);
    let estimate = number(&plan["workers"]["estimate_mib"]);
    let clients = 2 * workers as usize;
    let done = &AtomicUsize::new(0);
    let failed = thread::scope(|scope| {
        let asking: Vec<_> = (0..clients).map(|_| scope.spawn(|| failures(&site, estimate, done))).collect();
        beside(&site, done);
        asking.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let cgroup = cgroup(&site);
    Load {
        workers,
        peak_mib: read(&cgroup, ["memory.max_usage_in_bytes", "memory.peak"]).trim().parse::<u64>().unwrap()
            >> 20,
        oom_kills: oom_kills(&read(&cgroup, ["memory.oom_control", "memory.events"])),
        failed,
        requests: clients * ROUNDS,
        cache,
    }
}

/// How many of a client's requests were not answered as they must.
fn failures(site: &Running, estimate_mib: u64, done: &AtomicUsize) -> usize {
    let mut request = as_front_end("grow.php");
    request.query_string = format!("mib={estimate_mib}").into_bytes();
    let is_grown = || {
        let response = site.client().fetch(&request, None, 4 * PATIENCE);
        done.fetch_add(1, Ordering::Relaxed);
        response.is_ok_and(|response| response.body.starts_with(b"grown"))
    };
    (0..ROUNDS).filter(|_| !is_grown()).count()
}

fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    let site = Site::at(home.path()).page("fill.php", FILL).page("grow.php", GROW);
    (0..SCRIPTS_IN_CACHE).fold(site, |site, script| {
        let functions: String = (0..12).map(|number| function(script, number)).collect();
        site.page(&format!("lib/{script}.php"), &format!("<?php\n{functions}"))
    });
    home
}

fn function(script: usize, number: usize) -> String {
    format!(
        "function f{script}_{number}(array $a): array {{
            foreach ($a as $k => $v) {{ $a[$k] = [$v, \"{number}\", $k]; }} return $a;
        }}\n"
    )
}

/// The container's memory cgroup as the host sees it, in either version.
fn cgroup(site: &Running) -> PathBuf {
    let id = site.inspect("{{.Id}}");
    let places = [
        format!("/sys/fs/cgroup/memory/docker/{id}"),
        format!("/sys/fs/cgroup/docker/{id}"),
        format!("/sys/fs/cgroup/system.slice/docker-{id}.scope"),
    ];
    let place = places.iter().map(PathBuf::from).find(|place| place.is_dir());
    place.unwrap_or_else(|| panic!("the memory cgroup of container {id} is in none of {places:?}"))
}

/// The first of these files that there is: v1 has one, v2 the other.
fn read(cgroup: &Path, names: [&str; 2]) -> String {
    let text = names.iter().find_map(|name| fs::read_to_string(cgroup.join(name)).ok());
    text.unwrap_or_else(|| panic!("{}: none of {names:?}", cgroup.display()))
}

fn oom_kills(events: &str) -> u64 {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.unwrap_or_else(|| panic!("no oom_kill in {events:?}")).parse().unwrap()
}

/// `512M` and `1G`, as Docker reads them.
fn mib(tier: &str) -> u64 {
    let (number, unit) = tier.split_at(tier.len() - 1);
    let number: u64 =
        number.parse().unwrap_or_else(|_| panic!("{tier:?} is no memory limit such as 512M or 1G"));
    match unit {
        "M" => number,
        "G" => number * 1024,
        _ => panic!("{tier:?} is no memory limit such as 512M or 1G"),
    }
}

fn available_mib() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
