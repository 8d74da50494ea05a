//! Visitors who speak LSAPI to the site themselves, with nobody between who would ask again.

use std::io::ErrorKind;

use cac_lsphp::lsapi::Request;

use crate::support::orders::{self, Fate, Order, Tally};
use crate::support::{PATIENCE, Running, as_front_end};

pub use crate::support::orders::{CLIENTS, MIXED};

/// Has `clients` ask for pages that take `ms`, all the time while `act` goes on.
pub fn while_asked<T>(site: &Running, clients: usize, ms: &[u32], act: impl FnOnce() -> T) -> (T, Tally) {
    orders::while_placed(|order| place(site, order), clients, ms, act)
}

fn place(site: &Running, order: &Order) -> Fate {
    let mut client = site.client();
    let connection = match client.connect(PATIENCE) {
        Ok(connection) => connection,
        // It had come about, for as long as it was queued.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Fate::Cut(error.to_string()),
        Err(_) => return Fate::Refused,
    };
    match client.fetch_over(connection, &request(order), order.body(), PATIENCE) {
        Ok(response) if response.status == 200 && response.body == order.name.as_bytes() => Fate::Answered,
        Ok(response) => Fate::Failed(format!("{response:?}")),
        Err(error) => Fate::Cut(error.to_string()),
    }
}

pub fn request(order: &Order) -> Request {
    let mut request = as_front_end("order.php");
    request.query_string = order.query().into_bytes();
    if order.is_post {
        request.method = b"POST".to_vec();
        request.headers.push((b"Content-Type".to_vec(), b"text/plain".to_vec()));
    }
    request
}
