//! A site that runs: what its start recorded, and what the kernel says of it now.
//!
//! Facts only; [`crate::health`] is who judges them. The readers are told where to look (a root, its
//! `/proc`, a pid there), so that they serve in the site's container and on the host alike, and they take
//! what they read as what it may be: written by the site.
//!
//! - [`record`]: `run.json`, the [`RunRecord`]
//! - [`process`]: the recorded process, over [`process_stat`]
//! - [`workers`]: lsphp's children
//! - [`listener`]: who holds the site's address: over [`netlink`] in [`sock_diag`]'s messages, else in
//!   [`proc_net`]'s tables, as [`socket`]s
//! - [`events`]: OOM kills and refused forks

pub mod events;
pub(crate) mod listener;
mod netlink;
mod proc_net;
pub(crate) mod process;
mod process_stat;
mod record;
pub mod sock_diag;
pub mod socket;
pub(crate) mod workers;

pub(crate) use self::record::{ListenerRecord, RunRecord};
