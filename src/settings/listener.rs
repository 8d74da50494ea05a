//! How lsphp gets its listener.

use super::Sourced;
use super::reader::Reader;
use super::variable;
use crate::address::Address;
use crate::clients::Clients;

/// What makes cac-lsphp open the listener; none of it leaves it to lsphp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    pub backlog: Option<Sourced<u32>>,
    pub allowed_clients: Option<Sourced<Clients>>,
    /// `LISTEN_FDS` says so: it is descriptor 3.
    pub handed_over: bool,
    /// Seconds without a connection after which the container ends; 0: never.
    pub idle_exit: Sourced<u32>,
}

impl ListenerOptions {
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            backlog: reader.optional_number(&variable::BACKLOG),
            allowed_clients: reader.text(&variable::ALLOWED_CLIENTS, |text| text.parse().ok()),
            handed_over: reader.handed_over(),
            idle_exit: reader.number(&variable::IDLE_EXIT),
        }
    }

    /// Where one is to be opened that is not like lsphp's own.
    pub fn is_special(&self) -> bool {
        self.sources().next().is_some()
    }

    /// What contradicts the address, one line each.
    pub fn faults(&self, listen: &Address) -> Vec<String> {
        let mut faults = Vec::new();
        if self.handed_over {
            faults.extend(self.sources().map(|source| {
                format!("{source} is refused: a listener that was handed over (LISTEN_FDS) is used as it is; set that where it is opened")
            }));
        } else if self.idle_exit.value > 0 {
            faults.push(format!(
                "{} is refused: without a listener that was handed over (LISTEN_FDS) nothing would start the site again; unset it",
                self.idle_exit.source
            ));
        }
        if let Address::Unix(path) = listen
            && !self.handed_over
        {
            faults.extend(self.sources().map(|source| format!(
                "{source} is refused: CAC_LISTEN is the socket {}, and cac-lsphp opens addresses only; listen on ADDRESS:PORT, or unset it",
                path.display()
            )));
        }
        faults
    }

    fn sources(&self) -> impl Iterator<Item = &str> {
        let backlog = self.backlog.iter().map(|backlog| backlog.source.as_str());
        backlog.chain(self.allowed_clients.iter().map(|clients| clients.source.as_str()))
    }
}
