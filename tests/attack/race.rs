//! Another process swaps each component for a link, as fast as it can, while boots go on.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::boot::boot;
use crate::plant::{self, CANARY};
use crate::support::Ends;
use crate::witness::{look, lost};

/// Boots by default, one quarter for each component. The 10,000 of the promise take a few minutes.
const BOOTS: usize = 400;

/// A component, and the link that takes its place: to where the next component would be met.
const COMPONENTS: [(&str, &str); 5] = [
    ("/home/alice", CANARY),
    ("/home/alice/public_html", "/home/canary/public_html"),
    ("/home/alice/logs", "/home/canary/logs"),
    ("/home/alice/logs/php-fpm", "../../canary/logs/php-fpm"),
    ("/home/alice/.opcache", "/home/canary/empty"),
];

/// What root gives at each boot, as each boot begins with root owning it.
const GIVEN: [&str; 5] = [
    "/home/alice",
    "/home/alice/public_html",
    "/home/alice/logs",
    "/home/alice/logs/php-fpm",
    "/home/alice/.opcache",
];

#[test]
#[ignore = "runs in the containers of attack::container"]
fn boots() {
    let boots = std::env::var("CAC_TEST_RACE_BOOTS").ok().and_then(|number| number.parse().ok());
    let boots = boots.unwrap_or(BOOTS) / COMPONENTS.len();
    for (component, target) in COMPONENTS {
        let path = Path::new("/home/alice");
        plant::clear(path);
        plant::clear(Path::new(CANARY));
        plant::canary();
        plant::write("/home/alice/public_html/index.php", "the tenant's");
        plant::write("/home/alice/logs/php-fpm/error.log", "the tenant's");
        plant::directory(Path::new("/home/alice/.opcache"));
        plant::directory(Path::new("/home/canary/empty"));
        race(component, target, boots);
        plant::clear(&swapped(component));
    }
}

fn swapped(component: &str) -> PathBuf {
    PathBuf::from(format!("{component}.swapped"))
}

fn race(component: &str, target: &str, boots: usize) {
    symlink(target, swapped(component)).unwrap();
    // Held open, so that they can be told from what has their name just now.
    let given = GIVEN.map(|path| File::open(path).unwrap());
    let watched = || {
        let mut canary = look(Path::new(CANARY));
        // The directory that holds both names changes with each swap.
        canary.retain(|path, _| path != Path::new("/home"));
        canary
    };
    let before = watched();
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut gave, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(component, &over, &swaps));
        let _ended = Ends(&over);
        for _ in 0..boots {
            given.iter().for_each(|file| std::os::unix::fs::fchown(file, Some(0), Some(0)).unwrap());
            let boot = boot();
            let errors = boot.lines("ERROR").len();
            let ended_well = (boot.started && errors == 0) || (!boot.started && errors == 1);
            let untouched = lost(&before, &watched(), |_| false);
            assert!(ended_well && untouched.is_empty(), "{component}: {boot:?}\ntouched: {untouched:?}");
            let raced = GIVEN.iter().position(|path| *path == component).unwrap();
            gave += usize::from(given[raced].metadata().unwrap().uid() != 0);
            refused += usize::from(boot.stderr.contains("is a link or not a directory"));
        }
    });
    let swaps = swaps.into_inner();
    println!("{component}: {boots} boots, {swaps} swaps, given in {gave}, met a link in {refused}");
    assert!(gave > 0 && refused > 0, "the race was not run: always one side won");
}

fn swap(component: &str, over: &AtomicBool, swaps: &AtomicU64) {
    let other = swapped(component);
    while !over.load(Ordering::Relaxed) {
        renameat2(AT_FDCWD, component, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
        swaps.fetch_add(1, Ordering::Relaxed);
    }
    if Path::new(component).is_symlink() {
        renameat2(AT_FDCWD, component, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
    }
}
