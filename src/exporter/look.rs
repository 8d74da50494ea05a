//! One look at all sites, as plain data.

use std::io;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::discovery::{self, Author, Site};
use super::refusal::Refusal;
use super::state::{Memory, SiteName};
use crate::status::distribution::Distribution;
use crate::status::{self, Down, Status};

/// The machine at one moment, in the shape that docs/exporter.md documents.
#[derive(Debug, Serialize)]
pub struct Look {
    pub sites: Vec<Sighting>,
    /// Records that are not shown as sites.
    pub refused: Vec<Refusal>,
    /// Processes of containers that this one may not look at: sites may be among them.
    pub hidden_processes: usize,
}

#[derive(Debug, Serialize)]
pub struct Sighting {
    pub container: String,
    /// The recorded process, as this machine numbers it.
    pub pid: u32,
    /// The site's, as this machine numbers it.
    pub uid: u32,
    pub recorded_by: Author,
    #[serde(serialize_with = "either")]
    pub status: Result<Status, Down>,
    #[serde(skip)]
    pub peaks: Distribution,
}

impl Sighting {
    pub fn user(&self) -> &str {
        status::names(&self.status).0
    }

    pub fn domain(&self) -> Option<&str> {
        status::names(&self.status).1
    }
}

fn either<S: Serializer>(status: &Result<Status, Down>, serializer: S) -> Result<S::Ok, S::Error> {
    match status {
        Ok(status) => status.serialize(serializer),
        Err(down) => down.serialize(serializer),
    }
}

/// Looks at every site that `proc` shows, and keeps in `memory` what their workers needed.
///
/// # Errors
/// `proc` cannot be read.
pub fn look(proc: &Path, memory: &mut Memory) -> io::Result<Look> {
    let found = discovery::find(proc)?;
    let sites: Vec<_> = found.sites.into_iter().filter_map(|site| look_at(site, memory)).collect();
    memory.keep(&sites.iter().map(|site| site.pid).collect());
    Ok(Look { sites, refused: found.refused, hidden_processes: found.hidden })
}

/// `None`: it has gone.
fn look_at(site: Site, memory: &mut Memory) -> Option<Sighting> {
    let plan = &site.run.plan.site;
    let domain = plan.domain.as_ref().map(ToString::to_string);
    let peaks = memory.of(SiteName { uid: site.uid, user: plan.user.to_string(), domain });
    let status = status::look_at(&site.place, &site.run, peaks);
    site.is_there().then(|| Sighting {
        pid: site.place.pid,
        uid: site.uid,
        recorded_by: site.author,
        peaks: peaks.distribution(),
        status,
        container: site.container,
    })
}
