//! Where a site is looked at from: its own container, or the host.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

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

    /// Does `work`, which is to open a socket and nothing else, with this thread in the site's network namespace.
    ///
    /// # Errors
    /// It may not be entered: that takes CAP_SYS_ADMIN.
    pub fn in_its_network<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        if self.network == Network::Own {
            return Ok(work());
        }
        let own = File::open("/proc/thread-self/ns/net")?;
        setns(File::open(self.process().join("ns/net"))?, CloneFlags::CLONE_NEWNET)?;
        let done = work();
        if setns(own, CloneFlags::CLONE_NEWNET).is_err() {
            // What comes next would be done in a site's network.
            std::process::abort();
        }
        Ok(done)
    }

    pub fn is_outside(&self) -> bool {
        self.network == Network::Other
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_comes_back_from_another_network() {
        let network = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let place = Place::outside(Path::new("/proc"), std::process::id()).unwrap();
        let before = network();
        assert_eq!(place.in_its_network(network).unwrap(), before, "it is our own");
        assert_eq!(network(), before);
        let gone = Place { pid: (4 << 20) + 1, ..place };
        assert!(gone.in_its_network(network).is_err());
        assert_eq!(network(), before);
    }
}
