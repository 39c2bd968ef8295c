//! What a reader of the log should hear about a configuration that was accepted.

use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A line of a file; lines count from 1.
    File(PathBuf, usize),
    /// An environment variable of this name.
    Environment(String),
    /// `-Dkey=value`, or an option that stands for one.
    CommandLine,
    /// A call of the program that the server runs in.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::CommandLine => f.write_str("command line"),
            Origin::Program => f.write_str("set by the program"),
        }
    }
}

/// What becomes of a key.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Acted upon.
    Honoured,
    /// Understood and kept; matters only in an ensemble.
    Ensemble,
    /// Accepted and ignored, because nothing here corresponds to it.
    WithoutEffect,
    /// Accepted with a warning: it asks for something that is missing.
    NotYet,
    /// Neither ZooKeeper nor this server knows it.
    Unknown,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Fate::Honoured => "honoured",
            Fate::Ensemble => "ensemble only",
            Fate::WithoutEffect => "without effect",
            Fate::NotYet => "not yet",
            Fate::Unknown => "unknown",
        })
    }
}

/// One line for the log about a configuration that was accepted.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// All keys that are accepted and ignored, in one line.
    WithoutEffect(Vec<String>),
    /// A key that asks for something that is missing, and what that means.
    NotYet {
        /// The key.
        key: String,
        /// Where it came from.
        origin: Origin,
        /// What is missing.
        reason: String,
    },
    /// A key that neither ZooKeeper nor this server knows.
    Unknown {
        /// The key as written.
        key: String,
        /// Where it came from.
        origin: Origin,
        /// The nearest key there is, if one is near.
        nearest: Option<&'static str>,
    },
    /// The same key twice in one source, with different values: the later one counts.
    Repeated {
        /// The key.
        key: String,
        /// The one that lost.
        earlier: Origin,
        /// The one that counts.
        later: Origin,
    },
    /// A value that does not mean what it seems to, or settings that pull against each other.
    Remark(String),
}

impl Note {
    /// Whether it deserves a warning; the others are information.
    ///
    /// [`Config`](crate::Config) has an example.
    pub fn is_warning(&self) -> bool {
        !matches!(self, Note::WithoutEffect(_))
    }
}

impl Note {
    /// Of such a key, what to say where that is an error; of anything else `None`.
    pub(super) fn unknown(&self) -> Option<String> {
        match self {
            Note::Unknown { key, origin, nearest } => {
                Some(format!("unknown key {} ({origin}){}", key.escape_debug(), did_you_mean(*nearest)))
            }
            _ => None,
        }
    }
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default()
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::WithoutEffect(keys) => write!(f, "accepted without effect: {}", keys.join(", ")),
            Note::NotYet { key, origin, reason } => write!(f, "{key} ({origin}): {reason}"),
            Note::Unknown { key, origin, nearest } => {
                write!(f, "unknown key {} ({origin}), ignored", key.escape_debug())?;
                f.write_str(&did_you_mean(*nearest))
            }
            Note::Repeated { key, earlier, later } => {
                write!(f, "{key} is set twice with different values: {later} counts, {earlier} does not")
            }
            Note::Remark(text) => f.write_str(text),
        }
    }
}
