//! Why a data folder is not taken over, or not written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::ids::Zxid;
use crate::store::{StoreError, os_text};

/// Why a data folder is not taken over, or not written. Each says what it is about in a sentence.
#[derive(Debug)]
#[non_exhaustive]
pub enum DatadirError {
    /// The operating system refuses something.
    Io {
        /// What was being done: "read", "create" …
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// There is no data of ZooKeeper's in the folder.
    Nothing {
        /// The folder.
        folder: PathBuf,
    },
    /// Logs lie among snapshots or the other way round, though the folders are two: ZooKeeper does not start on that either.
    MixedUp {
        /// The file that is in the wrong folder.
        path: PathBuf,
    },
    /// A file is not what ZooKeeper writes.
    Damaged {
        /// The file.
        path: PathBuf,
        /// In bytes from its start; after decompression, if it is compressed.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// There are snapshots, and none of them is whole.
    NoSnapshot {
        /// What is wrong with the newest.
        newest: Box<DatadirError>,
    },
    /// Transactions are missing between two that are there.
    Gap {
        /// The last one before.
        after: Zxid,
        /// The first one behind.
        before: Zxid,
        /// The file that it is in.
        path: PathBuf,
    },
    /// The files that hold the epochs contradict the log or each other.
    Epochs {
        /// How.
        what: String,
    },
    /// The tree has another digest than the ZooKeeper server computed.
    Digest {
        /// After this transaction.
        zxid: Zxid,
        /// What the server computed.
        expected: i64,
        /// What was found.
        found: i64,
    },
    /// Something is where the result is to go.
    Exists {
        /// What.
        path: PathBuf,
    },
    /// Our file is refused.
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

impl DatadirError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DatadirError {
        let path = path.to_owned();
        move |source| DatadirError::Io { what, path, source }
    }

    pub(super) fn store(path: &Path) -> impl FnOnce(StoreError) -> DatadirError {
        let path = path.to_owned();
        move |source| DatadirError::Store { path, source }
    }
}

impl fmt::Display for DatadirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatadirError::Io { what, path, source } => {
                write!(f, "cannot {what} {}: {}", path.display(), os_text(source))
            }
            DatadirError::Nothing { folder } => write!(
                f,
                "{} holds no data of ZooKeeper's: neither version-2/snapshot.* nor version-2/log.* is there",
                folder.display()
            ),
            DatadirError::MixedUp { path } => write!(
                f,
                "{} is in the wrong folder: snapshots belong into dataDir and logs into dataLogDir where these are two. \
                 ZooKeeper does not start like this either",
                path.display()
            ),
            DatadirError::Damaged { path, offset, what } => write!(f, "{}: byte {offset}: {what}", path.display()),
            DatadirError::NoSnapshot { newest } => {
                write!(f, "no snapshot in the folder is whole; the newest: {newest}")
            }
            DatadirError::Gap { after, before, path } => write!(
                f,
                "transactions are missing: after {after} comes {before} in {}. Is a log file missing, or dataLogDir another folder \
                 (--log-dir)?",
                path.display()
            ),
            DatadirError::Epochs { what } => write!(f, "the epochs do not fit: {what}"),
            DatadirError::Digest { zxid, expected, found } => write!(
                f,
                "after transaction {zxid} the tree has the digest {found:#x}, and the ZooKeeper server computed {expected:#x}"
            ),
            DatadirError::Exists { path } => write!(f, "{} is there already, and is not overwritten", path.display()),
            DatadirError::Store { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for DatadirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatadirError::Io { source, .. } => Some(source),
            DatadirError::Store { source, .. } => Some(source),
            DatadirError::NoSnapshot { newest } => Some(&**newest),
            _ => None,
        }
    }
}

/// The secret of a tree's hash.
pub(super) fn random_seed() -> Result<[u64; 2], DatadirError> {
    let seed = getrandom::u64().and_then(|low| Ok([low, getrandom::u64()?]));
    seed.map_err(|error| DatadirError::Io {
        what: "get random numbers from",
        path: PathBuf::from("the system"),
        source: io::Error::other(error.to_string()),
    })
}
