//! Each folder of `tests/fixtures/cgroup` is a machine's `/proc` and `/sys/fs/cgroup` as one process
//! sees them; its `expect.json` tells the story and the limits to be found.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup");
    let mut fixtures: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    fixtures.sort();
    fixtures
}

#[test]
fn every_fixture_has_the_limits_it_states() {
    let mut failures = Vec::new();
    for fixture in fixtures() {
        let expected: Value =
            serde_json::from_slice(&fs::read(fixture.join("expect.json")).unwrap()).unwrap();
        let story = expected["story"].as_str().unwrap();
        assert!(story.len() > 20 && !story.contains('\n'), "{}: no story", fixture.display());

        let found = serde_json::to_value(cac_lsphp::cgroup::detect(&fixture)).unwrap();
        if found != expected["limits"] {
            failures.push(format!(
                "{}: {story}\nexpected {:#}\nfound {found:#}",
                fixture.display(),
                expected["limits"]
            ));
        }
    }
    assert!(failures.is_empty(), "{} fixtures:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn there_are_at_least_forty() {
    assert!(fixtures().len() >= 40, "{}", fixtures().len());
}
