//! Plants one state after the other, boots, and looks at what became of everything.

use std::path::Path;

use crate::boot::boot;
use crate::plant;
use crate::witness::{Scene, look, lost};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// lsphp runs, and nothing is worth a warning.
    Starts,
    /// lsphp runs, and at least one line warns.
    StartsWarning,
    /// lsphp does not run: this exit code and one ERROR line.
    Ends(i32),
}

pub struct State {
    pub name: String,
    pub plant: Box<dyn Fn()>,
    pub expected: Expected,
    /// What the ERROR line must name, if there is to be one.
    pub names: String,
    /// What must hold afterwards, beyond what holds for all.
    pub check: Box<dyn Fn() -> Result<(), String>>,
}

/// The places that the site's boots are about.
const TENANT: [&str; 2] = ["/home/alice", "/mnt/users"];

/// Where a link may lead that somebody follows as root.
const CANARIES: [&str; 4] = [plant::CANARY, "/root", "/etc/shadow", "/etc/hostname"];

/// These, and only as directories, are given to the site, and get entries.
const GIVEN: [&str; 9] = [
    "/home/alice",
    "/home/alice/.opcache",
    "/home/alice/public_html",
    "/home/alice/logs",
    "/home/alice/logs/php-fpm",
    "/mnt/users",
    "/mnt/users/alice",
    "/mnt/users/alice/example.com",
    "/mnt/users/alice/example.com/public_html", // where the home is mounted there
];

/// Boots every state twice; `reset` gives the state to plant in.
pub fn run(reset: fn(), may_be_replaced: &[&str], states: &[State]) {
    assert_openat2_answers();
    let mut faults = Vec::new();
    let mut ended = 0;
    for state in states {
        reset();
        (state.plant)();
        if let Err(fault) = outlast(state, may_be_replaced) {
            faults.push(format!("{}: {fault}", state.name));
        }
        ended += usize::from(matches!(state.expected, Expected::Ends(_)));
    }
    reset();
    let starts = states.len() - ended;
    println!("{} planted states: {starts} start, {ended} end with one line", states.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn outlast(state: &State, may_be_replaced: &[&str]) -> Result<(), String> {
    let (canary, tenant) = (canaries(), tenants());
    for round in ["first", "second"] {
        judge(state).map_err(|fault| format!("{round} boot: {fault}"))?;
        let changes = lost(&canary, &canaries(), |_| false);
        if !changes.is_empty() {
            return Err(format!("{round} boot touched {}", changes.join("\n  ")));
        }
        let given = |path: &Path| GIVEN.iter().any(|given| path == Path::new(given));
        let mut expected = tenant.clone();
        expected.retain(|path, _| !may_be_replaced.iter().any(|replaced| path == Path::new(replaced)));
        let changes = lost(&expected, &tenants(), given);
        if !changes.is_empty() {
            return Err(format!("{round} boot lost {}", changes.join("\n  ")));
        }
        (state.check)().map_err(|fault| format!("{round} boot: {fault}"))?;
    }
    Ok(())
}

fn judge(state: &State) -> Result<(), String> {
    let boot = boot();
    let (errors, warnings) = (boot.lines("ERROR"), boot.lines("WARN"));
    let right = match state.expected {
        Expected::Starts => boot.started && boot.code == 0 && errors.is_empty() && warnings.is_empty(),
        Expected::StartsWarning => {
            boot.started && boot.code == 0 && errors.is_empty() && !warnings.is_empty()
        }
        Expected::Ends(code) => {
            !boot.started && boot.code == code && errors.len() == 1 && errors[0].contains(&state.names)
        }
    };
    let wanted = if matches!(state.expected, Expected::Ends(_)) { state.names.as_str() } else { "" };
    if right { Ok(()) } else { Err(format!("not {:?} {wanted}: {boot:?}", state.expected)) }
}

fn tenants() -> Scene {
    TENANT.iter().flat_map(|path| look(Path::new(path))).collect()
}

/// All that no boot may touch.
fn canaries() -> Scene {
    CANARIES.iter().flat_map(|path| look(Path::new(path))).collect()
}

/// Where a profile is to refuse openat2, it must be refused.
fn assert_openat2_answers() {
    let directory = std::fs::File::open("/").unwrap();
    let how = nix::fcntl::OpenHow::new().flags(nix::fcntl::OFlag::O_PATH);
    let answer = nix::fcntl::openat2(&directory, c"home", how).map_or_else(|error| error as i32, |_| 0);
    let expected = std::env::var("OPENAT2_ANSWERS").map_or(0, |errno| errno.parse().unwrap());
    assert_eq!(answer, expected, "what openat2 answers in this container");
}
