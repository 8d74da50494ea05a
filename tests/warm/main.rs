//! opcache's file cache with real PHP, in real containers: what is kept from one to the next, what is not trusted,
//! and what damage does. That cached code runs is seen by a page that was changed without its time, which PHP
//! overlooks.

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod kept;
mod places;
mod supervised;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::support::{Running, Site, UID};

/// In the home, where it is made.
const IN_THE_HOME: &str = "/home/alice/.opcache";

fn cached_at(home: &Path, directory: &str) -> Site {
    Site::at(home).env("CAC_OPCACHE_FILE_CACHE", directory)
}

fn cached(home: &Path) -> Site {
    cached_at(home, IN_THE_HOME)
}

/// A home whose top is the site's.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(UID), Some(UID)).unwrap();
    home
}

fn body(site: &Running, page: &str) -> String {
    String::from_utf8(site.get(page).body).unwrap()
}

/// Changes a page and sets its time to what it was.
fn change_unseen(page: &Path, code: &str) {
    let time = fs::metadata(page).unwrap().modified().unwrap();
    fs::write(page, code).unwrap();
    set_time(page, time);
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Every cached file below `directory`.
fn cached_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()));
    let below = |path: PathBuf| if path.is_dir() { cached_files(&path) } else { vec![path] };
    entries.into_iter().flatten().flat_map(below).collect()
}

/// The cached file of a page below `public_html`.
fn cached_file(cache: &Path, page: &str) -> PathBuf {
    let name = format!("/home/alice/public_html/{page}.bin");
    let files = cached_files(cache);
    let found = files.iter().find(|path| path.to_str().unwrap().ends_with(&name));
    found.unwrap_or_else(|| panic!("no {name} in {files:?}")).clone()
}

fn owner_and_mode(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.mode() & 0o7777)
}
