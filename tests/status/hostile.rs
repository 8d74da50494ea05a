//! What a site can write is shown escaped and bounded.

use std::os::unix::fs::chown;

use super::*;

#[test]
fn a_title_cannot_reach_the_terminal() {
    let site = Site::new().options(["--no-healthcheck"]).start();
    // An orphan by lsphp's name becomes pid 1's child, with any command line.
    let script = r#"cp /bin/sleep /tmp/lsphp
        (exec -a $'lsphp:/x\n\e]0;owned\a\r\xc2\x9b2J\xff' /tmp/lsphp 1000 &)
        (exec -a "lsphp:$(printf 'y%.0s' $(seq 100000))" /tmp/lsphp 1000 &)"#;
    site.exec(["bash", "-c", script]);
    let json = wait_until(|| {
        let json = json(&site);
        if activities(&json)[0] == 2 { Ok(json) } else { Err(json.to_string()) }
    });
    let scripts: Vec<_> =
        json["workers"].as_array().unwrap().iter().map(|row| row["script"].as_str().unwrap()).collect();
    let escaped = "/x\\n\\u{1b}]0;owned\\u{7}\\r\\u{9b}2J\u{fffd}";
    assert!(scripts.contains(&escaped), "{scripts:?}");
    assert!(scripts.iter().all(|script| script.len() <= 256), "{scripts:?}");

    let output = status(&site, []).stdout;
    let text = String::from_utf8(output).unwrap();
    assert!(!text.contains(|character: char| character.is_control() && character != '\n'), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() < 160), "{text}");
    let watched = site.exec(["sh", "-c", "cac-lsphp status --watch | head -n 1"]);
    assert!(!watched.contains(|character: char| character.is_control() && character != '\n'), "{watched:?}");
    let metrics = String::from_utf8(status(&site, ["--format", "openmetrics"]).stdout).unwrap();
    assert!(!metrics.contains("owned"), "{metrics}");
}

/// In a start without root the record is the site's.
#[test]
fn a_record_cannot_reach_the_terminal() {
    let user = format!("{0}:{0}", support::UID);
    let site =
        Site::new().options(["--no-healthcheck", "--user", &user, "--tmpfs", "/run:uid=61045,gid=61045"]);
    chown(site.home(), Some(support::UID), Some(support::UID)).unwrap();
    let site = site.start();
    let lie = r#"cd /run/cac-lsphp; sed -i 's/"opened_by":"[a-z_]*"/"opened_by":"\\u001b]0;owned\\u0007"/' run.json
        grep -q owned run.json"#;
    site.exec(["sh", "-ec", lie]);
    for command in [&["status"][..], &["opcache", "status"], &["doctor"], &["healthcheck"]] {
        let root = ["exec", "--user", "0", &site.name, "cac-lsphp"];
        let said = support::lines(&docker(root.iter().chain(command)));
        assert!(said.contains("owned") && said.lines().count() == 1, "{command:?}: {said:?}");
        assert!(!said.trim_end().contains(char::is_control), "{command:?}: {said:?}");
    }
}

/// It may make any number of processes, and what it costs to look does not grow with them.
#[test]
fn too_many_children_are_not_looked_through() {
    let site = Site::new().options(["--no-healthcheck", "--pids-limit", "500"]).start();
    let script = "cp /bin/sleep /tmp/lsphp; for n in $(seq 200); do (/tmp/lsphp 1000 &); done";
    site.exec(["bash", "-c", script]);
    let json = json(&site);
    assert_eq!(
        (&json["pool"]["workers"], json["workers"].as_array().unwrap().len()),
        (&Value::Null, 0),
        "{json}"
    );
    let text = String::from_utf8(status(&site, []).stdout).unwrap();
    assert!(text.contains("workers   unknown, lsphp has too many other children"), "{text}");
}
