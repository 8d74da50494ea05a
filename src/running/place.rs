//! Where a site is looked at from: its own container, or the host.

use std::io;
use std::path::{Path, PathBuf};

use crate::root::Root;

/// What the readers need to know of it.
#[derive(Debug)]
pub struct Place {
    /// Where pids are as `pid` is.
    pub proc: PathBuf,
    /// The recorded process there.
    pub pid: u32,
    pub root: Root,
    network: Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// The site's is this process's own.
    Own,
    Other,
}

impl Place {
    /// In the site's container, whose root is at `root` (`/` in production) and where the record's pid counts.
    pub fn inside(root: &Path, pid: u32) -> Self {
        Self { proc: root.join("proc"), pid, root: Root::own(root), network: Network::Own }
    }

    /// From the host, where the recorded process is `pid` in `proc`.
    ///
    /// # Errors
    /// See [`Root::of_process`].
    pub fn outside(proc: &Path, pid: u32) -> io::Result<Self> {
        let root = Root::of_process(proc, pid)?;
        Ok(Self { proc: proc.to_owned(), pid, root, network: Network::Other })
    }

    /// Whether netlink, which knows this process's network namespace only, can be asked.
    pub fn has_netlink(&self) -> bool {
        self.network == Network::Own
    }

    /// The directory of the recorded process.
    pub fn process(&self) -> PathBuf {
        self.proc.join(self.pid.to_string())
    }

    /// Where `net/tcp` and the like are those of the site's network namespace.
    pub fn tables(&self) -> PathBuf {
        match self.network {
            Network::Own => self.proc.clone(),
            Network::Other => self.process(),
        }
    }
}
