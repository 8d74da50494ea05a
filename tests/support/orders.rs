//! Visitors who place orders, each on a connection of its own and never twice. The page writes down each order that
//! it executes, so that what was answered and what was executed can be counted.
#![allow(dead_code)] // each test binary uses a part of this

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{Ends, wait_until};

/// Of alice's.
pub const PAGE: &str = "<?php
$order = $_SERVER['REQUEST_METHOD'] === 'POST' ? file_get_contents('php://input') : $_GET['order'];
file_put_contents('/home/alice/orders', \"$order\\n\", FILE_APPEND | LOCK_EX);
usleep((int) $_GET['ms'] * 1000);
header('Content-Length: ' . strlen($order));
echo $order;
";

/// How long the pages take, in milliseconds; most of them are short.
pub const MIXED: &[u32] = &[0, 20, 0, 20, 300, 20, 0, 300, 0, 20, 0, 20, 300, 0, 20, 3000];

/// Four for each of the seven workers of 1 GiB: some always wait.
pub const CLIENTS: usize = 28;

/// One request.
#[derive(Debug, Clone)]
pub struct Order {
    /// What the page writes down, and answers.
    pub name: String,
    /// How long it takes.
    pub ms: u32,
    pub is_post: bool,
}

impl Order {
    pub fn query(&self) -> String {
        format!("ms={}&order={}", self.ms, self.name)
    }

    pub fn body(&self) -> Option<&[u8]> {
        self.is_post.then_some(self.name.as_bytes())
    }
}

/// What became of an order.
#[derive(Debug)]
pub enum Fate {
    /// With the page's own answer.
    Answered,
    /// Not begun: no connection came about.
    Refused,
    /// The connection ended without a whole answer: nobody knows.
    Cut(String),
    /// Another answer than the page's.
    Failed(String),
}

/// What became of the orders of one client after the other.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: Vec<String>,
    pub refused: Vec<String>,
    /// Each with what happened.
    pub cut: Vec<(String, String)>,
    pub failed: Vec<(String, String)>,
}

impl Tally {
    fn note(&mut self, order: Order, fate: Fate) {
        match fate {
            Fate::Answered => self.answered.push(order.name),
            Fate::Refused => self.refused.push(order.name),
            Fate::Cut(what) => self.cut.push((order.name, what)),
            Fate::Failed(what) => self.failed.push((order.name, what)),
        }
    }

    fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.refused.extend(other.refused);
        self.cut.extend(other.cut);
        self.failed.extend(other.failed);
    }

    /// Each order that was answered was executed once, and no other was at all.
    #[track_caller]
    pub fn assert_each_once(&self, home: &Path) {
        assert_eq!((&self.cut, &self.failed), (&vec![], &vec![]), "beside {} answered", self.answered.len());
        assert_eq!(self.others(executed(home)), BTreeMap::new(), "executed, and nobody knows");
    }

    /// What was executed beside the orders that were answered, each of which was once.
    #[track_caller]
    pub fn others(&self, mut executed: BTreeMap<String, usize>) -> BTreeMap<String, usize> {
        for order in &self.answered {
            assert_eq!(
                executed.remove(order),
                Some(1),
                "times that {order}, which was answered, was executed"
            );
        }
        executed
    }
}

/// How often each order was executed.
pub fn executed(home: &Path) -> BTreeMap<String, usize> {
    let mut executed = BTreeMap::new();
    for order in fs::read_to_string(home.join("orders")).unwrap_or_default().lines() {
        *executed.entry(order.to_owned()).or_default() += 1;
    }
    executed
}

/// Has `clients` place orders of pages that take `ms`, every third as a POST, all the time while `act` goes on.
pub fn while_placed<T>(
    place: impl Fn(&Order) -> Fate + Sync,
    clients: usize,
    ms: &[u32],
    act: impl FnOnce() -> T,
) -> (T, Tally) {
    let (over, next, place) = (&AtomicBool::new(false), &AtomicUsize::new(0), &place);
    thread::scope(|scope| {
        let visit = || {
            let mut tally = Tally::default();
            while !over.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (name, ms, is_post) =
                    (format!("order-{number}"), ms[number % ms.len()], number.is_multiple_of(3));
                let order = Order { name, ms, is_post };
                let fate = place(&order);
                if !matches!(fate, Fate::Answered) {
                    thread::sleep(Duration::from_millis(50)); // nobody is there: there is no need to hurry
                }
                tally.note(order, fate);
            }
            tally
        };
        let visiting: Vec<_> = (0..clients).map(|_| scope.spawn(visit)).collect();
        let ended = Ends(over);
        // Every worker is busy when it begins.
        wait_until(|| match next.load(Ordering::Relaxed) {
            begun if begun > 2 * clients => Ok(()),
            begun => Err(format!("{begun} orders")),
        });
        let result = act();
        drop(ended);
        let mut all = Tally::default();
        visiting.into_iter().for_each(|client| all.add(client.join().unwrap()));
        (result, all)
    })
}
