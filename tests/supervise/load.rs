//! Visitors who place orders: each on a connection of its own, and never twice. The page writes down each order
//! that it executes.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use cac_lsphp::lsapi::Request;

use crate::support::{PATIENCE, Running, as_front_end};

pub const ORDER: &str = "<?php
$order = $_SERVER['REQUEST_METHOD'] === 'POST' ? file_get_contents('php://input') : $_GET['order'];
file_put_contents('/home/alice/orders', \"$order\\n\", FILE_APPEND | LOCK_EX);
usleep((int) $_GET['ms'] * 1000);
echo $order;
";

/// How long the pages take, in milliseconds; most of them are short.
pub const MIXED: &[u32] = &[0, 20, 0, 20, 300, 20, 0, 300, 0, 20, 0, 20, 300, 0, 20, 3000];

/// Four for each of the seven workers of 1 GiB: some always wait.
pub const CLIENTS: usize = 28;

/// What became of the orders of one client after the other.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: Vec<String>,
    /// Not begun: no connection came about.
    pub refused: Vec<String>,
    /// Each with what happened.
    pub failed: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.refused.extend(other.refused);
        self.failed.extend(other.failed);
    }

    /// Each order that was answered was executed once, and no other was at all.
    #[track_caller]
    pub fn assert_each_once(&self, site: &Running) {
        let mut executed = executed(site);
        assert_eq!(self.failed, Vec::<String>::new(), "of {}:\n{}", self.answered.len(), site.logs());
        for order in &self.answered {
            assert_eq!(executed.remove(order), Some(1), "{order}\n{}", site.logs());
        }
        assert_eq!(executed, BTreeMap::new(), "executed, and nobody knows");
    }
}

/// How often each order was executed.
pub fn executed(site: &Running) -> BTreeMap<String, usize> {
    let mut executed = BTreeMap::new();
    for order in fs::read_to_string(site.home.join("orders")).unwrap_or_default().lines() {
        *executed.entry(order.to_owned()).or_default() += 1;
    }
    executed
}

/// Has `clients` ask for pages that take `ms`, all the time while `act` goes on.
pub fn while_asked<T>(site: &Running, clients: usize, ms: &[u32], act: impl FnOnce() -> T) -> (T, Tally) {
    let (over, next) = (&AtomicBool::new(false), &AtomicUsize::new(0));
    thread::scope(|scope| {
        let visit = || {
            let mut tally = Tally::default();
            while !over.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                order(site, number, ms[number % ms.len()], &mut tally);
            }
            tally
        };
        let visiting: Vec<_> = (0..clients).map(|_| scope.spawn(visit)).collect();
        // Every worker is busy when it begins.
        crate::support::wait_until(|| match next.load(Ordering::Relaxed) {
            begun if begun > 2 * clients => Ok(()),
            begun => Err(format!("{begun} orders\n{}", site.logs())),
        });
        // Also where it fails: nobody would end otherwise.
        let ended = Ends(over);
        let result = act();
        drop(ended);
        let mut all = Tally::default();
        visiting.into_iter().for_each(|client| all.add(client.join().unwrap()));
        (result, all)
    })
}

/// Says that it is over when it goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Places one order, every third as a POST.
fn order(site: &Running, number: usize, ms: u32, tally: &mut Tally) {
    let order = format!("order-{number}");
    let is_post = number.is_multiple_of(3);
    let request = request(&order, ms, is_post);
    let body = is_post.then_some(order.as_bytes());
    match site.client().fetch(&request, body, PATIENCE) {
        Ok(response) if response.status == 200 && response.body == order.as_bytes() => {
            tally.answered.push(order);
        }
        Ok(response) => tally.failed.push(format!("{order}: {response:?}")),
        Err(error) if has_no_connection(error.kind()) => {
            tally.refused.push(order);
            // The container is gone: there is no need to hurry.
            thread::sleep(std::time::Duration::from_millis(50));
        }
        Err(error) => tally.failed.push(format!("{order}: {error:?}")),
    }
}

pub fn request(order: &str, ms: u32, is_post: bool) -> Request {
    let mut request = as_front_end("order.php");
    request.query_string = format!("ms={ms}&order={order}").into_bytes();
    if is_post {
        request.method = b"POST".to_vec();
        request.headers.push((b"Content-Type".to_vec(), b"text/plain".to_vec()));
    }
    request
}

/// What a connect says, and never a read of a connection that came about.
fn has_no_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TimedOut
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
