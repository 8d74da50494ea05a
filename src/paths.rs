//! The places in the container that more than one part of the program knows.

/// The directory of everything that is made anew at each start.
pub const RUNTIME_DIRECTORY: &str = "/run/cac-lsphp";

/// What `healthcheck` and operators read: pid, version, start time, plan.
pub const RUN_RECORD: &str = "/run/cac-lsphp/run.json";

/// What `healthcheck --deep` asks lsphp for.
pub const PING_SCRIPT: &str = "/run/cac-lsphp/cac-lsphp-ping.php";

/// The directory that PHP scans last.
pub const INI_DIRECTORY: &str = "/run/cac-lsphp/php.d";

/// The prepended script that gives PHP canonical paths.
pub const NORMALISER: &str = "/run/cac-lsphp/cac-lsphp-normalize.php";

/// Where `cac-lsphp reload` speaks to a supervising pid 1.
pub const CONTROL_SOCKET: &str = "/run/cac-lsphp/control.sock";

/// Where the files of a plan wait until its lsphp is proven: PHP reads what is here last.
pub const NEXT_DIRECTORY: &str = "/run/cac-lsphp/next";

/// PHP's error log, below the home.
pub const ERROR_LOG: &str = "logs/php-fpm/error.log";
