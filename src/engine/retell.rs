//! Our state as ZooKeeper's servers send it to each other (SNAP).
//!
//! The stream is exact: it is the state at one zxid. A list of permissions that no znode has says so to another server of
//! our kind; ZooKeeper drops it, as it drops every list that is not used.

use super::Engine;
use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::records::Acl;
use crate::records::javasnap::{put_count, put_end_of_znodes, put_session, put_signature};
use crate::session::Sessions;
use crate::tree::{StateWalk, Tree};

/// The scheme and the id in the list of a stream that is exact.
pub(super) const EXACT: (&str, &str) = ("zoarium", "exact");

/// A state on its way to another server, in pieces.
///
/// Made from the state as applied, in one go: for states that are small enough to be copied between two transactions.
pub struct Retelling {
    zxid: Zxid,
    bytes: Vec<u8>,
    sent: usize,
}

impl Retelling {
    /// What the stream holds: for the SNAP packet before it.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The next bytes of the stream, at most `size`; `None` behind its end.
    pub fn next_piece(&mut self, size: usize) -> Option<&[u8]> {
        let end = self.bytes.len().min(self.sent.saturating_add(size.max(1)));
        let piece = self.bytes.get(self.sent..end).filter(|piece| !piece.is_empty())?;
        self.sent = end;
        Some(piece)
    }

    /// Bytes that have not been taken yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.sent
    }
}

impl Engine {
    /// The state as applied now, for another server.
    ///
    /// # Panics
    /// While a transaction is half applied.
    pub fn retell(&self) -> Retelling {
        assert!(!self.is_applying(), "a state is retold while a transaction is half applied");
        let size = usize::try_from(self.snapshot_estimate()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(size);
        retell_all(&self.tree, &self.sessions, &mut bytes);
        Retelling { zxid: self.applied, bytes, sent: 0 }
    }
}

fn retell_all(tree: &Tree, sessions: &Sessions, out: &mut Vec<u8>) {
    let mut walk = retell_begin(tree, sessions, out);
    let is_whole = walk.go_on(tree, usize::MAX, out);
    debug_assert!(is_whole);
    put_end_of_znodes(out);
    put_signature(out);
}

fn retell_begin(tree: &Tree, sessions: &Sessions, out: &mut Vec<u8>) -> StateWalk {
    let all = if failpoint::on(Failpoint::SessionsForgotten) { Vec::new() } else { sessions.sorted() };
    put_count(all.len(), out);
    for (id, session) in all {
        put_session(id.0, session.timeout_ms, out);
    }
    StateWalk::begin(tree, Some(&[Acl::new(0, EXACT.0, EXACT.1)]), out)
}
