//! The client whose verbs are futures.

use std::sync::Arc;

use super::call;
use super::call::ANY;
use super::ensuring::Ensuring;
use super::pending::Pending;
use super::session::ClientSession;
use super::types::{Acl, CreateOptions, Created, Reconfig};
use crate::Error;
use crate::client::handle::{Chroot, SessionInfo, State};
use crate::error::Failure;
use crate::records::{OpCode, Stat};

/// A session with a server, in this process or over TCP; its verbs are futures, which need no runtime: they work under
/// tokio, smol, async-std, and whatever else polls futures.
///
/// The verbs are those of [`Client`](crate::Client), and [`AsyncClient::to_blocking`] is one of the same session. A verb sends its request
/// when it is called; its [`Pending`] is only the waiting for the reply. Clones share the session. When the last is dropped
/// the session ends, for which that thread waits: [`AsyncClient::close`] does it without blocking.
///
/// ```
/// use zoarium::{AsyncClient, Config, CreateOptions, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-async-client-{}", std::process::id()));
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.async_client().await?;
/// client.create("/jobs", b"").await?;
/// let job = client.create_with("/jobs/job-", b"{}", &CreateOptions::new().sequential()).await?;
/// let (data, stat) = client.get(&job.path).await?;
/// assert_eq!((&data[..], stat.version), (&b"{}"[..], 0));
///
/// let remote = AsyncClient::connect(&server.addresses()[0].to_string()).await?;
/// assert_eq!(remote.children("/jobs").await?, ["job-0000000000"]);
/// remote.close().await?;
/// client.close().await?;
/// server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct AsyncClient {
    pub(crate) session: Arc<ClientSession>,
}

impl AsyncClient {
    pub(super) fn new(session: Arc<ClientSession>) -> AsyncClient {
        AsyncClient { session }
    }

    /// Creates a persistent znode, open to everybody; returns its path. As [`Client::create`](crate::Client::create), with the example at
    /// [`AsyncClient`].
    pub fn create(&self, path: &str, data: impl AsRef<[u8]>) -> Pending<String> {
        self.send(|chroot| call::create_path(chroot, path, data.as_ref(), &CreateOptions::new()))
    }

    /// Creates a znode of another kind, or with an ACL; returns its path, with its number if it is sequential, and its stat.
    /// As [`Client::create_with`](crate::Client::create_with), with the example at [`AsyncClient`].
    pub fn create_with(&self, path: &str, data: impl AsRef<[u8]>, options: &CreateOptions) -> Pending<Created> {
        self.send(|chroot| call::create(chroot, path, data.as_ref(), options))
    }

    /// The data of a znode and its stat. Null data, which ZooKeeper knows, is empty here. As [`Client::get`](crate::Client::get), with the
    /// example at [`AsyncClient`].
    pub fn get(&self, path: &str) -> Pending<(Vec<u8>, Stat)> {
        self.session.send(call::get(path))
    }

    /// Replaces the data of a znode; returns its stat after that. As [`Client::set`](crate::Client::set), with the example at [`AsyncClient`].
    pub fn set(&self, path: &str, data: impl AsRef<[u8]>) -> Pending<Stat> {
        self.session.send(call::set(self.session.chroot(), path, data.as_ref(), ANY))
    }

    /// The same at one version only. As [`Client::set_if`](crate::Client::set_if), with the example at [`AsyncClient`].
    pub fn set_if(&self, path: &str, data: impl AsRef<[u8]>, version: i32) -> Pending<Stat> {
        self.session.send(call::set(self.session.chroot(), path, data.as_ref(), version))
    }

    /// Deletes a znode that has no children. As [`Client::delete`](crate::Client::delete), with the example at [`AsyncClient`].
    pub fn delete(&self, path: &str) -> Pending<()> {
        self.session.send(call::delete(self.session.chroot(), path, ANY))
    }

    /// The same at one version only. As [`Client::delete_if`](crate::Client::delete_if), with the example at [`AsyncClient`].
    pub fn delete_if(&self, path: &str, version: i32) -> Pending<()> {
        self.session.send(call::delete(self.session.chroot(), path, version))
    }

    /// The stat of a znode; `None` when there is none. As [`Client::exists`](crate::Client::exists), with the example at [`AsyncClient`].
    pub fn exists(&self, path: &str) -> Pending<Option<Stat>> {
        self.session.send(call::exists(path))
    }

    /// The names of the children, in no particular order. As [`Client::children`](crate::Client::children), with the example at [`AsyncClient`].
    pub fn children(&self, path: &str) -> Pending<Vec<String>> {
        self.session.send(call::names(path))
    }

    /// The names of the children, in no particular order, and the stat of the znode itself, of one moment. As
    /// [`Client::children_and_stat`](crate::Client::children_and_stat), with the example at [`AsyncClient`].
    pub fn children_and_stat(&self, path: &str) -> Pending<(Vec<String>, Stat)> {
        self.session.send(call::children(path))
    }

    /// The ACL of a znode and its stat. As [`Client::acl`](crate::Client::acl), with the example at [`AsyncClient`].
    pub fn acl(&self, path: &str) -> Pending<(Vec<Acl>, Stat)> {
        self.session.send(call::acl(path))
    }

    /// Replaces the ACL of a znode; returns its stat after that. As [`Client::set_acl`](crate::Client::set_acl), with the example at
    /// [`AsyncClient`].
    pub fn set_acl(&self, path: &str, acl: &[Acl]) -> Pending<Stat> {
        self.session.send(call::set_acl(self.session.chroot(), path, acl, ANY))
    }

    /// The same at one ACL version (`aversion`) only. As [`Client::set_acl_if`](crate::Client::set_acl_if), with the example at [`AsyncClient`].
    pub fn set_acl_if(&self, path: &str, acl: &[Acl], version: i32) -> Pending<Stat> {
        self.session.send(call::set_acl(self.session.chroot(), path, acl, version))
    }

    /// Waits until the server has caught up with the leader: a read after it sees every write that was acknowledged before
    /// it. As [`Client::sync`](crate::Client::sync), with the example at [`AsyncClient`].
    pub fn sync(&self, path: &str) -> Pending<()> {
        self.session.send(call::sync(self.session.chroot(), path))
    }

    /// Who the members of the ensemble are. As [`Client::config`](crate::Client::config), with the example at
    /// [`Reconfig`].
    pub fn config(&self) -> Pending<(Vec<u8>, Stat)> {
        self.session.send(call::config())
    }

    /// Changes the members of the ensemble. As [`Client::reconfig`](crate::Client::reconfig), with the example at [`Reconfig`].
    pub fn reconfig(&self, change: &Reconfig) -> Pending<(Vec<u8>, Stat)> {
        self.session.send(call::reconfig(change))
    }

    /// The paths of the ephemeral znodes of this session that begin with `prefix`. As [`Client::ephemerals`](crate::Client::ephemerals), with the
    /// example at [`AsyncClient`].
    pub fn ephemerals(&self, prefix: &str) -> Pending<Vec<String>> {
        self.session.send(call::ephemerals(self.session.chroot(), prefix))
    }

    /// How many znodes lie below this one, at any depth. As [`Client::descendants`](crate::Client::descendants), with the example at [`AsyncClient`].
    pub fn descendants(&self, path: &str) -> Pending<usize> {
        self.session.send(call::descendants(self.session.chroot(), path))
    }

    /// The identities of the session, as scheme and user. As [`Client::who_am_i`](crate::Client::who_am_i), with the example at [`AsyncClient`].
    pub fn who_am_i(&self) -> Pending<Vec<(String, String)>> {
        self.session.send(call::who_am_i())
    }

    /// Creates a znode and all that are missing above it. As [`Client::ensure_path`](crate::Client::ensure_path), which has an example.
    ///
    /// # Errors
    /// As [`Client::ensure_path`](crate::Client::ensure_path).
    pub async fn ensure_path(&self, path: &str) -> Result<(), Error> {
        let mut walk = Ensuring::new(path);
        while let Some(at) = walk.next() {
            let created = self.create(at, b"").await;
            walk.tell(created.map(drop))?;
        }
        Ok(())
    }

    /// Adds an identity to the session. As [`Client::add_auth`](crate::Client::add_auth), which has an example.
    pub fn add_auth(&self, scheme: &str, credentials: impl AsRef<[u8]>) -> Pending<()> {
        let handle = self.session.handle();
        self.session.pending(call::reading_nothing(OpCode::Auth), |slot| {
            handle.submit_auth(scheme, credentials.as_ref(), move |reply| drop(slot.fill(reply)))
        })
    }

    /// The session's number and password, its timeout, and how far it has seen. As [`Client::session`](crate::Client::session), where the example is.
    pub fn session(&self) -> SessionInfo {
        self.session.info()
    }

    /// How the session is. As [`Client::state`](crate::Client::state), where the example is.
    pub fn state(&self) -> State {
        self.session.info().state
    }

    /// Ends the session for all who share it: its ephemeral znodes are gone when this is done, and verbs fail with
    /// [`Code::Closed`](crate::Code::Closed). The example is at [`AsyncClient`].
    pub fn close(&self) -> Pending<()> {
        self.session.close_async()
    }

    /// Lets go of the session and leaves it alive. As [`Client::detach`](crate::Client::detach), which has an example.
    pub fn detach(&self) {
        self.session.detach();
    }

    pub(super) fn send<T>(&self, call: impl FnOnce(&Chroot) -> Result<call::Call<T>, Failure>) -> Pending<T> {
        match call(self.session.chroot()) {
            Ok(call) => self.session.send(call),
            Err(failure) => Pending::refused(failure),
        }
    }
}

impl std::fmt::Debug for AsyncClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let session = self.session.info();
        f.debug_struct("AsyncClient").field("session", &session.id).field("state", &session.state).finish()
    }
}
