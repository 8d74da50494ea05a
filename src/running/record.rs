//! `run.json`: what a start leaves for those who look at the site later.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::process_stat::ProcessStat;
use crate::address::Address;
use crate::cgroup::EventFiles;
use crate::identity::Site;
use crate::kernel_file;
use crate::one_line::OneLine;
use crate::paths::RUN_RECORD;
use crate::plan::php_ini::IniPlan;
use crate::plan::{FrontEndPlan, ListenerPlan, MemoryPlan, OpcachePlan, Plan, SupervisionPlan, WorkersPlan};
use crate::root::Root;

/// More than any record has: it names the variables that are passed on, and the kernel takes 2 MiB
/// of them at most.
const MAX_SIZE: u64 = 2 << 20;

/// Characters of why a text is no record.
const LONGEST_CAUSE: usize = 200;

/// A run. It is written with the whole plan, and read with the part of it that readers use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord<P = RecordedPlan> {
    /// The process that was started and stays: lsphp, or what lsphp is a child of.
    pub pid: u32,
    /// cac-lsphp's.
    pub version: String,
    /// Seconds since 1970.
    pub started_at: u64,
    /// The process's start in clock ticks since boot, field 22 of `/proc/PID/stat`: tells it from
    /// a later process with the same pid.
    pub start_ticks: u64,
    /// Where `pid` counts, such as `pid:[4026531836]`.
    pub pid_namespace: PathBuf,
    /// The file that was executed as lsphp.
    pub lsphp: PathBuf,
    pub listener: ListenerRecord,
    pub events: EventFiles,
    pub plan: P,
}

/// The socket that lsphp accepts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRecord {
    pub address: Address,
    pub backlog: u32,
    /// Who owns it.
    pub uid: u32,
    /// The inode of the listener beside it from which nobody accepts, where there is one.
    pub parking: Option<u64>,
    /// Where it was handed over, possibly out of another network namespace, its inode. Then address and backlog
    /// are unknown.
    pub handed_over: Option<u64>,
}

/// The part of the plan that every check reads, in the plan's own types.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordedPlan {
    pub site: Site,
    pub front_end: FrontEndPlan,
    pub listener: ListenerPlan,
    pub supervision: Option<SupervisionPlan>,
}

/// As much of it as status, doctor and a reload compare with what is now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StatusPlan {
    /// By the setting's name.
    pub given: BTreeMap<String, RecordedValue>,
    pub site: Site,
    pub memory: MemoryPlan,
    pub workers: WorkersPlan,
    pub opcache: OpcachePlan,
    pub ini: IniPlan,
    pub listener: ListenerPlan,
    pub supervision: Option<SupervisionPlan>,
}

/// What a setting was set to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordedValue {
    pub value: String,
}

impl<'a> RunRecord<&'a Plan> {
    /// The run of this process, which executes `lsphp` as `plan` says.
    ///
    /// # Errors
    /// `/proc/self` cannot be read.
    pub fn of_this_process(
        plan: &'a Plan,
        lsphp: &Path,
        listener: ListenerRecord,
        events: EventFiles,
    ) -> io::Result<Self> {
        let process = Path::new("/proc/self");
        Ok(Self {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
            start_ticks: ProcessStat::read(process)?.start_ticks,
            pid_namespace: std::fs::read_link(process.join("ns/pid"))?,
            lsphp: lsphp.to_owned(),
            listener,
            events,
            plan,
        })
    }

    /// On one line: every check reads it, and `plan` is for people.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

impl<P> RunRecord<P> {
    /// The same run, as `plan` says it from now on.
    pub fn with_plan<'a>(&self, plan: &'a Plan, lsphp: &Path) -> RunRecord<&'a Plan> {
        RunRecord {
            pid: self.pid,
            version: self.version.clone(),
            started_at: self.started_at,
            start_ticks: self.start_ticks,
            pid_namespace: self.pid_namespace.clone(),
            lsphp: lsphp.to_owned(),
            listener: self.listener.clone(),
            events: self.events.clone(),
            plan,
        }
    }
}

impl<P: DeserializeOwned> RunRecord<P> {
    /// Reads the record below `root` (`/` in its container). The site may have written it, in a start
    /// without root: it is neither waited for nor read for ever.
    ///
    /// # Errors
    /// `NotFound` where nothing was started; `InvalidData` for what is not a record.
    pub fn read(root: &Path) -> io::Result<Self> {
        Self::read_from(Root::own(root).open(Path::new(RUN_RECORD))?, MAX_SIZE)
    }

    /// Reads what is open, of which at most `most` bytes count.
    ///
    /// # Errors
    /// `InvalidData` for what is not a record, or longer.
    pub fn read_from(file: File, most: u64) -> io::Result<Self> {
        Self::parse(&kernel_file::read_start_from(file, most)?)
    }

    /// Whether its listener was handed over to the site below `root`. Most were not, which the text tells: every plan
    /// asks, and to read a record takes an eighth of a plan.
    pub fn has_handed_over(root: &Path) -> bool {
        let file = Root::own(root).open(Path::new(RUN_RECORD));
        let Ok(bytes) = file.and_then(|file| kernel_file::read_start_from(file, MAX_SIZE)) else {
            return false;
        };
        // No value can hold it: the quotes in one are escaped.
        let is_none = String::from_utf8_lossy(&bytes).contains(r#""handed_over":null"#);
        !is_none && Self::parse(&bytes).is_ok_and(|run| run.listener.handed_over.is_some())
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            // It quotes what the site may have written.
            let cause: String = error.to_string().chars().take(LONGEST_CAUSE).collect();
            io::Error::new(ErrorKind::InvalidData, OneLine(cause).to_string())
        })
    }
}

#[cfg(test)]
impl RunRecord {
    /// alice's, of process `pid`, for tests of who reads one.
    pub fn example(pid: u32) -> Self {
        Self { pid, ..Self::parse(tests::WHOLE.as_bytes()).unwrap() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) const WHOLE: &str = r#"{
        "pid": 7, "version": "0.1.0", "started_at": 1, "start_ticks": 99, "pid_namespace": "pid:[1]",
        "lsphp": "/opt/lsphp", "listener": {"address": "[::]:9000", "backlog": 10, "uid": 61045},
        "events": {"oom_kills": "sys/fs/cgroup/memory.events", "forks_refused": null},
        "plan": {
            "site": {"user": "alice", "uid": 61045, "gid": 61045, "domain": null, "home": "/home/alice"},
            "front_end": {"max_conns": 9, "address": "[::]:9000", "document_root": null},
            "listener": {"opened_by": "cac_lsphp", "backlog": 511, "allowed_clients": ["10.0.0.5", "fd00::/64"]},
            "supervision": null, "exec": {"argv": []}
        }
    }"#;

    #[test]
    fn what_is_written_is_read() {
        let settings = crate::settings::read(
            &[("user", "alice"), ("uid", "61045"), ("domain", "*.example.com")].into_iter().collect(),
            None,
            crate::identity::StartedAs { uid: 0, gid: 0 },
        )
        .1
        .unwrap();
        let plan = crate::plan::decide(crate::plan::Inputs {
            settings: &settings,
            environment: &crate::settings::environment::Environment::default(),
            limits: &crate::cgroup::Limits::default(),
            lsphp: &crate::lsphp::Lsphp::Found { path: "/opt/lsphp".into() },
            somaxconn: None,
            suppose_mib: None,
        });
        let listener = ListenerRecord {
            address: "0.0.0.0:9000".parse().unwrap(),
            backlog: 10,
            uid: 61045,
            parking: Some(4711),
            handed_over: None,
        };
        let events = EventFiles { oom_kills: Some("sys/x".into()), forks_refused: None };
        let written = RunRecord::of_this_process(&plan, Path::new("/opt/lsphp"), listener, events).unwrap();
        assert_eq!(written.pid, std::process::id());

        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/cac-lsphp/run.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, written.to_json().unwrap()).unwrap();
        assert!(!<RunRecord>::has_handed_over(root.path()));
        let socket = ListenerRecord { handed_over: Some(9), ..written.listener.clone() };
        let handed_over = RunRecord { listener: socket, ..written.clone() };
        std::fs::write(&path, handed_over.to_json().unwrap()).unwrap();
        assert!(<RunRecord>::has_handed_over(root.path()));
        std::fs::write(&path, written.to_json().unwrap()).unwrap();
        let read = RunRecord::read(root.path()).unwrap();
        let part = RecordedPlan {
            site: plan.site.clone(),
            front_end: plan.front_end.clone(),
            listener: plan.listener.clone(),
            supervision: plan.supervision,
        };
        let RunRecord {
            pid, version, started_at, start_ticks, pid_namespace, lsphp, listener, events, ..
        } = written;
        let expected = RunRecord {
            pid,
            version,
            started_at,
            start_ticks,
            pid_namespace,
            lsphp,
            listener,
            events,
            plan: part,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(<RunRecord>::read(root.path()).unwrap_err().kind(), ErrorKind::NotFound);
        let path = root.path().join("run/cac-lsphp/run.json");
        std::fs::create_dir_all(&path).unwrap();
        assert!(<RunRecord>::read(root.path()).is_err(), "a directory");
        std::fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(<RunRecord>::read(root.path()).is_err(), "a fifo, which is not waited for");

        assert!(<RunRecord>::parse(WHOLE.as_bytes()).is_ok());
        let with = |from: &str, to: &str| WHOLE.replacen(from, to, 1);
        for text in [
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
            with("[::]:9000", "nowhere"),
            with("7", "-7"),
            with("\"alice\"", "\"../../etc\""),
            with("\"uid\": 61045, \"gid\"", "\"uid\": 0, \"gid\""),
            with("fd00::/64", "front-end"),
            with("null, \"home\"", "\"a/b\", \"home\""),
        ] {
            assert!(<RunRecord>::parse(text.as_bytes()).is_err(), "{text}");
        }
        for word in ["\\u001b]0;owned\\u0007".to_owned(), "x".repeat(9000)] {
            let error = <RunRecord>::parse(with("cac_lsphp", &word).as_bytes()).unwrap_err().to_string();
            assert!(error.len() < 300 && !error.contains(char::is_control), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn half_a_record_is_refused(end in 0..WHOLE.len()) {
            prop_assert!(<RunRecord>::parse(&WHOLE.as_bytes()[..end]).is_err());
        }
    }
}
