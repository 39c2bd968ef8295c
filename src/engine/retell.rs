//! Our state as ZooKeeper's servers send it to each other (SNAP).
//!
//! The stream is exact: it is the state at one zxid, though it is made in pieces while transactions go on. A list of
//! permissions that no znode has says so to another server of our kind; ZooKeeper drops it, as it drops every list that is
//! not used.

use super::Engine;
use super::state::ReplicatedState;
use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::records::Acl;
use crate::records::javasnap::{put_count, put_end_of_znodes, put_session, put_signature};
use crate::tree::{StateWalkId, Walked};

/// The scheme and the id in the list of a stream that is exact.
pub(super) const EXACT: (&str, &str) = ("zoarium", "exact");

/// A state on its way to another server, in pieces.
pub struct Retelling {
    zxid: Zxid,
    walk: StateWalkId,
    /// What comes before the znodes, until it is taken.
    head: Vec<u8>,
}

impl Retelling {
    /// What the stream holds: for the SNAP packet before it.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }
}

impl ReplicatedState {
    /// Sets out to tell the state as it is now; `None` when it is being told several times already. To be ended by
    /// [`retell_end`](ReplicatedState::retell_end), unless [`retell_on`](ReplicatedState::retell_on) has come to its end.
    pub fn retell_begin(&mut self) -> Option<Retelling> {
        let mut head = Vec::new();
        let all = if failpoint::on(Failpoint::SessionsForgotten) { Vec::new() } else { self.sessions.sorted() };
        put_count(all.len(), &mut head);
        for (id, session) in all {
            put_session(id.0, session.timeout_ms, &mut head);
        }
        let walk = self.tree.state_walk_begin(self.applied, Some(&[Acl::new(0, EXACT.0, EXACT.1)]), &mut head)?;
        Some(Retelling { zxid: self.applied, walk, head })
    }

    /// Appends what comes next: as many steps over the tree, or so many bytes and one znode more at most. The end of the
    /// znodes is the last; a stream goes on with its signature, a file with its seal.
    pub fn retell_on(&mut self, retelling: &mut Retelling, steps: usize, size: usize, out: &mut Vec<u8>) -> Walked {
        if !retelling.head.is_empty() {
            out.append(&mut retelling.head);
            return Walked::More;
        }
        let walked = self.tree.state_walk_on(retelling.walk, steps, size, out);
        if walked == Walked::Whole {
            put_end_of_znodes(out);
        }
        walked
    }

    /// It is not to be told any further.
    pub fn retell_end(&mut self, retelling: &Retelling) {
        self.tree.state_walk_end(retelling.walk);
    }
}

impl Engine {
    /// Sets out to send the state as applied now to another server; `None` when it is being sent to several already. To be
    /// ended by [`Engine::retell_end`], unless [`Engine::retell_on`] has come to its end.
    ///
    /// # Panics
    /// While a transaction is half applied.
    pub fn retell_begin(&mut self) -> Option<Retelling> {
        assert!(!self.is_applying(), "a state is retold while a transaction is half applied");
        self.state.retell_begin()
    }

    /// Appends the next bytes of the stream: those of as many steps over the tree, or so many bytes and one znode more at
    /// most.
    pub fn retell_on(&mut self, retelling: &mut Retelling, steps: usize, size: usize, out: &mut Vec<u8>) -> Walked {
        let walked = self.state.retell_on(retelling, steps, size, out);
        if walked == Walked::Whole {
            put_signature(out);
        }
        walked
    }

    /// It is not to be sent any further.
    pub fn retell_end(&mut self, retelling: &Retelling) {
        self.state.retell_end(retelling);
    }
}
