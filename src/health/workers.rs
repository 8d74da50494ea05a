//! How many workers lsphp has right now.

use std::io;
use std::path::Path;

use crate::kernel_file;
use crate::process_stat::ProcessStat;

/// Counts lsphp's children that bear its name `comm`: as PID 1 it is also the parent of every orphan.
pub(super) fn count(proc: &Path, pid: u32, comm: &[u8]) -> io::Result<usize> {
    match children(proc, pid) {
        Ok(children) => Ok(children.into_iter().filter(|child| is_named(proc, *child, comm)).count()),
        // A kernel without CONFIG_PROC_CHILDREN.
        Err(_) => count_in_all(proc, pid, comm),
    }
}

fn children(proc: &Path, pid: u32) -> io::Result<Vec<u32>> {
    let list = kernel_file::read_table(&proc.join(format!("{pid}/task/{pid}/children")))?;
    let list = String::from_utf8_lossy(&list);
    Ok(list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect())
}

fn is_named(proc: &Path, pid: u32, comm: &[u8]) -> bool {
    let name = kernel_file::read(&proc.join(pid.to_string()).join("comm"));
    name.is_ok_and(|name| name.strip_suffix(b"\n") == Some(comm))
}

fn count_in_all(proc: &Path, pid: u32, comm: &[u8]) -> io::Result<usize> {
    let stats = std::fs::read_dir(proc)?.filter_map(|entry| ProcessStat::read(&entry.ok()?.path()).ok());
    Ok(stats.filter(|stat| stat.parent == pid && stat.comm == comm).count())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_ways_count_workers_and_nothing_else() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, parent, comm) in
            [(1, 0, "lsphp"), (8, 1, "lsphp"), (9, 1, "sendmail"), (10, 1, "lsphp"), (11, 8, "lsphp")]
        {
            let directory = proc.path().join(pid.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
            let stat =
                format!("{pid} ({comm}) S {parent} 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 4096 9\n");
            fs::write(directory.join("stat"), stat).unwrap();
        }
        assert_eq!(count(proc.path(), 1, b"lsphp").unwrap(), 2);
        fs::create_dir_all(proc.path().join("1/task/1")).unwrap();
        fs::write(proc.path().join("1/task/1/children"), "8 9 10 99 ").unwrap();
        assert_eq!(count(proc.path(), 1, b"lsphp").unwrap(), 2);
        assert!(count(Path::new("/nonexistent"), 1, b"lsphp").is_err());
    }
}
