//! `CAC_INI_*`: which PHP directives a site may set, and how their names are written.

use std::borrow::Cow;

use super::variable;
use crate::fault::{Cause, Fault, Object};
use crate::paths::RUNTIME_DIRECTORY;

/// The directive that the variable `name` sets to `value`: `CAC_INI_opcache__enable` is
/// `opcache.enable`.
///
/// # Errors
/// The name cannot be a directive's, the plan owns the directive, or PHP could run no page.
pub fn accept(name: &str, value: &str) -> Result<String, Fault> {
    let directive = directive_of(name)?;
    let hint = match directive.as_str() {
        "opcache.memory_consumption" => "set OPCACHE_MEMORY_MB instead",
        "opcache.max_accelerated_files" => "set OPCACHE_MAX_FILES instead",
        "opcache.file_cache" => "set CAC_OPCACHE_FILE_CACHE instead",
        "error_log" => "it is always /home/<user>/logs/php-fpm/error.log",
        "auto_prepend_file" => "it is the DOCUMENT_ROOT normaliser; let the site include its own file",
        "open_basedir" => return reachable(name, directive, value),
        "disable_functions" => return callable(name, directive, value),
        _ => return Ok(directive),
    };
    Err(refused(name, format!("{directive} belongs to the plan"), hint))
}

/// A line that begins with one of these ends PHP's reading of the whole file.
const INI_WORDS: [&str; 8] = ["true", "on", "yes", "false", "off", "no", "none", "null"];

fn directive_of(name: &str) -> Result<String, Fault> {
    let directive = name.strip_prefix(variable::INI_PREFIX).unwrap_or(name).replace("__", ".");
    let well_formed = directive.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if directive.is_empty() || !well_formed {
        return Err(refused(
            name,
            "the name of a PHP directive must follow CAC_INI_",
            "use letters, digits and _ . - only",
        ));
    }
    if INI_WORDS.contains(&directive.to_ascii_lowercase().as_str()) {
        let cause = format!("{directive} is a value in PHP's ini syntax");
        return Err(refused(name, cause, "name a directive"));
    }
    Ok(directive)
}

/// Whether PHP reads a switch's value as off.
pub fn is_off(value: &str) -> bool {
    ["0", "off", "no", "false", "none", ""].contains(&value.to_ascii_lowercase().as_str())
}

/// Whether an `open_basedir` lets PHP open our scripts.
pub fn covers_runtime_directory(value: &str) -> bool {
    // Both with an end slash: an entry is a directory, not the beginning of a name.
    let needed = format!("{RUNTIME_DIRECTORY}/");
    let covers = |entry: &str| needed.starts_with(&format!("{}/", entry.trim_end_matches('/')));
    value.split(':').any(|entry| !entry.is_empty() && covers(entry))
}

/// Under an `open_basedir` without our directory PHP could not open the normaliser, and so no page.
fn reachable(name: &str, directive: String, value: &str) -> Result<String, Fault> {
    if covers_runtime_directory(value) {
        return Ok(directive);
    }
    let cause = format!("without {RUNTIME_DIRECTORY}/ in it PHP could not open any page");
    Err(refused(name, cause, format!("add :{RUNTIME_DIRECTORY}/")))
}

fn refused(name: &str, cause: impl Into<Cause>, hint: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new("reading", Object::variable(name), cause, hint)
}

/// Without what the normaliser calls each page would end before it began.
fn callable(name: &str, directive: String, value: &str) -> Result<String, Fault> {
    const CALLED: [&str; 2] = ["strncmp", "substr"];
    match value.split([',', ' ']).find(|function| CALLED.contains(function)) {
        None => Ok(directive),
        Some(function) => {
            let cause = format!("cac-lsphp-normalize.php, which PHP runs before each page, calls {function}");
            Err(refused(name, cause, "take it out"))
        }
    }
}
