//! What must hold whatever bytes come in: for each reader one function that panics when it does not.
//! Used by the fuzz targets, and by main.rs beside this on what they kept.

#[path = "../support/begin_request.rs"]
mod begin_request;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::LazyLock;

use cac_lsphp::cgroup::{self, Limits};
use cac_lsphp::effects::accounts;
use cac_lsphp::fault::Fault;
use cac_lsphp::identity::{Gid, Site, StartedAs, Uid};
use cac_lsphp::lsapi::response::{DecodeError, Decoder, Event};
use cac_lsphp::lsphp::Lsphp;
use cac_lsphp::plan::{self, Inputs, php_ini};
use cac_lsphp::privileges::Privileged;
use cac_lsphp::running::events;
use cac_lsphp::running::sock_diag::{self, Message};
use cac_lsphp::settings;
use cac_lsphp::settings::environment::Environment;
use cac_lsphp::settings::site_file::SiteFile;
use tempfile::TempDir;

/// `NAME=value` with a NUL after each, as in `/proc/PID/environ`; the first byte says who starts.
pub fn environment(data: &[u8]) {
    let Some((first, block)) = data.split_first() else { return };
    let environment = block.split(|byte| *byte == 0).filter_map(|entry| {
        let equals = entry.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((text(&entry[..equals]), text(&entry[equals + 1..])))
    });
    let id = u32::from(*first) * 1000;
    decide(&environment.collect(), None, StartedAs { uid: id, gid: id });
}

pub fn site_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match SiteFile::parse(Path::new("/etc/cac-lsphp/site.ini"), text) {
        Ok(site_file) => decide(&Environment::default(), Some(&site_file), StartedAs { uid: 0, gid: 0 }),
        Err(fault) => assert_one_line(&fault),
    }
}

/// A plan that keeps every promise, or faults of one line each.
fn decide(environment: &Environment, site_file: Option<&SiteFile>, started_as: StartedAs) {
    let settings = match settings::read(environment, site_file, started_as).1 {
        Ok(settings) => settings,
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            return faults.iter().for_each(assert_one_line);
        }
    };
    let limits = Limits::default();
    let lsphp = Lsphp::Found { path: "/bin/lsphp".into() };
    let plan = plan::decide(Inputs {
        settings: &settings,
        environment,
        limits: &limits,
        lsphp: &lsphp,
        somaxconn: None,
        suppose_mib: None,
    });
    assert!(![0, u32::MAX].contains(&plan.site.uid.as_raw()));
    assert!(![0, u32::MAX].contains(&plan.site.gid.as_raw()));
    assert!(
        plan.site
            .home
            .to_str()
            .and_then(|home| home.strip_prefix("/home/"))
            .is_some_and(|name| !name.contains(['/', ':', '\n']))
    );
    assert!((2..=10_000).contains(&plan.workers.value));
    plan.warnings.iter().for_each(assert_one_line);
    let text = plan.to_string();
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    serde_json::to_string(&plan).expect("the plan as JSON");
    for (name, value) in &plan.ini.directives {
        assert_eq!(&read_quoted(&php_ini::quoted(value)), value, "{name}");
    }
    let names: Vec<_> = plan.exec.environment.iter().map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| !name.as_encoded_bytes().starts_with(b"CAC_")));
    assert_eq!(names.iter().filter(|name| **name == "HOME").count(), 1);
}

fn assert_one_line(fault: &Fault) {
    let text = fault.to_string();
    assert!(!text.is_empty() && !text.contains(char::is_control), "no line for a person: {text:?}");
}

/// Files as a machine has them, in this order and with 0xff between them.
const CGROUP_FILES: [&str; 8] = [
    "proc/self/cgroup",
    "proc/self/mountinfo",
    "proc/meminfo",
    "sys/fs/cgroup/memory/memory.limit_in_bytes",
    "sys/fs/cgroup/memory/memory.stat",
    "sys/fs/cgroup/pids/pids.max",
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/memory.high",
];

pub fn cgroup(data: &[u8]) {
    thread_local!(static ROOT: TempDir = folder());
    ROOT.with(|root| {
        let mut contents = data.split(|byte| *byte == 0xff);
        for name in CGROUP_FILES {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, contents.next().unwrap_or_default()).unwrap();
        }
        let limits = cgroup::detect(root.path());
        limits.warnings.iter().for_each(assert_one_line);
        let bytes: Vec<u64> = limits.memory.iter().chain(&limits.lost).map(|limit| limit.bytes).collect();
        assert!(bytes.is_sorted(), "the tightest first: {bytes:?}");
        assert!(limits.mem_total.is_none_or(|total| bytes.iter().all(|limit| *limit < total)));
        events::read(root.path(), &limits.event_files);
    });
}

/// An answer of the kernel's, which a namespace full of strangers' sockets has a say in.
pub fn sock_diag(mut data: &[u8]) {
    while !data.is_empty() {
        let left = data.len();
        match sock_diag::take_message(&mut data) {
            Ok(Message::Listener(listener)) => assert!(!listener.address.to_string().is_empty()),
            Ok(_) => {}
            Err(_) => return,
        }
        assert!(data.len() < left, "the same bytes for ever");
    }
}

/// In memory where there is such a place: these write files for every input.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A process has them once.
static PRIVILEGED: LazyLock<Privileged> = LazyLock::new(|| Privileged::take().unwrap());

/// passwd and group, with 0xff between them. Whatever is there: every byte stays, at most the one
/// entry is added, and a second start changes nothing.
pub fn passwd(data: &[u8]) {
    thread_local!(static ETC: TempDir = folder());
    ETC.with(|etc| {
        let (passwd, group) = match data.iter().position(|byte| *byte == 0xff) {
            Some(end) => (&data[..end], &data[end + 1..]),
            None => (data, &b""[..]),
        };
        let (user, uid, gid) = ("alice".parse().unwrap(), Uid::new(7).unwrap(), Gid::new(8).unwrap());
        let site = Site::new(user, uid, gid, None);
        let add = || accounts::add(&PRIVILEGED, etc.path(), &site).is_ok();
        let read = |name: &str| fs::read(etc.path().join(name)).unwrap();

        fs::write(etc.path().join("passwd"), passwd).unwrap();
        fs::write(etc.path().join("group"), group).unwrap();
        let accepted = add();
        let once = (read("passwd"), read("group"));
        assert_added(passwd, &once.0, "alice:x:7:8::/home/alice:/bin/sh\n", accepted);
        assert_added(group, &once.1, "alice:x:8:\n", accepted);
        assert_eq!(add(), accepted);
        assert_eq!((read("passwd"), read("group")), once, "the second start changed something");
    });
}

fn assert_added(before: &[u8], after: &[u8], line: &str, accepted: bool) {
    if before == after {
        let named =
            before.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"alice:") || line == b"alice");
        return assert!(named || !accepted, "nothing was added to {:?}", String::from_utf8_lossy(before));
    }
    let end = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
    assert_eq!(after, [before, end.as_bytes(), line.as_bytes()].concat());
}

/// Bytes that arrive all at once and in small pieces are the same answer.
pub fn lsapi_response(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let whole = decoded(bytes, bytes.len().max(1));
    let pieces = decoded(bytes, usize::from(first % 16) + 1);
    assert_eq!(whole, pieces);
}

/// What an answer says, with its pieces put together.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    heads: Vec<(u16, Vec<Vec<u8>>)>,
    body: Vec<u8>,
    stderr: Vec<u8>,
    others: Vec<String>,
    error: Option<DecodeError>,
}

fn decoded(bytes: &[u8], at_once: usize) -> Answer {
    let (mut decoder, mut answer) = (Decoder::default(), Answer::default());
    for piece in bytes.chunks(at_once) {
        let mut piece = piece;
        while !piece.is_empty() {
            let space = decoder.space();
            let length = space.len().min(piece.len());
            assert!(length > 0, "no room though no event is ready");
            space[..length].copy_from_slice(&piece[..length]);
            decoder.filled(length);
            piece = &piece[length..];
            if let Err(error) = drain(&mut decoder, &mut answer) {
                answer.error = Some(error);
                return answer;
            }
        }
    }
    answer
}

fn drain(decoder: &mut Decoder, answer: &mut Answer) -> Result<(), DecodeError> {
    while let Some(event) = decoder.next()? {
        match event {
            Event::Head(head) => {
                assert!((100..=999).contains(&head.status));
                answer.heads.push((head.status, head.lines().map(<[u8]>::to_vec).collect()));
            }
            Event::Body(piece) => answer.body.extend_from_slice(piece),
            Event::Stderr(piece) => answer.stderr.extend_from_slice(piece),
            other => answer.others.push(format!("{other:?}")),
        }
    }
    Ok(())
}

/// What is understood is written and understood again. Headers of one name are joined by the first writing,
/// and get the name as the protocol has it by the second reading, so it is the third that must change nothing.
pub fn lsapi_request(data: &[u8]) {
    let written = |packet: &[u8]| {
        let (request, body) = begin_request::parse(packet).ok()?;
        let mut packet = Vec::new();
        request.encode(body, &mut packet).ok()?;
        Some(packet)
    };
    let Some(once) = written(data) else { return };
    let twice = written(&once);
    assert!(twice.is_some());
    assert_eq!(twice.as_deref().and_then(written), twice);
}

/// Whatever value goes in, a reader of PHP's syntax gets it back, and nothing behind it.
pub fn php_ini(data: &[u8]) {
    let value = String::from_utf8_lossy(data);
    assert_eq!(read_quoted(&php_ini::quoted(&value)), value);
}

/// A model of PHP's ini scanner for what the writer uses: adjacent strings are joined, single quotes
/// are raw, double ones are accepted only without what PHP would expand or unescape.
fn read_quoted(text: &str) -> String {
    let mut value = String::new();
    let mut rest = text;
    while let Some(quote @ ('\'' | '"')) = rest.chars().next() {
        let (inner, after) = rest[1..].split_once(quote).expect("a string that is not closed");
        assert!(quote == '\'' || !inner.contains(['$', '\\']), "PHP would expand {inner:?}");
        value.push_str(inner);
        rest = after;
    }
    assert!(rest.is_empty(), "outside of quotes: {rest:?}");
    value
}
