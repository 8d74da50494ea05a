//! The entrypoint of a per-site PHP container.
//!
//! Data goes one way, and the modules are named after the stations:
//!
//! ```text
//! environment ─┐
//! site file  ──┼─▶ settings ─┐
//! cgroup, proc ┴─▶ cgroup  ──┴─▶ plan ─▶ effects (root) ─▶ privileges ─▶ effects (site user) ─▶ exec
//! ```
//!
//! Everything up to [`plan`] is free of side effects; `cac-lsphp plan` prints the very value that
//! `cac-lsphp run` applies.

pub mod cgroup;
pub mod cli;
pub mod exit;
pub mod lsapi;
pub mod plan;
