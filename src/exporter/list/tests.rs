use super::*;
use crate::health::Reason;
use crate::status::Down;
use crate::status::distribution::Distribution;
use crate::status::tests::{example, record};

fn sighting(container: &str, status: Result<Status, Down>) -> Sighting {
    Sighting {
        container: container.into(),
        pid: 7,
        uid: 61045,
        recorded_by: Author::Root,
        status,
        peaks: Distribution::default(),
    }
}

fn down() -> Down {
    let site = serde_json::from_str::<crate::running::RunRecord<crate::status::StatusPlan>>(&record(
        "carol",
        1,
        "c.example",
    ));
    Down { site: Some(Box::new(site.unwrap().plan.site)), reason: Reason::Stopped { pid: 7 } }
}

fn look() -> Look {
    let mut bob = example();
    bob.user = "bob".into();
    bob.domain = None;
    bob.pool.busy = 6;
    bob.pool.saturated = true;
    bob.memory.oom_kills = None;
    bob.estimate.suggested_workers = None;
    bob.estimate.suggested_mib = None;
    let mut sites = vec![sighting("b", Ok(bob)), sighting("c", Err(down())), sighting("a", Ok(example()))];
    sites[0].recorded_by = Author::Site;
    Look { sites, refused: vec![], hidden_processes: 0 }
}

#[test]
fn the_table() {
    let mut look = look();
    sort(&mut look.sites, Column::User);
    assert_eq!(
        Table(&look).to_string(),
        "\
USER    DOMAIN         WORKERS     QUEUE    MEMORY MiB  WORKER   OOM  STATE
alice   example.com        1/7      3/10      421/1024      51     0  serving
bob*    -                  6/7      3/10      421/1024      51     ?  saturated
carol   c.example            -         -             -       -     -  stopped
* started without root, so that user and domain are what the site says
"
    );
}

#[test]
fn any_column_decides_the_order() {
    for (column, order) in [
        (Column::User, ["alice", "bob", "carol"]),
        (Column::Domain, ["bob", "carol", "alice"]),
        (Column::Workers, ["bob", "alice", "carol"]),
        (Column::Queue, ["alice", "bob", "carol"]),
        (Column::Oom, ["alice", "bob", "carol"]),
        (Column::State, ["bob", "alice", "carol"]),
    ] {
        let mut sites = look().sites;
        sort(&mut sites, column);
        assert_eq!(sites.iter().map(Sighting::user).collect::<Vec<_>>(), order, "{column:?}");
    }
}

#[test]
fn suggestions_are_added_up() {
    let mut look = look();
    sort(&mut look.sites, Column::User);
    assert_eq!(
        Suggestions(&look).to_string(),
        "\
USER    DOMAIN       LIMIT MiB  WORKERS ESTIMATE SUGGESTED   CARRIES  SAMPLES  SEEN FOR
alice   example.com       1024        7      130        74        12        5  2 h 5 min
bob*    -                 1024        7      130         ?         ?        5  2 h 5 min
2 sites with 14 workers, limits of 2048 MiB together
1 of them have been seen for long enough: their limits carry 12 workers instead of 7
"
    );
}

#[test]
fn a_terminal_gets_what_it_has_room_for() {
    let table = "HEAD  x\nfirst y\nsecond z\n";
    for (rows, columns, shown) in [
        (24, 80, table),
        (4, 8, table),
        (3, 4, "HEAD\nfirs\n"),
        (1, 80, ""),
        (0, 5, "HEAD \nfirst\nsecon\n"),
        (2, 0, "HEAD  x\n"),
        (u16::MAX, u16::MAX, table),
    ] {
        assert_eq!(fit(table, rows, columns), shown, "{rows} {columns}");
    }
    assert_eq!(fit("\u{e4}\u{e4}\u{e4}\n", 9, 2), "\u{e4}\u{e4}\n", "whole characters");
}
