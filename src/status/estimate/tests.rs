use proptest::prelude::*;

use super::*;
use crate::running::process_memory::ProcessMemory;
use crate::running::worker::Activity;

/// At the published defaults: 7 workers of 130 MiB in 1 GiB.
const DEMAND: Demand =
    Demand { budget_mib: 1024, opcache_mib: 64, estimate_mib: 130, extra: 0, children: None, pids_max: None };

/// A worker that had this peak and used this much CPU time, started `age` s ago.
fn worker(pid: u32, peak_mib: u64, cpu: u64, age: u64) -> Worker {
    let clock = Clock::now().unwrap();
    let uptime = clock.since(0).as_secs();
    let memory = ProcessMemory { own: 20 * MIB, proportional: 0, peak: peak_mib * MIB, page_tables: MIB };
    Worker {
        pid,
        start_ticks: (uptime - age.min(uptime)) * 100,
        parent: 1,
        activity: Activity::Idle,
        memory: Some(memory),
        waits: None,
        cpu: Duration::from_secs(cpu),
        age: Duration::from_secs(age),
    }
}

fn decided(workers: &[Worker], demand: Demand, limit: u32) -> Estimate {
    let mut peaks = Peaks::default();
    peaks.see(1, workers, Clock::now().unwrap());
    decide(&peaks, Clock::now().unwrap(), demand, limit)
}

fn enough() -> Vec<Worker> {
    vec![worker(7, 40, 5, 100), worker(8, 55, 5, 90), worker(9, 30, 5, 80)]
}

#[test]
fn peaks_that_are_far_below_the_setting_carry_more_workers() {
    let estimate = decided(&enough(), DEMAND, 7);
    assert_eq!((estimate.samples, estimate.worked_seconds), (3, 15));
    assert!((98..=102).contains(&estimate.span_seconds), "{}", estimate.span_seconds);
    assert_eq!(estimate.largest_peak_bytes, Some(55 * MIB));
    assert_eq!(estimate.largest_own_bytes, Some(20 * MIB));
    // (55 + 1) MiB and a quarter; (1024 - 80) / 70
    assert_eq!((estimate.suggested_mib, estimate.suggested_workers), (Some(70), Some(13)));
    assert_eq!(
        estimate.message,
        "largest worker 55 MiB: with LSPHP_WORKER_ESTIMATE_MB=70 this limit carries 13 workers instead of 7"
    );
}

#[test]
fn peaks_above_the_setting_are_a_warning() {
    let estimate = decided(&[worker(7, 200, 5, 100), worker(8, 20, 5, 90), worker(9, 30, 5, 80)], DEMAND, 7);
    assert_eq!((estimate.suggested_mib, estimate.suggested_workers), (Some(252), Some(3)));
    assert_eq!(
        estimate.message,
        "largest worker 200 MiB: set LSPHP_WORKER_ESTIMATE_MB=252: this limit carries 3 workers and not 7, or raise the limit"
    );
}

#[test]
fn nothing_is_suggested_from_too_little() {
    for (what, workers, limit) in [
        ("nobody", vec![], 7),
        ("two of seven", vec![worker(8, 55, 9, 90), worker(9, 30, 9, 80)], 7),
        (
            "hardly any work",
            enough().into_iter().map(|w| Worker { cpu: Duration::from_secs(2), ..w }).collect(),
            7,
        ),
        ("a short time", vec![worker(7, 40, 5, 30), worker(8, 55, 5, 20), worker(9, 30, 5, 10)], 7),
        (
            "only forked",
            enough().into_iter().map(|w| Worker { cpu: Duration::from_millis(999), ..w }).collect(),
            7,
        ),
        ("nothing to read", enough().into_iter().map(|w| Worker { memory: None, ..w }).collect(), 7),
    ] {
        let estimate = decided(&workers, DEMAND, limit);
        assert_eq!((estimate.suggested_mib, estimate.suggested_workers), (None, None), "{what}");
        assert!(!estimate.message.contains("LSPHP_WORKER_ESTIMATE_MB"), "{what}: {}", estimate.message);
    }
    assert!(
        decided(&[worker(8, 55, 9, 90), worker(9, 30, 9, 80)], DEMAND, 2).suggested_mib.is_some(),
        "two of two"
    );
}

#[test]
fn a_number_by_hand_is_not_said_to_change() {
    let message = decided(&enough(), DEMAND, 20).message;
    assert!(message.contains("carries 13 workers; the present 20 were set by hand"), "{message}");
}

#[test]
fn workers_that_have_left_count_on() {
    let (mut peaks, clock) = (Peaks::default(), Clock::now().unwrap());
    let workers = enough();
    peaks.see(1, &workers, clock);
    let grown = Worker {
        memory: Some(ProcessMemory { peak: 57 * MIB, ..workers[1].memory.unwrap() }),
        ..workers[1].clone()
    };
    peaks.see(1, &[Worker { memory: None, ..grown.clone() }], clock);
    peaks.see(1, &[grown], clock);
    peaks.see(1, &[], clock);
    let estimate = decide(&peaks, clock, DEMAND, 7);
    assert_eq!(estimate.samples, 3, "each once: {estimate:?}");
    assert_eq!(estimate.largest_peak_bytes, Some(57 * MIB));
    assert_eq!(estimate.largest_own_bytes, None, "nobody has anything now");
    assert_eq!(estimate.p95_peak_bytes, Some(57 * MIB), "of a bucket no more than the largest");
    let later = Peaks::after(peaks.left().clone());
    assert_eq!(decide(&later, clock, DEMAND, 7), estimate, "also of those that another process has seen");
}

#[test]
fn one_in_twenty_may_need_more_than_the_percentile() {
    let sizes: Vec<u64> = (1..=100).collect();
    assert_eq!(percentile_95(&sizes), Some(95));
    assert_eq!(percentile_95(&sizes[..20]), Some(19));
    assert_eq!(percentile_95(&[4, 5]), Some(5));
    assert_eq!(percentile_95(&[]), None);
}

proptest! {
    #[test]
    fn a_suggestion_leaves_a_quarter_and_is_accepted(need in 0u64..=u64::MAX / 200) {
        let suggested = u64::from(with_headroom(need));
        prop_assert!(ACCEPTED_MIB.contains(&suggested));
        prop_assert!(suggested == 4096 || suggested * MIB * 4 >= need * 5);
    }
}

/// As while one container takes another's place, of which both have the site's name.
#[test]
fn workers_of_two_pools_are_counted_once_each() {
    let (mut peaks, clock) = (Peaks::default(), Clock::now().unwrap());
    let (old, new) = ([worker(8, 40, 5, 90), worker(9, 50, 5, 90)], [worker(8, 60, 5, 20)]);
    for _ in 0..10 {
        peaks.see(1, &old, clock);
        peaks.see(2, &new, clock);
        peaks.keep(&[1, 2].into());
    }
    assert_eq!((peaks.distribution().samples(), peaks.left().samples()), (3, 0));
    for _ in 0..2 {
        peaks.see(2, &new, clock);
        peaks.keep(&[2].into());
        assert_eq!((peaks.distribution().samples(), peaks.left().samples()), (3, 2));
    }
}
