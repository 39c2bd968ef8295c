//! Counters that many change at a time.

use super::base::{clean, persist};
use crate::Error;
use crate::client::{AnyClient, AsyncClient, Client};
use crate::error::{Code, Failure};

/// A number that is changed by adding to it.
///
/// Each change names the version it builds upon, so none is lost and none is made twice. When somebody was faster it is made
/// again; when the connection was lost, the error is returned, since nobody can tell whether it counted.
///
/// ```
/// use zoarium::recipes::Counter;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-counter-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let hits = Counter::new(&client, "/hits");
/// assert_eq!(hits.value()?, 0);
/// assert_eq!(hits.add(5)?, 5);
/// assert_eq!(hits.add(-2)?, 3);
/// # drop((hits, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Counter<C> {
    client: C,
    core: CounterCore,
}

#[derive(Clone, Debug)]
struct CounterCore {
    client: AsyncClient,
    path: String,
}

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Counter<C> {
    /// The counter at `path`, which is 0 until somebody has added something. [`Counter`] has an example, for the other methods too.
    pub fn new(client: &C, path: &str) -> Counter<C> {
        Counter { client: client.clone(), core: CounterCore { client: client.as_async(), path: clean(path) } }
    }
}

impl Counter<Client> {
    /// The number now. [`Counter`] has an example.
    ///
    /// # Errors
    /// [`Code::MarshallingError`] where there is something else than a number; what became of
    /// the session.
    pub fn value(&self) -> Result<i64, Error> {
        let read = self.client.session.block_on(self.core.read(), None)?;
        Ok(read.map(|(value, _)| value).unwrap_or_default())
    }

    /// Adds to it; returns what it is then. [`Counter`] has an example.
    ///
    /// # Errors
    /// [`Code::ConnectionLoss`] when it may or may not have counted;
    /// [`Code::BadArguments`] beyond 64 bits; as [`Counter::value`].
    pub fn add(&self, number: i64) -> Result<i64, Error> {
        Ok(self.client.session.block_on(self.core.add(number), None)?.unwrap_or_default())
    }
}

impl Counter<AsyncClient> {
    /// The number now. As the one that waits. [`Counter`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn value(&self) -> Result<i64, Error> {
        Ok(self.core.read().await?.0)
    }

    /// Adds to it; returns what it is then. As the one that waits. [`Counter`] has an example.
    ///
    /// # Errors
    /// [`Code::ConnectionLoss`] when it may or may not have counted.
    pub async fn add(&self, number: i64) -> Result<i64, Error> {
        self.core.add(number).await
    }
}

impl CounterCore {
    async fn read(&self) -> Result<(i64, i32), Error> {
        let read = persist(async || self.client.get(&self.path).await).await;
        let (data, stat) = match read {
            Err(error) if error.code() == Code::NoNode => {
                persist(async || self.client.ensure_path(&self.path).await).await?;
                persist(async || self.client.get(&self.path).await).await?
            }
            read => read?,
        };
        if data.is_empty() {
            return Ok((0, stat.version));
        }
        let value = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
        let no_number = || Failure::because(Code::MarshallingError, "it holds something else than a number");
        let value = value.ok_or_else(|| no_number().at(Some(&self.path)).not_done())?;
        Ok((value, stat.version))
    }

    async fn add(&self, number: i64) -> Result<i64, Error> {
        loop {
            let (before, version) = self.read().await?;
            let too_much = || Failure::because(Code::BadArguments, "the counter has 64 bits").at(Some(&self.path));
            let after = before.checked_add(number).ok_or_else(|| too_much().not_done())?;
            match self.client.set_if(&self.path, after.to_string(), version).await {
                Ok(_) => return Ok(after),
                Err(error) if error.code() == Code::BadVersion => {}
                Err(error) => return Err(error),
            }
        }
    }
}
