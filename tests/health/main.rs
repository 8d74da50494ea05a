//! `healthcheck` in real containers, mostly as Docker itself runs it. `scripts/test --test health` prepares
//! what they need.

#[path = "../support/mod.rs"]
mod support;

mod cost;
mod exit_code;
mod places;
mod quiet;
mod states;
mod watch;
