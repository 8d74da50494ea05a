//! The LSAPI protocol: packets as bytes in and bytes out, and a small blocking client.
//!
//! One connection carries one request at a time. Every packet
//! starts with eight bytes ([`packet`]); a request is one BEGIN_REQUEST packet ([`request`])
//! followed by its body as plain bytes; the answer is a run of packets ([`response`]).
//! These three touch no socket. [`send`] is a request over a connection of its own.
//!
//! LSAPI has no authentication: whoever reaches the port can run any script as the site user.

pub mod body;
pub mod connection;
pub mod error;
pub mod packet;
pub mod request;
pub mod response;
pub mod target;

pub use body::Body;
pub use connection::{Deadline, Receiver, send};
pub use error::Error;
pub use request::Request;
pub use target::Target;
