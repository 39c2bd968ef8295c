//! What can go wrong with the file, in words an operator can act on.

use std::fmt;
use std::path::PathBuf;

use crate::ids::Zxid;
use crate::store::cause::{DamageCause, ForeignCause, OptionRange, SnapshotFault};
use crate::store::os_error::OsError;

/// Why the store refused or failed.
///
/// After [`SyncFailed`](StoreError::SyncFailed) and [`Io`](StoreError::Io) from a write the store is poisoned:
/// every later write fails the same way until the file is opened anew. The others leave it usable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// Bytes that had been made durable are damaged. The file is left as it is.
    Corrupt {
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// What was expected there and what was found.
        cause: DamageCause,
        /// The last transaction before the damage that can be read.
        good_to: Zxid,
        /// The highest transaction known to have been durable behind it, if any.
        lost_to: Option<Zxid>,
    },
    /// There is no room for what was asked. Nothing was written.
    Full {
        /// How large the file may grow here, in bytes.
        capacity: u64,
    },
    /// One record is larger than `max_record`. Nothing was written.
    TooLarge {
        /// Bytes of the record.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A write that had to be durable failed; what reached the disk is unknown. Every later write fails the same way.
    SyncFailed(OsError),
    /// Another process, or another handle of this one, has the file open.
    Locked {
        /// The file.
        path: PathBuf,
        /// The process that has it, where the system tells.
        holder: Option<u32>,
    },
    /// The file is not empty and is not ours. It is left as it is.
    Foreign {
        /// What was found where the superblocks should be.
        found: ForeignCause,
    },
    /// The file was written by a newer version that uses what this one does not know.
    Newer {
        /// The format, or the bits of the feature word, found.
        found: u32,
        /// What this version knows.
        known: u32,
    },
    /// The file belongs to another server of the ensemble.
    WrongServer {
        /// The id given.
        expected: u64,
        /// The id in the file.
        found: u64,
    },
    /// An option lies outside its range.
    Option {
        /// Its name.
        name: &'static str,
        /// The value given.
        value: u64,
        /// What is allowed.
        allowed: OptionRange,
    },
    /// The operating system refused a call.
    Io {
        /// What was being done.
        what: &'static str,
        /// Its answer.
        error: OsError,
    },
    /// A snapshot call came while none is being taken.
    NoSnapshot,
    /// A snapshot is being taken already.
    SnapshotRunning,
    /// The part of the log that was being read for a member is used for something else by now: the reading took too long,
    /// or its space was needed.
    LogReleased,
    /// A snapshot read back differently from what was written; it was dropped and the older ones stay.
    SnapshotUnreadable {
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// What was wrong.
        cause: SnapshotFault,
    },
}

impl StoreError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
        move |error| StoreError::Io { what, error: OsError::from(&error) }
    }

    /// Whether its text names the file it speaks of.
    pub(crate) fn names_the_file(&self) -> bool {
        matches!(self, StoreError::Locked { .. } | StoreError::Option { .. })
    }

    pub(crate) fn corrupt(offset: u64, cause: DamageCause) -> StoreError {
        StoreError::Corrupt { offset, cause, good_to: Zxid::ZERO, lost_to: None }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Corrupt { offset, cause, good_to, lost_to } => {
                write!(f, "damaged at byte {offset}: {cause}; readable up to zxid {good_to}")?;
                match lost_to {
                    Some(zxid) => write!(f, ", lost for certain up to zxid {zxid}")?,
                    None => write!(f, ", what is lost behind it is unknown")?,
                }
                write!(f, "; nothing was changed, look with `zoarium inspect`")
            }
            StoreError::Full { capacity } => {
                write!(f, "no space left: the file may hold {capacity} bytes here; nothing was written")
            }
            StoreError::TooLarge { size, limit } => {
                write!(f, "a record of {size} bytes exceeds the limit of {limit} bytes; nothing was written")
            }
            StoreError::SyncFailed(error) => {
                write!(f, "a write could not be made durable: {error}; no more writes until the file is opened anew")
            }
            StoreError::Locked { path, holder } => {
                write!(f, "{} is in use by ", path.display())?;
                match holder {
                    Some(pid) if *pid == std::process::id() => write!(f, "this process")?,
                    Some(pid) => write!(f, "process {pid}")?,
                    None => write!(f, "another server, in this process or elsewhere")?,
                }
                write!(f, "; one file serves one server")
            }
            StoreError::Foreign { found } => write!(f, "not a Zoarium file: {found}; it was left as it is"),
            StoreError::Newer { found, known } => {
                write!(f, "the file has format or features {found:#x}, this version knows {known:#x}: use a newer one")
            }
            StoreError::WrongServer { expected, found } => {
                write!(f, "the file belongs to server {found}, this is server {expected}")
            }
            StoreError::Option { name, value, allowed } => write!(f, "{name} = {value} is out of range: {allowed}"),
            StoreError::Io { what, error } => write!(f, "cannot {what}: {error}"),
            StoreError::NoSnapshot => write!(f, "no snapshot is being taken"),
            StoreError::SnapshotRunning => write!(f, "a snapshot is being taken already"),
            StoreError::LogReleased => write!(f, "the log that was being read for a member has been released"),
            StoreError::SnapshotUnreadable { offset, cause } => {
                write!(f, "the new snapshot reads back wrong at byte {offset}: {cause}; the older ones stay")
            }
        }
    }
}

impl std::error::Error for StoreError {}
