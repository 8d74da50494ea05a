//! Who gets an answer from a site, in real containers on one network.

#[path = "../support/mod.rs"]
mod support;

mod allowed;
mod network;
mod socket;
mod start;
