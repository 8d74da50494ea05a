//! The places in the container that more than one part of the program knows.

/// The directory of everything that is made anew at each start.
pub const RUNTIME_DIRECTORY: &str = "/run/cac-lsphp";

/// What `healthcheck` and operators read: pid, version, start time, plan.
pub const RUN_RECORD: &str = "/run/cac-lsphp/run.json";

/// What `healthcheck --deep` asks lsphp for.
pub const PING_SCRIPT: &str = "/run/cac-lsphp/cac-lsphp-ping.php";

/// What `opcache` asks lsphp for.
pub const OPCACHE_SCRIPT: &str = "/run/cac-lsphp/cac-lsphp-opcache.php";

/// The directory that PHP scans last.
pub const INI_DIRECTORY: &str = "/run/cac-lsphp/php.d";

/// What PHP scans after that where a file cache is planned; without it in its scan path PHP goes without one.
pub const FILE_CACHE_INI_DIRECTORY: &str = "/run/cac-lsphp/file-cache.d";

/// Names the file cache to PHP. Not there where the directory is not fit for one.
pub const FILE_CACHE_INI: &str = "/run/cac-lsphp/file-cache.d/91-file-cache.ini";

/// The prepended script that gives PHP canonical paths.
pub const NORMALISER: &str = "/run/cac-lsphp/cac-lsphp-normalize.php";

/// Where `cac-lsphp reload` speaks to a supervising pid 1.
pub const CONTROL_SOCKET: &str = "/run/cac-lsphp/control.sock";

/// Where the files of a plan wait until its lsphp is proven: PHP reads what is here last.
pub const NEXT_DIRECTORY: &str = "/run/cac-lsphp/next";

/// Locked by a reload as long as it goes on, where it writes files.
pub const RELOAD_LOCK: &str = "/run/cac-lsphp/reload.lock";

/// Compiled when PHP starts: has the normaliser and the site's own preload script ready.
pub const PRELOAD_SCRIPT: &str = "/run/cac-lsphp/cac-lsphp-preload.php";

/// Where homes are, each with its user's name.
pub const HOMES: &str = "/home";

/// Where the front end finds sites, each by its user and domain.
pub const SITE_LINKS: &str = "/mnt/users";

/// The site's pages, below the home.
pub const PUBLIC_HTML: &str = "public_html";

/// The directories that a start wants below the home, each after its parent.
pub const SITE_DIRECTORIES: [&str; 3] = [PUBLIC_HTML, "logs", "logs/php-fpm"];

/// PHP's error log, below the home.
pub const ERROR_LOG: &str = "logs/php-fpm/error.log";
