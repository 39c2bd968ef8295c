//! A server without a leader that answers reads of clients which put up with that.
//!
//! Their sessions are known here only. They last as long as their connections, or, where local sessions are on, until they
//! expire. Of those that were given out since there is no leader this server alone knows whether they are over. Others are sent away: only
//! a leader knows whether one is alive, so no client is told that such a session has expired.
//!
//! Source: ZooKeeper 3.9 `ReadOnlyZooKeeperServer`, `ReadOnlyRequestProcessor`.

use super::Engine;
use super::conn::ConnId;
use crate::ids::SessionId;
use crate::records::ErrorCode;

impl Engine {
    /// A handshake while there is no leader: whether the client may come in.
    pub(super) fn admits_read_only(&self, session: SessionId, read_only: Option<bool>) -> Result<(), &'static str> {
        if read_only != Some(true) {
            Err("this server is read-only and the client does not put up with that")
        } else if session != SessionId::NONE && !self.local.is_live(session) {
            Err("a session of the ensemble is not resumed by a read-only server")
        } else {
            Ok(())
        }
    }

    /// Whether it is a session of a client that came while there was no leader, and is over.
    pub(super) fn was_visitor(&self, session: SessionId) -> bool {
        let sessions = &self.state.sessions;
        let last = sessions.highest_ids().find(|id| sessions.are_issued_here(*id));
        let (Some(first), Some(last)) = (self.first_visitor, last) else { return false };
        (first..=last).contains(&session) && !self.local.is_live(session)
    }

    /// A write of a client, which cannot be done.
    pub(super) fn refuse_write(&mut self, id: ConnId, xid: i32) {
        self.answer(id, xid, None, ErrorCode::NotReadOnly, Vec::new(), None);
    }
}
