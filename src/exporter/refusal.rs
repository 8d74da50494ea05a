//! Why a record is not shown as a site.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::paths::RUN_RECORD;

/// A record that is not what its container says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// See [`super::discovery::Site`].
    pub container: String,
    /// A process whose root holds it.
    pub pid: u32,
    pub reason: Reason,
}

/// What it has of the record's are numbers and names that were checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("unreadable: {RUN_RECORD} cannot be read: {0}; see who wrote it, then restart the container")]
    Unreadable(String),
    /// The recorded process is not there, or has another start time.
    #[error(
        "no such process: {RUN_RECORD} says that lsphp is process {recorded}, which is not in this container or was started at another time; restart the container if it should serve"
    )]
    NoProcess { recorded: u32 },
    /// Both as this machine numbers them; `None`: the recorded one is nobody here.
    #[error("other uid: {RUN_RECORD} says {}, its process has {actual}: it lies about who it is", uid(*.recorded))]
    OtherUid { recorded: Option<u32>, actual: u32 },
    /// Its container has a site already.
    #[error("second record: {RUN_RECORD} is one more in a container that has a site already")]
    SecondRecord,
    /// A site that this machine's root has started has that user or domain, with another uid.
    #[error("name taken: {RUN_RECORD} says {name}, which is uid {owner}'s: it lies about who it is")]
    NameTaken { name: String, owner: u32 },
}

fn uid(recorded: Option<u32>) -> String {
    let nobody = || "a uid that its user namespace does not have".to_owned();
    recorded.map_or_else(nobody, |uid| format!("uid {uid}"))
}

impl Reason {
    /// The short name, the same in every release: what stands before the first colon.
    pub fn name(&self) -> String {
        self.to_string().split(':').next().unwrap_or_default().to_owned()
    }
}

/// One line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, process {}: {}", self.container, self.pid, self.reason)
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            container: &'a str,
            pid: u32,
            reason: String,
            message: String,
        }
        let reason = self.reason.name();
        Json { container: &self.container, pid: self.pid, reason, message: self.to_string() }
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The first cells of the page's table below `head`.
    fn cells(head: &str) -> BTreeSet<String> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exporter.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows =
            page.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
        rows.filter_map(|row| row.split('`').nth(1)).map(str::to_owned).collect()
    }

    #[test]
    fn the_page_has_every_reason_and_no_other() {
        // From its text, so that none can be left out.
        let (source, _) = include_str!("refusal.rs").split_once("impl Reason").unwrap();
        let lines = source.split("#[error(").skip(1).map(|line| line.split(['"', ':']).nth(1).unwrap());
        let names: BTreeSet<_> = lines.map(str::to_owned).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        assert_eq!(cells("| reason | meaning |"), names, "edit docs/exporter.md: its table of reasons");
    }
}
