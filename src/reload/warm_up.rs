//! `CAC_WARM_UP`: pages that the lsphp that is to take over is asked for before visitors come to it.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::Address;
use crate::fault::{Cause, Fault, Object};
use crate::listener::group;
use crate::lsapi::connection::Connection;
use crate::lsapi::response::Head;
use crate::lsapi::{Body, Deadline, Error, Receiver, Target};
use crate::paths::PUBLIC_HTML;
use crate::plan::Plan;

/// For all of them together: pid 1 gives a reload a minute.
const TIME: Duration = Duration::from_secs(10);

/// Asks the standby of the group at `address`. What is not answered is said in a line, and no reason not to reload.
pub fn ask(plan: &Plan, address: SocketAddr) {
    let deadline = Deadline::after(TIME);
    for page in &plan.opcache.warm_up {
        let cause = match ask_for(plan, page, address, deadline) {
            Ok(status) if status < 400 => continue,
            Ok(status) => format!("it is answered with {status}"),
            Err(error @ Error::Deadline { .. }) => {
                tell(format!("warming up with {page}"), error.to_string());
                return;
            }
            Err(error) => error.to_string(),
        };
        tell(format!("warming up with {page}"), cause);
    }
}

/// Without a standby to ask.
pub fn skipped(why: String) {
    tell("warming up".to_owned(), why);
}

fn tell(operation: String, cause: impl Into<Cause>) {
    let hint = "the new lsphp takes over all the same; correct CAC_WARM_UP, or see the container's and the site's logs";
    Fault::new(operation, Object::Nothing, cause, hint).warn();
}

/// The status of the answer. What is no script is the front controller's, as behind the rewrite rules of most
/// applications.
fn ask_for(plan: &Plan, page: &str, address: SocketAddr, deadline: Deadline) -> Result<u16, Error> {
    let uri = format!("https://{}{page}", host(plan));
    let root = plan.front_end.document_root.clone();
    let root = root.unwrap_or_else(|| plan.site.home.join(PUBLIC_HTML));
    // It has a host and a root, so it is a target.
    let Ok(target) = Target::parse(OsStr::new(&uri), Some(root.as_os_str()), None) else { return Ok(400) };
    match send(&target, address, deadline)? {
        404 | 500 => send(&target.of_front_controller(), address, deadline),
        status => Ok(status),
    }
}

/// The site's own name: most applications send visitors of another one away.
fn host(plan: &Plan) -> &str {
    let domain = plan.site.domain.as_ref().map_or("localhost", |domain| domain.as_str());
    domain.trim_start_matches("*.").trim_start_matches("_wildcard.")
}

fn send(target: &Target, address: SocketAddr, deadline: Deadline) -> Result<u16, Error> {
    let mut request = target.request(b"GET");
    let agent = concat!("cac-lsphp/", env!("CARGO_PKG_VERSION"), " warm-up");
    for (name, value) in [("Host", target.authority()), ("User-Agent", agent.as_bytes()), ("Accept", b"*/*")]
    {
        request.headers.push((name.into(), value.to_vec()));
    }
    let mut packet = Vec::new();
    request.encode(None, &mut packet)?;
    let named = Address::Inet(address);
    let socket = group::connect_as_nearest(address)
        .map_err(|cause| Error::Connect { address: named.clone(), cause })?;
    let mut answer = Answer::default();
    Connection::over(socket, named).exchange(&packet, &mut Body::None, deadline, &mut answer)?;
    Ok(answer.status)
}

/// Of which only the status is of interest.
#[derive(Default)]
struct Answer {
    status: u16,
}

impl Receiver for Answer {
    fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        self.status = head.status;
        Ok(())
    }

    fn body(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn stderr(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
