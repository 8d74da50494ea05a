//! The memory limit changes while visitors ask.

use crate::load::{CLIENTS, while_asked};
use crate::support::{docker, text};
use crate::{supervised, wait_for_name};

#[test]
fn a_changed_limit_resizes_the_pool_and_loses_no_request() {
    let site = supervised().options(["--memory-swap", "1g"]).env("CAC_WATCH_MEMORY", "1").start();
    let limit = |size: &str| text(docker(["update", "--memory", size, "--memory-swap", size, &site.name]));
    let ((), tally) = while_asked(&site, CLIENTS, &[0, 20, 300], || {
        limit("2g");
        wait_for_name(&site, "serving:15");
        limit("1g");
        wait_for_name(&site, "serving:7");
    });
    assert_eq!(tally.refused, Vec::<String>::new());
    tally.assert_each_once(&site.home);
    assert_eq!(
        crate::said(&site, &["the memory limit changed from 1024 MiB to 2048 MiB"]),
        1,
        "{}",
        site.logs()
    );
    assert_eq!(crate::said(&site, &["killed by signal"]), 0, "{}", site.logs());
}
