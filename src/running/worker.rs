//! One of lsphp's processes: what it does, and what that takes.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::connections::Connections;
use super::process_memory::{self, ProcessMemory};
use super::process_stat::ProcessStat;
use super::title;

/// What a worker is doing. A sample cannot see a request that starts and ends between two of its steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// A script runs; the end of its path, escaped.
    Busy { script: String },
    /// It holds a connection of the front end's and waits for a request there: nobody else can use it.
    Connected,
    /// It waits for a connection.
    Idle,
}

/// A process, as it was a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub pid: u32,
    /// Tells it from a later process with its pid.
    pub start_ticks: u64,
    pub parent: u32,
    pub activity: Activity,
    /// `None`: it may not be looked at, or is gone.
    pub memory: Option<ProcessMemory>,
    /// How often it has waited for something.
    pub waits: Option<u64>,
    pub cpu: Duration,
    pub age: Duration,
}

/// The kernel's clock ticks, and how long it has been up.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    ticks_per_second: u64,
    uptime: Duration,
    /// Since 1970.
    wall: Duration,
}

impl Clock {
    /// # Errors
    /// The kernel has neither.
    pub fn now() -> io::Result<Self> {
        let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ticks_per_second = u64::try_from(ticks).unwrap_or(100).max(1);
        Ok(Self { ticks_per_second, uptime: uptime.into(), wall })
    }

    fn duration(self, ticks: u64) -> Duration {
        let (seconds, rest) = (ticks / self.ticks_per_second, ticks % self.ticks_per_second);
        Duration::from_secs(seconds)
            + Duration::from_millis(rest.saturating_mul(1000) / self.ticks_per_second)
    }

    /// When that was, in seconds since 1970.
    pub fn wall(self, start_ticks: u64) -> u64 {
        self.wall.saturating_sub(self.since(start_ticks)).as_secs()
    }

    /// Seconds since 1970.
    pub fn now_wall(self) -> u64 {
        self.wall.as_secs()
    }

    /// How long ago that was.
    pub fn since(self, start_ticks: u64) -> Duration {
        self.uptime.saturating_sub(self.duration(start_ticks))
    }
}

/// Reads process `pid` in `proc`, which does nothing but fork, without its memory: to add that up takes the kernel longer
/// than all else of an idle site. `None`: it is gone.
pub fn read_parent(proc: &Path, pid: u32, clock: Clock) -> Option<Worker> {
    ProcessStat::read(&proc.join(pid.to_string())).ok().map(|stat| idle(pid, &stat, clock))
}

fn idle(pid: u32, stat: &ProcessStat, clock: Clock) -> Worker {
    Worker {
        pid,
        start_ticks: stat.start_ticks,
        parent: stat.parent,
        activity: Activity::Idle,
        memory: None,
        waits: None,
        cpu: clock.duration(stat.cpu_ticks),
        age: clock.since(stat.start_ticks),
    }
}

/// Reads process `pid` in `proc`; `None`: it is gone.
pub fn read(proc: &Path, pid: u32, connections: &Connections<'_>, clock: Clock) -> Option<Worker> {
    let process = proc.join(pid.to_string());
    let stat = ProcessStat::read(&process).ok()?;
    let activity = match title::script(&process) {
        Some(script) => Activity::Busy { script },
        None if connections.are_held_by(proc, pid) => Activity::Connected,
        None => Activity::Idle,
    };
    let reading = process_memory::read(&process).ok();
    // Its pid may be another process's by now, on a host another site's: then all of that is.
    ProcessStat::read(&process).ok().filter(|now| now.start_ticks == stat.start_ticks)?;
    let (memory, waits) = (reading.map(|reading| reading.memory), reading.map(|reading| reading.waits));
    Some(Worker { activity, memory, waits, ..idle(pid, &stat, clock) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let clock = Clock::now().unwrap();
        let worker = read(Path::new("/proc"), std::process::id(), &Connections::default(), clock).unwrap();
        assert_eq!(worker.activity, Activity::Idle, "the tests have another title");
        assert!(worker.memory.unwrap().own > 0 && worker.waits.is_some());
        assert!(worker.age < clock.uptime && worker.cpu < clock.uptime * 100);
    }

    #[test]
    fn what_may_not_be_looked_at_is_left_out() {
        let proc = tempfile::tempdir().unwrap();
        let read = |pid| read(proc.path(), pid, &Connections::default(), Clock::now().unwrap());
        let directory = proc.path().join("7");
        std::fs::create_dir(&directory).unwrap();
        assert_eq!(read(7), None);
        std::fs::write(
            directory.join("stat"),
            "7 (lsphp) S 1 7 7 0 -1 0 1 2 3 4 250 50 7 8 20 0 1 0 99 4096 9\n",
        )
        .unwrap();
        std::fs::write(directory.join("cmdline"), "lsphp:/home/alice/index.php\0").unwrap();
        let worker = read(7).unwrap();
        assert_eq!(worker.activity, Activity::Busy { script: "/home/alice/index.php".into() });
        assert_eq!((worker.memory, worker.waits), (None, None));
        assert_eq!(
            worker.cpu,
            Duration::from_secs(300) / u32::try_from(Clock::now().unwrap().ticks_per_second).unwrap()
        );
    }
}
