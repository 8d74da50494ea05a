//! Each system call of a reload fails once or is its last, and so does each of a supervisor's during a reload and a
//! stop: no pool is left behind, there is never a second one, nothing stays root.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::bed::{Bed, End, Process, Supervisor};
use crate::support::{in_time, status_field};
use crate::sweep::FAULTS;
use crate::trace::Call;

const KILL: &str = "signal=KILL";
const REFUSED: &str = "error=ENOMEM";

/// Connections of their own, of which none may go astray.
const PAGES: usize = 8;

/// What a reload may end with that has not worked out: the contract's codes.
const CODES: [i32; 6] = [70, 71, 77, 78, 126, 127];

#[test]
fn some_calls_of_a_reload_fail() {
    reload_fails(7, |turn| vec![FAULTS[turn % FAULTS.len()]]);
}

#[test]
#[ignore = "takes minutes: scripts/test --test faults -- --ignored"]
fn each_call_of_a_reload_fails() {
    reload_fails(1, |turn| vec![FAULTS[turn % (FAULTS.len() - 1)], KILL]);
}

fn reload_fails(step: usize, faults: impl Fn(usize) -> Vec<&'static str>) {
    let bed = Bed::new();
    let supervisor = bed.start();
    let (output, calls) = bed.reload_traced(1, None);
    assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", supervisor.said());
    let position = |name| calls.iter().position(|call| call.name == name).unwrap();
    let (exec, main) = (position("execve"), position("geteuid"));
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<Option<i32>, usize>::new());
    for (turn, (index, call)) in calls.iter().enumerate().skip(exec + 1).step_by(step).enumerate() {
        for fault in faults(turn).into_iter().filter(|fault| is_possible(call, fault, &NEVER_FAIL)) {
            settle(&bed, &supervisor).unwrap();
            match one_reload(&bed, &supervisor, (call, fault), index < main) {
                Ok(code) => *counts.entry(code).or_default() += 1,
                Err(message) => wrong.push(format!("{}({} with {fault}: {message}", call.name, call.text)),
            }
        }
    }
    println!("{} calls of a reload, each {step}.: exit codes {counts:?}", calls.len());
    assert!(wrong.is_empty(), "{} of them wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(counts.contains_key(&Some(71)) && counts.contains_key(&None), "no fault was one: {counts:?}");
}

/// strace makes calls fail that never do: brk(2) gives the old end of the heap where it cannot give a new one, and
/// close(2) has closed whatever it gives.
const NEVER_FAIL: [&str; 2] = ["brk", "close"];

/// A pipe, a signalfd and the end of a child are there to be read or are not, and a child can be killed until it is
/// waited for.
const NEVER_FAIL_IN_A_SUPERVISOR: [&str; 5] = ["brk", "close", "read", "wait4", "kill"];

/// A page comes in one piece or in several, so the last of these calls may not come.
const STREAM: &str = "recvfrom";

/// The standard library's, for the word of a child that could not execute anything: it waits for the child after that.
const WORD_OF_A_CHILD: &str = "\"\", 8, ";

fn is_possible(call: &Call, fault: &str, never_fail: &[&str]) -> bool {
    fault == KILL || !(never_fail.contains(&call.name.as_str()) || call.text.contains(WORD_OF_A_CHILD))
}

/// A log line, or what the command line says where it cannot say what came of it.
fn is_error(line: &str) -> bool {
    line.trim_start().starts_with("ERROR") || line.starts_with("cac-lsphp: ")
}

/// Its listener is the last thing that a new lsphp can lack. The old one keeps its files and its environment, also
/// when it is started again.
#[test]
fn a_reload_that_is_refused_at_its_end_leaves_nothing_of_its_plan() {
    let bed = Bed::new();
    let supervisor = bed.start();
    assert_eq!(bed.reload(5).status.code(), Some(0));
    settle(&bed, &supervisor).unwrap();
    let (plan, old) = (bed.plan(), generation(&bed, &supervisor));
    // The one that is warmed up lacks it too, which is no reason not to go on.
    let strace = bed.strace(supervisor.pid, Some("listen:error=ENOMEM"));
    let output = bed.reload(7);
    assert!(strace.end().iter().any(|call| call.text.contains("(INJECTED)")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{said}");
    assert!(said.contains("opening a listener") && said.contains("the old lsphp goes on serving"), "{said}");
    assert_eq!((bed.plan(), generation(&bed, &supervisor)), (plan, old));
    nix::sys::signal::kill(old, Signal::SIGKILL).unwrap();
    let is_gone = || bed.processes().iter().all(|process| process.pid != old);
    in_time(|| if is_gone() { is_settled(&bed, &supervisor) } else { Err(supervisor.said()) }).unwrap();
    assert_eq!((bed.page().unwrap(), bed.environment().unwrap()), (b"5".to_vec(), b"5".to_vec()));
    assert_eq!(bed.leftovers(), Vec::<String>::new());
}

/// One reload with a fault, and a clean one after it; `None`: it was killed.
fn one_reload(
    bed: &Bed,
    supervisor: &Supervisor,
    fault: (&Call, &str),
    before_main: bool,
) -> Result<Option<i32>, String> {
    let (before, plan) = (generation(bed, supervisor), bed.plan());
    let (output, calls) = bed.reload_traced(5, Some(&fault.0.failing(fault.1)));
    let (said, code) = (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code());
    let is_injected = fault.1 == KILL || calls.iter().any(|call| call.text.contains("(INJECTED)"));
    if !is_injected && fault.0.name != STREAM {
        return Err("was not injected".to_owned());
    }
    settle(bed, supervisor)?;
    let is_kept = generation(bed, supervisor) == before;
    let errors = said.lines().filter(|line| is_error(line)).count();
    match code {
        Some(0) if is_kept => return Err("it said that it had reloaded".to_owned()),
        Some(0) => {}
        Some(code) if CODES.contains(&code) && errors == 1 => {}
        _ if before_main && is_kept => {}
        None if fault.1 == KILL => {}
        _ => return Err(format!("{code:?}: {said}")),
    }
    if !is_kept && code != Some(0) && said.contains("goes on serving") {
        return Err(format!("the new one serves, and it said: {said}"));
    }
    // One that is killed between its last two steps has no time to take them back.
    if is_kept && fault.1 != KILL && bed.plan() != plan {
        return Err(format!("the old one serves, and the files are new; it said: {said}"));
    }
    let clean = bed.reload(6);
    settle(bed, supervisor)?;
    match (clean.status.code(), bed.page()?.as_slice(), bed.leftovers().as_slice()) {
        (Some(0), b"6", []) => Ok(code),
        (_, page, left) => Err(format!("the next clean reload: {clean:?}, {page:?}, {left:?}")),
    }
}

/// Waits until there is one pool, which serves, and nothing of another one.
fn settle(bed: &Bed, supervisor: &Supervisor) -> Result<(), String> {
    in_time(|| is_settled(bed, supervisor))?;
    for _ in 0..PAGES {
        bed.page().map_err(|error| format!("{error}\n{}", supervisor.said()))?;
    }
    Ok(())
}

fn is_settled(bed: &Bed, supervisor: &Supervisor) -> Result<(), String> {
    let all = bed.processes();
    let generations = all.iter().filter(|process| is_generation(process, supervisor)).count();
    let name = supervisor.name();
    let right = name == "serving:7" && generations == 1 && all.iter().all(Process::is_the_sites);
    if right { Ok(()) } else { Err(format!("{name:?}: {all:?}\n{}", supervisor.said())) }
}

/// The one lsphp that serves.
fn generation(bed: &Bed, supervisor: &Supervisor) -> Pid {
    bed.processes().iter().find(|process| is_generation(process, supervisor)).unwrap().pid
}

fn is_generation(process: &Process, supervisor: &Supervisor) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    process.is_lsphp() && !status.is_empty() && status_field(&status, "PPid") == supervisor.pid.to_string()
}

#[test]
fn some_calls_of_a_supervisor_fail_in_a_reload() {
    supervisor_fails(reload, 10, &[REFUSED, KILL]);
}

#[test]
#[ignore = "takes minutes: scripts/test --test faults -- --ignored"]
fn each_call_of_a_supervisor_fails_in_a_reload() {
    supervisor_fails(reload, 1, &[REFUSED, KILL]);
}

#[test]
fn some_calls_of_a_supervisor_fail_in_a_stop() {
    supervisor_fails(stop, 4, &[REFUSED, KILL]);
}

#[test]
#[ignore = "takes minutes: scripts/test --test faults -- --ignored"]
fn each_call_of_a_supervisor_fails_in_a_stop() {
    supervisor_fails(stop, 1, &[REFUSED, KILL]);
}

/// Has something done to a supervisor, and says what it was told.
type Act = fn(&Bed, &mut Supervisor) -> Result<String, String>;

fn reload(bed: &Bed, supervisor: &mut Supervisor) -> Result<String, String> {
    let output = bed.reload(7);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => {
            // The old generation's end is part of it.
            in_time(|| match supervisor.has_ended() {
                true => Ok(()),
                false => is_settled(bed, supervisor),
            })?;
            Ok(said)
        }
        Some(code) if CODES.contains(&code) && said.lines().filter(|line| is_error(line)).count() == 1 => {
            Ok(said)
        }
        code => Err(format!("the reload ended with {code:?}: {said}")),
    }
}

fn stop(_bed: &Bed, supervisor: &mut Supervisor) -> Result<String, String> {
    supervisor.signal(Signal::SIGTERM);
    supervisor.end();
    Ok(String::new())
}

fn supervisor_fails(act: Act, step: usize, faults: &[&str]) {
    let bed = Bed::new();
    // A busy machine has it wait more often, in calls that the next one may not make.
    let calls = (0..3).map(|_| calls_of_a_supervisor(&bed, act)).min_by_key(Vec::len).unwrap();
    let (mut wrong, mut counts, mut tried) = (Vec::new(), BTreeMap::<_, usize>::new(), 0);
    // What it slept in when strace came can be neither refused nor its last.
    for call in calls.iter().filter(|call| call.name != "restart_syscall").step_by(step) {
        for fault in faults.iter().filter(|fault| is_possible(call, fault, &NEVER_FAIL_IN_A_SUPERVISOR)) {
            tried += 1;
            match one_supervisor(&bed, act, (call, fault)) {
                Ok(outcome) => *counts.entry(outcome).or_default() += 1,
                Err(message) => wrong.push(format!("{}({} with {fault}: {message}", call.name, call.text)),
            }
        }
    }
    println!("{} calls of a supervisor, each {step}.: {counts:?}", calls.len());
    assert!(wrong.is_empty(), "{} of them wrong:\n{}", wrong.len(), wrong.join("\n"));
    // It waits now less and now more often.
    let missed = counts.get(&Outcome::NotReached).copied().unwrap_or_default();
    assert!(missed * 4 <= tried && counts.contains_key(&Outcome::Killed), "{counts:?} of {tried}");
}

fn calls_of_a_supervisor(bed: &Bed, act: Act) -> Vec<Call> {
    let mut supervisor = bed.start();
    let strace = bed.strace(supervisor.pid, None);
    act(bed, &mut supervisor).unwrap();
    strace.end()
}

/// Whichever lsphp serves, the next one would find what it has.
fn has_its_own_files(bed: &Bed) -> Result<(), String> {
    let (page, [ini, _]) = (String::from_utf8_lossy(&bed.page()?).into_owned(), bed.plan());
    let is_named = ini.contains(&format!("precision = '{page}'\n"));
    let is_default = page == "14" && !ini.contains("precision = ");
    if is_named || is_default { Ok(()) } else { Err(format!("{page} serves, and the files are: {ini}")) }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    NotReached,
    Killed,
    /// It serves on, or its stop was one.
    WentOn,
    /// It ended with a code of the contract and one line.
    Ended,
}

/// One supervisor with a fault. Nothing that it has started outlives it.
fn one_supervisor(bed: &Bed, act: Act, fault: (&Call, &str)) -> Result<Outcome, String> {
    let mut supervisor = bed.start();
    let strace = bed.strace(supervisor.pid, Some(&fault.0.failing(fault.1)));
    let acted = act(bed, &mut supervisor);
    let calls = strace.end();
    let has_ended = in_time(|| match supervisor.has_ended() {
        true => Ok(true),
        false => is_settled(bed, &supervisor).map(|()| false),
    })?;
    if !has_ended {
        settle(bed, &supervisor)?;
        has_its_own_files(bed)?;
        let clean = bed.reload(8);
        if clean.status.code() != Some(0) {
            return Err(format!("the next clean reload: {clean:?}\n{}", supervisor.said()));
        }
        settle(bed, &supervisor)?;
        supervisor.signal(Signal::SIGTERM);
    }
    let end = supervisor.end();
    in_time(|| match bed.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}\n{}", supervisor.said())),
    })?;
    let told = acted?;
    if has_ended && told.contains("goes on serving") {
        return Err(format!("it has ended, and the reload said: {told}"));
    }
    let was_injected = calls.iter().any(|call| call.text.contains("(INJECTED)"));
    let errors = supervisor.said().lines().filter(|line| is_error(line)).count();
    match end {
        End::Killed if fault.1 == KILL => Ok(Outcome::Killed),
        End::Code(0) if was_injected => Ok(Outcome::WentOn),
        End::Code(0) => Ok(Outcome::NotReached),
        End::Code(code) if has_ended && CODES.contains(&code) && errors == 1 => Ok(Outcome::Ended),
        end => Err(format!("{end:?}: {}", supervisor.said())),
    }
}
