//! What `/etc/passwd` and `/etc/group` may be.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::boot::UID;
use crate::plant::{self, CANARY};
use crate::table::{self, Expected, State};

const ETC: &str = "/etc";
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const TEMPORARY: &str = "/etc/.passwd.cac-lsphp";
const LOCK: &str = "/etc/.pwd.lock";
const BEFORE: &str = "root:x:0:0:root:/root:/bin/bash\nmail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n";

fn reset() {
    plant::clear_mounts(Path::new(ETC));
    for path in ["/home/alice", CANARY, "/mnt/users", PASSWD, GROUP, TEMPORARY, LOCK] {
        plant::clear(Path::new(path));
    }
    plant::canary();
    plant::write("/home/alice/public_html/index.php", "the tenant's");
    plant::write(PASSWD, BEFORE);
    plant::write(GROUP, "root:x:0:\n");
}

#[test]
#[ignore = "runs in the containers of attack::container"]
fn table() {
    let secret = || plant::link("/home/canary/secret");
    let mut states = vec![added("as it comes", BEFORE)];
    states.extend([
        added("without a final newline", BEFORE.trim_end()),
        added("empty", ""),
        added("lines that are none", "\n\n:::::\nnonsense\n#alice:x:1:1\n alice:x:1:1:::\n+::::::\n"),
        added("a longer name", "alicea:x:1:1::/:\nalic:x:1:1::/:\n"),
        added("the uid under another name", &format!("bob:x:{UID}:{UID}::/home/bob:/bin/sh\n")),
        added("many entries", &"somebody:x:7:7:::\n".repeat(100_000)),
        kept("there already", &format!("alice:!:{UID}:1:Alice:/:/bin/zsh\n{BEFORE}"), Expected::Starts),
        kept("another uid", "alice:x:61044:61044::/home/alice:/bin/sh\n", Expected::Ends(78)),
        kept("root's uid", "alice:x:0:0::/root:/bin/sh\n", Expected::Ends(78)),
        kept("no uid", "alice\n", Expected::Ends(78)),
        kept("another uid first", &format!("alice:x:5:5:::\nalice:x:{UID}:5:::\n"), Expected::Ends(78)),
        kept("huge", &"x".repeat(17 << 20), Expected::StartsWarning),
        warns("missing", PASSWD, |_| {}),
        warns("a link to a secret", PASSWD, secret()),
        warns("a fifo", PASSWD, plant::fifo),
        warns("a directory", PASSWD, plant::full_directory),
        warns("a mount", PASSWD, |path| {
            plant::file(path);
            plant::bind(path, path);
        }),
        warns("a directory in the temporary's place", TEMPORARY, plant::full_directory),
        warns("a lock that is a link", LOCK, secret()),
        warns("a lock that is a fifo", LOCK, plant::fifo),
        warns("a lock that is a directory", LOCK, plant::directory),
        warns("read-only", ETC, |_| {}),
        State {
            plant: Box::new(move || plant(TEMPORARY, secret())),
            ..added("a temporary that is a link", BEFORE)
        },
        State {
            plant: Box::new(|| plant(TEMPORARY, plant::hard_link)),
            ..added("a temporary that is a hard link", BEFORE)
        },
        State { plant: Box::new(|| plant(TEMPORARY, plant::file)), ..added("a stale temporary", BEFORE) },
    ]);
    table::run(reset, &[], &states);
}

fn plant(path: &str, put: impl Fn(&Path)) {
    if path == ETC {
        return plant::read_only(Path::new(ETC));
    }
    plant::clear(Path::new(path));
    put(Path::new(path));
}

/// The entry comes last, and every byte before it stays.
fn added(what: &str, before: &str) -> State {
    let newline = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let after = format!("{before}{newline}alice:x:{UID}:{UID}::/home/alice:/bin/sh\n");
    State { check: Box::new(move || reads(&after)), ..kept(what, before, Expected::Starts) }
}

fn kept(what: &str, before: &str, expected: Expected) -> State {
    let (planted, after) = (before.to_owned(), before.to_owned());
    State {
        name: format!("{PASSWD}: {what}"),
        plant: Box::new(move || {
            fs::write(PASSWD, &planted).unwrap();
            plant::owner(PASSWD, 5);
            plant::mode(PASSWD, 0o604);
        }),
        expected,
        names: PASSWD.to_owned(),
        check: Box::new(move || reads(&after)),
    }
}

fn warns(what: &str, path: &'static str, put: impl Fn(&Path) + 'static) -> State {
    State {
        name: format!("{path}: {what}"),
        plant: Box::new(move || plant(path, &put)),
        expected: Expected::StartsWarning,
        names: String::new(),
        check: Box::new(|| Ok(())),
    }
}

fn reads(expected: &str) -> Result<(), String> {
    let found = fs::read_to_string(PASSWD).map_err(|error| error.to_string())?;
    if found != expected {
        return Err(format!("{PASSWD} reads {:?}", found.chars().take(500).collect::<String>()));
    }
    let status = fs::symlink_metadata(PASSWD).unwrap();
    let is = (status.mode() & 0o7777, status.uid(), status.gid());
    let planted = [(0o604, 5, 5), (0o644, 0, 0)];
    if planted.contains(&is) { Ok(()) } else { Err(format!("{PASSWD} is {is:?}")) }
}

/// Starts of several sites that share one /etc: nobody's entry is lost.
#[test]
#[ignore = "runs in the containers of attack::container"]
fn starts_at_once() {
    const ROUNDS: u32 = 20;
    let users = ["alice", "bob", "carol", "dave"];
    for _ in 0..ROUNDS {
        reset();
        std::thread::scope(|scope| {
            for user in users {
                scope.spawn(move || {
                    let boot = crate::boot::boot_elsewhere(user);
                    assert!(boot.started && boot.lines("WARN").is_empty(), "{boot:?}");
                });
            }
        });
        for (file, lines) in [(PASSWD, BEFORE.lines().count()), (GROUP, 1)] {
            let text = fs::read_to_string(file).unwrap();
            for user in users {
                assert_eq!(text.matches(&format!("\n{user}:x:{UID}:")).count(), 1, "{text}");
            }
            assert_eq!(text.lines().count(), lines + users.len(), "{text}");
        }
        users.iter().for_each(|user| plant::clear(&Path::new("/home").join(user)));
    }
}
