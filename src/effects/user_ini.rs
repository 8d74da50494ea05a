//! A look at the site's `public_html/.user.ini`, as the site's user: whether PHP will find the normaliser.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::kernel_file;
use crate::settings::directive::{covers_runtime_directory, is_off};

/// PHP reads more; what decides here stands at the beginning of any that a panel writes.
const MOST: u64 = 64 << 10;

/// When an `open_basedir` keeps PHP from the normaliser, and with it from every page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutOut {
    Never,
    /// A reset waits for the requests that run; until they have ended opcache holds nothing.
    WhileOpcacheRestarts,
    Always,
}

/// PHP opens the normaliser for a request only where opcache does not hold it. `directives` are the site's others.
///
/// # Errors
/// The file is there and cannot be read; it is not waited for.
pub fn shuts_normaliser_out(path: &Path, directives: &BTreeMap<String, String>) -> io::Result<ShutOut> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ShutOut::Never),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Ok(ShutOut::Never);
    }
    let text = kernel_file::read_start_from(file, MOST)?;
    Ok(shuts_out(&String::from_utf8_lossy(&text), directives))
}

/// What a `.user.ini` sets `name` to: the last value counts, without its quotes or a comment behind it.
pub fn value<'a>(user_ini: &'a str, name: &str) -> Option<&'a str> {
    let lines = user_ini.lines().filter_map(|line| line.split_once('='));
    let value = lines.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim()).next_back()?;
    let bare = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value.trim_start_matches(quote).split(quote).next(),
        _ => value.split(';').next(),
    };
    bare.map(str::trim)
}

fn shuts_out(user_ini: &str, directives: &BTreeMap<String, String>) -> ShutOut {
    let own = |name: &str| value(user_ini, name);
    let set = |name: &str| own(name).or_else(|| directives.get(name).map(String::as_str));
    let is_compiled = set("opcache.enable").is_none_or(|value| !is_off(value))
        && directives.get("disable_functions").is_none_or(|names| !names.contains("opcache_compile_file"));
    let is_narrow =
        own("open_basedir").is_some_and(|value| !value.is_empty() && !covers_runtime_directory(value));
    // A site that prepends a file of its own does not have PHP open ours.
    match (is_narrow && own("auto_prepend_file").is_none(), is_compiled) {
        (false, _) => ShutOut::Never,
        (true, true) => ShutOut::WhileOpcacheRestarts,
        (true, false) => ShutOut::Always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(user_ini: &str, directives: &[(&str, &str)]) -> ShutOut {
        let directives = directives.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        shuts_out(user_ini, &directives.collect())
    }

    #[test]
    fn only_without_our_directory_and_always_only_without_opcache() {
        use ShutOut::{Always, Never, WhileOpcacheRestarts};
        const NARROW: &str = "memory_limit = 1G\nopen_basedir=/home/alice/:/tmp/\n";
        const OFF: (&str, &str) = ("opcache.enable", "0");
        for (user_ini, directives, expected) in [
            (NARROW, &[][..], WhileOpcacheRestarts),
            (NARROW, &[OFF], Always),
            (NARROW, &[("disable_functions", "exec,opcache_compile_file")], Always),
            (&format!("{NARROW}opcache.enable = Off\n"), &[], Always),
            (&format!("{NARROW}opcache.enable = 0 ; slow\n"), &[], Always),
            (&format!("{NARROW}opcache.enable = 1\n"), &[OFF], WhileOpcacheRestarts),
            ("open_basedir = '/home/alice/:/run/cac-lsphp/' ; PHP's own\n", &[OFF], Never),
            ("open_basedir = \"/home/alice/:/run/cac-lsphp/\"\n", &[OFF], Never),
            ("open_basedir = /\n", &[OFF], Never),
            ("open_basedir =\n", &[OFF], Never),
            ("; open_basedir=/tmp\n", &[OFF], Never),
            ("", &[OFF], Never),
            ("open_basedir = /home/alice/\nauto_prepend_file = /home/alice/own.php\n", &[OFF], Never),
        ] {
            assert_eq!(shut(user_ini, directives), expected, "{user_ini:?} {directives:?}");
        }
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".user.ini");
        assert_eq!(shuts_normaliser_out(&path, &BTreeMap::new()).unwrap(), ShutOut::Never, "absent");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(shuts_normaliser_out(&path, &BTreeMap::new()).unwrap(), ShutOut::Never);
    }
}
