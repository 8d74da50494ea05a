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
// but in sys
// Nothing panics, whatever environment, files or network hold, and no number wraps into a size or an id.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod address;
pub mod address_space;
mod as_text;
pub mod cgroup;
pub mod cli;
pub mod clients;
pub(crate) mod doctor;
pub mod effects;
pub mod exit;
pub mod exporter;
pub mod failure;
pub mod fault;
pub(crate) mod gather;
pub(crate) mod health;
pub mod identity;
pub(crate) mod kernel_file;
pub(crate) mod listener;
pub(crate) mod logging;
pub mod lsapi;
pub mod lsphp;
mod one_line;
pub(crate) mod opcache;
pub(crate) mod own_script;
pub(crate) mod paths;
pub mod plan;
pub mod privileges;
pub(crate) mod reload;
pub(crate) mod root;
pub mod running;
pub mod settings;
pub(crate) mod sizing;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod supervise;
pub(crate) mod sys;
pub(crate) mod tree;
