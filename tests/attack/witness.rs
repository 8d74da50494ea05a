//! What is where, so that before and after can be held against each other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// Everything about one file that somebody could change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub device: u64,
    pub inode: u64,
    pub mode: u32,
    pub owner: (u32, u32),
    pub links: u64,
    pub special: u64,
    /// Access, modification, change; seconds and nanoseconds.
    pub times: [(i64, i64); 3],
    pub content: Vec<u8>,
}

impl Seen {
    fn at(path: &Path) -> Option<Self> {
        let status = fs::symlink_metadata(path).ok()?;
        let kind = status.file_type();
        let content = if kind.is_file() {
            read(path)
        } else if kind.is_symlink() {
            fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
        } else {
            assert!(kind.is_dir() || kind.is_fifo() || kind.is_socket() || status.rdev() != 0);
            Vec::new()
        };
        Some(Self {
            device: status.dev(),
            inode: status.ino(),
            mode: status.mode(),
            owner: (status.uid(), status.gid()),
            links: status.nlink(),
            special: status.rdev(),
            times: [
                // Reading a link's target sets this, and looking reads it.
                if kind.is_symlink() { (0, 0) } else { (status.atime(), status.atime_nsec()) },
                (status.mtime(), status.mtime_nsec()),
                (status.ctime(), status.ctime_nsec()),
            ],
            content,
        })
    }

    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
}

pub type Scene = BTreeMap<PathBuf, Seen>;

/// Everything at and below `path`, links not followed.
pub fn look(path: &Path) -> Scene {
    let mut scene = Scene::new();
    collect(path, &mut scene);
    scene
}

fn collect(path: &Path, scene: &mut Scene) {
    let Some(seen) = Seen::at(path) else { return };
    if seen.is_directory() {
        for name in names_in(path) {
            collect(&path.join(name), scene);
        }
    }
    scene.insert(path.to_owned(), seen);
}

/// Looking must not set access times: a boot's look is to be told from ours.
const QUIETLY: OFlag = OFlag::O_NOATIME;

fn read(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    let mut file = OpenOptions::new().read(true).custom_flags(QUIETLY.bits()).open(path).unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}

fn names_in(path: &Path) -> Vec<OsString> {
    let mut directory = Dir::open(path, QUIETLY, Mode::empty()).unwrap();
    let names = directory.iter().map(|entry| entry.unwrap().file_name().to_bytes().to_vec());
    names.map(OsString::from_vec).filter(|name| name != "." && name != "..").collect()
}

/// What was there before and is not quite the same now. `may_be_given` says which directories may
/// have another owner, and new entries, after.
pub fn lost(before: &Scene, after: &Scene, may_be_given: impl Fn(&Path) -> bool) -> Vec<String> {
    before
        .iter()
        .filter_map(|(path, old)| {
            let Some(new) = after.get(path) else { return Some(format!("{} is gone", path.display())) };
            let mut expected = old.clone();
            if new.links + 1 == old.links && !old.is_directory() {
                // A planted hard link was replaced: that is a name less, and sets the change time.
                (expected.links, expected.times[2]) = (new.links, new.times[2]);
            }
            if old.is_directory() && may_be_given(path) {
                expected.owner = new.owner;
                expected.links = new.links;
                expected.times = new.times;
            }
            (expected != *new).then(|| format!("{}: {old:?} is now {new:?}", path.display()))
        })
        .collect()
}
