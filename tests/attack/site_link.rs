//! What may be where the site's link goes, and on the way there.

use std::fs;
use std::path::Path;

use crate::plant::{self, CANARY};
use crate::table::{self, Expected, State};

const USERS: &str = "/mnt/users";
const PARENT: &str = "/mnt/users/alice";
const LINK: &str = "/mnt/users/alice/example.com";
const TEMPORARY: &str = "/mnt/users/alice/.cac-lsphp-link";

fn reset() {
    for path in ["/home/alice", CANARY, USERS] {
        plant::clear(Path::new(path));
    }
    plant::canary();
    plant::write("/home/alice/public_html/index.php", "the tenant's");
    fs::create_dir_all(PARENT).unwrap();
}

#[test]
#[ignore = "runs in the containers of attack::container"]
fn table() {
    let mut states = replaced();
    states.extend(kept());
    states.extend(refused());
    // These may be replaced: links, empty directories, and our own temporary.
    table::run(reset, &[LINK, TEMPORARY], &states);
}

fn replaced() -> Vec<State> {
    let at_link = |name: &str, plant: fn(&Path)| state(name, LINK, plant, Expected::Starts, leads_home);
    let stale = |name: &str, plant: fn(&Path)| {
        let plant = move |path: &Path| {
            plant(path);
            plant::directory(Path::new(LINK)); // so that the temporary is needed
        };
        state(name, TEMPORARY, plant, Expected::Starts, leads_home)
    };
    vec![
        at_link("nothing", |_| {}),
        at_link("the link itself", |path| plant::link("/home/alice")(path)),
        at_link("a link elsewhere", |path| plant::link(CANARY)(path)),
        at_link("a link to a file", |path| plant::link("/home/canary/secret")(path)),
        at_link("a relative link", plant::relative_link),
        at_link("a dangling link", |path| plant::link("/nowhere")(path)),
        at_link("a link to itself", plant::loop_link),
        at_link("an empty directory", plant::directory),
        stale("a stale temporary link", |path| plant::link(CANARY)(path)),
        stale("a stale temporary directory", plant::directory),
        stale("a stale temporary file", plant::file),
        stale("a stale temporary hard link", plant::hard_link),
        state("no parent", PARENT, plant::clear, Expected::Starts, leads_home),
        state("nothing below /mnt", USERS, plant::clear, Expected::Starts, leads_home),
        state(
            "a parent that is a mount",
            USERS,
            |path| {
                plant::clear(path);
                plant::tmpfs(path);
            },
            Expected::Starts,
            leads_home,
        ),
    ]
}

fn kept() -> Vec<State> {
    let keep = |name: &str, plant: fn(&Path)| state(name, LINK, plant, Expected::StartsWarning, is_directory);
    vec![
        keep("a directory with files", plant::full_directory),
        keep("a directory with a dangling link", |path| {
            plant::directory(path);
            plant::link("/nowhere")(&path.join("link"));
        }),
        keep("an empty mount", plant::tmpfs),
        keep("a mount with files", |path| {
            plant::directory(path);
            plant::bind(Path::new(CANARY), path);
        }),
        keep("the home mounted", |path| {
            plant::directory(path);
            plant::bind(Path::new("/home/alice"), path);
        }),
    ]
}

fn refused() -> Vec<State> {
    let at_link = |name: &str, plant: fn(&Path)| state(name, LINK, plant, Expected::Ends(78), anything);
    let on_the_way = |name: &str, path, plant: fn(&Path)| {
        let plant = move |path: &Path| {
            plant::clear(path);
            plant(path);
        };
        state(name, path, plant, Expected::Ends(71), anything)
    };
    vec![
        at_link("a file", plant::file),
        at_link("a hard link to a secret", plant::hard_link),
        at_link("a fifo", plant::fifo),
        at_link("a socket", plant::socket),
        at_link("a device", plant::device),
        on_the_way("a parent that is a link", PARENT, |path| plant::link(CANARY)(path)),
        on_the_way("a parent that is a file", PARENT, plant::file),
        on_the_way("/mnt/users as a link", USERS, |path| plant::link("/home/canary")(path)),
        on_the_way("/mnt/users as a dangling link", USERS, |path| plant::link("/nowhere")(path)),
        on_the_way("a read-only parent", PARENT, |path| {
            plant::directory(path);
            plant::read_only(path);
        }),
        state(
            "a full directory in the temporary's place",
            TEMPORARY,
            |path| {
                plant::full_directory(path);
                plant::directory(Path::new(LINK));
            },
            Expected::Ends(71),
            || if Path::new(TEMPORARY).join("kept").exists() { Ok(()) } else { Err("lost".into()) },
        ),
    ]
}

fn state(
    what: &str,
    path: &'static str,
    plant: impl Fn(&Path) + 'static,
    expected: Expected,
    check: fn() -> Result<(), String>,
) -> State {
    State {
        name: format!("{path}: {what}"),
        plant: Box::new(move || plant(Path::new(path))),
        expected,
        names: LINK.to_owned(),
        check: Box::new(check),
    }
}

fn leads_home() -> Result<(), String> {
    let names: Vec<_> = fs::read_dir(PARENT).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    if names != ["example.com"] {
        return Err(format!("{PARENT} holds {names:?}"));
    }
    match fs::read_link(LINK) {
        Ok(target) if target == Path::new("/home/alice") => Ok(()),
        other => Err(format!("{LINK} is {other:?}")),
    }
}

fn is_directory() -> Result<(), String> {
    let status = fs::symlink_metadata(LINK).map_err(|error| error.to_string())?;
    if Path::new(TEMPORARY).symlink_metadata().is_ok() {
        return Err("the temporary stayed".to_owned());
    }
    if status.is_dir() { Ok(()) } else { Err(format!("{LINK} is no directory any more")) }
}

fn anything() -> Result<(), String> {
    Ok(())
}
