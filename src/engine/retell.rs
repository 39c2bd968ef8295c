//! Our state as ZooKeeper's servers send it to each other (SNAP).
//!
//! The stream is exact: it is the state at one zxid, though it is made in pieces while transactions go on. A list of
//! permissions that no znode has says so to another server of our kind; ZooKeeper drops it, as it drops every list that is
//! not used.

use super::Engine;
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

impl Engine {
    /// Sets out to send the state as applied now to another server; `None` when it is being sent to several already. To be
    /// ended by [`Engine::retell_end`], unless [`Engine::retell_on`] has come to its end.
    ///
    /// # Panics
    /// While a transaction is half applied.
    pub fn retell_begin(&mut self) -> Option<Retelling> {
        assert!(!self.is_applying(), "a state is retold while a transaction is half applied");
        let mut head = Vec::new();
        let all = if failpoint::on(Failpoint::SessionsForgotten) { Vec::new() } else { self.state.sessions.sorted() };
        put_count(all.len(), &mut head);
        for (id, session) in all {
            put_session(id.0, session.timeout_ms, &mut head);
        }
        let walk =
            self.state.tree.state_walk_begin(self.state.applied, Some(&[Acl::new(0, EXACT.0, EXACT.1)]), &mut head)?;
        Some(Retelling { zxid: self.state.applied, walk, head })
    }

    /// Appends the next bytes of the stream: those of as many steps over the tree, or so many bytes and one znode more at
    /// most.
    pub fn retell_on(&mut self, retelling: &mut Retelling, steps: usize, size: usize, out: &mut Vec<u8>) -> Walked {
        if !retelling.head.is_empty() {
            out.append(&mut retelling.head);
            return Walked::More;
        }
        let walked = self.state.tree.state_walk_on(retelling.walk, steps, size, out);
        if walked == Walked::Whole {
            put_end_of_znodes(out);
            put_signature(out);
        }
        walked
    }

    /// It is not to be sent any further.
    pub fn retell_end(&mut self, retelling: &Retelling) {
        self.state.tree.state_walk_end(retelling.walk);
    }
}
