//! Why a command ends: what is wrong, and the exit code that says so.

use std::borrow::Cow;
use std::fmt;

use crate::exit::Exit;
use crate::fault::{Cause, Fault, Object};

/// One fault, or all that stand in the way of a plan.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub faults: Vec<Fault>,
}

impl Failure {
    pub fn new(exit: Exit, fault: Fault) -> Self {
        Self { exit, faults: vec![fault] }
    }

    /// The system did not do it.
    pub fn system(
        operation: impl Into<Cow<'static, str>>,
        object: impl Into<Object>,
        cause: impl Into<Cause>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Exit::System, Fault::new(operation, object, cause, hint))
    }

    /// What is there is not ours to change.
    pub fn refused(
        operation: impl Into<Cow<'static, str>>,
        object: impl Into<Object>,
        cause: impl Into<Cause>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Exit::Refused, Fault::new(operation, object, cause, hint))
    }

    /// What is asked for is not what can be done.
    pub fn of_plan(faults: Vec<Fault>) -> Self {
        Self { exit: Exit::Refused, faults }
    }

    /// Logs a line for each fault; how to end.
    pub fn report(&self) -> Exit {
        self.faults.iter().for_each(Fault::error);
        self.exit
    }
}

/// A line for each fault.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))
    }
}
