//! Finds the sites of this machine: each is a process in whose root there is a record that is about itself.
//!
//! The record may be the site's own words, in a start without root. What it says of the process is held against the
//! kernel's word: the pid, its namespace, the start time and the uid. A record that root has written, which the site
//! cannot, comes before one of the site's.

mod namespaces;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use self::namespaces::mount_namespaces;
use super::process::{Identity, container, namespace, outer_uid, uid_map};
use super::refusal::{Reason, Refusal};
use crate::paths::RUN_RECORD;
use crate::running::RunRecord;
use crate::running::place::Place;
use crate::running::process::{OUR_COMM, ProcessStat};
use crate::status::StatusPlan;

/// Different records of a mount namespace that are looked at.
const MOST_RECORDS: usize = 4;

/// Bytes of a record; they have 10 to 20 KiB.
const LONGEST_RECORD: u64 = 256 << 10;

type Record = RunRecord<StatusPlan>;

/// A site, and where to look at it.
#[derive(Debug)]
pub struct Site {
    /// The start of the container's id, else `pid-4711`: no two sites have the same.
    pub container: String,
    pub place: Place,
    pub run: Record,
    /// As this machine numbers it.
    pub uid: u32,
    pub author: Author,
    /// The record.
    file: FileId,
}

/// Who wrote the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// This machine's root: the site cannot have changed it.
    Root,
    /// The site's root, in a user namespace: whoever has made that, which may be any user of this machine.
    #[serde(rename = "root")]
    ItsRoot,
    /// User and domain are what the site says they are.
    Site,
}

#[derive(Debug, Default)]
pub struct Found {
    pub sites: Vec<Site>,
    pub refused: Vec<Refusal>,
    /// Processes of containers that may not be looked at.
    pub hidden: usize,
}

/// Looks through `proc`.
///
/// # Errors
/// It cannot be read.
pub fn find(proc: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut strays = Vec::new();
    for members in mount_namespaces(proc, &mut found.hidden)?.values() {
        match Search::through(proc, members) {
            Search { site: Some(site), .. } => found.sites.push(site),
            Search { refusal: Some(refusal), records, .. } => {
                strays.push((refusal, records.into_iter().map(|(id, _)| id).collect::<Vec<_>>()));
            }
            _ => {}
        }
    }
    // Who sees a site's record, such as a program with a mount namespace of its own, and is not it.
    let files: BTreeSet<_> = found.sites.iter().map(|site| site.file).collect();
    let is_other = |stray: &Refusal| matches!(stray.reason, Reason::NoProcess { .. });
    strays.retain(|(stray, seen)| !is_other(stray) || !seen.iter().all(|id| files.contains(id)));
    found.refused = strays.into_iter().map(|(refusal, _)| refusal).collect();
    one_in_a_container(&mut found);
    names_are_their_owners(&mut found);
    Ok(found)
}

/// Through one mount namespace.
#[derive(Default)]
struct Search {
    /// Those that were read; `None`: it is none.
    records: Vec<(FileId, Option<Record>)>,
    site: Option<Site>,
    /// The first, but that most processes are not the recorded one says least.
    refusal: Option<Refusal>,
}

/// Device and inode.
type FileId = (u64, u64);

impl Search {
    fn through(proc: &Path, members: &[u32]) -> Self {
        let mut search = Self::default();
        for pid in members {
            search.look_at(proc, *pid);
            if search.site.as_ref().is_some_and(|site| site.author != Author::Site) {
                break;
            }
        }
        search
    }

    fn look_at(&mut self, proc: &Path, pid: u32) {
        let Ok(place) = Place::outside(proc, pid) else { return };
        match place.root.open(Path::new(RUN_RECORD)) {
            Ok(file) => self.compare(place, file),
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {}
            Err(error) => self.refuse(&place, Reason::Unreadable(error.to_string())),
        }
    }

    /// Holds the process against the record in its root, which `file` is.
    fn compare(&mut self, place: Place, file: File) {
        let Ok(status) = file.metadata() else { return };
        let file_id = (status.dev(), status.ino());
        if !self.read(&place, file, file_id, status.len()) {
            return;
        }
        let record = self.records.iter().find(|(id, _)| *id == file_id);
        let Some(run) = record.and_then(|(_, run)| run.as_ref()) else { return };
        match check(&place.process(), run, status.uid()) {
            Ok((uids, uid, author)) if self.site.as_ref().is_none_or(|site| author < site.author) => {
                let mut run = run.clone();
                // The tables of sockets that are read here have uids as they are here.
                run.listener.uid = outer_uid(&uids, run.listener.uid).unwrap_or(run.listener.uid);
                let container = container_of(&place);
                self.site = Some(Site { container, place, run, uid, author, file: file_id });
            }
            Ok(_) => {}
            Err(reason) => self.refuse(&place, reason),
        }
    }

    /// Reads a record unless that was done; whether it is known.
    fn read(&mut self, place: &Place, file: File, id: FileId, length: u64) -> bool {
        if self.records.iter().any(|(known, _)| *known == id) {
            return true;
        }
        if self.records.len() >= MOST_RECORDS {
            return false;
        }
        // What the kernel makes up has no length, and to read it may do something, as of /proc/kmsg.
        let run = match length {
            1..=LONGEST_RECORD => Record::read_from(file, LONGEST_RECORD),
            _ => Err(io::Error::new(ErrorKind::InvalidData, format!("it has {length} bytes"))),
        };
        let run = run.map_err(|error| self.refuse(place, Reason::Unreadable(error.to_string()))).ok();
        self.records.push((id, run));
        true
    }

    fn refuse(&mut self, place: &Place, reason: Reason) {
        let is_told = self.refusal.as_ref().is_some_and(|told| {
            matches!(reason, Reason::NoProcess { .. }) || !matches!(told.reason, Reason::NoProcess { .. })
        });
        if !is_told {
            self.refusal = Some(Refusal { container: container_of(place), pid: place.pid, reason });
        }
    }
}

/// Whether the process is what `run` says, and if so its map of uids, the site's uid here, and who wrote the record, a file of
/// `owner`. A start is its root's, inside, until it drops that.
fn check(process: &Path, run: &Record, owner: u32) -> Result<(String, u32, Author), Reason> {
    let no_process = Reason::NoProcess { recorded: run.pid };
    let stat = ProcessStat::read(process).ok().filter(|stat| stat.start_ticks == run.start_ticks);
    let (Some(stat), Ok(identity)) = (stat, Identity::read(process)) else { return Err(no_process) };
    let is_same_space = namespace(process, "pid").is_ok_and(|space| space == run.pid_namespace);
    if identity.inner_pid != run.pid || !is_same_space {
        return Err(no_process);
    }
    let uids = uid_map(process);
    let (recorded, root) = (outer_uid(&uids, run.plan.site.uid.as_raw()), outer_uid(&uids, 0));
    let is_starting = stat.comm == OUR_COMM && root.is_some_and(|root| identity.is_only(root));
    let Some(uid) = recorded.filter(|uid| identity.is_only(*uid) || is_starting) else {
        return Err(Reason::OtherUid { recorded, actual: identity.uids[0] });
    };
    let author = match root {
        Some(0) if owner == 0 => Author::Root,
        Some(root) if owner == root => Author::ItsRoot,
        _ => Author::Site,
    };
    Ok((uids, uid, author))
}

fn container_of(place: &Place) -> String {
    container(&place.process()).unwrap_or_else(|| format!("pid-{}", place.pid))
}

impl Site {
    /// Whether its process is still the one that was found: else what was read may be another one's.
    pub fn is_there(&self) -> bool {
        ProcessStat::read(&self.place.process()).is_ok_and(|stat| stat.start_ticks == self.run.start_ticks)
    }
}

/// One of root's, else the oldest, counts.
fn one_in_a_container(found: &mut Found) {
    found.sites.sort_by(|one, other| {
        let key = |site: &Site| (site.container.clone(), site.author, site.run.start_ticks);
        key(one).cmp(&key(other))
    });
    let mut last = String::new();
    for site in std::mem::take(&mut found.sites) {
        if site.container == last {
            found.refused.push(site.refused(Reason::SecondRecord));
        } else {
            last.clone_from(&site.container);
            found.sites.push(site);
        }
    }
}

/// None can take the user or the domain of one that this machine's root has started.
fn names_are_their_owners(found: &mut Found) {
    let names = |site: &Site| {
        let plan = &site.run.plan.site;
        let domain = plan.domain.as_ref().map(|domain| format!("domain {domain}"));
        [format!("user {}", plan.user)].into_iter().chain(domain)
    };
    let mut owners: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for site in found.sites.iter().filter(|site| site.author == Author::Root) {
        names(site).for_each(|name| owners.entry(name).or_default().push(site.uid));
    }
    for site in std::mem::take(&mut found.sites) {
        let taken = names(&site).find_map(|name| {
            let owners = owners.get(&name).filter(|owners| !owners.contains(&site.uid))?;
            Some(Reason::NameTaken { name, owner: *owners.first()? })
        });
        match taken.filter(|_| site.author != Author::Root) {
            Some(reason) => found.refused.push(site.refused(reason)),
            None => found.sites.push(site),
        }
    }
}

impl Site {
    fn refused(self, reason: Reason) -> Refusal {
        Refusal { container: self.container, pid: self.place.pid, reason }
    }
}

#[cfg(test)]
mod tests;
