//! `CAC_INI_*`: which PHP directives a site may set, and how their names are written.

use super::variable;

/// The directive that the variable `name` sets to `value`: `CAC_INI_opcache__enable` is
/// `opcache.enable`.
///
/// # Errors
/// One line: the name is no directive's, the plan owns the directive, or PHP could run no page.
pub fn accept(name: &str, value: &str) -> Result<String, String> {
    let directive = directive_of(name)?;
    let way_out = match directive.as_str() {
        "opcache.memory_consumption" => "set OPCACHE_MEMORY_MB instead",
        "opcache.max_accelerated_files" => "set OPCACHE_MAX_FILES instead",
        "error_log" => "it is always /home/<user>/logs/php-fpm/error.log",
        "auto_prepend_file" => "it is the DOCUMENT_ROOT normaliser; let the site include its own file",
        "open_basedir" => return reachable(name, directive, value),
        "disable_functions" => return callable(name, directive, value),
        _ => return Ok(directive),
    };
    Err(format!("{name} is refused: {directive} belongs to the plan; {way_out}"))
}

/// A line that begins with one of these ends PHP's reading of the whole file.
const INI_WORDS: [&str; 8] = ["true", "on", "yes", "false", "off", "no", "none", "null"];

fn directive_of(name: &str) -> Result<String, String> {
    let directive = name.strip_prefix(variable::INI_PREFIX).unwrap_or(name).replace("__", ".");
    let well_formed = directive.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if directive.is_empty() || !well_formed {
        let form = "letters, digits and _ . - after CAC_INI_";
        return Err(format!("{} is refused: a PHP directive is {form}", name.escape_debug()));
    }
    if INI_WORDS.contains(&directive.to_ascii_lowercase().as_str()) {
        return Err(format!("{name} is refused: {directive} is a value in PHP's ini syntax, no directive"));
    }
    Ok(directive)
}

const NEEDED: &str = "/run/cac-lsphp/";

/// Whether an `open_basedir` lets PHP open our scripts.
pub fn covers_runtime_directory(value: &str) -> bool {
    let covers = |entry: &str| NEEDED.starts_with(&format!("{}/", entry.trim_end_matches('/')));
    value.split(':').any(|entry| !entry.is_empty() && covers(entry))
}

/// Under an `open_basedir` without our directory PHP could not open the normaliser, and so no page.
/// Each entry is a directory, not the beginning of a name.
fn reachable(name: &str, directive: String, value: &str) -> Result<String, String> {
    if covers_runtime_directory(value) {
        return Ok(directive);
    }
    Err(format!("{name} is refused: without {NEEDED} in it PHP could open no page; add :{NEEDED}"))
}

/// Without what the normaliser calls each page would end before it began.
fn callable(name: &str, directive: String, value: &str) -> Result<String, String> {
    const CALLED: [&str; 2] = ["strncmp", "substr"];
    match value.split([',', ' ']).find(|function| CALLED.contains(function)) {
        None => Ok(directive),
        Some(function) => Err(format!(
            "{name} is refused: cac-lsphp-normalize.php, which PHP runs before each page, calls {function}; take it out"
        )),
    }
}
