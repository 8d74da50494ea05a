//! lsphp's workers.

use std::io;
use std::path::Path;

use super::process::is_lsphp;
use super::process_stat::ProcessStat;
use crate::kernel_file;

/// The most bytes that a pid and the blank behind it take (PID_MAX_LIMIT is 4194304).
const PID_LENGTH: u64 = 8;

/// The pids of lsphp's children that are lsphp too, `executed` as that: as PID 1 it is also the parent of every
/// orphan of the site's, who may have made any number of them. `None`: it has more children than are `left` to be
/// looked through, which would take as long as the site likes.
pub fn find(proc: &Path, pid: u32, executed: &Path, left: &mut usize) -> io::Result<Option<Vec<u32>>> {
    match children(proc, pid, *left) {
        Ok(children) => Ok(those(children, left, |child| is_named(proc, child, executed))),
        // A kernel without CONFIG_PROC_CHILDREN: everybody is asked whose child it is.
        Err(_) => Ok(those(processes(proc, *left)?, &mut { *left }, |it| is_child(proc, it, pid, executed))),
    }
}

fn those(mut pids: Vec<u32>, left: &mut usize, is_worker: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
    *left = left.checked_sub(pids.len())?;
    pids.retain(|pid| is_worker(*pid));
    Some(pids)
}

/// At least one more than `most`, if there are as many.
pub(crate) fn children(proc: &Path, pid: u32, most: usize) -> io::Result<Vec<u32>> {
    let bytes = PID_LENGTH.saturating_mul(most as u64 + 1);
    let list = kernel_file::read_start(&proc.join(format!("{pid}/task/{pid}/children")), bytes)?;
    // What has no blank behind it may be half a pid.
    let list = String::from_utf8_lossy(&list);
    let whole = list.rsplit_once(' ').map_or("", |(whole, _)| whole);
    Ok(whole.split(' ').filter_map(|child| child.parse().ok()).collect())
}

fn processes(proc: &Path, most: usize) -> io::Result<Vec<u32>> {
    let names = std::fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).take(most.saturating_add(1)).collect())
}

fn is_named(proc: &Path, pid: u32, executed: &Path) -> bool {
    let name = kernel_file::read(&proc.join(pid.to_string()).join("comm"));
    name.is_ok_and(|name| is_lsphp(name.strip_suffix(b"\n").unwrap_or(&name), executed))
}

fn is_child(proc: &Path, pid: u32, parent: u32, executed: &Path) -> bool {
    let stat = ProcessStat::read(&proc.join(pid.to_string()));
    stat.is_ok_and(|stat| stat.parent == parent && is_lsphp(&stat.comm, executed))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_ways_find_workers_and_nothing_else() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, parent, comm) in [
            (1, 0, "lsphp"),
            (8, 1, "lsphp"),
            (9, 1, "sendmail"),
            (10, 1, "php-with-jemall"), // a script that has not become lsphp yet
            (11, 8, "lsphp"),
        ] {
            let directory = proc.path().join(pid.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
            let stat =
                format!("{pid} ({comm}) S {parent} 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 4096 9\n");
            fs::write(directory.join("stat"), stat).unwrap();
        }
        fs::create_dir(proc.path().join("net")).unwrap();
        let found = |mut most| {
            let mut pids = find(proc.path(), 1, Path::new("/opt/php-with-jemalloc"), &mut most).unwrap()?;
            pids.sort_unstable();
            Some(pids)
        };
        assert_eq!((found(5), found(4)), (Some(vec![8, 10]), None), "among all processes");
        fs::create_dir_all(proc.path().join("1/task/1")).unwrap();
        fs::write(proc.path().join("1/task/1/children"), "8 9 10 99 ").unwrap();
        assert_eq!((found(4), found(3)), (Some(vec![8, 10]), None), "among the children");
        fs::write(proc.path().join("1/task/1/children"), "").unwrap();
        assert_eq!(found(0), Some(vec![]));
        assert!(find(Path::new("/nonexistent"), 1, Path::new("lsphp"), &mut 9).is_err());
    }

    #[test]
    fn half_a_pid_is_none() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("1/task/1")).unwrap();
        fs::write(proc.path().join("1/task/1/children"), "4194303 ".repeat(9)).unwrap();
        for most in 0..9 {
            let pids = children(proc.path(), 1, most).unwrap();
            assert_eq!(pids, vec![4_194_303; most + 1]);
        }
    }
}
