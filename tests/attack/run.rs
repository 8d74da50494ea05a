//! What an earlier start, or an image, may have left in `/run/cac-lsphp`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::plant::{self, CANARY};
use crate::table::{self, Expected, State};

const RUN: &str = "/run/cac-lsphp";
const PHP_D: &str = "/run/cac-lsphp/php.d";
const INI: &str = "/run/cac-lsphp/php.d/90-cac-lsphp.ini";
const INI_TEMPORARY: &str = "/run/cac-lsphp/php.d/.90-cac-lsphp.ini.new";
const RECORD: &str = "/run/cac-lsphp/run.json";

fn reset() {
    for path in ["/home/alice", CANARY, "/mnt/users", RUN] {
        plant::clear(Path::new(path));
    }
    plant::clear_mounts(Path::new("/run"));
    plant::canary();
    plant::write("/home/alice/public_html/index.php", "the tenant's");
    fs::create_dir_all(PHP_D).unwrap();
}

#[test]
#[ignore = "runs in the containers of attack::container"]
fn table() {
    let secret = || plant::link("/home/canary/secret");
    let mut states = vec![
        starts("nothing", RUN, |_| {}),
        starts("an empty directory", RUN, plant::directory),
        starts("a directory nobody may enter", RUN, |path| {
            plant::directory(path);
            plant::mode(path, 0);
        }),
        starts("a directory everybody may write to", PHP_D, |path| {
            plant::directory(path);
            plant::mode(path, 0o777);
        }),
        starts("a mount", RUN, plant::tmpfs),
    ];
    for path in [INI, RECORD] {
        states.extend([
            starts("a link to a secret", path, secret()),
            starts("a dangling link", path, plant::link("/home/canary/new")),
            starts("a hard link to a secret", path, plant::hard_link),
            starts("a fifo", path, plant::fifo),
            starts("a socket", path, plant::socket),
            starts("an old file", path, plant::file),
        ]);
    }
    states.extend([
        starts("a stale temporary", INI_TEMPORARY, plant::file),
        starts("a temporary that is a link", INI_TEMPORARY, secret()),
        starts("a temporary that is a hard link", INI_TEMPORARY, plant::hard_link),
        starts("a temporary that is a fifo", INI_TEMPORARY, plant::fifo),
        ends("a link to another site", RUN, plant::link(CANARY)),
        ends("a dangling link", RUN, plant::link("/nowhere")),
        ends("a file", RUN, plant::file),
        ends("another uid's", RUN, of_another),
        ends("a link to another site", PHP_D, plant::link(CANARY)),
        ends("another uid's", PHP_D, of_another),
        ends("a directory", INI, plant::directory),
        ends("a directory", RECORD, plant::full_directory),
        ends("a directory", INI_TEMPORARY, plant::full_directory),
        State {
            plant: Box::new(|| {
                plant::clear(Path::new(RUN));
                plant::read_only(Path::new("/run"));
            }),
            ..ends("a read-only /run", RUN, |_| {})
        },
    ]);
    table::run(reset, &[], &states);
}

fn of_another(path: &Path) {
    plant::directory(path);
    plant::owner(path, 4242);
}

fn state(what: &str, path: &'static str, plant: impl Fn(&Path) + 'static, expected: Expected) -> State {
    let plant = move || {
        plant::clear(Path::new(path));
        plant(Path::new(path));
    };
    State {
        name: format!("{path}: {what}"),
        plant: Box::new(plant),
        expected,
        names: path.to_owned(),
        check: Box::new(|| Ok(())),
    }
}

fn ends(what: &str, path: &'static str, plant: impl Fn(&Path) + 'static) -> State {
    State {
        // Of a temporary the file that it is for is named.
        names: if path == INI_TEMPORARY { INI } else { path }.to_owned(),
        ..state(what, path, plant, Expected::Ends(71))
    }
}

fn starts(what: &str, path: &'static str, plant: impl Fn(&Path) + 'static) -> State {
    State { check: Box::new(is_whole), ..state(what, path, plant, Expected::Starts) }
}

/// All is root's and readable, and nothing is left over.
fn is_whole() -> Result<(), String> {
    for (path, mode) in [(RUN, 0o040755), (PHP_D, 0o040755), (INI, 0o100644), (RECORD, 0o100644)] {
        let status = fs::symlink_metadata(path).map_err(|error| format!("{path}: {error}"))?;
        if (status.mode(), status.uid()) != (mode, 0) {
            return Err(format!("{path} is {:o} of {}", status.mode(), status.uid()));
        }
    }
    let ini = fs::read_to_string(INI).unwrap();
    let record = fs::read_to_string(RECORD).unwrap();
    if !ini.contains("opcache.memory_consumption") || !record.ends_with('}') {
        return Err(format!("not whole: {ini}{record}"));
    }
    let names = fs::read_dir(PHP_D).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    if names == ["90-cac-lsphp.ini"] { Ok(()) } else { Err(format!("{PHP_D} holds {names:?}")) }
}
