//! Connections of this server that wait for transactions which are decided here.

use std::collections::VecDeque;

use super::conn::ConnId;
use crate::ids::Zxid;

/// The connections that wait, in the order of the transactions.
#[derive(Default)]
pub(super) struct Awaiting {
    /// Each waits for a transaction of its own.
    writes: VecDeque<(Zxid, ConnId)>,
    /// Each has a `sync` behind a proposal that need not be its own.
    syncs: VecDeque<(Zxid, ConnId)>,
}

impl Awaiting {
    pub(super) fn push_write(&mut self, zxid: Zxid, conn: ConnId) {
        self.writes.push_back((zxid, conn));
    }

    pub(super) fn push_sync(&mut self, upto: Zxid, conn: ConnId) {
        self.syncs.push_back((upto, conn));
    }

    /// The connection that waits for this transaction, which is the next to be applied.
    pub(super) fn write_at(&self, zxid: Zxid) -> Option<ConnId> {
        self.writes.front().filter(|(at, _)| *at == zxid).map(|&(_, conn)| conn)
    }

    /// It waits no longer.
    pub(super) fn pop_write(&mut self) {
        self.writes.pop_front();
    }

    /// Takes out a `sync` that is reached when everything up to `zxid` is applied.
    pub(super) fn next_sync(&mut self, zxid: Zxid) -> Option<ConnId> {
        let &(_, conn) = self.syncs.front().filter(|(upto, _)| *upto <= zxid)?;
        self.syncs.pop_front();
        Some(conn)
    }

    /// How many writes are waited for.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Takes out all: those that wait with a write, and those with a `sync`.
    pub(super) fn take(&mut self) -> (Vec<ConnId>, Vec<ConnId>) {
        let conns = |queue: &mut VecDeque<(Zxid, ConnId)>| queue.drain(..).map(|(_, conn)| conn).collect();
        (conns(&mut self.writes), conns(&mut self.syncs))
    }
}
