//! The part of `run.json` that a check needs.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Reason;
use crate::address::Address;
use crate::cgroup::EventFiles;
use crate::plan::RUN_RECORD;

/// More than any record has: it names the variables that are passed on, and the kernel takes 2 MiB
/// of them at most.
const MAX_SIZE: u64 = 2 << 20;

/// What `run` left when it became lsphp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// In the pid namespace named below.
    pub(super) pid: u32,
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub(super) start_ticks: u64,
    /// As `/proc/self/ns/pid` shows it.
    pub(super) pid_namespace: PathBuf,
    pub(super) events: EventFiles,
    /// The site's uid.
    pub(super) uid: u32,
    pub(super) listen: Address,
    /// Workers at most, the extra ones included.
    pub(super) workers: u32,
    pub(super) lsphp: PathBuf,
}

#[derive(Deserialize)]
struct Json {
    pid: u32,
    start_ticks: u64,
    pid_namespace: PathBuf,
    events: EventFiles,
    plan: PlanJson,
}

#[derive(Deserialize)]
struct PlanJson {
    site: SiteJson,
    front_end: FrontEndJson,
    exec: ExecJson,
}

#[derive(Deserialize)]
struct SiteJson {
    uid: u32,
}

#[derive(Deserialize)]
struct FrontEndJson {
    max_conns: u32,
    address: String,
}

#[derive(Deserialize)]
struct ExecJson {
    lsphp: LsphpJson,
}

#[derive(Deserialize)]
struct LsphpJson {
    path: PathBuf,
}

impl Record {
    /// Reads the record below `root` (`/` in production).
    pub(super) fn read(root: &Path) -> Result<Self, Reason> {
        let relative = Path::new(RUN_RECORD).strip_prefix("/").unwrap_or(Path::new(RUN_RECORD));
        let unreadable = |cause: String| Reason::Unreadable { file: RUN_RECORD.into(), cause };
        match read_whole(&root.join(relative)) {
            Ok(bytes) => Self::parse(&bytes).map_err(unreadable),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Reason::NotStarted),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let listen = json.plan.front_end.address.parse();
        Ok(Self {
            pid: json.pid,
            start_ticks: json.start_ticks,
            pid_namespace: json.pid_namespace,
            events: json.events,
            uid: json.plan.site.uid,
            listen: listen.map_err(|error: crate::address::AddressError| error.to_string())?,
            workers: json.plan.front_end.max_conns,
            lsphp: json.plan.exec.lsphp.path,
        })
    }
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(8 << 10);
    File::open(path)?.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::Events;

    const WHOLE: &str = r#"{
        "pid": 7, "version": "0.1.0", "started_at": 1, "start_ticks": 99, "pid_namespace": "pid:[4026531836]",
        "events": {"oom_kills": "sys/fs/cgroup/memory.events", "forks_refused": null},
        "plan": {
            "site": {"user": "alice", "uid": 61045},
            "front_end": {"max_conns": 9, "address": "[::]:9000", "document_root": null},
            "exec": {"lsphp": {"state": "found", "path": "/opt/lsphp"}, "argv": []}
        }
    }"#;

    #[test]
    fn takes_what_it_needs() {
        let record = Record::parse(WHOLE.as_bytes()).unwrap();
        let expected = Record {
            pid: 7,
            start_ticks: 99,
            pid_namespace: "pid:[4026531836]".into(),
            events: record.events.clone(),
            uid: 61045,
            listen: "[::]:9000".parse().unwrap(),
            workers: 9,
            lsphp: "/opt/lsphp".into(),
        };
        assert_eq!(record, expected);
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/fs/cgroup")).unwrap();
        std::fs::write(root.path().join("sys/fs/cgroup/memory.events"), "oom 3\noom_kill 2\n").unwrap();
        assert_eq!(record.events.read(root.path()), Events { oom_kills: Some(2), forks_refused: None });
    }

    #[test]
    fn absent_is_not_started_and_anything_else_is_told() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(root.path()), Err(Reason::NotStarted));
        let directory = root.path().join("run/cac-lsphp/run.json");
        std::fs::create_dir_all(&directory).unwrap();
        assert!(matches!(Record::read(root.path()), Err(Reason::Unreadable { .. })));
        for text in ["", "{}", "[]", &WHOLE.replace("[::]:9000", "nowhere"), &WHOLE.replace('7', "-7")] {
            assert!(Record::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn half_a_record_is_refused(end in 0..WHOLE.len()) {
            prop_assert!(Record::parse(&WHOLE.as_bytes()[..end]).is_err());
        }
    }
}
