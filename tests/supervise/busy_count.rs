//! lsphp's count of busy workers, which decides whether a connection is closed after its answer, sinks when
//! several workers leave at once. A front end of many processes then waits for its own idle connections.

use std::time::Duration;

use crate::load::while_asked;
use crate::{generations, said, supervised, wait_for_name};

/// More than all leave at once, when they have been idle for a second.
const LEFT: Duration = Duration::from_secs(2);

/// Lines about busy workers come every 100 ms, and ten of them are waited for.
const SATURATED: Duration = Duration::from_secs(2);

#[test]
fn an_lsphp_that_has_lost_count_is_replaced_without_losing_a_request() {
    let site = supervised().start();
    let before = generations(&site);
    let is_replaced = || said(&site, &["lost count of its busy workers"]) > 0;
    for _ in 0..20 {
        for (clients, time) in [(7, Duration::ZERO), (7, Duration::ZERO), (14, SATURATED)] {
            let ((), tally) = while_asked(&site, clients, &[20], || std::thread::sleep(time));
            assert_eq!((&tally.failed, &tally.refused), (&vec![], &vec![]));
            std::thread::sleep(LEFT);
        }
        if is_replaced() {
            break;
        }
    }
    assert!(is_replaced(), "{}", site.logs());
    wait_for_name(&site, "serving:7");
    assert_ne!(generations(&site), before);
}
