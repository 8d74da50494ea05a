//! Every system call of a boot fails once in each way, and is where the boot is killed once.
//!
//! `strace` does it to the unmodified release binary, in a mount namespace of the test's own.

mod lock;
mod outcome;
mod paths;
mod sandbox;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod trace;
