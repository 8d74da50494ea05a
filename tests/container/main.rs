//! The image in real containers, with real PHP. `scripts/test --test container` prepares what they need.

#[path = "../support/mod.rs"]
mod support;

mod home;
mod image;
mod memory;
mod normaliser;
mod page;
mod plan;
mod pool;
mod process;
mod refusals;
mod request;
mod runtime;
