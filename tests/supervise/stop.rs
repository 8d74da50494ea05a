//! `docker stop` while visitors ask.

use std::fs;
use std::process::Output;
use std::thread;

use crate::load::{self, CLIENTS, MIXED, while_asked};
use crate::support::orders::{self, Order};
use crate::support::{PATIENCE, Running, docker, lines, lsphp, text, wait_until};
use crate::{said, supervised};

/// Longer than the requests of every client take on seven workers.
const ENOUGH: &str = "40";

fn signal(site: &Running, name: &str) -> Output {
    docker(["kill", "--signal", name, &site.name])
}

fn wait_for_end(site: &Running) -> i32 {
    wait_until(|| if site.is_running() { Err(format!("running\n{}", site.logs())) } else { Ok(()) });
    site.inspect("{{.State.ExitCode}}").parse().unwrap()
}

#[test]
fn a_stop_answers_whoever_waits() {
    stops_answer_whoever_waits(2);
}

#[test]
#[ignore = "takes minutes, and proves what two stops do: scripts/test --test supervise -- --ignored"]
fn twenty_stops_answer_whoever_waits() {
    stops_answer_whoever_waits(20);
}

/// Whoever had a connection when the stop began is answered; whoever comes later gets none. Nothing is executed
/// that is not answered.
fn stops_answer_whoever_waits(count: usize) {
    for _ in 0..count {
        let site = supervised().env("CAC_STOP_TIMEOUT", ENOUGH).with_own_network().start();
        let ((), tally) = while_asked(&site, CLIENTS, MIXED, || {
            text(docker(["stop", "--time", "60", &site.name]));
        });
        println!("a stop: {} answered, {} not connected", tally.answered.len(), tally.refused.len());
        tally.assert_each_once(&site.home);
        assert_eq!(site.inspect("{{.State.ExitCode}}"), "0");
        assert_eq!(said(&site, &["stopped: every request was answered"]), 1, "{}", site.logs());
    }
}

/// `CAC_LSPHP` may be a script, which becomes an lsphp that bears the name lsphp and not the script's.
#[test]
fn an_lsphp_that_a_script_becomes_is_known_and_waited_for() {
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", lsphp());
    let start = format!("printf '{script}' >/opt/php-with-jemalloc && chmod 755 /opt/php-with-jemalloc");
    let site = supervised().env("CAC_LSPHP", "/opt/php-with-jemalloc").env("CAC_STOP_TIMEOUT", ENOUGH);
    let start = format!("{start} && exec cac-lsphp");
    let site = site.options(["--entrypoint", "sh"]).arguments(["-c", &start]).start();
    assert_eq!(site.get("order.php").status, 200);
    wait_until(|| match lines(&docker(["exec", &site.name, "cac-lsphp", "healthcheck"])) {
        said if said.contains("1 workers of 7") => Ok(()),
        said => Err(said),
    });
    let order = Order { name: "order".to_owned(), ms: 2000, is_post: true };
    thread::scope(|scope| {
        let asking = scope.spawn(|| site.client().fetch(&load::request(&order), order.body(), PATIENCE));
        wait_until(|| match orders::executed(&site.home).contains_key("order") {
            true => Ok(()),
            false => Err(site.logs()),
        });
        text(signal(&site, "TERM"));
        assert_eq!(wait_for_end(&site), 0, "{}", site.logs());
        assert_eq!(asking.join().unwrap().unwrap().body, b"order");
    });
    assert_eq!(said(&site, &["stopped: every request was answered"]), 1, "{}", site.logs());
}

#[test]
fn an_idle_site_does_not_wait_for_the_deadline() {
    for name in ["TERM", "INT", "QUIT"] {
        let site = supervised().env("CAC_STOP_TIMEOUT", "86400").start();
        assert_eq!(site.get("order.php").status, 200);
        text(signal(&site, name));
        assert_eq!(wait_for_end(&site), 0, "{name}");
    }
}

/// One client, whose page takes longer than anybody waits.
fn while_an_endless_request_runs(stop_timeout: &str, act: impl FnOnce(&Running)) -> Running {
    let site = supervised().env("CAC_STOP_TIMEOUT", stop_timeout).start();
    let request = load::request(&Order { name: "endless".to_owned(), ms: 3_600_000, is_post: false });
    thread::scope(|scope| {
        let asking = scope.spawn(|| site.client().fetch(&request, None, PATIENCE));
        wait_until(|| match orders::executed(&site.home).len() {
            1 => Ok(()),
            _ => Err(site.logs()),
        });
        act(&site);
        assert_eq!(wait_for_end(&site), 0, "{}", site.logs());
        assert!(asking.join().unwrap().is_err());
    });
    site
}

#[test]
fn what_is_cut_at_the_deadline_is_named() {
    let site = while_an_endless_request_runs("1", |site| {
        text(signal(site, "TERM"));
    });
    assert_eq!(said(&site, &["is cut in", "order.php", "CAC_STOP_TIMEOUT"]), 1, "{}", site.logs());
    assert_eq!(fs::read_to_string(site.home.join("orders")).unwrap(), "endless\n");
}

#[test]
fn a_second_signal_does_not_wait_for_the_deadline() {
    let site = while_an_endless_request_runs("86400", |site| {
        text(signal(site, "TERM"));
        wait_until(|| match said(site, &["stopping"]) {
            0 => Err(site.logs()),
            _ => Ok(()),
        });
        text(signal(site, "TERM"));
    });
    assert_eq!(said(&site, &["is cut in", "order.php"]), 1, "{}", site.logs());
}

/// Seven whom a worker has, and seven who wait.
#[test]
fn who_waits_at_the_deadline_is_never_served() {
    let site = supervised().env("CAC_STOP_TIMEOUT", "1").start();
    let ask = |number: u32| {
        let order = Order { name: format!("endless-{number}"), ms: 3_600_000, is_post: false };
        site.client().fetch(&load::request(&order), None, PATIENCE)
    };
    thread::scope(|scope| {
        let asking: Vec<_> = (0..14).map(|number| scope.spawn(move || ask(number))).collect();
        wait_until(|| match site.exec(["cac-lsphp", "healthcheck"]) {
            said if said.contains("queue 7 of 511") => Ok(()),
            said => Err(said),
        });
        text(signal(&site, "TERM"));
        assert_eq!(wait_for_end(&site), 0, "{}", site.logs());
        assert!(asking.into_iter().all(|client| client.join().unwrap().is_err()));
    });
    assert_eq!(orders::executed(&site.home).len(), 7, "{}", site.logs());
    assert_eq!(said(&site, &["is cut in", "order.php"]), 7, "{}", site.logs());
}

/// At a deadline that comes at once, while workers go from one request to the next.
#[test]
fn whatever_is_executed_and_not_answered_is_named() {
    let mut all_named = 0;
    for _ in 0..4 {
        let site = supervised().env("CAC_STOP_TIMEOUT", "0").with_own_network().start();
        let ((), tally) = while_asked(&site, CLIENTS, &[0, 20], || {
            text(docker(["stop", "--time", "60", &site.name]));
        });
        let named = said(&site, &["is cut in", "order.php"]);
        let unanswered = tally.others(orders::executed(&site.home));
        assert!(unanswered.values().all(|times| *times == 1), "{unanswered:?}");
        assert!(unanswered.len() <= named, "{unanswered:?}\n{}", site.logs());
        all_named += named;
    }
    assert!(all_named > 0, "no stop cut anything");
}
