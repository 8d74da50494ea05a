use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::running::socket::Queue;
use crate::status::tests::{busy, example};
use crate::status::{Pool, Row, Status};

fn faults(first: &Status, second: &Status) -> Vec<Symptom> {
    pool::examine(first, second).into_iter().map(|finding| finding.fault).collect()
}

#[test]
fn a_healthy_pool_has_none() {
    let mut healthy = example();
    (healthy.estimate.suggested_mib, healthy.estimate.setting_mib) = (Some(74), 130);
    assert_eq!(faults(&healthy, &healthy), []);
}

#[test]
fn each_fault_of_the_pool_is_found_alone_and_together() {
    let pool = Pool { queue: Some(Queue { length: 11, limit: 10 }), saturated: true, ..example().pool };
    let full = Status { pool, ..example() };
    assert_eq!(faults(&full, &full), [Symptom::SATURATED]);
    assert_eq!(faults(&example(), &full), [], "a burst");

    let mut ill = example();
    ill.memory.oom_kills = Some(2);
    assert_eq!(faults(&ill, &ill), [Symptom::OOM_KILLS]);
    ill.memory.forks_refused = Some(1);
    ill.pool = Pool { workers: None, ..full.pool };
    ill.estimate.largest_peak_bytes = Some(131 << 20);
    let all = [
        Symptom::ESTIMATE_TOO_LOW,
        Symptom::SATURATED,
        Symptom::TOO_MANY_CHILDREN,
        Symptom::OOM_KILLS,
        Symptom::FORKS_REFUSED,
    ];
    assert_eq!(faults(&ill, &ill), all);

    let mut generous = example();
    (generous.estimate.suggested_mib, generous.estimate.suggested_workers) = (Some(65), Some(14));
    assert_eq!(faults(&generous, &generous), [Symptom::ESTIMATE_TOO_HIGH]);
}

#[test]
fn stuck_is_who_waits_at_both_looks_for_the_same() {
    let seen = |waits: [u64; 4]| {
        let worker = |(pid, waits): (u32, u64)| Row { waits: Some(waits), ..busy(pid, "/slow.php") };
        Status { workers: (8..).zip(waits).map(worker).collect(), ..example() }
    };
    assert_eq!(faults(&seen([5, 6, 7, 8]), &seen([5, 6, 8, 8])), [Symptom::STUCK]);
    assert_eq!(faults(&seen([5, 6, 7, 8]), &seen([5, 6, 7, 30])), [], "three of seven");
    assert_eq!(faults(&seen([5, 6, 7, 8]), &seen([9, 9, 12, 30])), [], "they serve");
    let mut others = seen([5, 6, 7, 8]);
    others.workers.iter_mut().for_each(|row| row.start_ticks += 1);
    assert_eq!(faults(&seen([5, 6, 7, 8]), &others), [], "others with their pids");
}

#[test]
fn a_finding_is_one_line() {
    assert_eq!(Symptom::VOLUME.found("a\nb\x1b").to_string(), "volume: a\\nb\\u{1b}");
}

#[test]
fn the_page_about_status_shows_every_fault_and_no_other() {
    let source = include_str!("../doctor.rs").split("Self = Self(\"").skip(1);
    let names: BTreeSet<&str> = source.map(|line| line.split('"').next().unwrap()).collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.lines().skip_while(|line| *line != "| finding | meaning |").skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let cells: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).collect();
    let documented: BTreeSet<&str> =
        cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 10, "{names:?}");
    assert_eq!(documented, names, "edit docs/status.md: its table of findings");
}
