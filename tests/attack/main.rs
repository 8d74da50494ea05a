//! What a tenant, a panel or an interrupted start may have left, planted in a real container.
//!
//! The tests of [`container`] start a container each, in which this very binary runs one of the
//! ignored tests as root: that plants, boots and looks hundreds of times within one container.

mod boot;
mod container;
mod etc;
mod home;
mod plant;
mod race;
mod run;
mod site_link;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod witness;
