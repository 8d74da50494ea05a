//! Every system call of a boot fails once in each way, and is where the boot is killed once; so do those of a reload and
//! a stop.
//!
//! `strace` does it to the unmodified release binary: boots are in a mount namespace of the test's own, reloads and stops
//! in the namespaces of a container, as they need PHP.

mod bed;
mod lock;
mod outcome;
mod paths;
mod sandbox;
mod supervised;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod trace;
