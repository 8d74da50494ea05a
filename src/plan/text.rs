//! The plan for a person at a terminal: each number with its reason.

use std::fmt::{self, Display, Formatter};

use super::{Opener, Plan};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_site(f)?;
        self.write_given(f)?;
        self.write_sizes(f)?;
        self.write_exec(f)?;
        self.write_effects(f)?;
        self.warnings.iter().try_for_each(|warning| row(f, "warning", warning))
    }
}

impl Plan {
    fn write_site(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let site = &self.site;
        row(
            f,
            "site",
            format_args!("{} {}:{}, home {}", site.user, site.uid, site.gid, site.home.display()),
        )?;
        match &site.domain {
            Some(domain) => row(f, "domain", domain),
            None => row(f, "domain", "none"),
        }
    }

    fn write_given(&self, f: &mut Formatter<'_>) -> fmt::Result {
        row(f, "given", "all else is at its default")?;
        self.given.iter().try_for_each(|(_, given)| {
            reason(f, format_args!("{}: {}", given.source, given.value.escape_debug()))?;
            given.lost.iter().try_for_each(|line| reason(f, format_args!("  not: {line}")))
        })
    }

    fn write_sizes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (memory, workers, opcache) = (&self.memory, &self.workers, &self.opcache);
        row(f, "memory", &memory.source)?;
        lost(f, &memory.lost)?;
        match workers.extra {
            0 => row(f, "workers", workers.value)?,
            extra => row(f, "workers", format_args!("{} and {extra} extra", workers.value))?,
        }
        reason(f, &workers.source)?;
        lost(f, &workers.lost)?;
        reason(f, busy_worker(workers.max_busy_worker))?;
        match workers.overcommitted_mib {
            0 => reason(f, format_args!("all busy they need {} MiB", workers.needed_mib))?,
            over => reason(
                f,
                format_args!("overcommitted: all busy they need {} MiB, {over} too many", workers.needed_mib),
            )?,
        }
        row(f, "opcache", format_args!("{} MiB, {} files", opcache.memory_mib, opcache.max_files))?;
        reason(f, format_args!("memory: {}; files: {}", opcache.memory_source, opcache.max_files_source))?;
        if let Some(directory) = &opcache.file_cache {
            reason(f, format_args!("file cache: {}", directory.display()))?;
        }
        if !opcache.warm_up.is_empty() {
            reason(f, format_args!("a reload warms up with {}", opcache.warm_up.join(", ")))?;
        }
        row(
            f,
            "front end",
            format_args!("maxConns {}, address {}", self.front_end.max_conns, self.front_end.address),
        )?;
        self.write_listener(f)?;
        reason(f, "maxConns is for each of OpenLiteSpeed's processes (httpdWorkers)")
    }

    fn write_listener(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let listener = &self.listener;
        let opener = match listener.opened_by {
            Opener::Lsphp => "lsphp",
            Opener::CacLsphp => "cac-lsphp",
            Opener::HandedOver => {
                return reason(
                    f,
                    "the listener is handed over as descriptor 3 (LISTEN_FDS), whatever its address",
                );
            }
        };
        let backlog = listener.backlog.map_or_else(|| "unknown".to_owned(), |backlog| backlog.to_string());
        reason(f, format_args!("opened by {opener}, backlog {backlog}"))?;
        if let Some(socket) = listener.socket {
            return reason(f, format_args!("a socket of mode {} and group {}", socket.mode, socket.gid));
        }
        match &listener.allowed_clients {
            Some(clients) => reason(f, format_args!("allowed: {clients}; others get no answer")),
            None => reason(f, "allowed: everybody"),
        }
    }

    fn write_exec(&self, f: &mut Formatter<'_>) -> fmt::Result {
        row(f, "ini", &self.ini.path)?;
        for (name, value) in &self.ini.directives {
            reason(f, format_args!("{name} = {}", value.escape_debug()))?;
        }
        row(f, "exec", self.exec.argv.join(" "))?;
        let environment = &self.exec.environment;
        for (name, value) in &environment.set {
            reason(f, format_args!("{name}={}", value.to_string_lossy().escape_debug()))?;
        }
        let passed: Vec<_> = environment.passed.iter().map(|(name, _)| name.to_string_lossy()).collect();
        list(f, "passed on:", passed.iter().map(AsRef::as_ref))?;
        list(f, "removed:", environment.removed.iter().map(String::as_str))?;
        let mib = |limit: Option<u32>| limit.map_or_else(|| "none".to_owned(), |mib| format!("{mib} MiB"));
        let limit = self.exec.address_space;
        reason(f, format_args!("RLIMIT_AS {} soft, {} hard", mib(limit.soft_mib), mib(limit.hard_mib)))
    }

    fn write_effects(&self, f: &mut Formatter<'_>) -> fmt::Result {
        row(f, "as root", "in this order")?;
        self.effects.listener.iter().try_for_each(|effect| reason(f, effect))?;
        for effect in &self.effects.root {
            effect.to_string().lines().try_for_each(|line| reason(f, line))?;
        }
        self.effects.control.iter().try_for_each(|effect| reason(f, effect))?;
        row(f, "drop", format_args!("to {}:{} for good", self.site.uid, self.site.gid))?;
        row(f, "as user", &self.site.user)?;
        self.effects.site_user.iter().try_for_each(|effect| reason(f, effect))
    }
}

/// When a worker gives its connection up.
fn busy_worker(max: i32) -> String {
    match max {
        ..=0 => "none closes a connection of its own accord".to_owned(),
        1 => "each closes its connection after the answer".to_owned(),
        _ => format!("each closes its connection after the answer while {max} hold one"),
    }
}

fn row(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{name:<10} {value}")
}

fn reason(f: &mut Formatter<'_>, text: impl Display) -> fmt::Result {
    writeln!(f, "{:<10}   {text}", "")
}

fn lost(f: &mut Formatter<'_>, lost: &[String]) -> fmt::Result {
    lost.iter().try_for_each(|line| reason(f, format_args!("not: {line}")))
}

/// Names, if there are any, broken into lines of a terminal.
fn list<'a>(f: &mut Formatter<'_>, title: &str, names: impl Iterator<Item = &'a str>) -> fmt::Result {
    const WIDTH: usize = 66;
    let mut names = names.peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    let mut line = title.to_owned();
    for name in names.map(|name| name.escape_debug().to_string()) {
        if line.len() + 1 + name.len() > WIDTH {
            reason(f, &line)?;
            line = " ".repeat(2);
        }
        line.push(' ');
        line.push_str(&name);
    }
    reason(f, line)
}
