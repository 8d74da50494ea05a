//! The settings that have rules of their own, and what contradicts what.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use super::{ENVIRONMENT, Reader, Readings, malformed, printable};
use crate::address::Address;
use crate::fault::{Fault, Object};
use crate::identity::{Gid, Site, StartedAs, Uid};
use crate::settings::{AllGiven, LogSettings, Options, Source, directive, size, variable};

impl Reader<'_> {
    /// A non-root start without `uid` takes the id it was started with.
    pub fn uid(&mut self, started_as: StartedAs) -> Option<Uid> {
        match Uid::new(started_as.uid) {
            Some(own) if self.candidates(variable::UID.names).is_empty() => Some(own),
            _ => self.required(&variable::UID, |text| text.parse().ok()),
        }
    }

    pub fn gid(&mut self, started_as: StartedAs, uid: Option<Uid>) -> Option<Gid> {
        if !self.candidates(variable::GID.names).is_empty() {
            return self.required(&variable::GID, |text| text.parse().ok());
        }
        match Uid::new(started_as.uid) {
            Some(_) => Gid::new(started_as.gid).or_else(|| {
                let cause = "it is not set, and this process's own group is root's";
                let hint = "start with --user UID:GID, or set gid";
                self.readings.faults.push(Fault::new("reading", Object::variable("gid"), cause, hint));
                None
            }),
            None => uid.and_then(|uid| Gid::new(uid.as_raw())),
        }
    }

    pub fn listen(&mut self) -> Address {
        self.text(&variable::LISTEN, |text| Address::from_str(printable(text)?).ok())
            .unwrap_or(Address::Inet(SocketAddr::from(([0, 0, 0, 0], 9000))))
    }

    pub fn lsphp(&mut self) -> Option<PathBuf> {
        self.text(&variable::LSPHP, |text| printable(text)?.starts_with('/').then(|| PathBuf::from(text)))
    }

    /// lsphp reads this with 32-bit arithmetic and compares it with the host's free memory.
    pub fn avoid_fork(&mut self) -> Option<String> {
        let value =
            self.text(&variable::AVOID_FORK, |text| (size::bytes(text)? < 2 << 30).then(|| text.to_owned()))?;
        let cause = "lsphp compares it with the host's free memory, not the container's";
        self.warn(&variable::AVOID_FORK, cause, "unset it");
        Some(value)
    }

    pub fn log(&mut self) -> LogSettings {
        let level = self.text(&variable::LOG, |text| text.parse().ok());
        let json = self.text(&variable::LOG_FORMAT, |text| match text {
            "text" => Some(false),
            "json" => Some(true),
            _ => None,
        });
        LogSettings { level: level.unwrap_or(LevelFilter::INFO), json: json.unwrap_or(false) }
    }

    pub fn directives(&mut self) -> BTreeMap<String, String> {
        let mut directives = BTreeMap::new();
        for name in self.names(|name| name.starts_with(variable::INI_PREFIX)) {
            let Some(value) = self.parsed(&[name], "UTF-8 text", |text| Some(text.to_owned())) else {
                continue;
            };
            match directive::accept(name, &value) {
                Ok(directive) if directives.contains_key(&directive) => {
                    let cause = format!("another variable sets {directive} too");
                    let fault = Fault::new("reading", Object::variable(name), cause, "keep one of them");
                    self.readings.faults.push(fault);
                }
                Ok(directive) => drop(directives.insert(directive, value)),
                Err(fault) => self.readings.faults.push(fault),
            }
        }
        directives
    }

    pub fn warn_about_pgrp_max_idle(&mut self) {
        if let Some(candidate) = self.candidates(variable::PGRP_MAX_IDLE.names).first() {
            let cause = "it would stop the container when the site is idle";
            let warning = Fault::new("reading", &candidate.source(), cause, "it is removed");
            self.readings.warnings.push(warning);
        }
    }

    /// Whether a listener was. Only who starts the process can say so, not a file.
    pub fn handed_over(&mut self) -> bool {
        let Some(count) = self.environment.setting("LISTEN_FDS") else { return false };
        if count != "1" {
            let form = variable::LISTEN_FDS.accepts.form;
            let source = Source { name: "LISTEN_FDS".to_owned(), place: ENVIRONMENT.to_owned() };
            self.readings.faults.push(malformed(&source, count, form));
        }
        true
    }

    /// What a listener, a generation and a warm start cannot be.
    pub fn refuse_contradictions(&mut self, site: Option<&Site>, options: &Options) {
        let Readings { given, faults, .. } = &mut self.readings;
        faults.extend(options.listener.faults(&options.listen, given));
        faults.extend(supervision_faults(options, given));
        if let Some(site) = site {
            faults.extend(options.warm_start.faults(&site.home, options.supervise, given));
        }
    }

    /// An absent file is fine where nobody named one; a mistyped path would be silently without effect.
    pub fn warn_about_missing_site_file(&mut self) {
        let named = variable::SITE_FILE.names.iter().find_map(|name| self.environment.setting(name));
        if let Some(path) = named.filter(|_| self.site_file.is_none()) {
            let cause = format!("{} does not exist", path.display());
            let object = Object::variable("CAC_SITE_FILE");
            let warning = Fault::new("reading", object, cause, "nothing is taken from it");
            self.readings.warnings.push(warning);
        }
    }

    /// A mistyped `CAC_*` anywhere, or any stranger in the site file, would be silently without effect.
    pub fn warn_about_unknown_names(&mut self) {
        let known = || variable::rows().flat_map(|row| row.names);
        let unknown = self.names(|name| {
            let is_ours = name.starts_with("CAC_") || self.lines().any(|(in_file, _)| in_file == name);
            is_ours && !name.starts_with(variable::INI_PREFIX) && !known().any(|known| *known == name)
        });
        for name in unknown {
            let likeness =
                |known: &str| strsim::jaro_winkler(&name.to_ascii_uppercase(), &known.to_ascii_uppercase());
            let nearest = known().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let hint = nearest.map(|nearest| format!("did you mean {nearest}?")).unwrap_or_default();
            let cause = "it is not a known setting and is ignored";
            self.readings.warnings.push(Fault::new("reading", Object::variable(name), cause, hint));
        }
    }
}

/// A generation needs a listener of its own on an address that several can share.
fn supervision_faults(options: &Options, given: &AllGiven) -> Vec<Fault> {
    let Some(given) = given.get(&variable::SUPERVISE).filter(|_| options.supervise) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    let mut refuse = |cause: String, hint| faults.push(Fault::new("reading", &given.source, cause, hint));
    if let Address::Unix(path) = &options.listen {
        let path = path.display();
        let cause = format!("CAC_LISTEN is the socket {path}, which only one lsphp at a time can have");
        refuse(cause, "listen on ADDRESS:PORT, or unset CAC_SUPERVISE");
    }
    if options.listener.handed_over {
        let cause = "a listener that was handed over (LISTEN_FDS) cannot be replaced";
        refuse(cause.to_owned(), "unset one of the two");
    }
    faults
}
