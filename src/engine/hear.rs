//! A state from another server's stream (SNAP): built apart, and taken over when all of it is there and on disk.
//!
//! Until [`Engine::take_over`] the engine's own state is what it was, so a stream that breaks leaves nothing behind.

use super::retell::EXACT;
use super::{Damage, Engine};
use crate::ids::{Millis, SessionId, Zxid};
use crate::jute::FIELD_SIZE_MAX;
use crate::records::javasnap::{Fed, StateItem, StateReader};
use crate::records::txn::{Txn, decode_txn};
use crate::session::Sessions;
use crate::tree::{StateLoader, Tree};
use crate::watches::Watches;

/// A stream that is being heard.
pub struct StateHearing {
    reader: StateReader,
    making: Making,
    at: Zxid,
}

struct Making {
    loader: StateLoader,
    sessions: Sessions,
    is_exact: bool,
}

/// A state that was heard whole, and goes on apart from the one that is served.
pub struct Heard {
    tree: Tree,
    sessions: Sessions,
    applied: Zxid,
}

impl StateHearing {
    /// Takes in the next bytes of the stream. What lies behind its end is not consumed.
    ///
    /// # Errors
    /// [`Damage`] when they cannot be a state; nothing more is to be fed then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Damage> {
        let making = &mut self.making;
        let fed = self.reader.feed(bytes, &mut |item| making.item(item));
        fed.map_err(|error| Damage(format!("the state that was sent: {error}")))
    }

    /// The stream is whole: puts the state together.
    ///
    /// # Errors
    /// [`Damage`] when something is missing from it.
    pub fn finish(self) -> Result<Heard, Damage> {
        let Making { loader, sessions, is_exact } = self.making;
        let tree = loader.finish(is_exact).map_err(|why| Damage(format!("the state that was sent: {why}")))?;
        Ok(Heard { tree, sessions, applied: self.at })
    }
}

impl Making {
    fn item(&mut self, item: StateItem<'_>) -> Result<(), String> {
        match item {
            StateItem::Session { id, timeout_ms } => {
                let id = SessionId(id);
                if id == SessionId::NONE || self.sessions.get(id).is_some() {
                    return Err(format!("session {id} comes twice, or cannot be"));
                }
                self.sessions.begin(Millis(0), id, timeout_ms);
                Ok(())
            }
            StateItem::Acl { number, list } => {
                self.is_exact |= matches!(&list[..], [acl] if acl.perms == 0
                    && (acl.id.scheme.as_str(), acl.id.id.as_str()) == EXACT);
                self.loader.acl(number, &list)
            }
            StateItem::Znode { path, data, acl, stat } => self.loader.znode(path, data, acl, &stat),
        }
    }
}

impl Heard {
    /// The last transaction in it.
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// Applies a transaction that was committed while the state was sent. What the state has already is skipped.
    ///
    /// # Errors
    /// [`Damage`] when the bytes are no transaction.
    pub fn replay(&mut self, zxid: Zxid, bytes: &[u8]) -> Result<(), Damage> {
        if zxid <= self.applied {
            return Ok(());
        }
        let (header, txn, _) = decode_txn(bytes).map_err(|error| Damage(format!("transaction {zxid}: {error}")))?;
        if header.zxid != zxid {
            return Err(Damage(format!("transaction {} stands at {zxid}", header.zxid)));
        }
        let applied = self.tree.apply(&header, &txn, &mut |_| {});
        applied.map_err(|error| Damage(format!("transaction {zxid}: {error}")))?;
        match &txn {
            Txn::CreateSession(txn) => self.sessions.begin(Millis(0), header.session, txn.timeout),
            Txn::CloseSession(_) => self.sessions.end(header.session),
            _ => {}
        }
        self.applied = zxid;
        Ok(())
    }

    /// Begins a snapshot of it for the file, as [`Engine::snapshot_begin`] does of the engine's own.
    pub fn snapshot_begin(&mut self, emit: &mut dyn FnMut(&[u8])) {
        super::persist::begin(&mut self.tree, &self.sessions, emit);
    }

    /// Writes some more of it; true when it is whole.
    pub fn snapshot_slice(&mut self, nodes_max: usize, emit: &mut dyn FnMut(&[u8])) -> bool {
        self.tree.snapshot_slice(nodes_max, emit)
    }

    #[cfg(test)]
    pub(super) fn tree_for_test(&self) -> &Tree {
        &self.tree
    }

    /// About how many bytes it takes.
    pub fn snapshot_estimate(&self) -> u64 {
        super::persist::estimate(&self.tree, &self.sessions)
    }
}

impl Engine {
    /// Sets out to hear the state at `at`. The engine's own is left alone.
    pub fn hear(&self, at: Zxid) -> StateHearing {
        let mut sessions = Sessions::new(self.settings.server_id, self.settings.tick_ms);
        // The stream does not say which ids this server has issued (S-27).
        self.sessions.highest_ids().for_each(|id| sessions.saw(id));
        let field_size_max = FIELD_SIZE_MAX.max(self.settings.limits.record_size_max);
        let making = Making { loader: StateLoader::new(self.seed), sessions, is_exact: false };
        StateHearing { reader: StateReader::new(field_size_max), making, at }
    }

    /// Goes on with a state that was heard, and is on disk by now, in place of its own. No client may be
    /// served meanwhile: watches are forgotten, and a snapshot of the old state that was being taken is over.
    pub fn take_over(&mut self, heard: Heard) {
        let Heard { tree, sessions, applied } = heard;
        self.loader = None;
        self.tree = tree;
        self.sessions = sessions;
        self.watches = Watches::new(self.seed);
        self.applied = applied;
        self.proposed = applied;
    }
}
