//! Networks of a test's own.

use super::{docker, text, unique_name};

/// A network of Docker's, removed when it is dropped.
pub struct Network {
    pub name: String,
}

impl Network {
    pub fn new() -> Self {
        let name = unique_name();
        text(docker(["network", "create", &name]));
        Network { name }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(["network", "rm", &self.name]);
    }
}
