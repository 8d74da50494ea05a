//! The hands of tenant, panel and operator: how a planted state comes about, and goes.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Below `/home` as the site is, so that hard links reach it: somebody else's site.
pub const CANARY: &str = "/home/canary";

/// For hard links on the root file system, where the canary is not.
const SYSTEM_SECRET: &str = "/root/secret";

pub fn write(path: impl AsRef<Path>, content: &str) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub fn mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn owner(path: impl AsRef<Path>, id: u32) {
    chown(path, Some(id), Some(id)).unwrap();
}

/// A site of root's and a secret: whoever follows a link to here as root changes it.
pub fn canary() {
    let at = |name: &str| Path::new(CANARY).join(name);
    write(at("public_html/index.php"), "canary");
    write(at("logs/php-fpm/error.log"), "canary");
    write(at("file"), "canary");
    write(at("secret"), "canary");
    owner(at("secret"), 12345);
    mode(at("secret"), 0o600);
    write(SYSTEM_SECRET, "canary");
    write(at("setuid"), "canary");
    mode(at("setuid"), 0o4755);
}

pub fn link(target: &str) -> impl Fn(&Path) + use<> {
    let target = PathBuf::from(target);
    move |path| symlink(&target, path).unwrap()
}

/// A link from `path` to the canary's directory that does without a leading slash.
pub fn relative_link(path: &Path) {
    let depth = path.components().count() - 2; // without `/` and the name itself
    let target = format!("{}{}", "../".repeat(depth), CANARY.trim_start_matches('/'));
    symlink(target, path).unwrap();
}

pub fn loop_link(path: &Path) {
    symlink(path.file_name().unwrap(), path).unwrap();
}

pub fn link_to_link(path: &Path) {
    let other = path.with_file_name("other-link");
    symlink(CANARY, &other).unwrap();
    symlink("other-link", path).unwrap();
}

pub fn fifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap();
}

pub fn socket(path: &Path) {
    drop(UnixListener::bind(path).unwrap()); // its file stays
}

pub fn device(path: &Path) {
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 7)).unwrap(); // /dev/full
}

pub fn hard_link(path: &Path) {
    let canary = Path::new(CANARY).join("secret");
    fs::hard_link(canary, path).or_else(|_| fs::hard_link(SYSTEM_SECRET, path)).unwrap();
}

pub fn file(path: &Path) {
    write(path, "the tenant's");
}

pub fn directory(path: &Path) {
    fs::create_dir(path).unwrap();
}

pub fn full_directory(path: &Path) {
    write(path.join("kept"), "the tenant's");
}

pub fn tmpfs(path: &Path) {
    fs::create_dir_all(path).unwrap();
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
}

pub fn bind(from: &Path, onto: &Path) {
    mount(Some(from), onto, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

pub fn read_only(path: &Path) {
    bind(path, path);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).unwrap();
}

/// As `chattr +i` does.
pub fn immutable(path: &Path) {
    change_flags(path, FS_IMMUTABLE_FL).unwrap();
}

const FS_IMMUTABLE_FL: libc::c_long = 0x10; // linux/fs.h

fn change_flags(path: &Path, flags: libc::c_long) -> std::io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: FS_IOC_SETFLAGS reads one integer, which outlives the call, through the pointer.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS as _, &raw const flags) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Takes away whatever is at `path`: mounts, immutable files, trees.
pub fn clear(path: &Path) {
    let this = std::env::current_exe().unwrap();
    assert_eq!(this, Path::new("/attack"), "this would destroy files of the machine: it is for containers");
    mounts_at_or_below(path).iter().for_each(|mount| unmount(mount));
    let Ok(status) = fs::symlink_metadata(path) else { return };
    if status.is_dir() || status.is_file() {
        let _ = change_flags(path, 0); // not every file system has them
    }
    if status.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            clear(&entry.unwrap().path());
        }
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Takes away what was mounted over `path` itself, and over the files in it that Docker did not mount.
pub fn clear_mounts(path: &Path) {
    let dockers = ["hosts", "hostname", "resolv.conf"].map(|name| path.join(name));
    let ours = mounts_at_or_below(path).into_iter().filter(|mount| !dockers.contains(mount));
    ours.for_each(|mount| unmount(&mount));
}

fn unmount(path: &Path) {
    umount2(path, MntFlags::MNT_DETACH).unwrap();
}

/// Innermost first.
fn mounts_at_or_below(path: &Path) -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<_> = points.filter(|point| point.starts_with(path)).collect();
    points.reverse();
    points
}
