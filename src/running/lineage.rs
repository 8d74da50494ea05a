//! Which of a site's processes are lsphp's, and which its workers.

use std::io;
use std::path::Path;

use super::process_stat::ProcessStat;
use super::workers;

/// The lsphp processes of a site, by pid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// What accepts for the workers and forks them, oldest first. Supervised there may be two: a reload's
    /// next generation beside the last. None: lsphp is being started again.
    pub parents: Vec<u32>,
    pub workers: Vec<u32>,
}

/// Lsphp processes that fork workers at most: of two generations, and of workers that are executing a program.
const MOST_PARENTS: usize = 16;

/// Looks below the recorded process `pid`, which is lsphp or what supervises it; `executed` is lsphp's file.
/// `None`: there are more than `most` children, of two generations twice as many, and the site can make any number.
///
/// # Errors
/// `proc` cannot be read.
pub fn find(
    proc: &Path,
    pid: u32,
    executed: &Path,
    is_supervised: bool,
    most: usize,
) -> io::Result<Option<Lineage>> {
    let mut left = if is_supervised { most.saturating_mul(2) } else { most };
    let Some(children) = workers::find(proc, pid, executed, &mut left)? else { return Ok(None) };
    if !is_supervised {
        return Ok(Some(Lineage { parents: vec![pid], workers: children }));
    }
    let mut lineage = Lineage::default();
    let children = oldest_first(proc, children);
    let newest = children.last().copied();
    for child in children {
        let Some(below) = workers::find(proc, child, executed, &mut left)? else { return Ok(None) };
        // One without workers that is not the newest is a worker that has outlived its parent.
        if below.is_empty() && Some(child) != newest {
            lineage.workers.push(child);
        } else {
            lineage.parents.push(child);
        }
        lineage.workers.extend(below);
    }
    Ok(Some(lineage).filter(|found| found.parents.len() <= MOST_PARENTS))
}

/// The kernel lists a worker behind the next lsphp, however old it is, when its own has ended.
fn oldest_first(proc: &Path, pids: Vec<u32>) -> Vec<u32> {
    if pids.len() < 2 {
        return pids;
    }
    let start = |pid: u32| Some((ProcessStat::read(&proc.join(pid.to_string())).ok()?.start_ticks, pid));
    let mut by_start: Vec<_> = pids.into_iter().filter_map(start).collect();
    by_start.sort_by_key(|(start, _)| *start);
    by_start.into_iter().map(|(_, pid)| pid).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LSPHP: &str = "/opt/lsphp";

    /// Pid, name and children of each, in the order in which they were started.
    fn proc(processes: &[(u32, &str, &str)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (start, (pid, comm, children)) in processes.iter().enumerate() {
            let task = proc.path().join(format!("{pid}/task/{pid}"));
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("children"), children).unwrap();
            fs::write(proc.path().join(format!("{pid}/comm")), format!("{comm}\n")).unwrap();
            let stat =
                format!("{pid} ({comm}) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {start} 4096 9\n");
            fs::write(proc.path().join(format!("{pid}/stat")), stat).unwrap();
        }
        proc
    }

    #[test]
    fn both_forms_are_told_apart() {
        let alone = proc(&[(1, "lsphp", "8 9 10 "), (8, "lsphp", ""), (9, "sh", ""), (10, "lsphp", "")]);
        let found = find(alone.path(), 1, Path::new(LSPHP), false, 9).unwrap().unwrap();
        assert_eq!(found, Lineage { parents: vec![1], workers: vec![8, 10] });

        // 6 has outlived its parent, 7 is the last generation, 20 the next one.
        let supervised = proc(&[
            (1, "serving:7", "6 7 20 "),
            (6, "lsphp", ""),
            (7, "lsphp", "8 "),
            (8, "lsphp", ""),
            (20, "lsphp", "21 22 "),
            (21, "lsphp", ""),
            (22, "lsphp", ""),
        ]);
        let found = find(supervised.path(), 1, Path::new(LSPHP), true, 9).unwrap().unwrap();
        assert_eq!(found, Lineage { parents: vec![7, 20], workers: vec![6, 8, 21, 22] });
        assert_eq!(find(supervised.path(), 1, Path::new(LSPHP), true, 2).unwrap(), None);

        // As the kernel lists them after a reload: 8 was a worker of 7, which has ended, and 20 has none yet.
        let reloaded = proc(&[(1, "serving:7", "20 8 "), (8, "lsphp", ""), (20, "lsphp", "")]);
        let found = find(reloaded.path(), 1, Path::new(LSPHP), true, 9).unwrap().unwrap();
        assert_eq!(found, Lineage { parents: vec![20], workers: vec![8] });

        // A site may have children with children; all of them count.
        let many = proc(&[(1, "serving:7", "7 8 "), (7, "lsphp", "20 21 "), (8, "lsphp", "22 23 ")]);
        assert_eq!(find(many.path(), 1, Path::new(LSPHP), true, 2).unwrap(), None);
        let parents: String = (100..=100 + MOST_PARENTS).map(|pid| format!("{pid} ")).collect();
        let each = (100..=100 + u32::try_from(MOST_PARENTS).unwrap()).map(|pid| (pid, "lsphp", "9 "));
        let all: Vec<_> =
            [(1, "serving:7", parents.as_str()), (9, "lsphp", "")].into_iter().chain(each).collect();
        assert_eq!(find(proc(&all).path(), 1, Path::new(LSPHP), true, 99).unwrap(), None);

        let idle = proc(&[(1, "serving:7", "5 "), (5, "lsphp", "")]);
        let found = find(idle.path(), 1, Path::new(LSPHP), true, 9).unwrap().unwrap();
        assert_eq!(found, Lineage { parents: vec![5], workers: vec![] });
        let restarting = proc(&[(1, "serving:7", "")]);
        assert_eq!(
            find(restarting.path(), 1, Path::new(LSPHP), true, 9).unwrap().unwrap(),
            Lineage::default()
        );
    }
}
