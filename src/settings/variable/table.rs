//! The variables under headings, as `--help` and docs/variables.md show them.

use std::fmt::Display;

use super::{
    ALLOWED_CLIENTS, AVOID_FORK, BACKLOG, CHILDREN, DOMAIN, EXTRA_CHILDREN, GID, IDLE_EXIT, LISTEN,
    LISTEN_FDS, LOG, LOG_FORMAT, LSPHP, MAX_BUSY_WORKER, MAX_IDLE, MAX_IDLE_CHILDREN, MAX_PROCESS_TIME,
    MAX_REQUESTS, MEM_HARD, MEM_SOFT, MEMORY, NO_NEW_PRIVS, OPCACHE_FILE_CACHE, OPCACHE_MAX_FILES,
    OPCACHE_MEMORY, PGRP_MAX_IDLE, RELOAD_GRACE, Range, SITE_FILE, SITE_LINK, SOCKET_GID, SOCKET_MODE,
    STOP_TIMEOUT, SUPERVISE, Switch, TAKE_OWNERSHIP, Text, UID, USER, USER_INI, Variable, WARM_UP,
    WATCH_MEMORY, WORKER_ESTIMATE, text,
};

/// A variable as documentation shows it.
pub struct Row {
    pub names: &'static [&'static str],
    pub accepts: &'static dyn Accepts,
    pub about: &'static str,
}

/// What a variable's value may be, in words.
pub trait Accepts: Sync {
    fn default(&self) -> String;
    fn values(&self) -> String;
}

const DIRECTIVES: Variable<Text> = text(
    &["CAC_INI_<directive>"],
    "none",
    "any text; __ in the name stands for a dot",
    "a PHP directive for this site, as in CAC_INI_memory_limit=256M",
);

/// Every variable, in the order of the contract, under headings as help shows them.
pub static GROUPS: [(&str, &[Row]); 7] = [
    ("The site", &[USER.row(), UID.row(), GID.row(), DOMAIN.row()]),
    (
        "Memory and workers",
        &[
            CHILDREN.row(),
            WORKER_ESTIMATE.row(),
            MEMORY.row(),
            OPCACHE_MEMORY.row(),
            OPCACHE_MAX_FILES.row(),
            EXTRA_CHILDREN.row(),
        ],
    ),
    (
        "The life of a worker",
        &[
            MAX_IDLE_CHILDREN.row(),
            MAX_IDLE.row(),
            MAX_REQUESTS.row(),
            MAX_PROCESS_TIME.row(),
            MAX_BUSY_WORKER.row(),
            AVOID_FORK.row(),
            PGRP_MAX_IDLE.row(),
            MEM_SOFT.row(),
            MEM_HARD.row(),
        ],
    ),
    ("PHP", &[USER_INI.row(), OPCACHE_FILE_CACHE.row(), DIRECTIVES.row()]),
    (
        "The container",
        &[
            LISTEN.row(),
            BACKLOG.row(),
            ALLOWED_CLIENTS.row(),
            SOCKET_MODE.row(),
            SOCKET_GID.row(),
            LISTEN_FDS.row(),
            IDLE_EXIT.row(),
            LSPHP.row(),
            NO_NEW_PRIVS.row(),
            SITE_LINK.row(),
            TAKE_OWNERSHIP.row(),
            SITE_FILE.row(),
        ],
    ),
    (
        "Supervision",
        &[SUPERVISE.row(), STOP_TIMEOUT.row(), WATCH_MEMORY.row(), RELOAD_GRACE.row(), WARM_UP.row()],
    ),
    ("The log", &[LOG.row(), LOG_FORMAT.row()]),
];

pub fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|(_, rows)| *rows)
}

impl<A: Accepts> Variable<A> {
    const fn row(&'static self) -> Row {
        Row { names: self.names, accepts: &self.accepts, about: self.about }
    }
}

impl<N: Display + Sync> Accepts for Range<N> {
    fn default(&self) -> String {
        self.default.as_ref().map_or_else(|| "computed".to_owned(), N::to_string)
    }

    fn values(&self) -> String {
        format!("{} to {}", self.min, self.max)
    }
}

impl Accepts for Switch {
    fn default(&self) -> String {
        let [on, off] = self.words;
        if self.default { on } else { off }.to_owned()
    }

    fn values(&self) -> String {
        self.words.join(" or ")
    }
}

impl Accepts for Text {
    fn default(&self) -> String {
        self.default.to_owned()
    }

    fn values(&self) -> String {
        self.form.to_owned()
    }
}
