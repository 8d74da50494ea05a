//! Sockets in LISTEN state, as any of the kernel's tables has them.

use serde::Serialize;

use crate::address::Address;

/// A socket in LISTEN state; `None`: the table does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: Address,
    /// Who made it.
    pub uid: Option<u32>,
    /// Connections that wait to be accepted.
    pub waiting: Option<u32>,
    pub backlog: Option<u32>,
    pub inode: Option<u64>,
}

/// One end of a connection, which has been accepted when it has an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub local: Address,
    pub inode: u64,
}

/// Connections that wait to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Queue {
    pub length: u32,
    /// The backlog: one more than this may wait (the kernel compares with "greater").
    pub limit: u32,
}

impl Queue {
    /// No room for more: the next connections time out, though lsphp does what it can.
    pub fn is_saturated(self) -> bool {
        self.length >= self.limit
    }
}

/// Which sockets are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum States {
    Listening,
    /// Those whose peer has closed its half too: who has accepted them has not noticed yet.
    Connected,
}

/// The kernel's tables of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Inet { port: u16 },
    Inet6 { port: u16 },
    Unix,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_saturated_from_its_limit_on() {
        for (length, saturated) in [(0, false), (9, false), (10, true), (11, true)] {
            assert_eq!(Queue { length, limit: 10 }.is_saturated(), saturated, "{length}");
        }
    }
}
