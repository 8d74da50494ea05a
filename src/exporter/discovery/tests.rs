use std::fs;
use std::io::Write;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const SITE: u32 = 61045;

/// A machine's processes: a `/proc`, and a root for each container.
struct Machine {
    folder: TempDir,
}

/// A process as it is made up, and what its root's record says.
struct Process<'a> {
    pid: u32,
    inner: u32,
    mounts: u64,
    uid: u32,
    start: u64,
    comm: &'a str,
    root: &'a str,
}

/// lsphp of the container `root`.
fn lsphp(pid: u32, root: &str) -> Process<'_> {
    Process { pid, inner: 1, mounts: u64::from(pid), uid: SITE, start: 99, comm: "lsphp", root }
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.proc()).unwrap();
        machine
    }

    fn proc(&self) -> PathBuf {
        self.folder.path().join("proc")
    }

    fn root(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, process: &Process) {
        let Process { pid, inner, mounts, uid, start, comm, root } = process;
        let directory = self.proc().join(pid.to_string());
        fs::create_dir_all(directory.join("ns")).unwrap();
        symlink(format!("mnt:[{mounts}]"), directory.join("ns/mnt")).unwrap();
        symlink(format!("pid:[{root}]"), directory.join("ns/pid")).unwrap();
        symlink(self.root(root), directory.join("root")).unwrap();
        let files = [
            ("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{pid}\t{inner}\n")),
            (
                "stat",
                format!("{pid} ({comm}) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {start} 4096 9\n"),
            ),
            ("uid_map", "0 0 4294967295\n".to_owned()),
            ("cgroup", format!("0::/docker/{:0<64}\n", root.len())),
        ];
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
    }

    /// Writes the record of `root`, with `changes` made to it, as `owner`.
    fn record(&self, root: &str, owner: u32, changes: &[(&str, &str)]) {
        let mut text = crate::status::tests::record("alice", SITE, "example.com")
            .replace("pid:[1]", &format!("pid:[{root}]"));
        for (from, to) in changes {
            assert!(text.contains(from), "{from} in {text}");
            text = text.replace(from, to);
        }
        let path = self.root(root).join("run/cac-lsphp/run.json");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
    }

    fn found(&self) -> Found {
        find(&self.proc()).unwrap()
    }

    /// What is refused, by its short name.
    #[track_caller]
    fn refuses(&self, reason: &str) {
        let found = self.found();
        let reasons: Vec<_> = found.refused.iter().map(|refusal| refusal.reason.name()).collect();
        assert_eq!((found.sites.len(), reasons), (0, vec![reason.to_owned()]), "{:?}", found.refused);
    }
}

#[test]
fn a_site_is_found_once_among_its_workers_and_others() {
    let machine = Machine::new();
    machine.record("a", 0, &[]);
    fs::create_dir_all(machine.root("other")).unwrap();
    machine.run(&lsphp(7, "a"));
    machine.run(&Process { inner: 8, start: 120, mounts: 7, ..lsphp(8, "a") });
    machine.run(&Process { inner: 9, uid: 0, start: 130, mounts: 7, ..lsphp(5, "a") });
    machine.run(&Process { uid: 0, ..lsphp(20, "other") });
    let found = machine.found();
    let [site] = &found.sites[..] else { panic!("{found:?}") };
    assert_eq!((site.place.pid, site.uid, site.author), (7, SITE, Author::Root));
    assert_eq!(site.container, "100000000000");
    assert_eq!((found.refused, found.hidden), (vec![], 0));
    assert!(site.is_there());
    fs::remove_dir_all(machine.proc().join("7")).unwrap();
    assert!(!site.is_there());
}

#[test]
fn a_record_must_be_about_its_process() {
    for (what, change, reason) in [
        ("pid", ("\"pid\":1,", "\"pid\":8,"), "no such process"),
        ("start", ("\"start_ticks\":99", "\"start_ticks\":98"), "no such process"),
        ("namespace", ("pid:[a]", "pid:[b]"), "no such process"),
        ("uid", ("61045", "61046"), "other uid"),
        ("not JSON", ("{", "["), "unreadable"),
    ] {
        let machine = Machine::new();
        machine.record("a", SITE, &[change]);
        machine.run(&lsphp(7, "a"));
        println!("{what}");
        machine.refuses(reason);
    }
}

/// Before the drop it is root's, whose record says whose it will be; a site cannot look like that.
#[test]
fn only_root_starts_a_site_of_another_uid() {
    for (uid, owner, is_a_site) in [(0, 0, true), (SITE, SITE, false), (SITE, 0, false), (0, SITE, true)] {
        let machine = Machine::new();
        machine.record("a", owner, &[("61045", "61046"), ("alice", "victim")]);
        machine.run(&Process { uid, comm: "cac-lsphp", ..lsphp(7, "a") });
        let found = machine.found();
        assert_eq!(found.sites.len(), usize::from(is_a_site), "{uid} {owner}: {found:?}");
        let author = if owner == 0 { Author::Root } else { Author::Site };
        assert!(found.sites.iter().all(|site| site.author == author), "{uid} {owner}");
    }
}

/// Between two reads a process can enter a user namespace where it is root.
#[test]
fn the_uids_of_a_process_are_read_once() {
    let machine = Machine::new();
    machine.record("a", 0, &[]);
    machine.run(&lsphp(7, "a"));
    let map = machine.proc().join("7/uid_map");
    fs::remove_file(&map).unwrap();
    nix::unistd::mkfifo(&map, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut held = fs::File::options().read(true).write(true).open(&map).unwrap();
    held.write_all(b"0 0 4294967295\n").unwrap();
    let found = machine.found();
    assert_eq!(found.sites.iter().map(|site| site.author).collect::<Vec<_>>(), [Author::Root]);
}

/// Whichever process is looked at first.
#[test]
fn a_lie_is_told_rather_than_that_others_are_not_the_process() {
    for (other, recorded) in [(7, 8), (8, 7)] {
        let machine = Machine::new();
        machine.record("a", SITE, &[("61045", "61046")]);
        machine.run(&Process { inner: 2, mounts: 5, ..lsphp(other, "a") });
        machine.run(&Process { mounts: 5, ..lsphp(recorded, "a") });
        let refused: Vec<_> = machine.found().refused.iter().map(|one| one.reason.name()).collect();
        assert_eq!(refused, ["other uid"], "{recorded}");
    }
}

/// Puts something in the place of a record.
type Plant = fn(&Machine, &Path);

#[test]
fn what_is_no_file_of_its_own_is_refused() {
    let plants: [(&str, Plant); 6] = [
        ("link", |machine, path| symlink(machine.root("b/run/cac-lsphp/run.json"), path).unwrap()),
        ("fifo", |_, path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("directory", |_, path| fs::create_dir(path).unwrap()),
        ("empty", |_, path| fs::write(path, "").unwrap()),
        ("large", |_, path| fs::write(path, vec![b' '; 100 << 20]).unwrap()),
        ("deep", |_, path| fs::write(path, "[".repeat(100_000)).unwrap()),
    ];
    for (what, plant) in plants {
        let machine = Machine::new();
        machine.record("a", SITE, &[]);
        machine.record("b", 0, &[]);
        let path = machine.root("a/run/cac-lsphp/run.json");
        fs::remove_file(&path).unwrap();
        plant(&machine, &path);
        machine.run(&lsphp(7, "a"));
        println!("{what}");
        machine.refuses("unreadable");
        let is_unread = machine.found().refused[0].to_string().contains(" bytes;");
        assert_eq!(is_unread, ["empty", "large"].contains(&what), "{what}");
    }
}

/// Not even a directory on the way.
#[test]
fn no_link_is_followed() {
    let machine = Machine::new();
    machine.record("b", 0, &[]);
    fs::create_dir_all(machine.root("a/run")).unwrap();
    symlink("../../b/run/cac-lsphp", machine.root("a/run/cac-lsphp")).unwrap();
    machine.run(&lsphp(7, "a"));
    machine.refuses("unreadable");
}

#[test]
fn the_word_of_root_comes_first() {
    let machine = Machine::new();
    // A program of the site's, in a root of its own with a record about itself, has the lower pid.
    machine.record(
        "aa",
        SITE,
        &[("alice", "mallory"), ("pid:[aa]", "pid:[aa]"), ("\"pid\":1,", "\"pid\":5,")],
    );
    machine.record("bb", 0, &[]);
    machine.run(&Process { inner: 5, mounts: 9, ..lsphp(3, "aa") });
    machine.run(&Process { mounts: 9, ..lsphp(7, "bb") });
    let found = machine.found();
    assert_eq!(found.sites.iter().map(|site| site.place.pid).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_container_has_one_site() {
    let machine = Machine::new();
    // The same container, by its cgroup, in two mount namespaces.
    machine.record("aa", SITE, &[("alice", "mallory")]);
    machine.record("bb", 0, &[]);
    machine.run(&lsphp(3, "aa"));
    machine.run(&lsphp(7, "bb"));
    let found = machine.found();
    assert_eq!(found.sites.iter().map(|site| site.place.pid).collect::<Vec<_>>(), [7]);
    assert_eq!(
        found.refused.iter().map(|refusal| refusal.reason.name()).collect::<Vec<_>>(),
        ["second record"]
    );
}

#[test]
fn a_site_cannot_take_the_name_of_one_that_root_has_started() {
    for (claim, is_taken) in [("bob", true), ("mallory", false)] {
        let machine = Machine::new();
        machine.record("a", 0, &[("alice", "bob"), ("61045", "61000"), ("example.com", "bob.example")]);
        machine.record("bb", SITE, &[("alice", claim)]);
        machine.run(&Process { uid: 61000, ..lsphp(7, "a") });
        machine.run(&lsphp(9, "bb"));
        let found = machine.found();
        let reasons: Vec<_> = found.refused.iter().map(|refusal| refusal.reason.name()).collect();
        assert_eq!(reasons, if is_taken { vec!["name taken"] } else { vec![] }, "{claim}");
        assert_eq!(found.sites.len(), 2 - reasons.len());
    }
}

/// Any user of the machine can be root in a namespace, and start a site there under any name.
#[test]
fn the_root_of_a_namespace_owns_no_name() {
    for (owner, is_taken) in [(0, true), (300_000, false)] {
        let machine = Machine::new();
        machine.record("a", owner, &[]);
        machine.run(&Process { uid: if owner == 0 { SITE } else { owner + SITE }, ..lsphp(7, "a") });
        for (pid, root, claim) in [(9, "bb", "alice"), (11, "ccc", "mallory")] {
            // One that its own user, and one that its namespace's root has recorded.
            let author = if root == "bb" { 61001 } else { 300_000 };
            machine.record(root, author, &[("alice", claim), ("61045", "61001")]);
            machine.run(&Process { uid: if root == "bb" { 61001 } else { 361_001 }, ..lsphp(pid, root) });
        }
        for pid in if owner == 0 { vec![11] } else { vec![7, 11] } {
            fs::write(machine.proc().join(format!("{pid}/uid_map")), "0 300000 65536\n").unwrap();
        }
        let found = machine.found();
        let authors: Vec<_> = found.sites.iter().map(|site| site.author).collect();
        let all = vec![Author::ItsRoot, Author::Site, Author::ItsRoot];
        assert_eq!(authors, if is_taken { vec![Author::Root] } else { all }, "{:?}", found.refused);
    }
}

/// Such as two of a panel's machines that were put together.
#[test]
fn a_name_may_have_several_owners() {
    let machine = Machine::new();
    for (pid, root, uid) in [(7, "a", 61001), (9, "bb", 61002), (11, "ccc", 61001), (13, "dddd", 61002)] {
        let owner = if pid < 10 { 0 } else { uid };
        machine.record(root, owner, &[("61045", &uid.to_string())]);
        machine.run(&Process { uid, ..lsphp(pid, root) });
    }
    let found = machine.found();
    assert_eq!((found.sites.len(), found.refused), (4, vec![]));
}

/// Such as a sandbox that PHP starts.
#[test]
fn a_program_with_mounts_of_its_own_is_no_lie() {
    let machine = Machine::new();
    machine.record("a", 0, &[]);
    machine.run(&lsphp(7, "a"));
    machine.run(&Process { inner: 30, start: 400, mounts: 1000, ..lsphp(40, "a") });
    let found = machine.found();
    assert_eq!((found.sites.len(), found.refused), (1, vec![]));
}

/// Such as a service of the host, or another container, that has the site's /run.
#[test]
fn who_sees_a_record_of_a_site_elsewhere_is_no_lie() {
    let machine = Machine::new();
    machine.record("a", 0, &[]);
    machine.run(&lsphp(7, "a"));
    let seen = machine.root("bb/run/cac-lsphp");
    fs::create_dir_all(&seen).unwrap();
    fs::hard_link(machine.root("a/run/cac-lsphp/run.json"), seen.join("run.json")).unwrap();
    machine.run(&Process { start: 400, ..lsphp(40, "bb") });
    let found = machine.found();
    assert_eq!((found.sites.len(), found.refused), (1, vec![]));
    fs::remove_dir_all(machine.proc().join("7")).unwrap();
    machine.refuses("no such process");
}
