//! `examples/compose.yaml` and OpenLiteSpeed's configuration beside it, run with docker-compose. The front
//! end is the OpenLiteSpeed that scripts/setup found, else tests/front_end, which reads that same configuration.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::project::{Project, SITES};
use crate::support::{docker, lines, repository, text, wait_until};

const PAGE: &str = "<?php
header('Content-Type: application/json');
echo json_encode(['file' => $_SERVER['SCRIPT_FILENAME'], 'root' => $_SERVER['DOCUMENT_ROOT'],
    'uid' => posix_getuid(), 'body' => file_get_contents('php://input'), 'query' => $_GET,
    'uri' => $_SERVER['REQUEST_URI']]);
";

/// As WordPress writes it.
const HTACCESS: &str = "RewriteEngine On
RewriteBase /
RewriteRule ^index\\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
";

/// The example, up, with the pages of both sites and these compose files of the repository laid over it.
pub fn up_with(overlays: &'static [&'static str]) -> Project {
    let project = Project::new(overlays);
    for (user, _, domain) in SITES {
        project.page(user, "index.php", PAGE);
        project.page(user, "site.css", domain);
        project.page(user, ".htaccess", HTACCESS);
    }
    project.up();
    project
}

#[test]
fn two_sites_are_served_through_one_front_end_and_cannot_reach_each_other() {
    let project = up_with(&[]);
    project.wait_until_healthy();
    for (user, uid, domain) in SITES {
        is_served(&project, user, uid, domain);
        front_end_is_told_what_the_plan_says(&project, user);
    }
    assert_eq!(project.curl("unknown.example", "/", &[]).0, 404);
    assert_eq!(project.json("www.example.com", "/", &[])["uid"], 61045, "a second name of alice's");
    only_the_front_end_reaches_a_site(&project);
    a_stop_answers_what_is_in_flight(&project);
    each_answers_for_itself_in_whatever_order_they_start(&project);
}

/// Longer than a front end needs for a page, and what a stop without supervision would have cut.
const SLOW: &str =
    "<?php file_put_contents('/home/alice/begun', '.', FILE_APPEND); sleep(3); echo 'answered';";

fn a_stop_answers_what_is_in_flight(project: &Project) {
    let container = project.container("alice");
    let inspect = |format: &str| text(docker(["inspect", "--format", format, &container])).trim().to_owned();
    let timeout = text(docker(["exec", &container, "printenv", "CAC_STOP_TIMEOUT"]));
    let (docker_waits, site_waits) = (inspect("{{.Config.StopTimeout}}"), timeout.trim());
    let seconds = |text: &str| text.parse::<u64>().unwrap();
    assert!(
        seconds(&docker_waits) > seconds(site_waits) + 1,
        "{docker_waits} s, and {site_waits} of the site's"
    );

    project.page("alice", "slow.php", SLOW);
    let begun = project.home("alice").join("begun");
    let asking = || project.curl("example.com", "/slow.php", &[]);
    std::thread::scope(|scope| {
        let answer = scope.spawn(asking);
        wait_until(|| fs::metadata(&begun).map_err(|error| format!("not begun: {error}")));
        text(project.compose(&["stop", "alice"]));
        assert_eq!(answer.join().unwrap(), (200, "answered".to_owned()));
    });
    assert_eq!(fs::read_to_string(&begun).unwrap(), ".", "it was executed twice");
    assert_eq!(inspect("{{.State.ExitCode}}"), "0", "{}", lines(&docker(["logs", &container])));
}

/// The front end goes on to the address that it has looked up, whichever site has that by then.
fn each_answers_for_itself_in_whatever_order_they_start(project: &Project) {
    for order in [["alice", "bob"], ["bob", "alice"]] {
        text(project.compose(&["stop", "alice", "bob"]));
        for site in order {
            text(project.compose(&["start", site]));
        }
        project.wait_until_healthy();
        for (user, uid, domain) in SITES {
            let page = wait_until(|| match project.curl(domain, "/", &[]) {
                (200, page) => Ok(page),
                other => Err(format!("{user}, started in the order {order:?}: {other:?}")),
            });
            let page: Value = serde_json::from_str(&page).unwrap();
            assert_eq!(page["uid"], uid, "{user}'s visitor, started in the order {order:?}");
        }
    }
}

fn is_served(project: &Project, user: &str, uid: u32, domain: &str) {
    let home = format!("/home/{user}/public_html");
    let page = project.json(domain, "/?a=b%20c", &["--data-binary", "the body"]);
    let expected = json!({
        "file": format!("{home}/index.php"), "root": home, "uid": uid,
        "body": "the body", "query": {"a": "b c"}, "uri": "/?a=b%20c",
    });
    assert_eq!(page, expected);
    assert_eq!(project.curl(domain, "/site.css", &[]), (200, domain.to_owned()), "sent by the front end");
    assert_eq!(project.json(domain, "/no/such/page", &[])["uri"], "/no/such/page");
    assert_eq!(project.curl(domain, "/../../../../etc/passwd", &["--path-as-is"]).0, 400);
}

fn front_end_is_told_what_the_plan_says(project: &Project, user: &str) {
    let plan = text(project.exec(user, &["cac-lsphp", "plan", "--format", "json"]));
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let told = &plan["front_end"];
    let file = format!("examples/openlitespeed/vhosts/{user}/vhconf.conf");
    assert_eq!(setting(&repository(&file), "maxConns"), told["max_conns"].to_string(), "{file}");
    let domain = plan["site"]["domain"].as_str().unwrap();
    assert_eq!(told["document_root"], format!("/mnt/users/{user}/{domain}/public_html"));
}

/// The value of a name that is there once.
fn setting(file: &Path, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut values = text.lines().filter_map(|line| {
        let (known, value) = line.trim().split_once(char::is_whitespace)?;
        (known == name).then(|| value.trim().to_owned())
    });
    let value = values.next().unwrap_or_else(|| panic!("no {name} in {}", file.display()));
    assert_eq!(values.next(), None, "{name} twice in {}", file.display());
    value
}

fn only_the_front_end_reaches_a_site(project: &Project) {
    let connect = |from: &str, to: &str, seconds: u8| {
        let connect = format!("exec timeout {seconds} bash -c '</dev/tcp/{}/9000'", project.address(to));
        project.exec(from, &["bash", "-c", &connect]).status.code()
    };
    let no_answer = Some(124); // of timeout; a refusal would be bash's 1
    for (site, other) in [("alice", "bob"), ("bob", "alice")] {
        assert_eq!(connect("front-end", site, 60), Some(0), "{site}");
        assert_eq!(connect(other, site, 2), no_answer, "{other} to {site}");
    }
    for (user, ..) in SITES {
        let published = text(docker(["port", &project.container(user)]));
        assert_eq!(published, "", "{user} publishes a port");
    }
}
