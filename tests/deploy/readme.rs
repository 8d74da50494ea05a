//! The README's tables say what the code says.

use std::collections::BTreeSet;

use cac_lsphp::exit::Exit;
use cac_lsphp::settings::variable;
use serde_json::Value;

use crate::support::text;
use crate::{binary, repository, run};

fn readme() -> String {
    std::fs::read_to_string(repository("README.md")).unwrap()
}

/// The rows below the head of a table that begins with these cells.
fn table(heads: &str) -> Vec<String> {
    let readme = readme();
    let mut lines = readme.lines().skip_while(|line| *line != heads);
    assert_eq!(lines.next(), Some(heads), "the README has no such table");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

fn assert_table(heads: &str, expected: &[String]) {
    let wanted = expected.join("\n");
    assert_eq!(table(heads).join("\n"), wanted, "below {heads} the README must say:\n{wanted}\n");
}

#[test]
fn variables() {
    let markdown = |text: &str| text.replace('<', "\\<").replace('*', "\\*");
    let row = |row: &variable::Row| {
        let names: Vec<_> = row.names.iter().map(|name| format!("`{name}`")).collect();
        let (default, accepts, about) = (&row.default, markdown(&row.accepts), markdown(row.about));
        format!("| {} | {default} | {accepts} | {about} |", names.join(", "))
    };
    let rows: Vec<_> = variable::rows().iter().map(row).collect();
    assert_table("| name | default | accepts | meaning |", &rows);
}

#[test]
fn exit_codes() {
    let rows = Exit::ALL.iter().map(|exit| format!("| {} | {} |", *exit as u8, exit.meaning()));
    assert_table("| code | meaning |", &rows.collect::<Vec<_>>());
}

/// Every path in the printed plan is in the table of the panels' section, and the other way round.
#[test]
fn the_shape_of_the_plan() {
    let site = [("user", "alice"), ("uid", "61045"), ("domain", "example.com"), ("CAC_LSPHP", "/bin/true")];
    let plan = text(run(binary(["plan", "--format", "json"]).envs(site)));
    let mut printed = BTreeSet::new();
    paths("", &serde_json::from_str(&plan).unwrap(), &mut printed);
    let rows = table("| in the plan | is |");
    let cell = |row: &String| row.split('|').nth(1).unwrap().trim().trim_matches('`').to_owned();
    let documented: BTreeSet<_> = rows.iter().map(cell).collect();
    assert_eq!(documented, printed);
}

/// What has names of the site's own ends a path, and so does a list.
const OPEN_ENDED: [&str; 4] = ["given", "ini.directives", "exec.environment.set", "exec.lsphp"];

fn paths(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if !OPEN_ENDED.contains(&path) => {
            let separator = if path.is_empty() { "" } else { "." };
            members.iter().for_each(|(name, value)| paths(&format!("{path}{separator}{name}"), value, found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// The commands that the README tells a newcomer to type are there.
#[test]
fn the_scripts_that_it_names_exist() {
    let readme = readme();
    let words = readme.split(|c: char| c.is_whitespace() || "`(),;".contains(c));
    let named: BTreeSet<_> =
        words.filter(|word| ["scripts/", "examples/"].iter().any(|d| word.starts_with(d))).collect();
    assert!(named.len() > 3, "{named:?}");
    for name in named {
        assert!(repository(name.trim_end_matches(['.', ':'])).exists(), "{name}");
    }
}
