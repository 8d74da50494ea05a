//! Every site is found, once, and shown as it shows itself.

use super::*;
use crate::podman::Podman;
use crate::support::traces::Traces;

/// What `cac-lsphp status` says in the site's container.
fn status(site: &Running) -> Value {
    let output = docker(["exec", &site.name, "cac-lsphp", "status", "--format", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What two looks at a site that does nothing have in common: not its pids, which count elsewhere, nor its age and what
/// the look inside takes itself.
fn lasting(status: &Value) -> Value {
    let mut lasting = status.clone();
    for (object, volatile) in [
        ("memory", &["limit_source", "used_bytes", "held_bytes", "peak_bytes"][..]),
        ("estimate", &["span_seconds", "worked_seconds", "message"]),
    ] {
        for name in volatile {
            lasting[object].as_object_mut().unwrap().remove(*name);
        }
    }
    let parents = lasting["lsphp"].as_array().unwrap().len();
    lasting["lsphp"] = parents.into();
    let rows = lasting["workers"].as_array_mut().unwrap();
    let kept = |row: &Value| serde_json::json!([row["state"], row["script"], row["peak_bytes"]]);
    let mut kept: Vec<_> = rows.iter().map(kept).collect();
    kept.sort_by_key(ToString::to_string);
    *rows = kept;
    lasting
}

#[test]
fn twenty_containers_are_shown_as_they_show_themselves() {
    let sites: Vec<_> = (0..20)
        .map(|number| {
            let (user, uid) = (format!("user{number}"), 62000 + number);
            let domain = format!("{user}.example");
            let site = if number % 5 == 3 { without_root(&user, uid) } else { site(&user, uid) };
            let site = site.options(["--memory", ["256m", "512m"][number as usize % 2]]);
            let site = match number % 5 {
                0 => site.env("CAC_SUPERVISE", "1"),
                1 => site.env("CAC_BACKLOG", "77"),
                2 => site.options(["--init"]),
                _ => site,
            };
            (user, domain, site.launch())
        })
        .collect();
    for (_, _, site) in &sites {
        wait_until(|| if site.listening_ports().contains(&9000) { Ok(()) } else { Err(site.logs()) });
    }
    for (number, (_, _, site)) in sites.iter().enumerate() {
        // Of the 256 MiB ones two workers, so that one waits in the queue.
        ask(site, "sleep.php", number % 4);
    }
    for (number, (user, domain, site)) in sites.iter().enumerate() {
        let (own, seen) = wait_until(|| {
            let (before, look, after) = (status(site), list(), status(site));
            let seen = one(&look, &container(site)).clone();
            let is_settled = before["up"] == true
                && seen["status"]["up"] == true
                && lasting(&before) == lasting(&after)
                && lasting(&after) == lasting(&seen["status"]);
            if is_settled { Ok((after, seen)) } else { Err(format!("{before}\n{seen}\n{after}")) }
        });
        assert_eq!((&own["user"], &own["domain"]), (&user.as_str().into(), &domain.as_str().into()));
        let busy = own["pool"]["busy"].as_u64().unwrap();
        assert_eq!(busy, (number % 4).min(own["pool"]["limit"].as_u64().unwrap() as usize) as u64, "{own}");
        let recorded_by = if number % 5 == 3 { "site" } else { "root" };
        assert_eq!(seen["recorded_by"], recorded_by, "{user}");
        assert_eq!(seen["uid"], 62000 + number);
    }
    let (first, rest) = sites.split_first().unwrap();
    first.2.stop();
    let gone = container(&first.2);
    wait_until(|| {
        let look = list();
        if seen(&look, &gone).is_empty() && refused(&look, &gone).is_empty() {
            Ok(())
        } else {
            Err(look.to_string())
        }
    });
    let table = text(run(&mut exporter(["list", "--sort", "memory"])));
    for (user, domain, _) in rest {
        assert_eq!(table.lines().filter(|line| line.contains(domain.as_str())).count(), 1, "{user}: {table}");
    }
}

#[test]
fn a_site_that_is_stopped_is_down_and_says_why() {
    let site = site("stopped", 62200).start();
    let pid = site.inspect("{{.State.Pid}}");
    text(run(Command::new("kill").args(["-STOP", &pid])));
    let status = wait_until(|| {
        let status = one(&list(), &container(&site))["status"].clone();
        if status["reason"] == "stopped" { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(status["up"], false);
    assert_eq!(status["user"], "stopped");
    text(run(Command::new("kill").args(["-CONT", &pid])));
    assert_eq!(one(&list(), &container(&site))["status"]["up"], true);
}

/// What looks could leave behind in a site whose workers all sleep: processes, connections, and each wake-up of a worker.
fn traces(site: &Running) -> (Traces, Vec<String>) {
    let traces = site.traces();
    let waits = traces.processes[1..].iter().map(|(worker, _)| {
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        support::status_field(&status, "voluntary_ctxt_switches")
    });
    let waits = waits.collect();
    (traces, waits)
}

#[test]
fn sixty_looks_change_nothing() {
    let site = site("calm", 62201).start();
    ask(&site, "sleep.php", 7);
    let container = container(&site);
    wait_until(|| {
        let look = list();
        if one(&look, &container)["status"]["pool"]["busy"] == 7 { Ok(()) } else { Err(look.to_string()) }
    });
    let before = traces(&site);
    for _ in 0..60 {
        assert_eq!(one(&list(), &container)["status"]["pool"]["busy"], 7);
    }
    assert_eq!(traces(&site), before);
}

#[test]
fn a_container_of_podmans_is_found_under_its_id() {
    let podman = Podman::with_image();
    let site =
        ["-e", "user=podman", "-e", "uid=62202", "-e", "domain=podman.example", "localhost/cac-lsphp:php83"];
    let options = ["run", "-d", "--network", "none", "--memory", "512m"];
    let id = text(podman.run(&[&options[..], &site[..]].concat()));
    let found = wait_until(|| {
        let look = list();
        match seen(&look, &id[..12])[..] {
            [site] if site["status"]["up"] == true => Ok(site.clone()),
            _ => Err(format!("{look:#}\n{}", support::lines(&podman.run(&["logs", id.trim()])))),
        }
    });
    assert_eq!((&found["status"]["user"], &found["uid"]), (&"podman".into(), &62_202.into()), "{found:#}");
    assert_eq!(found["status"]["memory"]["limit_bytes"], 512_u64 << 20, "{found:#}");
    assert_eq!(found["status"]["pool"]["queue"]["length"], 0, "{found:#}");
}
