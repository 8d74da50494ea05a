//! One look at every variable: who names it, who wins, what is wrong with it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use super::environment::{Environment, is_blank};
use super::site_file::SiteFile;
use super::variable::{self, Range, Switch, Text, Variable};
use super::{AllGiven, Given, LogSettings, Options, Source, directive, size};
use crate::address::Address;
use crate::fault::{Cause, Fault, Object};
use crate::identity::{Domain, Gid, Site, StartedAs, Uid, User};

/// As a place that settings come from.
const ENVIRONMENT: &str = "the environment";

/// Reads settings and gathers faults and warnings on the way.
pub struct Reader<'a> {
    environment: &'a Environment,
    site_file: Option<&'a SiteFile>,
    readings: Readings,
}

/// What was met beside the values themselves.
#[derive(Debug, Default)]
pub struct Readings {
    pub given: AllGiven,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Fault>,
}

/// What a setting's number is kept in.
pub trait Number: Copy + Display + Into<i128> + TryFrom<i128> {}

impl<N: Copy + Display + Into<i128> + TryFrom<i128>> Number for N {}

/// One place that gives a setting a value.
struct Candidate<'a> {
    name: &'a str,
    value: &'a OsStr,
    place: String,
}

impl Candidate<'_> {
    fn source(&self) -> Source {
        Source { name: self.name.to_owned(), place: self.place.clone() }
    }
}

impl<'a> Reader<'a> {
    pub fn new(environment: &'a Environment, site_file: Option<&'a SiteFile>) -> Self {
        Self { environment, site_file, readings: Readings::default() }
    }

    /// What is left when everything has been read.
    pub fn finish(self) -> Readings {
        self.readings
    }

    pub fn number<N: Number>(&mut self, variable: &Variable<Range<N>>) -> N {
        let default = variable.accepts.default.unwrap_or(variable.accepts.min);
        self.optional_number(variable).unwrap_or(default)
    }

    pub fn optional_number<N: Number>(&mut self, variable: &Variable<Range<N>>) -> Option<N> {
        let Range { min, max, .. } = variable.accepts;
        let form = format_args!("a whole number from {min} to {max}");
        let wide = self.parsed(variable.names, form, whole_number)?;
        let value = N::try_from(wide.clamp(min.into(), max.into())).unwrap_or(max);
        if value.into() != wide {
            let cause = format!("{wide} is not in the range from {min} to {max}");
            self.warn(variable, cause, format!("{value} is used"));
        }
        Some(value)
    }

    pub fn switch(&mut self, variable: &Variable<Switch>) -> bool {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            "1" | "on" | "yes" | "true" => Some(true),
            "0" | "off" | "no" | "false" => Some(false),
            _ => None,
        };
        self.parsed(variable.names, "1 or 0", parse).unwrap_or(variable.accepts.default)
    }

    pub fn user(&mut self) -> Option<User> {
        self.required(&variable::USER, |text| text.parse().ok())
    }

    /// For who can do without.
    pub fn user_if_set(&mut self) -> Option<User> {
        self.text(&variable::USER, |text| text.parse().ok())
    }

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

    pub fn domain(&mut self) -> Option<Domain> {
        self.text(&variable::DOMAIN, |text| text.parse().ok())
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
        let level = self.text(&variable::LOG, |text| match text {
            "off" => Some(LevelFilter::OFF),
            "error" => Some(LevelFilter::ERROR),
            "warn" => Some(LevelFilter::WARN),
            "info" => Some(LevelFilter::INFO),
            "debug" => Some(LevelFilter::DEBUG),
            "trace" => Some(LevelFilter::TRACE),
            _ => None,
        });
        let json = self.text(&variable::LOG_FORMAT, |text| match text {
            "text" => Some(false),
            "json" => Some(true),
            _ => None,
        });
        let default = LogSettings::default();
        LogSettings { level: level.unwrap_or(default.level), json: json.unwrap_or(default.json) }
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

    /// What a listener of our own cannot be.
    pub fn refuse_what_cannot_be_opened(&mut self, options: &Options) {
        let faults = options.listener.faults(&options.listen, &self.readings.given);
        self.readings.faults.extend(faults);
    }

    /// A generation needs a listener of its own on an address that several can share.
    pub fn refuse_what_cannot_be_supervised(&mut self, options: &Options) {
        let Some(given) = self.readings.given.get(&variable::SUPERVISE).filter(|_| options.supervise) else {
            return;
        };
        let source = given.source.clone();
        let mut refuse = |cause: String, hint| {
            self.readings.faults.push(Fault::new("reading", &source, cause, hint));
        };
        if let Address::Unix(path) = &options.listen {
            let path = path.display();
            let cause = format!("CAC_LISTEN is the socket {path}, which only one lsphp at a time can have");
            refuse(cause, "listen on ADDRESS:PORT, or unset CAC_SUPERVISE");
        }
        if options.listener.handed_over {
            let cause = "a listener that was handed over (LISTEN_FDS) cannot be replaced";
            refuse(cause.to_owned(), "unset one of the two");
        }
    }

    /// What would be closed by the file cache or would open it, and a warm-up of nothing.
    pub fn refuse_what_cannot_be_warm(&mut self, site: &Site, options: &Options) {
        let given = &self.readings.given;
        let faults = options.warm_start.faults(&site.home, options.supervise, given);
        self.readings.faults.extend(faults);
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

    fn required<T>(&mut self, variable: &Variable<Text>, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (name, form) = (variable.names.first().copied().unwrap_or_default(), variable.accepts.form);
        if self.candidates(variable.names).is_empty() {
            let hint = format!("set it to {form}");
            self.readings.faults.push(Fault::new("reading", Object::variable(name), "it is not set", hint));
            return None;
        }
        self.text(variable, parse)
    }

    pub fn text<T>(&mut self, variable: &Variable<Text>, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.parsed(variable.names, variable.accepts.form, parse)
    }

    /// The winner among `names`, parsed; a winner that does not parse is a fault.
    fn parsed<T>(
        &mut self,
        names: &[&str],
        form: impl Display,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let candidates = self.candidates(names);
        let (winner, losers) = candidates.split_first()?;
        let source = winner.source();
        let Some(value) = winner.value.to_str().and_then(parse) else {
            self.readings.faults.push(malformed(&source, winner.value, form));
            return None;
        };
        let lost = losers.iter().map(|loser| {
            let value = loser.value.to_string_lossy();
            format!("{}={} from {}", loser.name.escape_debug(), value.escape_debug(), loser.place)
        });
        let lost = lost.collect();
        let given = winner.value.to_string_lossy().into_owned();
        let name = names.first().copied().unwrap_or_default().to_owned();
        self.readings.given.0.insert(name, Given { value: given, source, lost });
        Some(value)
    }

    /// Keeps what a setting that somebody names comes to instead.
    fn warn<A>(
        &mut self,
        variable: &Variable<A>,
        cause: impl Into<Cause>,
        hint: impl Into<Cow<'static, str>>,
    ) {
        if let Some(given) = self.readings.given.get(variable) {
            let warning = Fault::new("reading", &given.source, cause, hint);
            self.readings.warnings.push(warning);
        }
    }

    /// Who names the setting, strongest first; blanks are as unset.
    fn candidates<'n>(&self, names: &[&'n str]) -> Vec<Candidate<'n>>
    where
        'a: 'n,
    {
        let from_environment = names.iter().filter_map(|name| {
            let value = self.environment.get(name)?;
            Some(Candidate { name, value, place: ENVIRONMENT.to_owned() })
        });
        let from_site_file = names.iter().filter_map(|name| {
            let site_file = self.site_file?;
            let value = OsStr::new(site_file.get(name)?);
            let place = site_file.path().to_string_lossy().escape_debug().to_string();
            Some(Candidate { name, value, place })
        });
        from_environment.chain(from_site_file).filter(|candidate| !is_blank(candidate.value)).collect()
    }

    fn lines(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.site_file.into_iter().flat_map(SiteFile::iter)
    }

    /// The UTF-8 names that the environment or the site file mentions, those that are wanted.
    fn names(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<&'a str> {
        let from_environment = self.environment.iter().filter_map(|(name, _)| name.to_str());
        let from_site_file = self.lines().map(|(name, _)| name);
        from_environment.chain(from_site_file).filter(|name| is_wanted(name)).collect()
    }
}

fn malformed(source: &Source, value: &OsStr, form: impl Display) -> Fault {
    Fault::new("reading", source, format!("it must be {form}, not {value:?}"), "")
}

/// A path may hold a line break, but a log line that names it must stay one line.
pub fn printable(text: &str) -> Option<&str> {
    (!text.contains(char::is_control)).then_some(text)
}

/// Any whole number; what does not fit 128 bits is as good as the largest.
fn whole_number(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse().unwrap_or(i128::MAX);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}
