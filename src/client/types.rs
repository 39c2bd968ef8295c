//! What verbs take and give.

use std::ops::BitOr;
use std::time::Duration;

use crate::error::{Code, Failure};
use crate::jute::Text;
use crate::records::requests::ReconfigRequest;
use crate::records::{self, CreateMode, Stat, perms};

/// What an entry of an ACL permits. Combined with `|`; the example is at [`Acl`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Permissions(i32);

impl Permissions {
    /// To read the data and the list of children.
    pub const READ: Permissions = Permissions(perms::READ);
    /// To set the data.
    pub const WRITE: Permissions = Permissions(perms::WRITE);
    /// To create children.
    pub const CREATE: Permissions = Permissions(perms::CREATE);
    /// To delete children.
    pub const DELETE: Permissions = Permissions(perms::DELETE);
    /// To change the ACL.
    pub const ADMIN: Permissions = Permissions(perms::ADMIN);
    /// All of them.
    pub const ALL: Permissions = Permissions(perms::ALL);

    /// The bits as ZooKeeper has them. The example is at [`Acl`].
    pub fn bits(self) -> i32 {
        self.0
    }

    /// Whether all of `others` are among these. The example is at [`Acl`].
    pub fn contains(self, others: Permissions) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitOr for Permissions {
    type Output = Permissions;

    fn bitor(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }
}

/// One entry of a znode's access control list: who may do what.
///
/// ```
/// use zoarium::{Acl, Permissions};
///
/// let readers = Acl::new(Permissions::READ, "ip", "10.0.0.0/8");
/// let operators = Acl::new(Permissions::READ | Permissions::WRITE, "digest", "ops:UGoi4SZCnfkN8vEJe0L9mp3SyGs=");
/// assert!(operators.permissions.contains(Permissions::WRITE));
/// assert_eq!(readers.permissions.bits(), 1);
/// assert_eq!(Acl::open(), Acl::new(Permissions::ALL, "world", "anyone"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Acl {
    /// What they may do.
    pub permissions: Permissions,
    /// `world`, `auth`, `digest`, `ip` …
    pub scheme: String,
    /// Who: what it means is the scheme's business.
    pub id: String,
}

impl Acl {
    /// An entry from its parts. The example is at [`Acl`].
    pub fn new(permissions: Permissions, scheme: impl Into<String>, id: impl Into<String>) -> Acl {
        Acl { permissions, scheme: scheme.into(), id: id.into() }
    }

    /// Everybody may do everything: what a znode gets that is created without an ACL. [`Acl`] has an example.
    pub fn open() -> Acl {
        Acl::new(Permissions::ALL, "world", "anyone")
    }

    /// Everybody may read. [`CreateOptions::acl`] has an example.
    pub fn read_only() -> Acl {
        Acl::new(Permissions::READ, "world", "anyone")
    }

    /// The identities of the session that creates the znode may do everything, see [`Client::add_auth`](crate::Client::add_auth)
    /// for an example.
    pub fn creator() -> Acl {
        Acl::new(Permissions::ALL, "auth", "")
    }

    pub(super) fn record(&self) -> records::Acl<'_> {
        records::Acl::new(self.permissions.0, &self.scheme, &self.id)
    }

    pub(super) fn from_record(record: &records::Acl<'_>) -> Acl {
        Acl::new(Permissions(record.perms), record.id.scheme.as_str(), record.id.id.as_str())
    }
}

/// What kind of znode to create. Without anything said it is persistent and open to everybody.
///
/// ```
/// use std::time::Duration;
/// use zoarium::{Client, Config, CreateOptions, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-options-{}", std::process::id()));
/// # let config = Config { data_dir: dir.clone(), client_port: 0, extended_types_enabled: true, ..Config::default() };
/// let server = Server::start(config)?;
/// let client = server.client()?;
/// client.create("/jobs", b"")?;
/// let job = client.create_with("/jobs/job-", b"{}", &CreateOptions::new().ephemeral().sequential())?;
/// assert_eq!(job.path, "/jobs/job-0000000000");
/// assert_eq!(job.stat.ephemeral_owner, client.session().id.0);
///
/// client.create_with("/lease", b"", &CreateOptions::new().ttl(Duration::from_secs(60)))?;
/// client.create_with("/members", b"", &CreateOptions::new().container())?;
/// # drop(client);
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    is_ephemeral: bool,
    is_sequential: bool,
    is_container: bool,
    ttl: Option<Duration>,
    acl: Vec<Acl>,
}

impl CreateOptions {
    /// A persistent znode, open to everybody. The example is at [`CreateOptions`], here and for the others.
    pub fn new() -> CreateOptions {
        CreateOptions::default()
    }

    /// It goes with the session that creates it. [`CreateOptions`] has an example.
    pub fn ephemeral(mut self) -> CreateOptions {
        self.is_ephemeral = true;
        self
    }

    /// The server appends a number of ten digits to its name, greater than that of every sibling before. [`CreateOptions`]
    /// has an example.
    pub fn sequential(mut self) -> CreateOptions {
        self.is_sequential = true;
        self
    }

    /// The server deletes it some time after its last child has gone. [`CreateOptions`] has an example.
    pub fn container(mut self) -> CreateOptions {
        self.is_container = true;
        self
    }

    /// The server deletes it when it has had no children and was not changed for so long, in whole milliseconds. The
    /// server has to be told that such znodes exist
    /// ([`Config::extended_types_enabled`](crate::Config::extended_types_enabled)). [`CreateOptions`] has an example.
    pub fn ttl(mut self, ttl: Duration) -> CreateOptions {
        self.ttl = Some(ttl);
        self
    }

    /// Who may do what with it, in place of everybody everything.
    ///
    /// ```
    /// use zoarium::{Acl, CreateOptions};
    ///
    /// let published = CreateOptions::new().acl([Acl::read_only(), Acl::creator()]);
    /// # assert_ne!(published, CreateOptions::new());
    /// ```
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> CreateOptions {
        self.acl = acl.into_iter().collect();
        self
    }

    pub(super) fn acl_records(&self) -> Vec<records::Acl<'_>> {
        if self.acl.is_empty() {
            return vec![records::Acl::open()];
        }
        self.acl.iter().map(Acl::record).collect()
    }

    /// The mode for it, and its time to live in ms.
    pub(super) fn mode(&self) -> Result<(CreateMode, i64), Failure> {
        let mode = match (self.is_ephemeral, self.is_sequential, self.is_container, self.ttl.is_some()) {
            (false, false, false, false) => CreateMode::Persistent,
            (false, true, false, false) => CreateMode::PersistentSequential,
            (true, false, false, false) => CreateMode::Ephemeral,
            (true, true, false, false) => CreateMode::EphemeralSequential,
            (false, false, true, false) => CreateMode::Container,
            (false, false, false, true) => CreateMode::PersistentWithTtl,
            (false, true, false, true) => CreateMode::PersistentSequentialWithTtl,
            _ => {
                let text =
                    "a znode cannot be two of ephemeral, container and with a time to live, nor a container sequential";
                return Err(Failure::because(Code::BadArguments, text).not_done());
            }
        };
        // A number beyond what a server takes is refused there.
        let ttl_ms = self.ttl.map_or(0, |ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        Ok((mode, ttl_ms))
    }
}

/// A znode that was created: the answer of [`Client::create_with`](crate::Client::create_with), which has an example.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Its path, with its sequence number.
    pub path: String,
    /// Its stat right after that.
    pub stat: Stat,
}

/// A change of an ensemble's members, for [`Client::reconfig`](crate::Client::reconfig): servers that join and leave, or all members
/// anew. A server that joins and is a member already moves or changes its role.
///
/// ```
/// use std::time::Duration;
/// use zoarium::{Code, Config, Ensemble, EnsembleOptions, Error, Reconfig};
///
/// let usual = EnsembleOptions::default();
/// let config = Config { reconfig_enabled: true, skip_acl: true, ..usual.config };
/// let ensemble = Ensemble::start_with(3, EnsembleOptions { config, ..usual })?;
/// let client = ensemble.client()?;
/// let (before, stat) = client.config()?;
/// assert!(String::from_utf8_lossy(&before).contains("server.3=") && stat.version == -1);
///
/// // An observer that is not started yet joins, if nobody was quicker; then it leaves again.
/// let version = stat.mzxid;
/// let joins = Reconfig::new().joining("server.4=127.0.0.1:28884:38884:observer;21814").at_version(version);
/// let (now, _) = client.reconfig(&joins)?;
/// assert!(String::from_utf8_lossy(&now).contains("server.4="));
/// assert_eq!(client.reconfig(&joins).unwrap_err().code(), Code::BadVersion);
/// let (after, _) = client.reconfig(&Reconfig::new().leaving([4]))?;
/// assert!(!String::from_utf8_lossy(&after).contains("server.4="));
///
/// // A complete list says the same as the one that is there.
/// let members = String::from_utf8_lossy(&after).into_owned();
/// client.reconfig(&Reconfig::members(&members))?;
/// # drop(client);
/// ensemble.stop()?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconfig {
    joining: Option<String>,
    leaving: Option<String>,
    members: Option<String>,
    version: i64,
}

impl Reconfig {
    /// Nobody joins or leaves, at any version. [`Reconfig`] has an example.
    pub fn new() -> Reconfig {
        Reconfig { joining: None, leaving: None, members: None, version: -1 }
    }

    /// These are the members, whoever they were: lines `server.N=…`, `group.N=…` and `weight.N=…`. [`Reconfig`] has an example.
    pub fn members(members: &str) -> Reconfig {
        Reconfig { members: Some(members.to_owned()), ..Reconfig::new() }
    }

    /// This server joins, or moves: `server.4=host:2888:3888:participant;2181`. [`Reconfig`] has an example.
    pub fn joining(mut self, server: &str) -> Reconfig {
        self.joining = Some(self.joining.map_or_else(|| server.to_owned(), |all| format!("{all},{server}")));
        self
    }

    /// These servers leave. Numbers that are no members count for nothing. [`Reconfig`] has an example.
    pub fn leaving(mut self, servers: impl IntoIterator<Item = u64>) -> Reconfig {
        let servers: Vec<String> = servers.into_iter().map(|server| server.to_string()).collect();
        self.leaving = Some(servers.join(","));
        self
    }

    /// Only if the configuration in force has this version: the `mzxid` of its stat. [`Reconfig`] has an example.
    pub fn at_version(mut self, version: i64) -> Reconfig {
        self.version = version;
        self
    }

    pub(super) fn record(&self) -> ReconfigRequest<'_> {
        ReconfigRequest {
            joining: nullable(&self.joining),
            leaving: nullable(&self.leaving),
            new_members: nullable(&self.members),
            config_id: self.version,
        }
    }
}

/// What is not given is null: an empty list of members is one without members.
fn nullable(text: &Option<String>) -> Text<'_> {
    Text(text.as_deref().map(Into::into))
}

impl Default for Reconfig {
    fn default() -> Reconfig {
        Reconfig::new()
    }
}
