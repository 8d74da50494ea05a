//! The panel's contract: every variable with its names, range, default and meaning, once.
//!
//! [`GROUPS`] is what `--help` and docs/variables.md show; a test compares them.

mod table;

pub use self::table::{Accepts, GROUPS, Row, rows};
use crate::sizing::{MAX_CHILDREN, MIN_CHILDREN};

/// A setting's names, strongest first, what it accepts, and what it means.
#[derive(Debug, Clone, Copy)]
pub struct Variable<A> {
    pub names: &'static [&'static str],
    pub accepts: A,
    pub about: &'static str,
}

/// A whole number; what is outside is clamped.
#[derive(Debug, Clone, Copy)]
pub struct Range<N = u32> {
    /// `None`: computed, or detected.
    pub default: Option<N>,
    pub min: N,
    pub max: N,
}

/// On or off.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    pub default: bool,
    /// How on and off are written in the documentation; 1, on, yes and true are all read.
    pub words: [&'static str; 2],
}

/// Text of a form of its own.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    pub default: &'static str,
    /// Completes "… is refused: write …".
    pub form: &'static str,
}

const fn number<N: Copy>(
    names: &'static [&'static str],
    default: Option<N>,
    range: (N, N),
    about: &'static str,
) -> Variable<Range<N>> {
    Variable { names, accepts: Range { default, min: range.0, max: range.1 }, about }
}

const fn switch(names: &'static [&'static str], default: bool, about: &'static str) -> Variable<Switch> {
    Variable { names, accepts: Switch { default, words: ["1", "0"] }, about }
}

const fn text(
    names: &'static [&'static str],
    default: &'static str,
    form: &'static str,
    about: &'static str,
) -> Variable<Text> {
    Variable { names, accepts: Text { default, form }, about }
}

pub const USER: Variable<Text> = text(
    &["user"],
    "required",
    "a letter or _, followed by at most 31 letters, digits and the characters _ . -",
    "site user; home is /home/<user>",
);
pub const UID: Variable<Text> = text(
    &["uid"],
    "required",
    "a number from 1 to 4294967294, never root's 0",
    "site user's id; a non-root start without it takes its own",
);
pub const GID: Variable<Text> = text(
    &["gid"],
    "uid",
    "a number from 1 to 4294967294, never root's 0",
    "site group's id; a non-root start without it takes its own",
);
pub const DOMAIN: Variable<Text> = text(
    &["domain"],
    "none",
    "a host name, or a wildcard such as *.example.com or _wildcard.example.com",
    "names the site's link /mnt/users/<user>/<domain>; taken literally",
);
pub const CHILDREN: Variable<Range> = number(
    &["PHP_LSAPI_CHILDREN", "LSAPI_CHILDREN", "FPM_MAX_CHILDREN"],
    None,
    (MIN_CHILDREN, MAX_CHILDREN),
    "workers; computed from the memory limit when unset",
);
pub const WORKER_ESTIMATE: Variable<Range> =
    number(&["LSPHP_WORKER_ESTIMATE_MB"], Some(130), (16, 4096), "MiB a busy worker needs");
pub const MEMORY: Variable<Range> =
    number(&["CAC_MEMORY_MB"], None, (16, 16_777_216), "budget in MiB instead of the detected limit");
pub const OPCACHE_MEMORY: Variable<Range> =
    number(&["OPCACHE_MEMORY_MB"], Some(64), (8, 4096), "shared opcode cache in MiB");
pub const OPCACHE_MAX_FILES: Variable<Range> =
    number(&["OPCACHE_MAX_FILES"], Some(8000), (200, 1_000_000), "scripts the opcode cache holds");
pub const EXTRA_CHILDREN: Variable<Range> = number(
    &["LSAPI_EXTRA_CHILDREN"],
    Some(0),
    (0, MAX_CHILDREN),
    "workers lsphp adds on top, counted in the budget",
);
pub const MAX_IDLE_CHILDREN: Variable<Range> =
    number(&["LSAPI_MAX_IDLE_CHILDREN"], Some(2), (1, MAX_CHILDREN), "idle workers kept");
pub const MAX_IDLE: Variable<Range> =
    number(&["LSAPI_MAX_IDLE"], Some(60), (1, 86_400), "seconds an idle worker is kept");
pub const MAX_REQUESTS: Variable<Range> = number(
    &["PHP_LSAPI_MAX_REQUESTS", "LSAPI_MAX_REQS"],
    Some(500),
    (1, 1_000_000_000),
    "requests before a worker is recycled",
);
pub const MAX_PROCESS_TIME: Variable<Range> =
    number(&["LSAPI_MAX_PROCESS_TIME"], Some(300), (1, 86_400), "seconds before a runaway worker is killed");
pub const MAX_BUSY_WORKER: Variable<Range<i32>> = number(
    &["LSAPI_MAX_BUSY_WORKER"],
    None,
    (-1, MAX_CHILDREN.cast_signed()),
    "a worker closes its connection after the answer while at least so many hold one; unset: the number of workers, or 1 where lsphp does not open the listener itself; 0: half of the workers and one more; -1: never",
);
pub const AVOID_FORK: Variable<Text> = text(
    &["LSAPI_AVOID_FORK"],
    "none",
    "a size below 2G such as 200M (lsphp overflows at 2G)",
    "passed on; lsphp then looks at the host's memory",
);
pub const PGRP_MAX_IDLE: Variable<Text> = text(
    &["LSAPI_PGRP_MAX_IDLE"],
    "removed",
    "nothing: it is always removed",
    "would stop the container when the site is idle",
);
pub const MEM_SOFT: Variable<Range> =
    number(&["LSPHP_MEM_SOFT_MB"], Some(1024), (0, 1_048_576), "soft RLIMIT_AS in MiB, 0 for none");
pub const MEM_HARD: Variable<Range> =
    number(&["LSPHP_MEM_HARD_MB"], Some(1500), (0, 1_048_576), "hard RLIMIT_AS in MiB, 0 for none");
pub const USER_INI: Variable<Switch> = Variable {
    accepts: Switch { default: true, words: ["on", "off"] }, // lsphp's own
    ..switch(&["LSPHP_ENABLE_USER_INI"], true, ".user.ini files, as PHP-FPM sites expect")
};
pub const OPCACHE_FILE_CACHE: Variable<Text> = text(
    &["CAC_OPCACHE_FILE_CACHE"],
    "none",
    "the absolute path of a directory, outside public_html",
    "where compiled code outlives the container, so that a start compiles nothing twice; the site's own, made if missing",
);
pub const LISTEN: Variable<Text> = text(
    &["CAC_LISTEN"],
    "0.0.0.0:9000",
    "ADDRESS:PORT such as 0.0.0.0:9000 or [::]:9000, or an absolute socket path",
    "what lsphp listens on",
);
pub const BACKLOG: Variable<Range> = number(
    &["CAC_BACKLOG"],
    Some(511),
    (1, 65_535),
    "connections that may wait at the listener that cac-lsphp opens, which it does when this is set; 10 where lsphp opens its own",
);
pub const ALLOWED_CLIENTS: Variable<Text> = text(
    &["CAC_ALLOWED_CLIENTS"],
    "everybody",
    "addresses and networks such as 10.0.0.5, 172.30.0.0/24 or fd00::/64, at most 128 and no host names",
    "who may connect beside the container itself; others get no answer",
);
pub const SOCKET_MODE: Variable<Text> = text(
    &["CAC_SOCKET_MODE"],
    "0660",
    "three or four octal digits such as 0660, at most 0777",
    "with a socket path in CAC_LISTEN: its mode; cac-lsphp then opens it, in a directory of root's alone",
);
pub const SOCKET_GID: Variable<Text> = text(
    &["CAC_SOCKET_GID"],
    "gid",
    "a number from 1 to 4294967294, never root's 0",
    "with a socket path in CAC_LISTEN: its group, the front end's; cac-lsphp then opens it",
);
pub const LISTEN_FDS: Variable<Text> = text(
    &["LISTEN_FDS"],
    "none",
    "1: exactly one listener",
    "set by systemd and podman, with LISTEN_PID: descriptor 3 is the listener, whatever CAC_LISTEN says",
);
pub const IDLE_EXIT: Variable<Range> = number(
    &["CAC_IDLE_EXIT"],
    Some(0),
    (0, 86_400),
    "with LISTEN_FDS: seconds without a connection after which the container ends, at least 2; 0 never",
);
pub const SUPERVISE: Variable<Switch> =
    switch(&["CAC_SUPERVISE"], false, "1 stays as pid 1 above lsphp: stops and reloads lose no request");
pub const STOP_TIMEOUT: Variable<Range> = number(
    &["CAC_STOP_TIMEOUT"],
    Some(8),
    (0, 86_400),
    "supervised: seconds that a stop waits for requests in flight; Docker kills after 10",
);
pub const WATCH_MEMORY: Variable<Range> = number(
    &["CAC_WATCH_MEMORY"],
    Some(0),
    (0, 86_400),
    "supervised: seconds between looks at the memory limit, 0 for none; a changed one resizes the pool",
);
pub const RELOAD_GRACE: Variable<Range> = number(
    &["CAC_RELOAD_GRACE"],
    Some(2),
    (0, 3600),
    "supervised: seconds that new workers wait for the memory of old ones before they start beside them",
);
pub const WARM_UP: Variable<Text> = text(
    &["CAC_WARM_UP"],
    "none",
    "paths of pages such as /,/shop/?all, at most 32, with commas between",
    "supervised: a reload asks the new lsphp for these pages before it takes over",
);
pub const LSPHP: Variable<Text> = text(
    &["CAC_LSPHP"],
    "found",
    "the absolute path of lsphp",
    "lsphp; else the highest /usr/local/lsws/lsphp*/bin/lsphp, else PATH",
);
pub const NO_NEW_PRIVS: Variable<Switch> =
    switch(&["CAC_NO_NEW_PRIVS"], true, "0 lets setuid helpers such as some sendmails work");
pub const SITE_LINK: Variable<Switch> = switch(&["CAC_SITE_LINK"], true, "0 makes no link below /mnt/users");
pub const TAKE_OWNERSHIP: Variable<Switch> =
    switch(&["CAC_TAKE_OWNERSHIP"], false, "1 takes a home that belongs to another uid");
pub const SITE_FILE: Variable<Text> = text(
    &["CAC_SITE_FILE"],
    "/etc/cac-lsphp/site.ini",
    "the path of a file of name = value lines",
    "more settings under the same names; weaker than the environment",
);
pub const LOG: Variable<Text> =
    text(&["CAC_LOG"], "info", "off, error, warn, info, debug or trace", "log level, on stderr");
pub const LOG_FORMAT: Variable<Text> = text(&["CAC_LOG_FORMAT"], "text", "text or json", "log format");

/// The prefix of PHP directives: `CAC_INI_opcache__revalidate_freq` sets `opcache.revalidate_freq`.
pub const INI_PREFIX: &str = "CAC_INI_";
