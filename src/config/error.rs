//! Why a configuration is refused.

use std::fmt;
use std::path::PathBuf;

use super::note::Origin;

/// Why a configuration is refused; the text names the key, the value, where it came from and what is allowed.
///
/// A secret's value is never in it.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A line is not properties syntax, or stands where it may not.
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that its key does not take.
    Value {
        /// The key.
        key: String,
        /// The value, stars for a secret.
        value: String,
        /// Where it came from.
        origin: Origin,
        /// The values that are taken.
        allowed: String,
    },
    /// Understood and denied: to ignore it would make the server less safe than the file says.
    Refused {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Where it came from.
        origin: Origin,
        /// Why.
        reason: String,
    },
    /// Two settings that do not go together.
    Conflict(String),
    /// A configuration file that does not say where the data lies.
    NoDataDir {
        /// The file.
        path: PathBuf,
        /// A key of that file that may have been meant, and where it stands.
        meant: Option<(String, Origin)>,
    },
    /// Keys that neither ZooKeeper nor this server knows, where the caller asked for that to be an error.
    Unknown(Vec<String>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Read { path, reason } => write!(f, "cannot read {}: {reason}", path.display()),
            ConfigError::Syntax { origin, reason } => write!(f, "{origin}: {reason}"),
            ConfigError::Value { key, value, origin, allowed } => {
                write!(f, "{key}={} ({origin}) is not accepted; allowed: {allowed}", value.escape_debug())
            }
            ConfigError::Refused { key, value, origin, reason } => {
                write!(f, "{key}={} ({origin}) is refused: {reason}", value.escape_debug())
            }
            ConfigError::Conflict(text) => f.write_str(text),
            ConfigError::NoDataDir { path, meant } => {
                write!(
                    f,
                    "dataDir is not set in {}: a configuration file must say where the data lies",
                    path.display()
                )?;
                match meant {
                    Some((key, origin)) => write!(f, "; {origin} says {}, did you mean dataDir?", key.escape_debug()),
                    None => Ok(()),
                }
            }
            ConfigError::Unknown(keys) => f.write_str(&keys.join("; ")),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for crate::Error {
    fn from(error: ConfigError) -> crate::Error {
        crate::Error::Config(error.to_string())
    }
}
