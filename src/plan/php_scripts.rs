//! The scripts that PHP gets at a start, each with what this site needs in it.

use std::borrow::Cow;
use std::path::Path;

use crate::paths::NORMALISER;

/// What `healthcheck --deep` asks for.
pub const PING: &str = include_str!("../../ini/cac-lsphp-ping.php");

/// What `opcache` asks for.
pub const OPCACHE: &str = include_str!("../../ini/cac-lsphp-opcache.php");

/// For a site whose paths arrive as they are.
const NOTHING_TO_NORMALISE: &str =
    "<?php\n// This site has no link below /mnt/users: scripts see paths as the front end sends them.\n";

/// The script that PHP runs before each of the site's: for paths below `link`, which leads to `home`.
pub fn normaliser(link: Option<&Path>, home: &Path) -> Cow<'static, str> {
    let Some(link) = link else { return NOTHING_TO_NORMALISE.into() };
    let link = link.display().to_string();
    // Names of sites and domains need no quoting: see identity.
    include_str!("../../ini/cac-lsphp-normalize.php")
        .replace("@LENGTH@", &(link.len() + 1).to_string())
        .replace("@LINK@", &link)
        .replace("@HOME@", &home.display().to_string())
        .into()
}

/// The script that PHP runs when it starts, and the site's own after it.
pub fn preload(own: Option<&str>) -> String {
    let mut script = include_str!("../../ini/cac-lsphp-preload.php").replace("@NORMALISER@", NORMALISER);
    if let Some(own) = own {
        let quoted = own.replace('\\', "\\\\").replace('\'', "\\'");
        script.push_str(&format!("require '{quoted}'; // CAC_INI_opcache__preload\n"));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_ends_are_in_the_normaliser() {
        let script = normaliser(Some(Path::new("/mnt/users/alice/*.example.com")), Path::new("/home/alice"));
        assert!(script.contains(r#"strncmp("$path/", '/mnt/users/alice/*.example.com/', 31)"#), "{script}");
        assert!(script.contains("'/home/alice' . substr($path, 31 - 1)"), "{script}");
        assert!(!script.contains('@'), "{script}");
    }

    #[test]
    fn the_sites_own_preload_script_follows() {
        assert!(preload(None).contains("opcache_compile_file('/run/cac-lsphp/cac-lsphp-normalize.php')"));
        let script = preload(Some(r"/home/alice/it's\pre.php"));
        assert!(
            script.ends_with("require '/home/alice/it\\'s\\\\pre.php'; // CAC_INI_opcache__preload\n"),
            "{script}"
        );
    }
}
