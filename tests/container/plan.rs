//! What `plan` prints is what `run` applies, in a real container.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::Site;

/// Stands in lsphp's place and shows how it was started: arguments and environment, one a line.
const SHOW: &str = "#!/bin/sh\nfor word; do echo \"arg $word\"; done\nexec env\n";

/// What PHP made of each directive of the file.
const INI_PAGE: &str = "<?php
$names = array_keys(parse_ini_file('/run/cac-lsphp/php.d/90-cac-lsphp.ini'));
echo json_encode(array_combine($names, array_map('ini_get', $names)));
";

fn with_options(site: Site) -> Site {
    site.env("LSAPI_EXTRA_CHILDREN", "1")
        .env("LSAPI_MAX_IDLE", "30")
        .env("LSAPI_PGRP_MAX_IDLE", "10")
        .env("DB_PASSWORD", "s3cret with = and spaces")
        .env("CAC_INI_memory_limit", "200M")
        .env("CAC_INI_highlight__comment", "a 'quoted' \"name\" ; ${HOME}")
        .env("CAC_LISTEN", "0.0.0.0:9000")
}

#[test]
fn arguments_and_environment_are_those_of_the_plan() {
    let show = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fs::write(&show, SHOW).unwrap();
    fs::set_permissions(&show, fs::Permissions::from_mode(0o755)).unwrap();
    let volume = format!("{}:/show:ro", show.display());
    let site = || with_options(Site::new()).options(["-v", &volume]).env("CAC_LSPHP", "/show");

    let planned = site().arguments(["plan", "--format", "json"]).run_to_end();
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    let plan: Value = serde_json::from_str(&planned.stdout).unwrap();
    let ran = site().run_to_end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);

    let arguments: Vec<&str> = ran.stdout.lines().filter_map(|line| line.strip_prefix("arg ")).collect();
    let argv: Vec<&str> = plan["exec"]["argv"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(arguments, argv[1..]);

    let environment: BTreeMap<&str, &str> = ran
        .stdout
        .lines()
        .filter(|line| !line.starts_with("arg "))
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !["PWD", "OLDPWD", "SHLVL", "_", "HOSTNAME"].contains(name)) // the shell's own
        .collect();
    for (name, value) in plan["exec"]["environment"]["set"].as_object().unwrap() {
        assert_eq!(environment.get(name.as_str()).copied(), value.as_str(), "{name}");
    }
    let set = plan["exec"]["environment"]["set"].as_object().unwrap();
    let passed = plan["exec"]["environment"]["passed"].as_array().unwrap();
    for name in environment.keys() {
        assert!(
            set.contains_key(*name) || passed.iter().any(|passed| passed == name),
            "{name} was not planned"
        );
    }
    assert_eq!(environment.get("DB_PASSWORD"), Some(&"s3cret with = and spaces"));
    for removed in plan["exec"]["environment"]["removed"].as_array().unwrap() {
        assert!(!environment.contains_key(removed.as_str().unwrap()), "{removed}");
    }
    assert!(!planned.stdout.contains("s3cret"));
}

#[test]
fn the_record_and_the_running_site_are_as_planned() {
    let site = with_options(Site::new()).page("ini.php", INI_PAGE).start();
    let plan: Value = serde_json::from_str(&site.exec(["cac-lsphp", "plan", "--format", "json"])).unwrap();
    let record: Value = serde_json::from_str(&site.exec(["cat", "/run/cac-lsphp/run.json"])).unwrap();
    assert_eq!(record["plan"], plan);
    assert_eq!(record["pid"], 1);

    assert_eq!(site.json("ini.php"), plan["ini"]["directives"]);
    for effect in plan["effects"].as_array().unwrap() {
        if effect["effect"] == "link_site" {
            let link = site.exec(["readlink", effect["link"].as_str().unwrap()]);
            assert_eq!(link.trim(), effect["target"].as_str().unwrap());
        }
        let makes = !["prepare_home", "look_at_user_ini"].contains(&effect["effect"].as_str().unwrap());
        if let (Some(path), true) = (effect["path"].as_str(), makes) {
            site.exec(["test", "-e", path]);
        }
    }
}
