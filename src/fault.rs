//! What is wrong, as data: one line for a person, fields for a machine.
//!
//! Every refusal and every warning is one [`Fault`]. Its line is `operation object: cause; hint`; a log in JSON
//! carries the same as fields beside that line.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Serialize, Serializer};

use crate::one_line::OneLine;

/// What was done, to what, why it went wrong, and the way out. Boxed, as every result of a step has room for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Such as `opening`.
    pub operation: Cow<'static, str>,
    pub object: Object,
    pub cause: Cause,
    /// What to do, or what happens now; empty where there is nothing to say.
    pub hint: Cow<'static, str>,
}

/// What an operation was on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// The operation says it all.
    Nothing,
    Path(PathBuf),
    Variable {
        name: String,
        /// Such as `the environment`; `None`: nobody set it, or any place would do.
        place: Option<String>,
    },
}

/// Why: in the system's words with its number, or in ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub text: Cow<'static, str>,
    pub errno: Option<Errno>,
}

impl Fault {
    pub fn new(
        operation: impl Into<Cow<'static, str>>,
        object: impl Into<Object>,
        cause: impl Into<Cause>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (operation, object) = (operation.into(), object.into());
        Self(Box::new(Parts { operation, object, cause: cause.into(), hint: hint.into() }))
    }

    pub fn path(&self) -> Option<&Path> {
        match &self.object {
            Object::Path(path) => Some(path),
            Object::Nothing | Object::Variable { .. } => None,
        }
    }

    pub fn variable(&self) -> Option<&str> {
        match &self.object {
            Object::Variable { name, .. } => Some(name),
            Object::Nothing | Object::Path(_) => None,
        }
    }
}

impl Deref for Fault {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Logs the line, with the fields that `CAC_LOG_FORMAT=json` shows.
macro_rules! log {
    ($level:ident, $fault:expr) => {
        tracing::$level!(
            operation = &*$fault.operation,
            path = $fault.path().map(|path| tracing::field::display(path.display())),
            variable = $fault.variable(),
            cause = &*$fault.cause.text,
            errno = $fault.cause.errno.map(tracing::field::debug),
            hint = Some(&*$fault.hint).filter(|hint| !hint.is_empty()),
            "{}",
            $fault
        )
    };
}

impl Fault {
    pub fn error(&self) {
        log!(error, self);
    }

    pub fn warn(&self) {
        log!(warn, self);
    }

    pub fn info(&self) {
        log!(info, self);
    }

    pub fn debug(&self) {
        log!(debug, self);
    }
}

/// One line, whatever a name or a value holds.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OneLine(&*self.0).fmt(f)
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        match &self.object {
            Object::Nothing => {}
            Object::Path(path) => write!(f, " {}", path.display())?,
            Object::Variable { name, place: None } => write!(f, " {name}")?,
            Object::Variable { name, place: Some(place) } => write!(f, " {name} from {place}")?,
        }
        write!(f, ": {}", self.cause.text)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// As its line: what panels read in a plan's `warnings`.
impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Object {
    /// A variable wherever it is set.
    pub fn variable(name: impl Into<String>) -> Self {
        Self::Variable { name: name.into(), place: None }
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Object {
    fn from(path: &P) -> Self {
        Self::Path(path.as_ref().to_owned())
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw);
        Self { text: error.to_string().into(), errno }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<&'static str> for Cause {
    fn from(text: &'static str) -> Self {
        Self { text: text.into(), errno: None }
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self { text: text.into(), errno: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_operation_object_cause_and_hint() {
        let opened = Fault::new("opening", Path::new("/home/a\n/b"), Errno::EACCES, "chmod it");
        let line = "opening /home/a\\n/b: Permission denied (os error 13); chmod it";
        assert_eq!((opened.to_string().as_str(), opened.cause.errno), (line, Some(Errno::EACCES)));
        let place = Some("the environment".to_owned());
        let set = Fault::new("reading", Object::Variable { name: "uid".into(), place }, "it is 0\u{1b}", "");
        assert_eq!(set.to_string(), "reading uid from the environment: it is 0\\u{1b}");
    }
}
