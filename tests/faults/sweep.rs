//! The sweep over system calls and ways to fail.

use std::collections::BTreeMap;
use std::fs;

use crate::outcome::{Ending, judge, leftovers};
use crate::sandbox::{Begin, INI, Sandbox};
use crate::trace::{self, Call};

pub const FAULTS: [&str; 7] = [
    "error=EPERM",
    "error=EIO",
    "error=ENOSPC",
    "error=ENOMEM",
    "error=EINTR",
    "error=ENOSYS",
    "signal=KILL",
];

#[test]
fn first_boot() {
    sweep(Begin::First);
}

#[test]
fn later_boot() {
    sweep(Begin::Again);
}

struct Reference {
    calls: Vec<Call>,
    /// Index of the first call that `main` makes.
    main: usize,
    healthy: String,
    ini: String,
}

impl Reference {
    fn of(sandbox: &Sandbox, begin: Begin) -> Self {
        sandbox.reset(begin);
        let boot = sandbox.boot_traced(&[]);
        let healthy = boot.probed();
        assert_harmless(&healthy);
        let calls = trace::of_boot(&sandbox.trace_file());
        let main = calls.iter().position(|call| call.name == "geteuid").unwrap();
        Self { calls, main, healthy, ini: fs::read_to_string(INI).unwrap() }
    }
}

/// The state that every other run is held against, spelled out.
fn assert_harmless(healthy: &str) {
    let id = crate::support::UID;
    for expected in [
        format!("Uid:\t{id}\t{id}\t{id}\t{id}\n"),
        format!("Gid:\t{id}\t{id}\t{id}\t{id}\n"),
        format!("Groups:\t{id}\n"),
        "NoNewPrivs:\t1\n".to_owned(),
        "\nopcache.memory_consumption".to_owned(),
    ] {
        assert!(healthy.contains(&expected), "no {expected} in\n{healthy}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(healthy.contains(&format!("{set}:\t0000000000000000\n")), "{set} in\n{healthy}");
    }
}

fn sweep(begin: Begin) {
    let sandbox = Sandbox::enter();
    let reference = Reference::of(&sandbox, begin);
    let mut wrong = Vec::new();
    let mut counts = BTreeMap::<Ending, usize>::new();
    for (index, call) in reference.calls.iter().enumerate() {
        for fault in FAULTS {
            match one(&sandbox, begin, &reference, index, fault) {
                Ok(ending) => *counts.entry(ending).or_default() += 1,
                Err(message) => wrong.push(format!("{}({} with {fault}: {message}", call.name, call.text)),
            }
        }
    }
    let calls = reference.calls.len();
    println!("{begin:?} boot: {calls} system calls x {} faults: {counts:?}", FAULTS.len());
    assert!(wrong.is_empty(), "{} of them wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(counts[&Ending::Killed], calls, "each call is where one boot was killed");
}

/// One boot with one fault, and a clean one after it.
fn one(
    sandbox: &Sandbox,
    begin: Begin,
    reference: &Reference,
    index: usize,
    fault: &str,
) -> Result<Ending, String> {
    let call = &reference.calls[index];
    sandbox.reset(begin);
    let trace = format!("trace={}", call.name);
    let inject = format!("inject={}", call.failing(fault));
    let boot = sandbox.boot_traced(&["-e", &trace, "-e", &inject]);
    let traced = fs::read_to_string(sandbox.trace_file()).unwrap();
    if fault != "signal=KILL" && !traced.contains("(INJECTED)") {
        return Err("was not injected".to_owned());
    }
    let ending = judge(&boot, &reference.healthy, index < reference.main)?;
    leftovers(sandbox, &reference.ini)?;
    match judge(&sandbox.boot(), &reference.healthy, false) {
        Ok(Ending::Started) => Ok(ending),
        other => Err(format!("the next clean boot: {other:?}")),
    }
}
