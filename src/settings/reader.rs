//! One look at every variable: who names it, who wins, what is wrong with it.

mod special;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Display;

use super::environment::{Environment, is_blank};
use super::site_file::SiteFile;
use super::variable::{Range, Switch, Text, Variable};
use super::{AllGiven, Given, Source};
use crate::fault::{Cause, Fault, Object};

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

    pub fn required<T>(&mut self, variable: &Variable<Text>, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
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
