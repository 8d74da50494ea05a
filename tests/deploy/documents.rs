//! README.md, CONTRIBUTING.md and docs/ say what the code says, and name what is there.

use std::collections::BTreeSet;

use cac_lsphp::exit::Exit;
use cac_lsphp::settings::{directive, variable};
use serde_json::Value;

use crate::support::text;
use crate::{binary, repository, run};

fn document(file: &str) -> String {
    std::fs::read_to_string(repository(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every document that people read, by its path.
fn documents() -> Vec<String> {
    let pages = std::fs::read_dir(repository("docs")).unwrap();
    let pages = pages.map(|page| format!("docs/{}", page.unwrap().file_name().to_str().unwrap()));
    ["README.md", "CONTRIBUTING.md"].map(str::to_owned).into_iter().chain(pages).collect()
}

/// The rows below the head of a table.
fn table(file: &str, heads: &str) -> Vec<String> {
    let document = document(file);
    let mut lines = document.lines().skip_while(|line| *line != heads);
    assert_eq!(lines.next(), Some(heads), "{file} has no such table");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// A cell of a table's row, without its code marks.
fn cell(row: &str, column: usize) -> String {
    row.split('|').nth(column + 1).unwrap().trim().trim_matches('`').to_owned()
}

fn assert_table(file: &str, heads: &str, expected: &[String]) {
    let wanted = expected.join("\n");
    assert_eq!(table(file, heads).join("\n"), wanted, "edit {file}: below {heads} it must say:\n{wanted}\n");
}

#[test]
fn variables() {
    let markdown = |text: &str| text.replace('<', "\\<").replace('*', "\\*");
    let row = |row: &variable::Row| {
        let names: Vec<_> = row.names.iter().map(|name| format!("`{name}`")).collect();
        let (default, accepts, about) =
            (row.accepts.default(), markdown(&row.accepts.values()), markdown(row.about));
        format!("| {} | {default} | {accepts} | {about} |", names.join(", "))
    };
    let rows: Vec<_> = variable::rows().map(row).collect();
    assert_table("docs/variables.md", "| name | default | accepts | meaning |", &rows);
}

/// Those of `CAC_INI_*`: each row is refused, and each that the code names has a row.
#[test]
fn refused_directives() {
    let rows = table("docs/variables.md", "| directive | instead |");
    let documented: BTreeSet<_> = rows.iter().map(|row| row.split('`').nth(1).unwrap()).collect();
    for directive in &documented {
        let name = format!("CAC_INI_{directive}");
        assert!(directive::accept(&name, "strncmp,/home").is_err(), "edit docs/variables.md: {name}");
    }
    let code = document("src/settings/directive.rs");
    let arms = code.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => "));
    assert_eq!(documented, arms.map(|(name, _)| name).collect(), "edit docs/variables.md: refused CAC_INI_*");
}

/// The few that the README shows have the defaults that they have.
#[test]
fn settings_that_sites_change() {
    for row in table("README.md", "| setting | default | change it when |") {
        let (name, default) = (cell(&row, 0), cell(&row, 1));
        let variable = variable::rows().find(|variable| variable.names.iter().any(|known| *known == name));
        let variable = variable.unwrap_or_else(|| panic!("edit README.md: there is no variable {name}"));
        assert_eq!(variable.accepts.default(), default, "edit README.md: the default of {name}");
    }
}

#[test]
fn exit_codes() {
    let rows = Exit::MEANINGS.iter().map(|(exit, meaning)| format!("| {} | {meaning} |", *exit as u8));
    assert_table("README.md", "| code | meaning |", &rows.collect::<Vec<_>>());
}

/// Every path in the printed plan is in the table of the panels' page, and the other way round.
#[test]
fn the_shape_of_the_plan() {
    let site = [("user", "alice"), ("uid", "61045"), ("domain", "example.com"), ("CAC_LSPHP", "/bin/true")];
    // Supervised, so that nothing is null for want of it.
    let plan = text(run(binary(["plan", "--format", "json"]).envs(site).env("CAC_SUPERVISE", "1")));
    let mut printed = BTreeSet::new();
    paths("", &serde_json::from_str(&plan).unwrap(), &mut printed);
    let rows = table("docs/panels.md", "| in the plan | is |");
    let documented: BTreeSet<_> = rows.iter().map(|row| cell(row, 0)).collect();
    assert_eq!(documented, printed, "edit docs/panels.md: the table of what is in the plan");
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

/// The table that is published to customers is what plans say.
#[test]
fn workers_for_a_memory_limit() {
    for row in table("docs/panels.md", "| memory limit | workers |") {
        let limit = cell(&row, 0);
        let site = [("user", "alice"), ("uid", "61045")];
        let plan = text(run(binary(["plan", "--format", "json", "--memory", &limit]).envs(site)));
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let planned = plan["workers"]["value"].to_string();
        assert_eq!(cell(&row, 1), planned, "edit docs/panels.md: the workers of {limit}");
    }
}

/// What a newcomer is told to type or to read is there.
#[test]
fn the_paths_that_they_name_exist() {
    let folders = ["scripts/", "examples/", "docs/", "src/", "tests/", "ini/", ".github/"];
    for file in documents() {
        let document = document(&file);
        let words = document.split(|c: char| c.is_whitespace() || "`(),;|[]#".contains(c));
        let named = words.filter(|word| folders.iter().any(|folder| word.starts_with(folder)));
        for name in named.filter(|name| *name != "tests/NAME") {
            let path = name.trim_end_matches(['.', ':']);
            assert!(repository(path).exists(), "edit {file}: there is no {path}");
        }
    }
}

/// Each kind of tests says what it proves.
#[test]
fn tests_have_their_rows() {
    let rows = table("CONTRIBUTING.md", "| tests | prove |").join("\n");
    for entry in std::fs::read_dir(repository("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(rows.contains(&format!("`tests/{name}`")), "edit CONTRIBUTING.md: tests/{name} has no row");
    }
}

/// A link to another page of ours leads somewhere.
#[test]
fn links() {
    for file in documents() {
        let folder = repository(&file).parent().unwrap().to_owned();
        for link in document(&file).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let page = link.split('#').next().unwrap();
            let ours = !page.starts_with("https://");
            assert!(!ours || folder.join(page).exists(), "edit {file}: the link to {link} leads nowhere");
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = document("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines: what is more than a line belongs into docs/");
}
