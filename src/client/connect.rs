//! Sessions begin here, and turn from one kind of client into the other.

use std::sync::Arc;

use super::blocking::Client;
use super::futures::AsyncClient;
use super::options::ClientOptions;
use super::session::ClientSession;
use crate::Error;
use crate::client::handle::Handle;
use crate::peer::local::Hub;

impl Client {
    /// Begins a session with one of `hosts`, `"one:2181,two:2181,[::1]:2181/chroot"`, and waits until one answers. They are
    /// tried in an order of chance, over and over; ports may be left out (2181). [`Client`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`](crate::Code::BadArguments) for `hosts` that cannot be read;
    /// [`Code::Timeout`](crate::Code::Timeout) when none of them has answered within 15 s
    /// ([`ClientOptions::connect_limit`] says otherwise); [`Code::System`](crate::Code::System).
    pub fn connect(hosts: &str) -> Result<Client, Error> {
        Client::options().connect(hosts)
    }

    /// How to begin a session, where not everything is as usual. [`ClientOptions`] has an example.
    pub fn options() -> ClientOptions {
        ClientOptions::new()
    }

    /// The same session with verbs that are futures. [`AsyncClient`] has an example.
    pub fn to_async(&self) -> AsyncClient {
        AsyncClient::new(Arc::clone(&self.session))
    }
}

impl AsyncClient {
    /// Begins a session with one of `hosts`, as [`Client::connect`] does; waits until one answers, however long that
    /// takes. [`AsyncClient`] has an example, for this and for the verbs.
    ///
    /// # Errors
    /// [`Code::BadArguments`](crate::Code::BadArguments) for `hosts` that cannot be read; [`Code::System`](crate::Code::System).
    pub async fn connect(hosts: &str) -> Result<AsyncClient, Error> {
        Client::options().connect_async(hosts).await
    }

    /// The same session with verbs that wait. [`Client`] has an example.
    pub fn to_blocking(&self) -> Client {
        Client::new(Arc::clone(&self.session), None)
    }
}

impl ClientOptions {
    /// Connects to one of `hosts`, as [`Client::connect`] does, and waits until it answers. The example is at
    /// [`ClientOptions`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect(&self, hosts: &str) -> Result<Client, Error> {
        self.wait(self.begin_connect(hosts)?)
    }

    /// The same as a future. [`AsyncClient`] has an example.
    ///
    /// # Errors
    /// As [`AsyncClient::connect`].
    pub async fn connect_async(&self, hosts: &str) -> Result<AsyncClient, Error> {
        let session = self.begin_connect(hosts)?;
        session.connected().await?;
        Ok(AsyncClient::new(session))
    }

    /// Begins a session with a server in this process. The example is at [`ClientOptions`].
    ///
    /// # Errors
    /// As [`Server::client`](crate::Server::client).
    pub fn open(&self, server: &impl Near) -> Result<Client, Error> {
        self.wait(self.begin_open(server)?)
    }

    /// The same as a future. [`AsyncClient`] has an example.
    ///
    /// # Errors
    /// As [`Server::client`](crate::Server::client).
    pub async fn open_async(&self, server: &impl Near) -> Result<AsyncClient, Error> {
        let session = self.begin_open(server)?;
        session.connected().await?;
        Ok(AsyncClient::new(session))
    }

    fn begin_connect(&self, hosts: &str) -> Result<Arc<ClientSession>, Error> {
        ClientSession::begin(self, |options| Handle::connect(hosts, options))
    }

    fn begin_open(&self, server: &impl Near) -> Result<Arc<ClientSession>, Error> {
        let hub = Arc::clone(server.door());
        ClientSession::begin(self, |options| Handle::open(hub, options))
    }

    fn wait(&self, session: Arc<ClientSession>) -> Result<Client, Error> {
        session.wait(Some(self.connect_limit))?;
        Ok(Client::new(session, self.call_limit))
    }
}

/// A server in this process: [`Server`](crate::Server), which has an example at [`Server::client`](crate::Server::client).
pub trait Near {
    /// Where clients in this process come in.
    #[doc(hidden)]
    fn door(&self) -> &Arc<Hub>;
}

/// Either client.
pub(crate) trait AnyClient: Clone {
    /// Its session.
    fn shared(&self) -> &Arc<ClientSession>;

    /// The same session with verbs that are futures.
    fn as_async(&self) -> AsyncClient {
        AsyncClient::new(Arc::clone(self.shared()))
    }
}

impl AnyClient for Client {
    fn shared(&self) -> &Arc<ClientSession> {
        &self.session
    }
}

impl AnyClient for AsyncClient {
    fn shared(&self) -> &Arc<ClientSession> {
        &self.session
    }
}
