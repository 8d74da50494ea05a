//! What checks and looks could leave behind in a site.

use std::fs;

use super::Running;

#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    /// PID 1 and its children, each with when it was started, in ticks since the machine was.
    pub processes: Vec<(String, String)>,
    /// TCP connections opened and accepted in the site's network namespace since it was made.
    pub connections: Vec<String>,
}

impl Running {
    pub fn traces(&self) -> Traces {
        let pid = self.inspect("{{.State.Pid}}");
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let all = std::iter::once(pid.as_str()).chain(children.split_whitespace());
        Traces {
            processes: all.map(|pid| (pid.to_owned(), start_time(pid))).collect(),
            connections: connections(&fs::read_to_string(self.proc("net/snmp")).unwrap()),
        }
    }
}

/// The 22nd field: no clock that is set changes it.
fn start_time(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, from_third) = stat.rsplit_once(") ").unwrap();
    from_third.split(' ').nth(22 - 3).unwrap().to_owned()
}

/// ActiveOpens and PassiveOpens of the two lines `Tcp:`, names and numbers.
fn connections(snmp: &str) -> Vec<String> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    names.zip(numbers).filter(|(name, _)| name.ends_with("Opens")).map(|(n, v)| format!("{n} {v}")).collect()
}
