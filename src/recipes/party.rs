//! Parties: who is here.

use std::sync::Arc;

use super::base::{Undo, below, clean, is_passing, names_below, texts_below, unique};
use super::guard::Guard;
use super::holding::Holding;
use crate::Error;
use crate::client::{AnyClient, AsyncClient, Client, CreateOptions};
use crate::error::{Code, Failure};

/// Those who are here, each until it leaves or its session ends. One that has not joined can look all the same.
///
/// ```
/// use zoarium::recipes::Party;
/// use zoarium::{Config, Error, Server};
///
/// # let dir = std::env::temp_dir().join(format!("zoarium-doc-party-{}", std::process::id()));
/// let server = Server::start(Config { data_dir: dir.clone(), client_port: 0, ..Config::default() })?;
/// let client = server.client()?;
/// let party = Party::new(&client, "/here", "host-7");
/// let member = party.join()?;
/// assert_eq!(party.members()?, ["host-7"]);
/// assert_eq!(party.len()?, 1);
/// member.release()?;
/// assert!(party.is_empty()?);
///
/// // Identifiers in the names of znodes: one request tells who is here.
/// let shallow = Party::shallow(&client, "/near", "host-7");
/// let member = shallow.join()?;
/// assert_eq!(shallow.members()?, ["host-7"]);
/// # drop((member, party, shallow, client));
/// # server.stop()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Party<C> {
    client: C,
    core: Arc<Members>,
}

#[derive(Clone)]
struct Members {
    client: AsyncClient,
    path: String,
    identifier: Vec<u8>,
    is_shallow: bool,
    on_lost: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// What the names of members have whose identifiers are their data.
const MARK: &str = "__party__";

#[allow(private_bounds, reason = "the two clients are all there are")]
impl<C: AnyClient> Party<C> {
    /// The party at `path`, in which this one would be seen as `identifier`. [`Party`] has an example, for the other methods
    /// too.
    pub fn new(client: &C, path: &str, identifier: impl AsRef<[u8]>) -> Party<C> {
        Party::of(client, path, identifier.as_ref(), false)
    }

    /// A party whose members have their identifiers in the names of their znodes, so that these have to be valid names.
    /// [`Party`] has an example.
    pub fn shallow(client: &C, path: &str, identifier: &str) -> Party<C> {
        Party::of(client, path, identifier.as_bytes(), true)
    }

    fn of(client: &C, path: &str, identifier: &[u8], is_shallow: bool) -> Party<C> {
        let (own, path) = (client.as_async(), clean(path));
        let core = Members { client: own, path, identifier: identifier.to_vec(), is_shallow, on_lost: None };
        Party { client: client.clone(), core: Arc::new(core) }
    }

    /// Has `told` called when this one is no member any more without having left. [`Lock::on_lost`](super::Lock::on_lost),
    /// which is the same, has an example.
    pub fn on_lost(self, told: impl Fn() + Send + Sync + 'static) -> Party<C> {
        let core = Members { on_lost: Some(Arc::new(told)), ..Members::clone(&self.core) };
        Party { core: Arc::new(core), ..self }
    }

    fn guard(&self, holding: Holding) -> Guard<C> {
        Guard::new(self.client.clone(), &self.core.client, holding)
    }
}

impl Party<Client> {
    /// Joins it, for as long as the guard is kept and the session lives. [`Party`] has an example.
    ///
    /// # Errors
    /// [`Code::BadArguments`] for an identifier that is no name in a shallow party; [`Code::NoAuth`]; what ends the session.
    pub fn join(&self) -> Result<Guard<Client>, Error> {
        let joined = self.client.session.block_on(self.core.join(), None)?;
        Ok(self.guard(joined.expect("without a limit it waits until it has joined")))
    }

    /// The identifiers of those who are here, in no order. [`Party`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn members(&self) -> Result<Vec<String>, Error> {
        Ok(self.client.session.block_on(self.core.members(), None)?.unwrap_or_default())
    }

    /// How many are here. [`Party`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.client.session.block_on(self.core.names(), None)?.unwrap_or_default().len())
    }

    /// Whether nobody is here. [`Party`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }
}

impl Party<AsyncClient> {
    /// Joins it. As the one that waits. [`Party`] has an example.
    ///
    /// # Errors
    /// As the one that waits.
    pub async fn join(&self) -> Result<Guard<AsyncClient>, Error> {
        Ok(self.guard(self.core.join().await?))
    }

    /// The identifiers of those who are here, in no order. [`Party`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn members(&self) -> Result<Vec<String>, Error> {
        self.core.members().await
    }

    /// How many are here. [`Party`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn len(&self) -> Result<usize, Error> {
        Ok(self.core.names().await?.len())
    }

    /// Whether nobody is here. [`Party`] has an example.
    ///
    /// # Errors
    /// What became of the session.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }
}

impl<C> std::fmt::Debug for Party<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Party").field("path", &self.core.path).finish_non_exhaustive()
    }
}

impl Members {
    async fn join(&self) -> Result<Holding, Error> {
        if self.is_shallow && self.identifier.contains(&b'/') {
            let text = "an identifier in a shallow party is a name, without slashes";
            return Err(Failure::because(Code::BadArguments, text).at(Some(&self.path)).not_done().into());
        }
        let prefix = unique()?;
        let name = match self.is_shallow {
            true => format!("{prefix}-{}", String::from_utf8_lossy(&self.identifier)),
            false => prefix.clone() + MARK,
        };
        let path = below(&self.path, &name);
        let mut undo = Undo { client: &self.client, path: &self.path, prefix: &prefix, is_due: true };
        let fence = loop {
            match self.client.create_with(&path, &self.identifier, &CreateOptions::new().ephemeral()).await {
                Ok(created) => break created.stat.czxid,
                // The name is this attempt's alone: an earlier create got there, whose answer never came.
                Err(error) if error.code() == Code::NodeExists => match self.client.exists(&path).await {
                    Ok(Some(stat)) => break stat.czxid,
                    Ok(None) => {}
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return Err(error),
                },
                Err(error) if error.code() == Code::NoNode => match self.client.ensure_path(&self.path).await {
                    Err(error) if !is_passing(&error) => return Err(error),
                    _ => {}
                },
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        };
        undo.is_due = false;
        Ok(Holding::new(&self.client, &self.path, &name, fence, self.on_lost.clone()))
    }

    fn is_member(&self, name: &str) -> bool {
        self.is_shallow || name.contains(MARK)
    }

    async fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = names_below(&self.client, &self.path).await?;
        names.retain(|name| self.is_member(name));
        Ok(names)
    }

    async fn members(&self) -> Result<Vec<String>, Error> {
        if !self.is_shallow {
            return texts_below(&self.client, &self.path, |name| self.is_member(name)).await;
        }
        let identifier = |name: String| name.split_once('-').map_or(String::new(), |(_, rest)| rest.to_owned());
        Ok(self.names().await?.into_iter().map(identifier).collect())
    }
}
