//! The client whose verbs wait.

use std::sync::Arc;
use std::time::Duration;

use super::call;
use super::call::ANY;
use super::ensuring::Ensuring;
use super::session::ClientSession;
use super::types::{Acl, CreateOptions, Created, Reconfig};
use crate::Error;
use crate::client::handle::{SessionInfo, State};
use crate::records::Stat;

/// A session with a server, in this process or over TCP; its verbs wait for their replies.
///
/// [`Server::client`](crate::Server::client) begins a session with a server of this process, [`Client::connect`] one over TCP;
/// they behave alike. All of it may be used from any thread, several at a time. Clones share the session, which ends when
/// the last of them is dropped, or with [`Client::close`]. [`Client::to_async`] has the same verbs as futures.
///
/// When a connection is lost, the session goes on with the next server that answers: watches and identities come along. No
/// request is ever sent twice. What was sent and not answered fails with
/// [`Code::ConnectionLoss`](crate::Code::ConnectionLoss), and [`Error::outcome`] says whether a write may have happened; what was
/// not sent yet waits.
///
/// A verb whose name ends in `_if` does what it says only at the version given, and fails with
/// [`Code::BadVersion`](crate::Code::BadVersion) otherwise.
///
/// ```
/// use zoarium::{Client, Code, Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-client-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
///
/// client.create("/config", b"colour=red")?;
/// let (data, stat) = client.get("/config")?;
/// assert_eq!(data, b"colour=red");
///
/// // Compare and set: nobody has changed it since it was read.
/// client.set_if("/config", b"colour=blue", stat.version)?;
/// let late = client.set_if("/config", b"colour=green", stat.version).unwrap_err();
/// assert_eq!(late.code(), Code::BadVersion);
///
/// assert_eq!(client.exists("/nothing")?, None);
/// assert!(client.children("/")?.contains(&"config".to_owned()));
/// client.delete("/config")?;
///
/// // Over TCP everything is the same.
/// let remote = Client::connect(&server.addresses()[0].to_string())?;
/// remote.create("/remote", "data")?;
/// remote.close()?;
/// # drop(client);
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) session: Arc<ClientSession>,
    pub(super) limit: Option<Duration>,
}

impl Client {
    pub(super) fn new(session: Arc<ClientSession>, limit: Option<Duration>) -> Client {
        Client { session, limit }
    }

    /// The same session with verbs that wait no longer than `limit` for their replies.
    ///
    /// ```
    /// use std::time::Duration;
    /// use zoarium::{Code, Config, Error, Outcome, Server};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-limit-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let client = server.client()?.with_limit(Duration::from_millis(50));
    /// server.pause(Duration::from_secs(60));
    /// let error = client.create("/a", b"").unwrap_err();
    /// assert_eq!(error.code(), Code::Timeout);
    /// assert_eq!(error.outcome(), Outcome::Unknown, "the request went on without us");
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_limit(&self, limit: Duration) -> Client {
        Client { session: Arc::clone(&self.session), limit: Some(limit) }
    }

    /// Creates a persistent znode, open to everybody; returns its path. [`Client`] has an example.
    ///
    /// # Errors
    /// [`Code::NodeExists`](crate::Code::NodeExists), [`Code::NoNode`](crate::Code::NoNode) where the parent is missing, and
    /// the others of [`Client::get`].
    pub fn create(&self, path: &str, data: impl AsRef<[u8]>) -> Result<String, Error> {
        Ok(self.create_with(path, data, &CreateOptions::new())?.path)
    }

    /// Creates a znode of another kind, or with an ACL; returns its path, with its number if it is sequential, and its stat.
    /// [`CreateOptions`] has an example.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub fn create_with(&self, path: &str, data: impl AsRef<[u8]>, options: &CreateOptions) -> Result<Created, Error> {
        self.session.run(call::create(self.session.chroot(), path, data.as_ref(), options)?, self.limit)
    }

    /// The data of a znode and its stat. Null data, which ZooKeeper knows, is empty here. [`Client`] has an example.
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode), [`Code::NoAuth`](crate::Code::NoAuth), or what became of the session.
    pub fn get(&self, path: &str) -> Result<(Vec<u8>, Stat), Error> {
        self.session.run(call::get(path), self.limit)
    }

    /// Replaces the data of a znode; returns its stat after that. [`Client`] has an example.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn set(&self, path: &str, data: impl AsRef<[u8]>) -> Result<Stat, Error> {
        self.session.run(call::set(self.session.chroot(), path, data.as_ref(), ANY), self.limit)
    }

    /// The same at one version only. [`Client`] has an example.
    ///
    /// # Errors
    /// [`Code::BadVersion`](crate::Code::BadVersion), and as [`Client::get`].
    pub fn set_if(&self, path: &str, data: impl AsRef<[u8]>, version: i32) -> Result<Stat, Error> {
        self.session.run(call::set(self.session.chroot(), path, data.as_ref(), version), self.limit)
    }

    /// Deletes a znode that has no children. [`Client`] has an example.
    ///
    /// # Errors
    /// [`Code::NotEmpty`](crate::Code::NotEmpty), and as [`Client::get`].
    pub fn delete(&self, path: &str) -> Result<(), Error> {
        self.session.run(call::delete(self.session.chroot(), path, ANY), self.limit)
    }

    /// The same at one version only. [`Client`] has an example of [`Client::set_if`], which is used alike.
    ///
    /// # Errors
    /// [`Code::BadVersion`](crate::Code::BadVersion), and as [`Client::delete`].
    pub fn delete_if(&self, path: &str, version: i32) -> Result<(), Error> {
        self.session.run(call::delete(self.session.chroot(), path, version), self.limit)
    }

    /// The stat of a znode; `None` when there is none. [`Client`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        self.session.run(call::exists(path), self.limit)
    }

    /// The names of the children, in no particular order. [`Client`] has an example.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        Ok(self.children_and_stat(path)?.0)
    }

    /// The names of the children, in no particular order, and the stat of the znode itself, of one moment.
    /// [`Client::children`] without the stat is in the example of [`Client`].
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn children_and_stat(&self, path: &str) -> Result<(Vec<String>, Stat), Error> {
        self.session.run(call::children(path), self.limit)
    }

    /// The ACL of a znode and its stat. [`Client::add_auth`] has an example.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), Error> {
        self.session.run(call::acl(path), self.limit)
    }

    /// Replaces the ACL of a znode; returns its stat after that. [`Client::add_auth`] has an example.
    ///
    /// # Errors
    /// [`Code::InvalidAcl`](crate::Code::InvalidAcl), and as [`Client::get`].
    pub fn set_acl(&self, path: &str, acl: &[Acl]) -> Result<Stat, Error> {
        self.session.run(call::set_acl(self.session.chroot(), path, acl, ANY), self.limit)
    }

    /// The same at one ACL version (`aversion`) only. [`Client::add_auth`] has an example.
    ///
    /// # Errors
    /// [`Code::BadVersion`](crate::Code::BadVersion), and as [`Client::set_acl`].
    pub fn set_acl_if(&self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, Error> {
        self.session.run(call::set_acl(self.session.chroot(), path, acl, version), self.limit)
    }

    /// Waits until the server has caught up with the leader: a read after it sees every write that was acknowledged before
    /// it.
    ///
    /// ```
    /// # use zoarium::{Config, CreateOptions, Error, Server};
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-sync-{}", std::process::id()));
    /// # let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// # let client = server.client()?;
    /// client.create_with("/me", b"", &CreateOptions::new().ephemeral())?;
    /// client.sync("/")?;
    /// assert_eq!(client.ephemerals("/")?, ["/me"]);
    /// assert_eq!(client.descendants("/me")?, 0);
    /// # drop(client);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What became of the session.
    pub fn sync(&self, path: &str) -> Result<(), Error> {
        self.session.run(call::sync(self.session.chroot(), path), self.limit)
    }

    /// The paths of the ephemeral znodes of this session that begin with `prefix`.
    ///
    /// ```
    /// # use zoarium::{Config, CreateOptions, Error, Server};
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-ephemerals-{}", std::process::id()));
    /// # let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// # let client = server.client()?;
    /// client.create_with("/me", b"", &CreateOptions::new().ephemeral())?;
    /// client.sync("/")?;
    /// assert_eq!(client.ephemerals("/")?, ["/me"]);
    /// assert_eq!(client.descendants("/me")?, 0);
    /// # drop(client);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What became of the session.
    pub fn ephemerals(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.session.run(call::ephemerals(self.session.chroot(), prefix), self.limit)
    }

    /// How many znodes lie below this one, at any depth.
    ///
    /// ```
    /// # use zoarium::{Config, CreateOptions, Error, Server};
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-descendants-{}", std::process::id()));
    /// # let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// # let client = server.client()?;
    /// client.create_with("/me", b"", &CreateOptions::new().ephemeral())?;
    /// client.sync("/")?;
    /// assert_eq!(client.ephemerals("/")?, ["/me"]);
    /// assert_eq!(client.descendants("/me")?, 0);
    /// # drop(client);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn descendants(&self, path: &str) -> Result<usize, Error> {
        self.session.run(call::descendants(self.session.chroot(), path), self.limit)
    }

    /// The identities of the session, as scheme and user. [`Client::add_auth`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn who_am_i(&self) -> Result<Vec<(String, String)>, Error> {
        self.session.run(call::who_am_i(), self.limit)
    }

    /// Who the members of the ensemble are: the text of `/zookeeper/config`, whatever the chroot, and its stat. Each line is
    /// `server.N=host:quorumPort:electionPort:role;clientPort`; the last one is `version=`, in hexadecimal. Empty where the server
    /// is alone. [`Reconfig`] has an example.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn config(&self) -> Result<(Vec<u8>, Stat), Error> {
        self.session.run(call::config(), self.limit)
    }

    /// Changes the members of the ensemble; returns the new configuration once it is in force, as [`Client::config`] does.
    /// [`Reconfig`] has an example.
    ///
    /// # Errors
    /// [`Code::ReconfigDisabled`](crate::Code::ReconfigDisabled) unless the servers have `reconfigEnabled=true`,
    /// [`Code::NoAuth`](crate::Code::NoAuth) for all but the super user, [`Code::BadVersion`](crate::Code::BadVersion),
    /// [`Code::BadArguments`](crate::Code::BadArguments) for members that cannot be,
    /// [`Code::NewConfigNoQuorum`](crate::Code::NewConfigNoQuorum) where too few of the new voters follow,
    /// [`Code::ReconfigInProgress`](crate::Code::ReconfigInProgress), and those of [`Client::get`].
    pub fn reconfig(&self, change: &Reconfig) -> Result<(Vec<u8>, Stat), Error> {
        self.session.run(call::reconfig(change), self.limit)
    }

    /// Creates a znode and all that are missing above it, persistent and without data; what is there stays as it is.
    ///
    /// ```
    /// # use zoarium::{Config, Error, Server};
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-ensure-{}", std::process::id()));
    /// # let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// # let client = server.client()?;
    /// client.ensure_path("/apps/web/locks")?;
    /// client.ensure_path("/apps/web/queue")?;
    /// assert_eq!(client.descendants("/apps")?, 3);
    /// # drop(client);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::create`], but for [`Code::NodeExists`](crate::Code::NodeExists).
    pub fn ensure_path(&self, path: &str) -> Result<(), Error> {
        let mut walk = Ensuring::new(path);
        while let Some(at) = walk.next() {
            walk.tell(self.create(at, b"").map(drop))?;
        }
        Ok(())
    }

    /// Adds an identity to the session, here and on every later connection. There is no wrong password in scheme `digest`; what
    /// a server refuses ends the session.
    ///
    /// ```
    /// use zoarium::{Acl, Code, Config, CreateOptions, Error, Server};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-auth-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let (owner, other) = (server.client()?, server.client()?);
    /// owner.add_auth("digest", "ops:secret")?;
    /// assert!(owner.who_am_i()?.contains(&("digest".to_owned(), "ops".to_owned())));
    ///
    /// owner.create_with("/private", b"", &CreateOptions::new().acl([Acl::creator()]))?;
    /// assert_eq!(other.get("/private").unwrap_err().code(), Code::NoAuth);
    ///
    /// let (_, stat) = owner.acl("/private")?;
    /// owner.set_acl_if("/private", &[Acl::creator(), Acl::read_only()], stat.aversion)?;
    /// other.get("/private")?;
    /// owner.set_acl("/private", &[Acl::open()])?;
    /// # drop((owner, other));
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Code::AuthFailed`](crate::Code::AuthFailed); [`Code::BadArguments`](crate::Code::BadArguments) for more identities than
    /// the server takes.
    pub fn add_auth(&self, scheme: &str, credentials: impl AsRef<[u8]>) -> Result<(), Error> {
        self.session.add_auth(scheme, credentials.as_ref(), self.limit)
    }

    /// The session's number and password, with which it can be resumed, its timeout, and how far it has seen.
    /// [`CreateOptions`] has an example.
    pub fn session(&self) -> SessionInfo {
        self.session.info()
    }

    /// How the session is. [`Client::detach`] has an example.
    pub fn state(&self) -> State {
        self.session.info().state
    }

    /// Ends the session for all who share it: its ephemeral znodes are gone when this returns, and no callback runs any more
    /// (but for the one that it is called from). [`Client`] has an example.
    ///
    /// # Errors
    /// The client is closed all the same: [`Code::Timeout`](crate::Code::Timeout) when the server has not answered in time
    /// ([`Client::with_limit`]), [`Code::ConnectionLoss`](crate::Code::ConnectionLoss) when there was none to ask. The session
    /// expires by itself then.
    pub fn close(&self) -> Result<(), Error> {
        self.session.close(self.limit)
    }

    /// Lets go of the session and leaves it alive, with its ephemeral znodes, for a client that resumes it before it times
    /// out.
    ///
    /// ```
    /// use zoarium::{Client, Config, CreateOptions, Error, Server, State};
    ///
    /// # let dir = std::env::temp_dir().join(format!("zoarium-doc-detach-{}", std::process::id()));
    /// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
    /// let before = server.client()?;
    /// before.create_with("/here", b"", &CreateOptions::new().ephemeral())?;
    /// let session = before.session();
    /// before.detach();
    /// assert_eq!(before.state(), State::Ended);
    ///
    /// let after = Client::options().resume(session.resume()).open(&server)?;
    /// assert_eq!(after.session().id, session.id);
    /// assert!(after.exists("/here")?.is_some());
    /// # drop(after);
    /// # server.stop()?;
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn detach(&self) {
        self.session.detach();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let session = self.session.info();
        f.debug_struct("Client").field("session", &session.id).field("state", &session.state).finish()
    }
}
