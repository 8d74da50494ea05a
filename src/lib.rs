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
#![deny(unsafe_code)]

pub mod address;
pub mod cgroup;
pub mod cli;
pub mod decision;
pub mod effects;
pub mod exit;
pub mod health;
pub mod kernel_file;
pub mod logging;
pub mod lsapi;
pub mod lsphp;
pub mod plan;
pub mod privileges;
pub mod running;
pub mod settings;
pub mod sizing;
pub mod start;
pub mod sys;
pub mod tree;
