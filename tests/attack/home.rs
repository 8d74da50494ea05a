//! What may be in the place of the home and of each thing that a boot makes or gives in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::boot::UID;
use crate::plant::{self, CANARY};
use crate::table::{self, Expected, State};

const HOME: &str = "/home/alice";
const ERROR_LOG: &str = "logs/php-fpm/error.log";

/// Given only while it is empty, and a mount too.
const FILE_CACHE: &str = ".opcache";

/// The home's top is "".
const PLACES: [&str; 6] = ["", "public_html", "logs", "logs/php-fpm", ERROR_LOG, FILE_CACHE];

type Plant = Box<dyn Fn(&Path)>;

/// The same in each place, which is empty when it is planted.
fn plants() -> Vec<(&'static str, Plant)> {
    vec![
        ("link to another site's directory", Box::new(plant::link(CANARY))),
        ("link to another site's log", Box::new(plant::link("/home/canary/logs/php-fpm/error.log"))),
        ("link to a secret", Box::new(plant::link("/home/canary/secret"))),
        ("link to a system file", Box::new(plant::link("/etc/shadow"))),
        ("link to the root", Box::new(plant::link("/"))),
        ("relative link", Box::new(plant::relative_link)),
        ("link to the parent", Box::new(plant::link(".."))),
        ("dangling link into another site", Box::new(plant::link("/home/canary/new"))),
        ("dangling link", Box::new(plant::link("/nowhere/at/all"))),
        ("link to itself", Box::new(plant::loop_link)),
        ("link to a link", Box::new(plant::link_to_link)),
        ("link through /proc", Box::new(plant::link("/proc/self/root/home/canary"))),
        ("fifo", Box::new(plant::fifo)),
        ("socket", Box::new(plant::socket)),
        ("device", Box::new(plant::device)),
        ("hard link to a secret", Box::new(plant::hard_link)),
        ("file", Box::new(plant::file)),
        ("empty directory", Box::new(plant::directory)),
        ("full directory", Box::new(plant::full_directory)),
    ]
}

fn path_of(place: &str) -> PathBuf {
    if place.is_empty() { HOME.into() } else { Path::new(HOME).join(place) }
}

/// A panel has just unpacked the site as root, so that each directory is there to be given.
fn reset() {
    plant::clear(Path::new(HOME));
    plant::clear(Path::new(CANARY));
    plant::clear(Path::new("/mnt/users"));
    plant::canary();
    plant::write("/home/alice/public_html/index.php", "the tenant's");
    plant::write("/home/alice/logs/php-fpm/error.log", "the tenant's");
    plant::write("/home/alice/.htaccess", "the tenant's");
    plant::directory(&path_of(FILE_CACHE));
    plant::mode("/home/alice/.htaccess", 0o600);
    plant::owner("/home/alice/.htaccess", UID);
}

#[test]
#[ignore = "runs in the containers of attack::container"]
fn table() {
    let mut states = vec![state("nothing planted", "", |_| {}, Expected::Starts)];
    for place in PLACES {
        for (what, put) in plants() {
            let plant = move |path: &Path| {
                plant::clear(path);
                put(path);
            };
            states.push(state(what, place, plant, expected(place, what)));
        }
        states.extend(conditions(place));
    }
    // Its mode is changed too: it is closed.
    table::run(reset, &["/home/alice/.opcache"], &states);
}

fn expected(place: &str, what: &str) -> Expected {
    let directory = what.ends_with(" directory") && !what.starts_with("link");
    match (place, directory) {
        ("", false) => Expected::Ends(78),
        (FILE_CACHE, true) if what == "full directory" => Expected::StartsWarning,
        (_, true) | (ERROR_LOG, false) => Expected::Starts,
        (_, false) => Expected::StartsWarning,
    }
}

/// What is in its place, but not as it should be.
fn conditions(place: &'static str) -> Vec<State> {
    use Expected::{Ends, Starts, StartsWarning};
    let top = place.is_empty();
    let (log, file_cache) = (place == ERROR_LOG, place == FILE_CACHE);
    let given = move |by_root| if log { Starts } else { by_root };
    let with_mode_000 = match place {
        ERROR_LOG | FILE_CACHE => Starts,
        _ => StartsWarning, // root has closed it, or the site user cannot enter it or look for its log
    };
    vec![
        state("immutable, root's", place, plant::immutable, given(StartsWarning)),
        state(
            "immutable, the site's",
            place,
            |path| {
                plant::owner(path, UID);
                plant::immutable(path);
            },
            if file_cache { StartsWarning } else { Starts },
        ),
        state(
            "another uid's",
            place,
            |path| plant::owner(path, 4242),
            if top { Ends(78) } else { given(StartsWarning) },
        ),
        state("mode 000", place, |path| plant::mode(path, 0), with_mode_000),
        renamed(place, "a closed directory of root's", 0o700),
        renamed(place, "a directory of root's that is not listed", 0o711),
        state("mode 6777", place, |path| plant::mode(path, 0o6777), Starts),
        state(
            "a mount",
            place,
            move |path| if log { bind_over_file(path) } else { plant::tmpfs(path) },
            if top || log || file_cache { Starts } else { StartsWarning },
        ),
        state(
            "another site mounted",
            place,
            move |path| match (log, top) {
                (true, _) => bind_over_file(path),
                (_, true) => {
                    plant::owner(CANARY, 4242);
                    plant::bind(Path::new(CANARY), path);
                }
                _ => plant::bind(Path::new(CANARY), path),
            },
            if top { Ends(78) } else { given(StartsWarning) },
        ),
    ]
}

/// The tenant renamed a full directory of root's to where one is given away; the home itself it cannot.
fn renamed(place: &'static str, what: &str, mode: u32) -> State {
    let is_given = !place.is_empty() && place != ERROR_LOG;
    let expected = if is_given { Expected::StartsWarning } else { Expected::Starts };
    let plant = move |path: &Path| {
        if is_given {
            plant::clear(path);
            plant::full_directory(path);
            plant::mode(path, mode);
        }
    };
    let stays = move || match fs::metadata(path_of(place)) {
        Ok(status) if is_given && status.uid() != 0 => Err(format!("{place} was given away")),
        _ => check(place, expected),
    };
    State { check: Box::new(stays), ..state(what, place, plant, expected) }
}

fn bind_over_file(path: &Path) {
    plant::bind(&Path::new(CANARY).join("file"), path);
}

fn state(what: &str, place: &'static str, plant: impl Fn(&Path) + 'static, expected: Expected) -> State {
    State {
        name: format!("{HOME}/{place}: {what}"),
        plant: Box::new(move || plant(&path_of(place))),
        expected,
        names: path_of(place).display().to_string(),
        check: Box::new(move || check(place, expected)),
    }
}

/// What could be given was given, and what was missing was made.
fn check(place: &str, expected: Expected) -> Result<(), String> {
    if expected != Expected::Starts {
        return Ok(());
    }
    for given in PLACES.iter().filter(|given| **given != ERROR_LOG) {
        let status = fs::symlink_metadata(path_of(given)).map_err(|error| format!("{given}: {error}"));
        match status {
            Ok(status) if status.is_dir() && status.uid() == UID => {}
            _ if place.is_empty() => {}
            other => return Err(format!("{given} is not the site's: {other:?}")),
        }
    }
    Ok(())
}
