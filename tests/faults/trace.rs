//! What strace wrote, one call a line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One call of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// Which of the calls of this name it is, from 1: strace's `when=`.
    pub number: usize,
    /// Everything in and after the parenthesis.
    pub text: String,
}

impl Call {
    /// What strace's `inject=` has for a fault of this call.
    pub fn failing(&self, fault: &str) -> String {
        format!("{}:{fault}:when={}", self.name, self.number)
    }
}

/// The calls of the launcher, to the exec of lsphp, which is the last. Not its own exec, which is
/// strace's doing and not counted by `when=`.
pub fn of_boot(file: &Path) -> Vec<Call> {
    let text = fs::read_to_string(file).unwrap();
    let mut calls = calls(text.lines().skip(1));
    let exec = calls.iter().position(|call| call.name == "execve");
    calls.truncate(exec.map_or(calls.len(), |exec| exec + 1));
    calls
}

/// The calls of a process since strace attached to it.
pub fn of_attached(file: &Path) -> Vec<Call> {
    calls(fs::read_to_string(file).unwrap().lines())
}

fn calls<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Call> {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in lines {
        let Some((name, text)) = line.split_once('(') else { continue };
        if name.contains(' ') {
            continue; // a line about a signal
        }
        let number = numbers.entry(name.to_owned()).or_default();
        *number += 1;
        calls.push(Call { name: name.to_owned(), number: *number, text: text.to_owned() });
    }
    calls
}
