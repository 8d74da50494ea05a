//! The host's view: every site of a machine, from one process that runs beside their containers.
//!
//! [`discovery`] finds the sites, and holds what their records say against the kernel's word of each [`process`];
//! [`look`] reads of each what `status` reads inside, and [`state`] keeps what workers needed; [`list`] shows it to
//! people, [`serve`] and [`metrics`] to Prometheus. Nothing is executed in any container, and what
//! a site can write is input: it is bounded, escaped, and never followed out of the container's root.

mod cli;
mod discovery;
mod list;
mod look;
mod metrics;
mod process;
mod refusal;
mod serve;
mod state;

pub use self::cli::main;
