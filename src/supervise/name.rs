//! pid 1's name, by which `ps` and the health check know what it is doing: `serving:7`, with the workers that
//! there may be.

use std::ffi::CString;
use std::path::Path;

use serde::Serialize;

use super::pool::Pool;
use crate::kernel_file;

/// What a supervising pid 1 is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    Serving,
    Reloading,
    Stopping,
}

impl Doing {
    const ALL: [Self; 3] = [Self::Serving, Self::Reloading, Self::Stopping];

    pub fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Reloading => "reloading",
            Self::Stopping => "stopping",
        }
    }
}

/// Reads a name; `None`: it is not a supervisor's.
pub fn parse(comm: &[u8]) -> Option<(Doing, u32)> {
    let (word, workers) = std::str::from_utf8(comm).ok()?.split_once(':')?;
    let doing = Doing::ALL.into_iter().find(|doing| doing.word() == word)?;
    Some((doing, workers.parse().ok()?))
}

/// The workers of a site with the supervisor `pid`; `None`: it is none.
pub fn workers(pid: u32) -> Option<u32> {
    let comm = kernel_file::read(Path::new(&format!("/proc/{pid}/comm"))).ok()?;
    parse(comm.trim_ascii_end()).map(|(_, workers)| workers)
}

/// Takes the name on. The kernel keeps 15 bytes, which `reloading:10000` just is.
pub(super) fn show(pool: &Pool) {
    let doing = match (pool.is_stopping(), pool.is_replacing()) {
        (true, _) => Doing::Stopping,
        (false, true) => Doing::Reloading,
        (false, false) => Doing::Serving,
    };
    let newest = pool.generations().iter().rev().find(|generation| generation.ceiling > 0);
    let workers = newest.map_or(0, |generation| generation.ceiling);
    if let Ok(name) = CString::new(format!("{}:{workers}", doing.word())) {
        let _ = nix::sys::prctl::set_name(&name); // for people and for the check; nothing depends on it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_and_a_number() {
        for doing in Doing::ALL {
            let name = format!("{}:10000", doing.word());
            assert!(name.len() <= 15, "{name}");
            assert_eq!(parse(name.as_bytes()), Some((doing, 10_000)));
        }
        for name in [
            "",
            "lsphp",
            "cac-lsphp",
            "serving",
            "serving:",
            "serving:x",
            "Serving:7",
            "serving:-1",
            "\u{e9}",
        ] {
            assert_eq!(parse(name.as_bytes()), None, "{name}");
        }
    }
}
