//! The state that all servers of an ensemble have in common: what a snapshot holds and transactions change.
//!
//! It is whole without an engine: recovery builds one from the file, and a learner builds one from what another server
//! sends, beside the state that is served.

use std::fmt;

use super::settings::EngineSettings;
use crate::ids::{Millis, Zxid};
use crate::records::membership::Membership;
use crate::records::txn::{Txn, TxnHeader, decode_txn};
use crate::session::Sessions;
use crate::tree::{Applied, Tree, TreeLoader, ZnodeChange};

/// A transaction that cannot be one: its bytes are damaged, or out of order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage(pub String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damage {}

/// Znodes and sessions, as they are after one transaction.
pub struct ReplicatedState {
    pub(super) tree: Tree,
    pub(super) sessions: Sessions,
    /// The last transaction applied.
    pub(super) applied: Zxid,
    /// Transactions applied since the process began, replayed ones included.
    pub(super) transactions: u64,
    /// While a snapshot is loaded.
    pub(super) loader: Option<TreeLoader>,
    /// Of the tree's hash.
    pub(super) seed: [u64; 2],
    /// What the last reconfiguration among the transactions replayed proposes.
    pub(super) reconfig_replayed: Option<Membership>,
}

impl ReplicatedState {
    /// An empty tree and no sessions. `seed` is for the tree's hash.
    pub fn new(settings: &EngineSettings, seed: [u64; 2]) -> ReplicatedState {
        ReplicatedState {
            tree: Tree::new(seed),
            sessions: Sessions::new(settings.server_id, settings.tick_ms),
            applied: Zxid::ZERO,
            transactions: 0,
            loader: None,
            seed,
            reconfig_replayed: None,
        }
    }

    /// The last transaction in it.
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// Sessions in it.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Its tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The configuration that the last reconfiguration of the log proposes, as far as the log was replayed. The znode that tells of it
    /// says nothing about that: it may be written by whoever has the right to.
    pub fn reconfig_replayed(&self) -> Option<&Membership> {
        self.reconfig_replayed.as_ref()
    }

    /// Applies a transaction that no client waits for: one of the log, or one that was committed while a state was sent. Those
    /// that the state has already are skipped.
    ///
    /// # Errors
    /// [`Damage`] when the bytes are no transaction; nothing was applied then.
    pub fn replay(&mut self, zxid: Zxid, bytes: &[u8]) -> Result<(), Damage> {
        if zxid <= self.applied {
            return Ok(());
        }
        self.load_filled()?;
        let (header, txn) = read_txn(zxid, bytes)?;
        if let Ok(Some(proposed)) = Membership::of_txn(bytes) {
            self.reconfig_replayed = Some(proposed);
        }
        // Sessions count from when the server begins to serve, whatever they are given here.
        self.apply(Millis(0), &header, &txn, &mut |_| {}).map(drop)
    }

    /// Takes data that the loaded snapshot leaves to the log from one of the transactions there, which it covers.
    ///
    /// # Errors
    /// [`Damage`] when that does not have it, or one before did not come.
    pub fn fill(&mut self, zxid: Zxid, bytes: &[u8]) -> Result<(), Damage> {
        if !self.tree.lacks_data_of(zxid) {
            return Ok(());
        }
        let (_, txn) = read_txn(zxid, bytes)?;
        self.tree.fill_from_log(zxid, &txn).map_err(Damage)
    }

    /// Applies a transaction; `observe` sees each change to a znode. A session that begins is given its timeout from `now`.
    ///
    /// # Errors
    /// [`Damage`] when it cannot be one; nothing was applied then.
    pub(super) fn apply<'t>(
        &mut self,
        now: Millis,
        header: &TxnHeader,
        txn: &Txn<'t>,
        observe: &mut dyn FnMut(&ZnodeChange<'_>),
    ) -> Result<Applied<'t>, Damage> {
        let applied = self.tree.apply(header, txn, observe);
        let applied = applied.map_err(|error| Damage(format!("transaction {}: {error}", header.zxid)))?;
        self.applied_whole(now, header, txn);
        Ok(applied)
    }

    /// The tree has all of the transaction.
    pub(super) fn applied_whole(&mut self, now: Millis, header: &TxnHeader, txn: &Txn<'_>) {
        match txn {
            Txn::CreateSession(txn) => self.sessions.begin(now, header.session, txn.timeout),
            Txn::CloseSession(_) => self.sessions.end(header.session),
            _ => {}
        }
        self.applied = header.zxid;
        self.transactions += 1;
    }
}

/// The transaction that stands at `zxid`.
pub(super) fn read_txn(zxid: Zxid, bytes: &[u8]) -> Result<(TxnHeader, Txn<'_>), Damage> {
    let (header, txn, _) = decode_txn(bytes).map_err(|error| Damage(format!("transaction {zxid}: {error}")))?;
    if header.zxid != zxid {
        return Err(Damage(format!("transaction {} stands at {zxid}", header.zxid)));
    }
    Ok((header, txn))
}
