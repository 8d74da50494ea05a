//! Why a record is not shown as a site.

use std::fmt;

use serde::{Serialize, Serializer};

/// A record that is not what its container says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// See [`super::discovery::Site`].
    pub container: String,
    /// A process whose root holds it.
    pub pid: u32,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Unreadable(String),
    /// The recorded process is not there, or has another start time.
    NoProcess {
        recorded: u32,
    },
    /// Both as this machine numbers them; `None`: the recorded one is nobody here.
    OtherUid {
        recorded: Option<u32>,
        actual: u32,
    },
    /// Its container has a site already.
    SecondRecord,
    /// A site that root has started has that user or domain, with another uid.
    NameTaken {
        name: String,
        owner: u32,
    },
}

impl Reason {
    /// The short name, the same in every release.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::NoProcess { .. } => "no such process",
            Self::OtherUid { .. } => "other uid",
            Self::SecondRecord => "second record",
            Self::NameTaken { .. } => "name taken",
        }
    }
}

/// One line. What it has of the record's are numbers and names that were checked.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, pid, reason } = self;
        write!(f, "{container}, process {pid}: {}: /run/cac-lsphp/run.json ", reason.name())?;
        match reason {
            Reason::Unreadable(cause) => {
                let cause = cause.replace(|character: char| character.is_control(), " ");
                write!(f, "cannot be read: {cause}; see who wrote it, then restart the container")
            }
            Reason::NoProcess { recorded } => write!(
                f,
                "says that lsphp is process {recorded}, which is not in this container or was started at another time; restart the container if it should serve"
            ),
            Reason::OtherUid { recorded: Some(recorded), actual } => {
                write!(f, "says uid {recorded}, its process has {actual}: it lies about who it is")
            }
            Reason::OtherUid { recorded: None, actual } => write!(
                f,
                "says a uid that its user namespace does not have, its process has {actual}: it lies about who it is"
            ),
            Reason::SecondRecord => f.write_str("is one more in a container that has a site already"),
            Reason::NameTaken { name, owner } => {
                write!(f, "says {name}, which is uid {owner}'s: it lies about who it is")
            }
        }
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            container: &'a str,
            pid: u32,
            reason: &'static str,
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
        let source = include_str!("refusal.rs");
        let (_, body) = source.split_once("pub fn name(&self)").unwrap();
        let (body, _) = body.split_once("\n    }\n").unwrap();
        let names: BTreeSet<_> = body.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        assert_eq!(cells("| reason | meaning |"), names, "edit docs/exporter.md: its table of reasons");
    }
}
