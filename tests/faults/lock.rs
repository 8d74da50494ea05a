//! A lock on the account files that somebody else holds: a start goes on without the entries.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;

use crate::sandbox::{Begin, PASSWD, Sandbox};
use crate::trace::{self, Call};

const LOCK: &str = "/etc/.pwd.lock";
/// useradd(8) itself waits 15 s for it.
const LONGEST_WAIT_MS: u64 = 1000;

#[test]
fn a_held_account_lock_is_not_waited_for() {
    let sandbox = Sandbox::enter();
    sandbox.reset(Begin::First);
    let before = fs::read_to_string(PASSWD).unwrap();
    let held = OpenOptions::new().create(true).truncate(false).write(true).open(LOCK).unwrap();
    let whole_file = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(held.as_fd(), nix::fcntl::FcntlArg::F_SETLK(&whole_file)).unwrap();

    let boot = sandbox.boot_traced(&[]);
    assert!(boot.output.status.success() && !boot.output.stdout.is_empty(), "{:?}", boot.output);
    let warnings = warnings(&boot.output.stderr);
    assert!(warnings.len() == 2 && warnings.iter().all(|line| line.contains(LOCK)), "{warnings:?}");
    assert_eq!(fs::read_to_string(PASSWD).unwrap(), before);
    // What it asked the kernel to sleep: how long that takes is the machine's affair.
    let asked: u64 = trace::of_boot(&sandbox.trace_file()).iter().filter_map(milliseconds).sum();
    assert!((1..LONGEST_WAIT_MS).contains(&asked), "asked to sleep {asked} ms");

    drop(held);
    let boot = sandbox.boot();
    assert_eq!(self::warnings(&boot.output.stderr), Vec::<String>::new());
    assert!(fs::read_to_string(PASSWD).unwrap().contains("\nalice:x:"));
}

fn warnings(stderr: &[u8]) -> Vec<String> {
    let stderr = String::from_utf8_lossy(stderr);
    stderr.lines().filter(|line| line.trim_start().starts_with("WARN")).map(str::to_owned).collect()
}

/// Of a call that sleeps: `clock_nanosleep(CLOCK_REALTIME, 0, {tv_sec=0, tv_nsec=25000000}, …`.
fn milliseconds(call: &Call) -> Option<u64> {
    let number = |name: &str| {
        let (_, rest) = call.text.split_once(name)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    if !call.name.ends_with("nanosleep") {
        return None;
    }
    Some(number("tv_sec=")? * 1000 + number("tv_nsec=")? / 1_000_000)
}
