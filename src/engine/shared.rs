//! Reads by other threads of this process, on the state as applied.

use super::Engine;
use super::conn::{ConnId, ConnPhase};
use super::request::parse_path;
use crate::ids::Zxid;
use crate::jute::encode;
use crate::records::replies::StatReply;
use crate::records::{ErrorCode, OpCode, perms};

impl Engine {
    /// Answers a plain read for a connection without going through its queue: `getData`, `exists`, `getChildren2` or
    /// `getAcl`, with no watch. Appends the reply's record to `out`; the state it shows is that of the zxid returned.
    ///
    /// Rules and codes are those of a request. `None` when the connection has no session (any more), or has to prove who it
    /// is first: such requests are for the queue. The caller sees to it that no write of the session is under way.
    pub fn read_shared(&self, id: ConnId, op: OpCode, path: &str, out: &mut Vec<u8>) -> Option<(Zxid, ErrorCode)> {
        let conn = self.conns.get(id).filter(|conn| conn.phase == ConnPhase::Open && conn.close.is_none())?;
        // No reader sees half of a transaction.
        if !self.is_authenticated_enough(id) || self.work.is_applying() {
            return None;
        }
        let who = &*conn.who;
        let text = path.into();
        let result = match op {
            OpCode::GetData => self.readable(who, &text).map(|node| self.data(node, out)),
            OpCode::Exists => self.stat_of(who, path).map(|stat| encode(&StatReply { stat }, out)),
            // Too long for others to wait for.
            OpCode::GetChildren2 if self.has_many_children(path) => return None,
            OpCode::GetChildren2 => self.readable(who, &text).and_then(|node| {
                self.names(node, out)?;
                encode(&self.state.tree.stat(node), out);
                Ok(())
            }),
            OpCode::GetAcl => self.get_acl(who, parse_path(path), out),
            _ => return None,
        };
        Some((self.state.applied, result.err().unwrap_or(ErrorCode::Ok)))
    }

    /// Counts reads that threads of this process have made by themselves for a connection: as packets, in and out. How long
    /// they took was not measured.
    pub fn count_shared_reads(&mut self, id: ConnId, count: u64) {
        self.counters.received += count;
        self.counters.sent += count;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.stats.received += count;
            conn.stats.sent += count;
        }
    }

    fn stat_of(&self, who: &super::identity::Identities, path: &str) -> Result<crate::records::Stat, ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.state.tree.lookup(path).ok_or(ErrorCode::NoNode)?;
        if self.may(who, node, perms::READ) { Ok(self.state.tree.stat(node)) } else { Err(ErrorCode::NoAuth) }
    }
}
