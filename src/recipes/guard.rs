//! What is held: a lock, leadership, a lease, a place in a party.

use super::base::{Removal, is_passing};
use super::holding::Holding;
use crate::Error;
use crate::client::{AsyncClient, Client};
use crate::error::Code;

/// A lock, leadership, a semaphore's lease or a party's membership that is held. Dropping it releases it.
/// [`Lock`](super::Lock) has an example.
#[must_use = "what it stands for is released when this is dropped"]
pub struct Guard<C> {
    client: C,
    own: AsyncClient,
    holding: Holding,
}

impl<C> Guard<C> {
    pub(super) fn new(client: C, own: &AsyncClient, holding: Holding) -> Guard<C> {
        Guard { client, own: own.clone(), holding }
    }

    /// What to fence with: greater than that of every holder before. [`Lock`](super::Lock) has an example.
    pub fn fence(&self) -> i64 {
        self.holding.fence()
    }

    /// Whether it is held, as far as this process knows. [`Lock::on_lost`](super::Lock::on_lost) has an example.
    pub fn is_held(&self) -> bool {
        self.holding.is_held()
    }

    /// The fence while it is held. [`Lock`](super::Lock) has an example.
    ///
    /// # Errors
    /// Why it was lost: [`Code::NoNode`] when somebody deleted its znode,
    /// [`Code::ConnectionLoss`] when there was no connection for as long as the session may live
    /// without one, or what ended the session.
    pub fn check(&self) -> Result<i64, Error> {
        self.holding.check()
    }

    /// Waits until it is lost: a future, to be waited for beside the work that is done under it.
    /// [`Lock::on_lost`](super::Lock::on_lost) has an example of the same for those that wait.
    pub async fn lost(&self) {
        self.holding.lost().await;
    }

    fn let_go(&self) -> bool {
        let was_held = self.holding.end();
        if was_held {
            Removal::of_name(&self.own, self.holding.parent(), self.holding.name());
        }
        was_held
    }

    async fn give_back(&self) -> Result<bool, Error> {
        if !self.holding.end() {
            return Ok(false);
        }
        match self.own.delete(self.holding.path()).await {
            Ok(()) => {}
            Err(error) if error.code() == Code::NoNode => {}
            Err(error) if is_passing(&error) => {
                Removal::of_name(&self.own, self.holding.parent(), self.holding.name());
            }
            // Without a session it is gone anyway.
            Err(error) if self.own.state().is_final() => drop(error),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

impl Guard<Client> {
    /// Releases it; false when it had been lost. While there is no connection, it is released as soon as there is one again.
    /// [`Lock`](super::Lock) has an example.
    ///
    /// # Errors
    /// What became of the session meanwhile.
    pub fn release(self) -> Result<bool, Error> {
        if self.client.session.is_in_callback() {
            // It is on its way, which is all that can be waited for here.
            return Ok(self.let_go());
        }
        Ok(self.client.session.block_on(self.give_back(), None)?.unwrap_or_default())
    }
}

impl Guard<AsyncClient> {
    /// Releases it. As the one that waits, and [`Lock::acquire`](super::Lock) has an example.
    ///
    /// # Errors
    /// What became of the session meanwhile.
    pub async fn release(self) -> Result<bool, Error> {
        self.give_back().await
    }
}

impl<C> Drop for Guard<C> {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl<C> std::fmt::Debug for Guard<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("path", &self.holding.parent()).field("is_held", &self.is_held()).finish()
    }
}
