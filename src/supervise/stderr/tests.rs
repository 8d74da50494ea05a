use super::*;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn texts(lines: Vec<Line>) -> Vec<(String, u64)> {
    lines.into_iter().map(|line| (line.text, line.repeated)).collect()
}

#[test]
fn lines_come_out_whole_however_they_were_read() {
    let mut stderr = Stderr::default();
    assert_eq!(stderr.take(b"one\ntw", at(0), &mut || false).len(), 1);
    assert_eq!(texts(stderr.take(b"o\n\n  \nthree", at(1), &mut || false)), [("two".to_owned(), 0)]);
    assert_eq!(texts(stderr.take(b"\r\n", at(2), &mut || false)), [("three".to_owned(), 0)]);
    let long = [b"x".repeat(100_000), b"\n".to_vec()].concat();
    assert_eq!(stderr.take(&long, at(3), &mut || false)[0].text.len(), LONGEST_LINE);
}

#[test]
fn a_flood_is_one_line_with_a_count() {
    let mut stderr = Stderr::default();
    let flood = |pid: u32| {
        format!(
            "[UID:61045][{pid}] Reached max children process limit: 7, extra: 0, current: 7, busy: 7, please increase LSAPI_CHILDREN.\n"
        )
    };
    let first = stderr.take(flood(1).as_bytes(), at(0), &mut || false);
    assert_eq!(first.len(), 1);
    assert!(first[0].hint.unwrap().contains("more memory"), "{first:?}");
    assert_eq!(stderr.wakes_at(), None, "one line is nothing to count");
    for tenth in 1..=50 {
        assert_eq!(stderr.take(flood(tenth).as_bytes(), at(u64::from(tenth) * 100), &mut || false), []);
    }
    assert_eq!(stderr.wakes_at(), Some(at(10_000)));
    assert_eq!(stderr.flush(Some(at(9_999))), []);
    let counted = stderr.flush(Some(at(10_000)));
    assert_eq!((counted.len(), counted[0].repeated), (1, 50));
    assert_eq!(stderr.wakes_at(), None, "an idle pid 1 is not woken");
    assert_eq!(stderr.take(flood(9).as_bytes(), at(20_001), &mut || false).len(), 1, "shown anew later");
}

#[test]
fn the_sites_own_lines_are_the_same_only_when_all_of_them_is() {
    let mut stderr = Stderr::default();
    assert_eq!(stderr.take(b"item 1 done\nitem 2 done\nitem 2 done\n", at(0), &mut || false).len(), 2);
    assert_eq!(texts(stderr.flush(None)), [("item 2 done".to_owned(), 1)]);
}

#[test]
fn many_different_lines_are_all_shown_and_few_remembered() {
    let mut stderr = Stderr::default();
    for n in 0..1000 {
        assert_eq!(stderr.take(format!("line {n}\n").as_bytes(), at(0), &mut || false).len(), 1);
    }
    assert_eq!(stderr.remembered.len(), REMEMBERED);
    let mut stderr = Stderr::default();
    stderr.take(b"first\nfirst\n", at(0), &mut || false);
    let shown: Vec<Line> =
        (0..16).flat_map(|n| stderr.take(format!("line {n}\n").as_bytes(), at(1), &mut || false)).collect();
    assert!(shown.iter().any(|line| line.text == "first" && line.repeated == 1), "no count is lost");
}

#[test]
fn a_killed_worker_has_its_cause() {
    let killed = |signal: i32, oom: bool| {
        let line = format!(
            "[UID:61045][1] Child process with pid: 77 was killed by signal: {signal}, core dumped: no\n"
        );
        Stderr::default().take(line.as_bytes(), at(0), &mut || oom)[0].hint.unwrap_or_default().to_owned()
    };
    for (signal, oom, words) in [
        (9, true, "lack of memory"),
        (9, false, "SIGKILL"),
        (11, false, "crashed"),
        (6, false, "abort"),
        (15, false, ""),
    ] {
        assert!(killed(signal, oom).contains(words), "{signal} {oom}");
    }
}

#[test]
fn lack_of_memory_is_a_cause_of_its_own() {
    let mut stderr = Stderr::default();
    let mut said = |pid: u32, oom: bool| {
        let line = format!("Child process with pid: {pid} was killed by signal: 9, core dumped: no\n");
        stderr.take(line.as_bytes(), at(0), &mut || oom).len()
    };
    assert_eq!([said(1, true), said(2, true), said(3, false), said(4, false)], [1, 0, 1, 0]);
    let counted = stderr.flush(None);
    let kernels: Vec<bool> =
        counted.iter().map(|line| line.hint.unwrap().starts_with("the kernel")).collect();
    assert_eq!((texts(counted).len(), kernels), (2, vec![true, false]));
}

#[test]
fn workers_that_end_in_different_ways_are_different_lines() {
    let mut stderr = Stderr::default();
    let killed = b"Child process with pid: 7 was killed by signal: 9, core dumped: no\nChild process with pid: 8 was killed by signal: 11, core dumped: no\nChild process with pid: 9 was killed by signal: 9, core dumped: no\n";
    assert_eq!(stderr.take(killed, at(0), &mut || false).len(), 2);
    assert_eq!(texts(stderr.flush(None)).len(), 1, "and one is counted");
}

#[test]
fn halves_that_were_mixed_up_are_known_all_the_same() {
    let mut stderr = Stderr::default();
    let mixed = b"[UID:61045][39] [UID:61045][80] Reached max children process limit: 7, extra: 0, current: 7, busy: 0, please increase LSAPI_CHILDREN.\nReached max children process limit: 6, extra: 0, current: 6, busy: 0, please increase LSAPI_CHILDREN.\n";
    let lines = stderr.take(mixed, at(0), &mut || false);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].text.starts_with("Reached") && lines[0].hint.is_some(), "{lines:?}");
    assert_eq!(stderr.flush(None)[0].repeated, 1);
    let retired = b"[UID:61045][12] [UID:61045][13] lsapi_accept() error, errno: 22 (Invalid argument)\n[UID:61045][6] accept() failed, errno: 22 (Invalid argument)\n[UID:6";
    assert_eq!(stderr.take(retired, at(1), &mut || false), []);
}

#[test]
fn nothing_reaches_a_terminal_that_moves_it() {
    let mut stderr = Stderr::default();
    let lines = stderr.take(b"a\x1b]0;x\x07b\x9b2J\xff\n", at(0), &mut || false);
    assert!(!lines[0].text.contains(char::is_control), "{lines:?}");
}

#[test]
fn the_end_of_a_worker_that_was_asked_to_leave_is_no_news() {
    let mut stderr = Stderr::default();
    (1..=100).for_each(|pid| stderr.expect_end(pid));
    let mut said = |pid: i32, signal: i32| {
        let line = format!(
            "[UID:61045][12] Child process with pid: {pid} was killed by signal: {signal}, core dumped: no\n"
        );
        stderr.take(line.as_bytes(), at(0), &mut || false).len()
    };
    assert_eq!(
        (said(100, libc::SIGTERM), said(100, libc::SIGTERM)),
        (0, 1),
        "once, then it is somebody else's"
    );
    assert_eq!((said(99, libc::SIGSEGV), said(98, libc::SIGKILL)), (1, 1), "whatever else ends it");
}
