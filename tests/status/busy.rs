//! What the workers do.

use super::*;

#[test]
fn with_all_workers_busy_and_the_queue_full_each_script_is_named() {
    for supervise in ["0", "1"] {
        let mut site = Site::new().options(["--no-healthcheck"]).env("CAC_SUPERVISE", supervise);
        for worker in 0..7 {
            site = site.page(&format!("sleep{worker}.php"), SLEEP);
        }
        let site = site.start();
        for worker in 0..7 {
            ask(&site, &format!("sleep{worker}.php"), 1);
        }
        let backlog =
            usize::try_from(occupy(&site, "sleep0.php", 0, 7)["pool"]["queue"]["limit"].as_u64().unwrap())
                .unwrap();
        ask(&site, "sleep0.php", backlog + 1);
        let json = wait_until(|| {
            let json = json(&site);
            if json["pool"]["saturated"] == true { Ok(json) } else { Err(json.to_string()) }
        });
        let mut scripts: Vec<_> = json["workers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["script"].as_str().unwrap().to_owned())
            .collect();
        scripts.sort();
        let expected: Vec<_> = (0..7).map(|worker| format!("sleep{worker}.php")).collect();
        let names: Vec<_> = scripts.iter().map(|script| script.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, expected, "{json}");
        let lsphp = json["lsphp"].as_array().unwrap();
        assert_eq!((lsphp.len(), lsphp[0]["pid"] == 1), (1, supervise == "0"), "{json}");
        assert_eq!(json["doing"].as_str(), (supervise == "1").then_some("serving"));
        let text = String::from_utf8(status(&site, []).stdout).unwrap();
        assert!(
            text.contains("7 of 7: 7 busy, 0 connected, 0 idle; queue ") && text.contains(", saturated"),
            "{text}"
        );
    }
}

/// Two that are busy, one that holds a connection without a request, one that waits for a connection. In these
/// states nothing moves, so every sample must say so, until lsphp sends the idle one away.
#[test]
fn a_thousand_samples_agree_with_what_the_workers_do() {
    let site = Site::new().options(["--no-healthcheck"]).env("LSAPI_MAX_IDLE", "600");
    let wait = "<?php while (!file_exists('/home/alice/go')) { usleep(10000); clearstatcache(); }";
    let site = site.page("sleep.php", SLEEP).page("wait.php", wait).start();
    let (mut kept, mut closed) = (site.client(), site.client());
    std::thread::scope(|scope| {
        // At once, so that each takes a worker of its own.
        scope.spawn(|| site.fetch(&mut kept, "wait.php"));
        scope.spawn(|| site.fetch(&mut closed, "wait.php"));
        occupy(&site, "sleep.php", 2, 4);
        std::fs::write(site.home.join("go"), "").unwrap();
    });
    drop(closed);
    wait_until(|| {
        let json = json(&site);
        if activities(&json) == [2, 1, 1] { Ok(()) } else { Err(json.to_string()) }
    });
    let samples = site.exec([
        "sh",
        "-c",
        "n=0; while [ $n -lt 1000 ]; do cac-lsphp status --format json || exit 1; n=$((n+1)); done",
    ]);
    let (mut count, mut last_idle, mut with_idle) = (0, 1, 0);
    for line in samples.lines() {
        let json: Value = serde_json::from_str(line).unwrap();
        let idle = json["pool"]["workers"].as_u64().unwrap() - 3;
        assert!(idle <= last_idle, "sample {count}: {json}");
        assert_eq!(activities(&json), [2, 1, idle], "sample {count}: {json}");
        (last_idle, count, with_idle) = (idle, count + 1, with_idle + idle);
    }
    assert!(with_idle >= 100, "{with_idle}");
    assert_eq!(count, 1000);
    drop(kept);
}

#[test]
fn a_site_that_is_stopped_says_why() {
    let site = Site::new().options(["--no-healthcheck"]).start();
    docker(["kill", "--signal", "STOP", &site.name]);
    let output = wait_until(|| {
        let output = status(&site, []);
        if output.status.code() == Some(1) { Ok(output) } else { Err(format!("{output:?}")) }
    });
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty() && stderr.contains("lsphp 1 is stopped by a signal"), "{stderr}");
    let json = json(&site);
    assert_eq!(
        (&json["up"], &json["reason"], &json["user"]),
        (&false.into(), &"stopped".into(), &"alice".into())
    );
    let metrics = String::from_utf8(status(&site, ["--format", "openmetrics"]).stdout).unwrap();
    assert!(metrics.contains("phpfpm_up{user=\"alice\",domain=\"example.com\"} 0\n"), "{metrics}");
}

/// A worker that the last lsphp has left in its request is a worker, and the next lsphp, which has none yet, is none.
#[test]
fn after_a_reload_who_is_still_busy_is_told_from_who_serves() {
    // With room for both at once the next one is started before the last one has left.
    let site = Site::new().options(["--no-healthcheck"]).env("CAC_SUPERVISE", "1");
    let site = site.env("PHP_LSAPI_CHILDREN", "2").page("sleep.php", SLEEP).start();
    let busy = occupy(&site, "sleep.php", 1, 1);
    support::text(docker(["exec", &site.name, "cac-lsphp", "reload"]));
    let json = wait_until(|| {
        let json = json(&site);
        let pids =
            |json: &Value| json["lsphp"].as_array().unwrap().iter().map(|row| row["pid"].clone()).collect();
        let (before, after): (Vec<Value>, Vec<Value>) = (pids(&busy), pids(&json));
        if after.contains(&before[0]) { Err(format!("the last one has not left: {json}")) } else { Ok(json) }
    });
    let pid = |json: &Value, what: &str| json[what][0]["pid"].clone();
    assert_eq!((activities(&json), json["lsphp"].as_array().unwrap().len()), ([1, 0, 0], 1), "{json}");
    assert_eq!(pid(&json, "workers"), pid(&busy, "workers"), "{json}");
    let health = site.exec(["cac-lsphp", "healthcheck"]);
    assert!(health.contains(&format!("lsphp {}, 1 workers", pid(&json, "lsphp"))), "{health} {json}");
}

/// Hands a listener over as systemd does, where the container's tables of its own do not show one at CAC_LISTEN.
const HAND_OVER: &str = "use Socket; $^F = 9; socket(L, PF_UNIX, SOCK_STREAM, 0) && fileno(L) == 3 or die;
    bind(L, sockaddr_un('/tmp/site.sock')) && listen(L, 9) or die $!;
    ($ENV{LISTEN_FDS}, $ENV{LISTEN_PID}) = (1, $$); exec 'cac-lsphp'";

/// Only its start is told of it, and every command is of use all the same.
#[test]
fn a_site_whose_listener_was_handed_over_is_up() {
    let site = Site::new().options(["--no-healthcheck", "--entrypoint", "perl"]).env("CAC_IDLE_EXIT", "900");
    let site = site.arguments(["-e", HAND_OVER]).launch();
    // As the site's user, who can see what lsphp holds.
    let user = support::UID.to_string();
    wait_until(|| {
        let health = docker(["exec", "--user", &user, &site.name, "cac-lsphp", "healthcheck"]);
        if health.status.success() { Ok(()) } else { Err(format!("{health:?}\n{}", site.logs())) }
    });
    let json = json(&site);
    assert_eq!((&json["up"], &json["pool"]["queue"]), (&true.into(), &Value::Null), "{json}");
    assert_eq!(doctor::found(&site, []), [""; 0]);
    assert_eq!(site.exec(["cac-lsphp", "exec", "--", "id", "-u"]).trim(), user);
    assert!(site.exec(["cac-lsphp", "plan"]).contains("the listener is handed over"));
    // As far as the site itself, whose it is, is concerned: its lsphp has lost it.
    let lost = r#"s/"handed_over":[0-9]*/"handed_over":1/"#;
    site.exec(["sed", "-i", lost, "/run/cac-lsphp/run.json"]);
    assert_eq!(status(&site, []).status.code(), Some(1));
}

#[test]
fn a_watch_without_a_terminal_is_a_line_a_second() {
    let site = Site::new().options(["--no-healthcheck"]).page("sleep.php", SLEEP).start();
    occupy(&site, "sleep.php", 1, 1);
    let lines = site.exec(["sh", "-c", "cac-lsphp status --watch | head -n 3"]);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        assert!(line.starts_with("1 of 7: 1 busy, ") && line.contains("; longest busy "), "{line}");
        assert!(line.ends_with("/sleep.php") && !line.contains('\x1b'), "{line}");
    }
}
