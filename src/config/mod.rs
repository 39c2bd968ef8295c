//! Settings: one typed [`Config`], filled from a ZooKeeper `zoo.cfg`, the environment and the command line.
//!
//! `keys` is the single home of every key we know and of what becomes of it; `load` gathers the sources and
//! applies the winners. This room reads the files it is told to read and nothing else: the environment comes
//! from the caller.

mod apply;
pub mod dynamic;
mod error;
mod key;
mod keys;
mod keys_accepted;
mod keys_zoarium;
mod limits;
mod load;
mod note;
mod properties;
mod servers;
mod startable;
#[cfg(test)]
mod tests;
mod zone;

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

pub use error::ConfigError;
pub use limits::{Limits, Storage};
pub use load::{KeyInfo, Loaded, Setting};
pub use note::{Fate, Note, Origin};
pub use servers::{ClientAddress, EnsembleSettings, PeerAddress, Role, ServerLine};

use crate::digests::DigestAlg;
use crate::four_letter::Whitelist;
use crate::ids::ServerId;
use crate::session::SessionPasswords;
use crate::store::{StoreOptions, SyncMode};

/// Bytes of the largest extent a file may have.
const EXTENT_SIZE_MAX: u64 = 64 << 20;

/// Everything a server can be told.
///
/// `Default` is the embedded default: standalone, `./zoarium-data/zoarium.db`, `127.0.0.1:2181`. A field whose
/// meaning is ZooKeeper's has ZooKeeper's default. To change a few, write `Config { data_dir, ..Config::default() }`.
///
/// ```
/// use zoarium::{Config, Error, Limits, Role, Secret};
///
/// let mut config = Config { tick_time_ms: 500, client_port: 0, ..Config::default() };
/// config.limits = Limits { connections_max: 100, ..Limits::default() };
/// config.super_digest = Some(Secret::new("super:UGoi4SZCnfkN8vEJe0L9mp3SyGs="));
/// assert_eq!((config.session_timeout_min_ms(), config.session_timeout_max_ms()), (1_000, 10_000));
/// assert_eq!((config.connections_max(), config.file()), (100, "./zoarium-data/zoarium.db".into()));
/// assert!(config.ensemble.is_standalone() && config.ensemble.count(Role::Participant) == 0);
///
/// // ZooKeeper's configuration, unedited; keys on the command line beat it.
/// let file = std::env::temp_dir().join(format!("zoarium-doc-config-{}.cfg", std::process::id()));
/// std::fs::write(&file, "dataDir=/var/lib/zookeeper\ntickTime=2000\nclientPrt=2181\n").expect("it is written");
/// let given = [("clientPort".to_owned(), "2182".to_owned())];
/// let loaded = Config::load(Some(&file), &given, std::iter::empty())?;
/// assert_eq!((loaded.config.client_port, loaded.config.tick_time_ms), (2182, 2000));
/// assert!(loaded.notes.iter().any(|note| note.is_warning()), "there is no key clientPrt");
/// assert!(loaded.strict().is_err());
/// assert!(Config::keys().any(|key| key.name == "clientPort"));
/// # std::fs::remove_file(file).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `dataDir`: the folder that holds the file and, if there is one, `myid`.
    pub data_dir: PathBuf,
    /// `zoarium.file`: the file itself; `None` is `zoarium.db` in `data_dir`. Ask [`Config::file`].
    pub file: Option<PathBuf>,
    /// `dataLogDir`: where ZooKeeper would keep its log. Only looked at by [`Config::zookeeper_data`].
    pub data_log_dir: Option<PathBuf>,
    /// `zoarium.ignoreZooKeeperData`: begin with an empty tree although ZooKeeper's own data lies there.
    pub ignore_zookeeper_data: bool,
    /// `datadir.autocreate`: make `data_dir` when it is missing.
    pub data_dir_autocreate: bool,
    /// This server's number: `zoarium.serverId`, or the content of `myid` in `data_dir`; 0 without both.
    pub server_id: ServerId,

    /// `clientPort`: where clients connect; 0 picks a free port. Ask [`Config::client_addresses`].
    pub client_port: u16,
    /// `clientPortAddress`: names or addresses to listen on; empty is every address of the machine.
    ///
    /// Loopback without a configuration file; with one, what it says, and all addresses when it says nothing.
    pub client_hosts: Vec<String>,
    /// `secureClientPort`: the TLS port asked for. Not served yet; [`Config::load`] warns.
    pub secure_client_port: Option<u16>,
    /// `maxClientCnxns`: connections per client address (R-04); 0 is no limit.
    pub max_client_cnxns: usize,
    /// `clientPortListenBacklog`: connections that may wait to be accepted on each address, as far as the system allows; 0
    /// and below are 4,096.
    pub client_port_listen_backlog: i32,
    /// `maxCnxns`: connections in all; 0 leaves it to [`Limits::connections_max`]. Ask [`Config::connections_max`].
    pub max_cnxns: usize,
    /// `jute.maxbuffer`: largest client frame in bytes, its 4-byte length not counted (R-01).
    pub jute_maxbuffer: usize,
    /// `globalOutstandingLimit`: requests in flight in all; `None` leaves it to [`Limits::requests_max`].
    pub global_outstanding_limit: Option<usize>,

    /// `tickTime`: the unit of time in milliseconds. 3000 is what ZooKeeper uses when a file does not name it
    /// (its sample files say 2000).
    pub tick_time_ms: u64,
    /// `minSessionTimeout` in milliseconds; `None` is 2 ticks. Ask [`Config::session_timeout_min_ms`].
    pub min_session_timeout_ms: Option<u64>,
    /// `maxSessionTimeout` in milliseconds; `None` is 20 ticks. Ask [`Config::session_timeout_max_ms`].
    pub max_session_timeout_ms: Option<u64>,

    /// `snapCount`: transactions between snapshots. Not acted upon: [`Storage::log_window`] decides.
    pub snap_count: u64,
    /// `forceSync`: sync the log before acknowledging. `false` loses acknowledged writes in a power cut.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a sync slower than this is logged.
    pub fsync_warning_ms: u64,

    /// `4lw.commands.whitelist`: the four-letter words that are answered.
    pub whitelist: Whitelist,
    /// `readonlymode.enabled`: a server without a quorum serves reads to clients that ask for it.
    pub read_only_mode: bool,
    /// `reconfigEnabled`: membership may change while running.
    pub reconfig_enabled: bool,
    /// `extendedTypesEnabled`: TTL nodes exist.
    pub extended_types_enabled: bool,
    /// `enforceQuota`: hard quota limits refuse writes.
    pub enforce_quota: bool,
    /// `znode.container.checkIntervalMs`: pause between two looks for empty containers and dead TTL nodes.
    pub container_check_interval_ms: u64,
    /// `znode.container.maxPerMinute`: most containers and TTL nodes removed in a minute.
    pub container_max_per_minute: u64,
    /// `znode.container.maxNeverUsedIntervalMs`: a container that never had a child goes after this long; 0 is never.
    pub container_max_never_used_interval_ms: u64,

    /// `zoarium.sessionPasswords`: which passwords sessions get and which are taken, of a server that is alone or leads. `None`: as
    /// it was, and of what is new [`SessionPasswords::Keyed`].
    pub session_passwords: Option<SessionPasswords>,
    /// `skipACL`: no ACL is checked.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.superDigest`: `super:` and the base64 hash of the super user's password.
    pub super_digest: Option<Secret>,
    /// `DigestAuthenticationProvider.digestAlg`: the hash of scheme `digest`.
    pub digest_alg: DigestAlg,
    /// `DigestAuthenticationProvider.enabled`: scheme `digest` exists.
    pub digest_auth_enabled: bool,
    /// `digest.enabled`: keep a content digest of the tree (word `hash`). Not acted upon yet.
    pub digest_enabled: bool,
    /// `enforce.auth.schemes`, when `enforce.auth.enabled` is on: a request needs an identity of one of these
    /// schemes. Empty is no such rule.
    pub enforce_auth_schemes: Vec<String>,

    /// `zoarium.logLevel`: how much the tool logs; `None` is its default, info. The library never sets it.
    pub log_level: Option<log::LevelFilter>,

    /// The `zoo.cfg` that says who the members are. [`Config::load`] sets it where a file does and nothing else; a server whose
    /// members change (`reconfigEnabled`) writes them beside it, and nowhere where there is none.
    pub config_file: Option<PathBuf>,
    /// What only matters in an ensemble, kept as read.
    pub ensemble: EnsembleSettings,
    /// Bounds on every resource a client can use.
    pub limits: Limits,
    /// The shape of the file.
    pub storage: Storage,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: PathBuf::from("./zoarium-data"),
            file: None,
            data_log_dir: None,
            ignore_zookeeper_data: false,
            data_dir_autocreate: true,
            server_id: ServerId(0),
            client_port: 2181,
            client_hosts: vec!["127.0.0.1".to_owned()],
            secure_client_port: None,
            max_client_cnxns: 60,
            client_port_listen_backlog: -1,
            max_cnxns: 0,
            jute_maxbuffer: 0xf_ffff,
            global_outstanding_limit: None,
            tick_time_ms: 3000,
            min_session_timeout_ms: None,
            max_session_timeout_ms: None,
            snap_count: 100_000,
            force_sync: true,
            fsync_warning_ms: 1000,
            whitelist: Whitelist::default(),
            read_only_mode: false,
            reconfig_enabled: false,
            extended_types_enabled: false,
            enforce_quota: false,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_max_never_used_interval_ms: 0,
            session_passwords: None,
            skip_acl: false,
            super_digest: None,
            digest_alg: DigestAlg::default(),
            digest_auth_enabled: true,
            digest_enabled: true,
            enforce_auth_schemes: Vec::new(),
            log_level: None,
            config_file: None,
            ensemble: EnsembleSettings::default(),
            limits: Limits::default(),
            storage: Storage::default(),
        }
    }
}

impl Config {
    /// The one file: `file`, or `zoarium.db` in `data_dir`.
    ///
    /// [`Config`] has an example.
    pub fn file(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| self.data_dir.join("zoarium.db"))
    }

    /// The folder with ZooKeeper's own log or snapshots beside which a server would begin with an empty tree; `None` when
    /// there is none, when the file is there already, and where `ignore_zookeeper_data` says that this is meant.
    ///
    /// [`Config`] has an example.
    pub fn zookeeper_data(&self) -> Option<PathBuf> {
        let begun = std::fs::metadata(self.file()).is_ok_and(|found| found.len() > 0);
        if self.ignore_zookeeper_data || begun {
            return None;
        }
        let folders = std::iter::once(&self.data_dir).chain(&self.data_log_dir);
        folders.map(|folder| folder.join("version-2")).find(|folder| holds_zookeeper_data(folder))
    }

    /// Shortest session timeout granted, in milliseconds (R-13).
    ///
    /// [`Config`] has an example.
    pub fn session_timeout_min_ms(&self) -> u64 {
        self.min_session_timeout_ms.unwrap_or_else(|| self.tick_time_ms.saturating_mul(2))
    }

    /// Longest session timeout granted, in milliseconds (R-13).
    ///
    /// [`Config`] has an example.
    pub fn session_timeout_max_ms(&self) -> u64 {
        self.max_session_timeout_ms.unwrap_or_else(|| self.tick_time_ms.saturating_mul(20))
    }

    /// Most connections in all (R-05): `maxCnxns`, or our own default where that says no limit.
    ///
    /// [`Config`] has an example.
    pub fn connections_max(&self) -> usize {
        if self.max_cnxns > 0 { self.max_cnxns } else { self.limits.connections_max }
    }

    /// Most requests in flight in all (R-09): `globalOutstandingLimit` where given, else our own default.
    ///
    /// [`Config`] has an example.
    pub fn requests_max(&self) -> usize {
        self.global_outstanding_limit.unwrap_or(self.limits.requests_max)
    }

    /// The store's options. A `jute.maxbuffer` that needs it gets larger extents, so that what clients may send
    /// fits into a record; a file keeps the extents it was made with.
    ///
    /// [`Config`] has an example.
    pub fn store_options(&self) -> StoreOptions {
        let record = self.record_size_max();
        let extent_size = self.storage.extent_size.max((record * 2).next_power_of_two()).min(EXTENT_SIZE_MAX);
        StoreOptions {
            extent_size,
            initial_size: self.storage.file_size_initial,
            max_size: self.storage.file_size_max,
            log_window: self.storage.log_window,
            follower_window: self.storage.follower_window,
            keep_snapshots: self.storage.keep_snapshots as u32,
            snapshot_rate: self.storage.snapshot_rate,
            mark_after_ms: self.storage.mark_after_ms,
            sync: if self.force_sync { SyncMode::Always } else { SyncMode::Never },
            max_record: extent_size / 2,
            ..StoreOptions::default()
        }
    }

    /// Room for the transaction that the largest request makes: records are somewhat larger than requests.
    fn record_size_max(&self) -> u64 {
        let request = self.jute_maxbuffer as u64;
        request + request / 2 + 64 * 1024
    }

    /// The addresses to listen on for clients, names looked up.
    ///
    /// No host given means every address: that is `[::]`, which takes IPv4 too; a machine without IPv6 refuses
    /// it, and the caller then binds `0.0.0.0`.
    ///
    /// [`Config`] has an example.
    ///
    /// # Errors
    /// When a host name has no address.
    pub fn client_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if self.client_hosts.is_empty() {
            return Ok(vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.client_port))]);
        }
        let mut addresses = Vec::new();
        for host in &self.client_hosts {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("clientPortAddress {host}: {error}"));
            let found = match zone::split(host) {
                Some((address, zone)) => vec![zone::address(address, zone, self.client_port).map_err(named)?],
                None => (host.as_str(), self.client_port).to_socket_addrs().map_err(named)?.collect(),
            };
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        Ok(addresses)
    }
}

/// Whether one of ZooKeeper's log files or snapshots lies in `folder`.
fn holds_zookeeper_data(folder: &std::path::Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("log.") || name.starts_with("snapshot.")
    })
}

/// A text that is never shown: `Debug` prints stars, and it has no `Display`.
///
/// [`Config`] has an example.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    ///
    /// [`Config`] has an example.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself. Compare it in constant time, and never log it.
    ///
    /// [`Config`] has an example.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
