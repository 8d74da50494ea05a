//! The site's PHP settings, and PHP's ini syntax written so that `ini_get` gives back what went in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::identity::Site;
use crate::paths::{ERROR_LOG, INI_DIRECTORY, NORMALISER, PRELOAD_SCRIPT};
use crate::settings::Options;

/// The file's name in [`INI_DIRECTORY`].
pub const FILE: &str = "90-cac-lsphp.ini";

/// The directive that names [`PRELOAD_SCRIPT`]; a script of the site's own is run from there.
pub const PRELOAD_DIRECTIVE: &str = "opcache.preload";

/// The file and what it says, by directive name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IniPlan {
    pub path: String,
    pub directives: BTreeMap<String, String>,
}

pub fn decide(site: &Site, options: &Options) -> IniPlan {
    let defaults = [
        ("opcache.enable", "1"),
        ("opcache.enable_cli", "0"),
        ("opcache.revalidate_freq", "60"),
        ("log_errors", "1"),
    ];
    let owned = [
        ("opcache.memory_consumption", options.opcache_memory_mib.to_string()),
        ("opcache.max_accelerated_files", options.opcache_max_files.to_string()),
        ("error_log", site.home.join(ERROR_LOG).display().to_string()),
        ("auto_prepend_file", NORMALISER.to_owned()),
        (PRELOAD_DIRECTIVE, PRELOAD_SCRIPT.to_owned()),
    ];
    let mut directives = BTreeMap::from(defaults.map(|(name, value)| (name.to_owned(), value.to_owned())));
    directives.extend(options.directives.clone());
    // What the plan owns comes last: nothing may replace it.
    directives.extend(owned.map(|(name, value)| (name.to_owned(), value)));
    IniPlan { path: format!("{INI_DIRECTORY}/{FILE}"), directives }
}

impl IniPlan {
    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "; Written by cac-lsphp at every start. Set CAC_INI_<directive> instead of editing.\n",
        );
        for (name, value) in &self.directives {
            text.push_str(&format!("{name} = {}\n", quoted(value)));
        }
        text
    }
}

/// The text of the file that names the file cache to PHP, or says that there is none.
pub fn file_cache(directory: Option<&Path>) -> String {
    let directory = directory.map(Path::to_string_lossy).unwrap_or_default();
    format!(
        "; Written by cac-lsphp, see CAC_OPCACHE_FILE_CACHE.\nopcache.file_cache = {}\n",
        quoted(&directory)
    )
}

/// PHP joins adjacent strings: all is raw between single quotes, where nothing has a meaning, but
/// for single quotes, which go between double ones.
pub fn quoted(value: &str) -> String {
    if value.is_empty() {
        return "\"\"".to_owned();
    }
    let mut text = String::with_capacity(value.len() + 2);
    for part in value.split_inclusive('\'') {
        let raw = part.strip_suffix('\'').unwrap_or(part);
        if !raw.is_empty() {
            text.push_str(&format!("'{raw}'"));
        }
        if raw.len() < part.len() {
            text.push_str("\"'\"");
        }
    }
    text
}
