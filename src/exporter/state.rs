//! What workers needed, of every site that was seen, and the file that keeps it over restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::kernel_file;
use crate::status::distribution::Distribution;
use crate::status::estimate::Peaks;

/// Sites that are remembered; of more, those that were not seen for longest are forgotten.
const MOST_SITES: usize = 10_000;

/// Bytes of a file: ten thousand sites at their largest need half of it.
const LONGEST: u64 = 16 << 20;

/// What the file says it is.
const FORMAT: &str = "cac-lsphp-exporter 1";

/// What tells a site from another over the restarts of both: its uid on this machine, its user, its domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SiteName {
    pub uid: u32,
    pub user: String,
    pub domain: Option<String>,
}

/// By site.
#[derive(Debug, Default)]
pub struct Memory {
    sites: BTreeMap<SiteName, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    peaks: Peaks,
    /// In seconds since 1970.
    last_seen: u64,
}

impl Memory {
    /// Of a site that is seen now.
    pub fn of(&mut self, site: SiteName) -> &mut Peaks {
        if self.sites.len() >= MOST_SITES && !self.sites.contains_key(&site) {
            let oldest = self.sites.iter().min_by_key(|(_, entry)| entry.last_seen);
            if let Some(oldest) = oldest.map(|(site, _)| site.clone()) {
                self.sites.remove(&oldest);
            }
        }
        let entry = self.sites.entry(site).or_default();
        entry.last_seen = now();
        &mut entry.peaks
    }

    /// Workers of all other pools than these have left.
    pub fn keep(&mut self, pools: &BTreeSet<u32>) {
        self.sites.values_mut().for_each(|entry| entry.peaks.keep(pools));
    }

    /// Reads what [`Memory::save`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or is another one; `NotFound`: there is none.
    pub fn load(path: &Path) -> io::Result<Self> {
        let file = kernel_file::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let bytes = kernel_file::read_start_from(file, LONGEST + 1)?;
        if bytes.len() as u64 > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("it is larger than {LONGEST} bytes")));
        }
        let other = |error| io::Error::new(ErrorKind::InvalidData, format!("it is another file ({error})"));
        let state: Stored = serde_json::from_slice(&bytes).map_err(other)?;
        if state.format != FORMAT {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("its format is not {FORMAT:?}")));
        }
        let sites = state.sites.into_iter().take(MOST_SITES).map(|stored| {
            let StoredSite { site, last_seen, left } = stored;
            (site, Entry { peaks: Peaks::after(left), last_seen })
        });
        Ok(Self { sites: sites.collect() })
    }

    /// Writes the file whole or not at all, so that a reader or a crash never has half of it.
    ///
    /// # Errors
    /// It cannot be written; the old one stays.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let stored = |(site, entry): (&SiteName, &Entry)| StoredSite {
            site: site.clone(),
            last_seen: entry.last_seen,
            left: entry.peaks.left().clone(),
        };
        let state = Stored { format: FORMAT.to_owned(), sites: self.sites.iter().map(stored).collect() };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.new"));
        let written = || -> io::Result<()> {
            let mut file = create(&temporary)?;
            file.write_all(&serde_json::to_vec(&state)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        written().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
    }
}

/// What an interrupted one left is replaced, and a link never followed.
fn create(temporary: &Path) -> io::Result<File> {
    crate::tree::replacing(
        || OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary),
        || std::fs::remove_file(temporary),
    )
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: String,
    sites: Vec<StoredSite>,
}

#[derive(Serialize, Deserialize)]
struct StoredSite {
    #[serde(flatten)]
    site: SiteName,
    last_seen: u64,
    left: Distribution,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use crate::status::distribution::Peak;

    fn name(uid: u32) -> SiteName {
        SiteName {
            uid,
            user: format!("user{uid}"),
            domain: uid.is_multiple_of(2).then(|| "example.com".to_owned()),
        }
    }

    fn seen(bytes: u64) -> Distribution {
        let mut distribution = Distribution::default();
        distribution.add(Peak { bytes, worked: Duration::from_secs(2), ..Peak::default() });
        distribution
    }

    fn memory(uids: std::ops::Range<u32>) -> Memory {
        let entry = |uid| (name(uid), Entry { peaks: Peaks::after(seen(uid.into())), last_seen: uid.into() });
        Memory { sites: uids.map(entry).collect() }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert_eq!(Memory::load(&path).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(directory.path().join(".state.new"), "what a crash left").unwrap();
        for uids in [1..4, 1..3] {
            memory(uids.clone()).save(&path).unwrap();
            let mut loaded = Memory::load(&path).unwrap();
            assert_eq!(loaded.sites.len(), uids.len());
            assert_eq!(loaded.of(name(2)).left(), &seen(2));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing stays beside it");
    }

    #[test]
    fn what_is_another_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        for content in ["", "{}", "root:x:0:0", r#"{"format": "cac-lsphp-exporter 2", "sites": []}"#] {
            std::fs::write(&path, content).unwrap();
            assert!(Memory::load(&path).is_err(), "{content}");
        }
        std::fs::write(&path, vec![b' '; usize::try_from(LONGEST).unwrap() + 1]).unwrap();
        assert!(Memory::load(&path).unwrap_err().to_string().contains("larger"));
        std::fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        assert!(Memory::load(&path).is_err());
        assert!(Memory::load(Path::new("/dev/zero")).is_err());
        assert!(memory(0..1).save(Path::new("/nonexistent/state")).is_err());
    }

    #[test]
    fn who_was_not_seen_for_longest_is_forgotten() {
        let most = u32::try_from(MOST_SITES).unwrap();
        let mut full = memory(1..most + 1);
        full.of(name(1));
        full.of(name(0));
        assert_eq!(full.sites.len(), MOST_SITES);
        assert!(full.sites.contains_key(&name(1)) && !full.sites.contains_key(&name(2)));
    }

    /// Ten thousand sites, each with the largest numbers and the longest names.
    #[test]
    fn a_full_memory_fits_into_the_file() {
        let names = SiteName { uid: u32::MAX, user: "u".repeat(32), domain: Some("d".repeat(253)) };
        let one = StoredSite { site: names, last_seen: u64::MAX, left: seen(u64::MAX) };
        let more = 17 * 20 + 5 * 20;
        let bytes = serde_json::to_vec(&one).unwrap().len() + more;
        assert!((bytes * MOST_SITES) as u64 <= LONGEST, "{bytes}");
    }
}
