//! What can go wrong: with a server as a whole, and with a client's request.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::code::Outcome;
use crate::store::{StoreError, os_text};

mod code;
mod failure;

pub use code::Code;
pub use failure::Failure;

/// Why a server did not start, or stopped; or why a client's request failed.
///
/// Its text is one sentence with all particulars. Programs ask for the [`code`](Error::code), the
/// [`path`](Error::path), and whether the write [`happened`](Error::outcome):
///
/// ```
/// use zoarium::{Client, Code, Config, Error, Outcome, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-error-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client: Client = server.client()?;
/// let error = client.set("/missing", b"1").unwrap_err();
/// assert_eq!(error.code(), Code::NoNode);
/// assert_eq!(error.path(), Some("/missing"));
/// assert_eq!(error.outcome(), Outcome::NotDone);
/// assert_eq!(error.to_string(), "/missing: the znode does not exist");
/// # drop(client);
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration asks for something that cannot be.
    Config(String),
    /// The data folder or something in it cannot be used: says which and why.
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// ZooKeeper's own log or snapshots lie in this folder, there is no file of ours yet, and an empty tree beside them
    /// would look like their loss. `zoarium.ignoreZooKeeperData` begins all the same.
    ZooKeeperData {
        /// The folder.
        folder: std::path::PathBuf,
        /// The file that was not made.
        file: std::path::PathBuf,
    },
    /// The one file refuses.
    Store {
        /// The file; empty while the code that met the refusal does not know it.
        path: std::path::PathBuf,
        /// What it said.
        source: StoreError,
    },
    /// A transaction in the file is damaged, though its checksum is right.
    Damage(String),
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// Whether it is this process that listens there already.
        by_us: bool,
        /// What the system said.
        source: io::Error,
    },
    /// A port for the other servers of an ensemble cannot be listened on, though it was tried as often as
    /// `electionPortBindRetry` says.
    ListenServers {
        /// Which port.
        port: &'static str,
        /// Where, as the configuration writes it.
        place: String,
        /// What the system said.
        why: String,
    },
    /// The system refused something else: says what.
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It was told to stop, and the disk has not finished a write in time. The server goes on stopping by itself: it takes
    /// nothing from clients any more, holds its file and addresses until the write comes back, and then ends. What was
    /// acknowledged is on disk.
    StillStopping,
    /// The server's thread panicked, which is a bug; the server fenced itself.
    Panicked(String),
    /// A client's request failed, or its session.
    Request(Box<Failure>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(why) => f.write_str(why),
            Error::Folder { path, source } => write!(f, "data folder {}: {}", path.display(), os_text(source)),
            Error::ZooKeeperData { folder, file } => write!(
                f,
                "{} holds data of a ZooKeeper server, and there is no {}: a server would begin with an empty tree. `zoarium import` \
                 takes that data over. Or give another dataDir; or, if an empty tree is what you want, move that folder away \
                 or set zoarium.ignoreZooKeeperData=true (--ignore-zookeeper-data)",
                folder.display(),
                file.display()
            ),
            Error::Store { path, source } if path.as_os_str().is_empty() || source.names_the_file() => source.fmt(f),
            Error::Store { path, source } => write!(f, "{}: {source}", path.display()),
            Error::Damage(why) => write!(f, "damaged: {why}"),
            Error::Listen { address, by_us, source } if source.kind() == io::ErrorKind::AddrInUse => {
                let who = if *by_us { "this process" } else { "another process" };
                write!(f, "{address} is in use by {who}; choose another clientPort")
            }
            Error::Listen { address, source, .. } => write!(f, "cannot listen on {address}: {}", os_text(source)),
            Error::ListenServers { port, place, why } => write!(
                f,
                "cannot listen for other servers at the {port} {place} ({why}); where this machine does not have that \
                 address itself, quorumListenOnAllIPs=true listens on all it has"
            ),
            Error::System { what, source } => write!(f, "cannot {what}: {}", os_text(source)),
            Error::StillStopping => {
                f.write_str("the disk has not finished a write; the server ends, and frees its file, as soon as it has")
            }
            Error::Panicked(what) => write!(f, "the server failed: {what}"),
            Error::Request(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Folder { source, .. } | Error::Listen { source, .. } | Error::System { source, .. } => Some(source),
            Error::Store { source, .. } => Some(source),
            Error::Config(_)
            | Error::Damage(_)
            | Error::ListenServers { .. }
            | Error::StillStopping
            | Error::Panicked(_)
            | Error::Request(_)
            | Error::ZooKeeperData { .. } => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(source: StoreError) -> Self {
        Error::Store { path: std::path::PathBuf::new(), source }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Request(Box::new(failure))
    }
}

impl Error {
    /// What kind of failure it is. The example is at [`Error`].
    pub fn code(&self) -> Code {
        match self {
            Error::Request(failure) => failure.code,
            Error::Config(_) | Error::ZooKeeperData { .. } | Error::Store { source: StoreError::Option { .. }, .. } => {
                Code::BadArguments
            }
            Error::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => Code::PortTaken,
            Error::Store { source: StoreError::Locked { .. }, .. } => Code::InUse,
            Error::Store { source: StoreError::Full { .. }, .. } => Code::DiskFull,
            Error::Store { source: StoreError::Io { error, .. }, .. } if error.kind == io::ErrorKind::StorageFull => {
                Code::DiskFull
            }
            Error::Store { source: StoreError::Corrupt { .. } | StoreError::Foreign { .. }, .. } | Error::Damage(_) => {
                Code::Corrupt
            }
            Error::StillStopping => Code::Timeout,
            Error::Panicked(_) => Code::Panic,
            _ => Code::System,
        }
    }

    /// The path that a client's request was about, as the client named it. Of a multi, the path of the part that failed.
    /// The example is at [`Error`].
    pub fn path(&self) -> Option<&str> {
        match self {
            Error::Request(failure) => failure.path.as_deref(),
            _ => None,
        }
    }

    /// Which part of a multi failed, counted from 0. [`Client::multi`](crate::Client::multi) has an example.
    pub fn part(&self) -> Option<usize> {
        match self {
            Error::Request(failure) => failure.part,
            _ => None,
        }
    }

    /// Whether the write that failed with this happened all the same: after a lost connection that is unknown, and a
    /// program has to look before it tries again. The example is at [`Error`].
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Request(failure) => failure.outcome,
            // Whatever stops a server says nothing of one write.
            _ => crate::code::outcome(self.code().number()),
        }
    }

    /// The same, said of the file `file` where it speaks of a file without naming it.
    pub(crate) fn in_file(self, file: &std::path::Path) -> Error {
        match self {
            Error::Store { path, source } if path.as_os_str().is_empty() => {
                Error::Store { path: file.to_owned(), source }
            }
            Error::Damage(why) => Error::Damage(format!("{}: {why}", file.display())),
            other => other,
        }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { what, source }
    }
}
