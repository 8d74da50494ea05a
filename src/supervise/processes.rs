//! lsphp's processes as pid 1 sees them in `/proc`.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::running::{title, workers};

/// As many as there can be (PID_MAX_LIMIT): a site that makes thousands must not hide workers among them.
const MOST: usize = 4 << 20;

/// Children of `parent` that are lsphp, `executed` as that.
pub fn children(parent: Pid, executed: &Path) -> Vec<Pid> {
    let pid = parent.as_raw().cast_unsigned();
    let found = workers::find(Path::new("/proc"), pid, executed, &mut { MOST });
    let pids = found.ok().flatten().unwrap_or_default();
    pids.into_iter().map(|pid| Pid::from_raw(pid.cast_signed())).collect()
}

/// Whether it is a worker, or a site's own command of that name (PHP_BINARY is lsphp), such as `lsphp artisan queue:work`.
pub fn is_worker(pid: Pid) -> bool {
    title::is_workers(&Path::new("/proc").join(pid.to_string()))
}

/// The script that a worker runs, as its title has it: the end of its path. `None`: it is idle.
pub fn script(worker: Pid) -> Option<String> {
    title::script(&Path::new("/proc").join(worker.to_string()))
}

/// One that has ended is told nothing (ESRCH): its end is about to be noticed.
pub fn signal(process: Pid, signal: Signal) {
    let _ = kill(process, signal);
}
