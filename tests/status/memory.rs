//! What the workers need.

use super::*;

/// Anonymous and shared memory, from each row's share and from the cgroup.
#[test]
fn the_shares_add_up_to_what_the_cgroup_holds() {
    for supervise in ["0", "1"] {
        let page = "<?php $held = str_repeat('x', 40 << 20); sleep(600);";
        let site =
            Site::new().options(["--no-healthcheck"]).env("CAC_SUPERVISE", supervise).page("hold.php", page);
        let site = site.start();
        occupy(&site, "hold.php", 5, 5);
        let json = wait_until(|| {
            let json = json(&site);
            let workers = json["workers"].as_array().unwrap();
            let hold = workers.iter().all(|row| row["own_bytes"].as_u64() >= Some(40 << 20));
            if hold { Ok(json) } else { Err(json.to_string()) }
        });
        let rows = json["lsphp"].as_array().unwrap().iter().chain(json["workers"].as_array().unwrap());
        let shares: u64 = rows.map(|row| row["proportional_bytes"].as_u64().unwrap()).sum();
        let held = json["memory"]["held_bytes"].as_u64().unwrap();
        assert!(held > 200 << 20, "{json}");
        assert!(shares.abs_diff(held) * 100 <= held * 5, "{shares} in shares, {held} held: {json}");
        for row in json["workers"].as_array().unwrap() {
            assert!((40 << 20..60 << 20).contains(&row["own_bytes"].as_u64().unwrap()), "{row}");
        }
    }
}

#[test]
fn a_peak_that_is_over_shows() {
    let page = "<?php $held = str_repeat('x', 100 << 20); unset($held); sleep(600);";
    let site = Site::new().options(["--no-healthcheck"]).page("peak.php", page).start();
    let row = occupy(&site, "peak.php", 1, 1)["workers"][0].clone();
    let row = wait_until(|| match row["peak_bytes"].as_u64() {
        Some(bytes) if bytes >= 100 << 20 => Ok(row.clone()),
        _ => {
            let row = json(&site)["workers"][0].clone();
            if row["peak_bytes"].as_u64() >= Some(100 << 20) { Ok(row) } else { Err(row.to_string()) }
        }
    });
    assert!(row["peak_bytes"].as_u64().unwrap() < 130 << 20, "{row}");
    assert!(row["own_bytes"].as_u64().unwrap() < 30 << 20, "it was given back: {row}");
}

/// A container's root has no CAP_SYS_PTRACE; neither has the site's user, who looks at its own.
#[test]
fn root_and_the_site_see_the_same_and_others_what_is_public() {
    let site = Site::new().options(["--no-healthcheck"]).page("sleep.php", SLEEP).start();
    occupy(&site, "sleep.php", 1, 1);
    let as_user = |user: &str| -> Value {
        let output = docker(["exec", "-u", user, &site.name, "cac-lsphp", "status", "--format", "json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for user in ["0:0", "61045:61045"] {
        assert!(as_user(user)["workers"][0]["own_bytes"].is_u64(), "{user}");
    }
    let row = as_user("7:7")["workers"][0].clone();
    assert_eq!((&row["own_bytes"], &row["state"]), (&Value::Null, &"busy".into()));
}
