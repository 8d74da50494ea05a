//! Who opens the listener, how long its queue is, and whom it lets in.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::clients::Clients;
use crate::fault::{Fault, Object};
use crate::identity::{Gid, Site};
use crate::lsphp;
use crate::settings::{Options, SocketMode};

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
    /// null: none that cac-lsphp opens.
    pub socket: Option<SocketPlan>,
}

/// Of a unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketPlan {
    pub mode: SocketMode,
    pub gid: Gid,
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
pub(super) fn decide(
    site: &Site,
    options: &Options,
    somaxconn: Option<u32>,
    warnings: &mut Vec<Fault>,
) -> ListenerPlan {
    let given = &options.listener;
    let not_ours =
        |opened_by, backlog| ListenerPlan { opened_by, backlog, allowed_clients: None, socket: None };
    if given.handed_over {
        return not_ours(Opener::HandedOver, None);
    }
    let own = options.supervise || given.is_special();
    let wanted = given.backlog.unwrap_or(BACKLOG);
    let backlog = somaxconn.map_or(wanted, |most| wanted.min(most));
    if own && backlog < wanted {
        let cause = format!("net.core.somaxconn allows a backlog of {backlog} at most, not {wanted}");
        let hint = "raise it for the container (--sysctl)";
        warnings.push(Fault::new("reading", Object::variable("CAC_BACKLOG"), cause, hint));
    }
    let allowed_clients = given.allowed_clients.clone();
    if allowed_clients.is_none() && is_open(&options.listen) {
        let hint = "set CAC_ALLOWED_CLIENTS to the front end's address";
        warnings.push(open_to_everybody(options, hint));
    }
    if !own {
        return not_ours(Opener::Lsphp, Some(lsphp::BACKLOG));
    }
    let socket = matches!(options.listen, Address::Unix(_)).then(|| decide_socket(site, options));
    if socket.is_some_and(|socket| socket.mode.lets_everybody_in()) {
        warnings.push(open_to_everybody(
            options,
            "set CAC_SOCKET_GID to the front end's group, with CAC_SOCKET_MODE=0660",
        ));
    }
    ListenerPlan { opened_by: Opener::CacLsphp, backlog: Some(backlog), allowed_clients, socket }
}

fn open_to_everybody(options: &Options, hint: &'static str) -> Fault {
    let cause = "LSAPI has no passwords, so it is open to everybody who can reach it";
    Fault::new(format!("listening on {}", options.listen), Object::Nothing, cause, hint)
}

fn decide_socket(site: &Site, options: &Options) -> SocketPlan {
    let given = &options.listener;
    SocketPlan {
        mode: given.socket_mode.unwrap_or(SocketMode::DEFAULT),
        gid: given.socket_gid.unwrap_or(site.gid),
    }
}

fn is_open(listen: &Address) -> bool {
    matches!(listen, Address::Inet(socket) if socket.ip().is_unspecified())
}
