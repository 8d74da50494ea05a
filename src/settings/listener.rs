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
}

impl ListenerOptions {
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            backlog: reader.optional_number(&variable::BACKLOG),
            allowed_clients: reader.text(&variable::ALLOWED_CLIENTS, |text| text.parse().ok()),
        }
    }

    /// Where something of it is set.
    pub fn is_given(&self) -> bool {
        self.backlog.is_some() || self.allowed_clients.is_some()
    }

    /// What contradicts the address, one line each.
    pub fn faults(&self, listen: &Address) -> Vec<String> {
        let mut faults = Vec::new();
        if let (Address::Unix(path), Some(source)) = (listen, self.source()) {
            faults.push(format!(
                "{source} is refused: CAC_LISTEN is the socket {}, and cac-lsphp opens addresses only; listen on ADDRESS:PORT, or unset it",
                path.display()
            ));
        }
        faults
    }

    fn source(&self) -> Option<&str> {
        let backlog = self.backlog.as_ref().map(|backlog| backlog.source.as_str());
        self.allowed_clients.as_ref().map(|clients| clients.source.as_str()).or(backlog)
    }
}
