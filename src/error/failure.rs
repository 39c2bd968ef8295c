//! Why a client's request failed.

use std::fmt;

use super::Code;
use crate::code::{Outcome, outcome};

/// Why a request, or a session, of a client failed: the content of [`Error::Request`](crate::Error::Request).
///
/// Ask the [`Error`](crate::Error) itself: [`code`](crate::Error::code), [`path`](crate::Error::path),
/// [`outcome`](crate::Error::outcome) and [`part`](crate::Error::part) are there, with an example.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub(crate) code: Code,
    pub(crate) path: Option<Box<str>>,
    pub(crate) part: Option<usize>,
    pub(crate) outcome: Outcome,
    /// What to say in place of the code's own text.
    pub(crate) text: Option<Box<str>>,
    /// What to say besides.
    pub(crate) hint: &'static str,
}

impl Failure {
    /// With what the code alone says.
    pub(crate) fn new(code: impl Into<Code>) -> Failure {
        let code = code.into();
        Failure { code, path: None, part: None, outcome: outcome(code.number()), text: None, hint: "" }
    }

    /// The same in other words.
    pub(crate) fn because(code: impl Into<Code>, text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into().into()), ..Failure::new(code) }
    }

    /// The same, about a path.
    pub(crate) fn at(self, path: Option<&str>) -> Failure {
        Failure { path: path.map(Into::into), ..self }
    }

    /// The same, of a write that did not happen for certain.
    pub(crate) fn not_done(self) -> Failure {
        Failure { outcome: Outcome::NotDone, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path}")?;
            if let Some(part) = self.part {
                write!(f, " (part {part} of the multi, counted from 0)")?;
            }
            f.write_str(": ")?;
        }
        match &self.text {
            Some(text) => f.write_str(text)?,
            None => self.code.fmt(f)?,
        }
        f.write_str(self.hint)
    }
}

impl std::error::Error for Failure {}
