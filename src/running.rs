//! A site that runs: what its start recorded, and what the kernel says of it now.
//!
//! Facts only; [`crate::health`] is who judges them. The readers are told where to look (a [`place`], or its
//! `/proc` and a pid there), so that they serve in the site's container and on the host alike, and they take
//! what they read as what it may be: written by the site.
//!
//! - [`record`]: `run.json`, the [`RunRecord`]
//! - [`process`]: the recorded process, over [`process_stat`]
//! - [`workers`]: lsphp's children
//! - [`listener`]: who holds the site's address: over [`netlink`] in [`sock_diag`]'s messages, else in
//!   [`proc_net`]'s tables, and from the host first by a [`descriptor`] of lsphp's, as [`socket`]s
//! - [`lineage`]: which of the site's processes are lsphp's and which workers; [`worker`]: what one does, from
//!   its [`title`] and the [`connections`], and its [`process_memory`]
//! - [`place`]: where all that is looked at from
//! - [`file_cache`]: the compiled code that opcache keeps
//! - [`cgroup_memory`]: what the site uses; [`events`]: OOM kills and refused forks

pub(crate) mod cgroup_memory;
pub(crate) mod connections;
pub(crate) mod descriptor;
pub mod events;
pub(crate) mod file_cache;
pub(crate) mod lineage;
pub(crate) mod listener;
mod netlink;
pub(crate) mod place;
mod proc_net;
pub(crate) mod process;
pub(crate) mod process_memory;
mod process_stat;
mod record;
pub mod sock_diag;
pub mod socket;
pub(crate) mod title;
pub(crate) mod worker;
pub(crate) mod workers;

pub(crate) use self::record::{ListenerRecord, RunRecord, StatusPlan};
