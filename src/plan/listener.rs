//! Who opens the listener, how long its queue is, and whom it lets in.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::clients::Clients;
use crate::lsphp;
use crate::settings::Options;

/// The queue of a listener that cac-lsphp opens: with lsphp's own of 10 the kernel drops connects of a front
/// end with many processes, which come again after seconds.
pub const BACKLOG: u32 = 511;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerPlan {
    pub opened_by: Opener,
    /// Connections that may wait; null: whoever opened it knows.
    pub backlog: Option<u32>,
    /// null: everybody.
    pub allowed_clients: Option<Clients>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opener {
    /// `lsphp -b`.
    Lsphp,
    CacLsphp,
    /// Somebody else, who handed it over.
    HandedOver,
}

/// `somaxconn` is the kernel's ceiling for a backlog, where it is known.
pub(super) fn decide(options: &Options, somaxconn: Option<u32>, warnings: &mut Vec<String>) -> ListenerPlan {
    let given = &options.listener;
    if given.handed_over {
        return ListenerPlan { opened_by: Opener::HandedOver, backlog: None, allowed_clients: None };
    }
    let own = options.supervise.value || given.is_special();
    let wanted = given.backlog.as_ref().map_or(BACKLOG, |backlog| backlog.value);
    let backlog = somaxconn.map_or(wanted, |most| wanted.min(most));
    if own && backlog < wanted {
        warnings.push(format!(
            "a backlog of {backlog} instead of {wanted}: net.core.somaxconn allows no more; raise it for the container (--sysctl)"
        ));
    }
    let allowed_clients = given.allowed_clients.as_ref().map(|clients| clients.value.clone());
    if allowed_clients.is_none() && is_open(&options.listen.value) {
        warnings.push(format!(
            "{} is open to everybody who can reach it, and LSAPI knows no password: set CAC_ALLOWED_CLIENTS to the front end's address",
            options.listen.value
        ));
    }
    match own {
        true => ListenerPlan { opened_by: Opener::CacLsphp, backlog: Some(backlog), allowed_clients },
        false => {
            ListenerPlan { opened_by: Opener::Lsphp, backlog: Some(lsphp::BACKLOG), allowed_clients: None }
        }
    }
}

fn is_open(listen: &Address) -> bool {
    matches!(listen, Address::Inet(socket) if socket.ip().is_unspecified())
}
