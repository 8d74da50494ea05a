//! From what `/proc` says to the directories that hold this process's limits.

use std::path::{Path, PathBuf};

use super::files::KernelFiles;
use super::membership::{self, Membership};
use super::mounts::{self, Mount};
use super::path::CgroupPath;
use super::version::Version;

const CGROUP: &str = "proc/self/cgroup";
const MOUNTINFO: &str = "proc/self/mountinfo";

/// Where the limits of this process are, controller by controller: on a hybrid host each has its
/// own hierarchy.
#[derive(Debug)]
pub(super) struct Hierarchies {
    pub(super) memory: Option<Hierarchy>,
    pub(super) pids: Option<Hierarchy>,
}

/// The cgroups of one hierarchy whose limits apply to this process.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// The own cgroup first, the highest that is visible last.
    pub(super) directories: Vec<Directory>,
}

/// A cgroup's directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// Relative to the root of the file system.
    pub(super) path: PathBuf,
    pub(super) cgroup: CgroupPath,
}

impl Hierarchies {
    /// Finds the directories. They existed a moment ago; what is in them is not looked at.
    pub(super) fn resolve(files: &mut KernelFiles) -> Self {
        let memberships = rows(files, CGROUP, KernelFiles::read_or_warn, membership::parse);
        let mounts = rows(files, MOUNTINFO, KernelFiles::read_table_or_warn, mounts::parse);
        let mut locate = |controller| locate(files, controller, &memberships, &mounts);
        Self { memory: locate("memory"), pids: locate("pids") }
    }
}

/// The rows of a file of `/proc`; lines that make no sense are left out with a warning.
fn rows<'a, T>(
    files: &mut KernelFiles<'a>,
    path: &str,
    read: fn(&mut KernelFiles<'a>, &Path) -> Option<Vec<u8>>,
    parse: fn(&[u8]) -> (Vec<T>, usize),
) -> Vec<T> {
    let path = Path::new(path);
    let Some(content) = read(files, path) else { return Vec::new() };
    let (rows, garbage) = parse(&content);
    if garbage > 0 {
        files.warn(path, format!("{garbage} lines make no sense"), "they are not used");
    } else if content.trim_ascii().is_empty() {
        files.warn(path, "it is empty", "");
    }
    rows
}

/// The hierarchy that carries `controller`, which is v1 wherever a v1 hierarchy has it: a
/// controller is in one hierarchy only.
fn locate(
    files: &mut KernelFiles,
    controller: &str,
    memberships: &[Membership],
    mounts: &[Mount],
) -> Option<Hierarchy> {
    let own_v1 = memberships.iter().find(|membership| membership.has(controller));
    let own_v2 = memberships.iter().find(|membership| membership.is_v2());
    let on_v1 = own_v1.is_some() || mounts.iter().any(|mount| mount.has(controller));

    let (version, own) = if on_v1 { (Version::V1, own_v1) } else { (Version::V2, own_v2) };
    let carries = |mount: &&Mount| if on_v1 { mount.has(controller) } else { mount.is_v2() };
    let mut mounts: Vec<&Mount> = mounts.iter().filter(carries).collect();
    // The one that shows most of the way up comes first.
    mounts.sort_by_key(|mount| mount.root.depth());

    let directories = match own {
        Some(own) if mounts.is_empty() => {
            let usual = usual_mount(files, version, controller);
            own_and_ancestors(files, &own.path, &[&usual])
        }
        Some(own) => own_and_ancestors(files, &own.path, &mounts),
        None => mounts_top(files, &mounts, "it does not say in which cgroup this process is"),
    };
    (!directories.is_empty()).then_some(Hierarchy { version, directories })
}

/// Where every distribution mounts `controller`, for want of a line in mountinfo.
fn usual_mount(files: &mut KernelFiles, version: Version, controller: &str) -> Mount {
    let (what, point) = match version {
        Version::V1 => (format!("the {controller} cgroup"), format!("sys/fs/cgroup/{controller}")),
        Version::V2 => ("cgroup v2".to_owned(), "sys/fs/cgroup".to_owned()),
    };
    files.warn(Path::new(MOUNTINFO), format!("it has no mount of {what}"), format!("/{point} is tried"));
    Mount::assumed(version, point.into())
}

/// The own cgroup and those above it, in the first mount that shows the own one.
fn own_and_ancestors(files: &mut KernelFiles, own: &CgroupPath, mounts: &[&Mount]) -> Vec<Directory> {
    let ways: Vec<Vec<Directory>> = mounts.iter().filter_map(|mount| way_up(own, mount)).collect();
    if ways.is_empty() {
        return mounts_top(files, mounts, &format!("{own} is not below any cgroup that is mounted"));
    }
    let visible =
        ways.iter().position(|way| way.first().is_some_and(|own| files.root.is_directory(&own.path)));
    let mut ways = ways.into_iter();
    match visible {
        Some(index) => ways.nth(index).unwrap_or_default(),
        None => existing(files, ways.next().unwrap_or_default()),
    }
}

/// The directories from `own` up to the top of `mount`; `None` when `own` is not below it.
fn way_up(own: &CgroupPath, mount: &Mount) -> Option<Vec<Directory>> {
    let names = own.below(&mount.root)?;
    let top = Directory { path: mount.point.clone(), cgroup: mount.root.clone() };
    let mut way = vec![top];
    for name in names {
        let parent = way.last()?;
        way.push(Directory { path: parent.path.join(name), cgroup: parent.cgroup.join(name) });
    }
    way.reverse();
    Some(way)
}

/// `way` from the first directory that exists.
fn existing(files: &mut KernelFiles, mut way: Vec<Directory>) -> Vec<Directory> {
    let missing = way.iter().take_while(|directory| !files.root.is_directory(&directory.path)).count();
    if missing > 0
        && let Some(own) = way.first()
    {
        let used = match way.get(missing) {
            Some(above) => format!("the limits of {} above it are used", above.cgroup),
            None => "its limits are unknown".to_owned(),
        };
        files.warn(&own.path, "there is no such cgroup", used);
    }
    way.drain(..missing);
    way
}

/// What is left when the own cgroup is not known: the top of the first mount. Its limit applies to
/// this process or to one beside it; a container too small beats one that is killed.
fn mounts_top(files: &mut KernelFiles, mounts: &[&Mount], why: &str) -> Vec<Directory> {
    let Some(mount) = mounts.iter().find(|mount| files.root.is_directory(&mount.point)) else {
        return Vec::new();
    };
    let used = format!("the limits of {} are used, at /{}", mount.root, mount.point.display());
    files.warn(Path::new(CGROUP), why.to_owned(), used);
    vec![Directory { path: mount.point.clone(), cgroup: mount.root.clone() }]
}
