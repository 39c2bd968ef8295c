//! Committed transactions: applied to the tree, then their events, then the reply to the waiting client.

use super::conn::{CloseReason, ConnId, ConnPhase, PendingReply};
use super::request::encode_path;
use super::state::{Damage, read_txn};
use super::watching::Firing;
use super::{Duty, Engine};
use crate::failpoint::{self, Failpoint};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Buffer, encode};
use crate::records::multi::MultiHeader;
use crate::records::replies::{DataReply, ErrorReply, PathStatReply, StatReply};
use crate::records::txn::{Txn, TxnHeader};
use crate::records::{ErrorCode, OpCode};
use crate::tree::Applied;

impl Engine {
    /// Applies a committed transaction and replies to the waiting client, in one go however long it takes.
    ///
    /// # Errors
    /// [`Damage`] when the bytes are no transaction; nothing was applied then.
    pub fn deliver(&mut self, zxid: Zxid, bytes: &[u8]) -> Result<(), Damage> {
        self.deliver_begin(zxid, bytes)?;
        while !self.apply_slice()? {}
        Ok(())
    }

    /// The same for a caller that looks at a clock: a long transaction is only begun, and [`Engine::apply_slice`] goes on with it
    /// until [`Engine::is_busy`] says no more. No reader sees the tree before.
    ///
    /// # Errors
    /// As [`Engine::deliver`].
    pub fn deliver_begin(&mut self, zxid: Zxid, bytes: &[u8]) -> Result<(), Damage> {
        assert!(!self.work.is_applying(), "{zxid} is delivered while another transaction is half applied");
        self.spent.begin();
        let (header, txn) = read_txn(zxid, bytes)?;
        assert!(zxid > self.state.applied, "delivery goes backwards: {zxid} after {}", self.state.applied);
        self.answer_what_is_in_front_of(&header);
        self.work.before = self.state.applied;
        if self.begin_applying(&header, &txn, bytes) {
            return self.apply_slice().map(drop);
        }
        let mut firing = Firing::default();
        let outcome = self.apply(&header, &txn, &mut firing)?;
        if let Some(mut firing) = self.begin_telling(&header, &outcome, firing) {
            if failpoint::on(Failpoint::ReplyBeforeEvents) {
                self.reply_to_write(&header, &outcome);
            }
            self.send_events(&mut firing, zxid, usize::MAX);
            self.reply_to_write(&header, &outcome);
            self.delivered(&header);
        }
        Ok(())
    }

    /// Applies a committed transaction that no client of ours waits for, as a server does without a duty. What the state has
    /// already is skipped.
    ///
    /// # Errors
    /// [`Damage`] when the bytes are no transaction.
    pub fn replay(&mut self, zxid: Zxid, bytes: &[u8]) -> Result<(), Damage> {
        self.state.replay(zxid, bytes)?;
        self.decider.start_over(self.state.applied);
        Ok(())
    }

    fn apply<'t>(&mut self, header: &TxnHeader, txn: &Txn<'t>, firing: &mut Firing) -> Result<Applied<'t>, Damage> {
        let (listened, watches) = (self.clock.listened(), &mut self.watches);
        let outcome = self.state.apply(listened, header, txn, &mut |change| firing.observe(watches, change))?;
        self.speakers_change(header, txn);
        Ok(outcome)
    }

    /// The tree has all of a transaction that was applied in parts.
    pub(super) fn applied_whole(&mut self, header: &TxnHeader, txn: &Txn<'_>) {
        let listened = self.clock.listened();
        self.state.applied_whole(listened, header, txn);
        self.speakers_change(header, txn);
    }

    /// What a leader keeps of the requester that speaks for a session changes when the session begins and when it ends.
    fn speakers_change(&mut self, header: &TxnHeader, txn: &Txn<'_>) {
        match txn {
            Txn::CreateSession(_) => {
                let is_over = self.remote.has_begun(header.session);
                if is_over {
                    self.state.sessions.set_closing(header.session);
                }
            }
            Txn::CloseSession(_) => self.remote.forget(header.session),
            _ => {}
        }
    }

    /// What stands in front of a write on its connection is of a state before it: it is answered now, whether or not the
    /// client takes what it was sent (G-02, S-30).
    fn answer_what_is_in_front_of(&mut self, header: &TxnHeader) {
        let Some(id) = self.who_awaits(header) else { return };
        let mut any = false;
        while self.conns.get(id).is_some_and(|conn| {
            conn.close.is_none() && !matches!(conn.pending.front(), None | Some(PendingReply::Write { .. }))
        }) {
            self.answer_first(id);
            any = true;
        }
        if any {
            self.touch(id);
        }
    }

    pub(super) fn reply_to_write(&mut self, header: &TxnHeader, outcome: &Applied<'_>) {
        if let Applied::SessionCreated = outcome {
            if let Some(id) = self.take_awaiting(header) {
                let timeout_ms = self.state.sessions.get(header.session).map_or(0, |session| session.timeout_ms);
                self.session_created(id, header.session, timeout_ms);
            }
            return;
        }
        let code = match outcome {
            // A failed multi is a success whose results say what failed; one that was refused whole is not.
            Applied::Error(code) => *code,
            _ => ErrorCode::Ok,
        };
        if let (Applied::DataSet(stat), Some(OpCode::Reconfig)) = (outcome, OpCode::from_i32(header.op)) {
            let data = self.config_data();
            return self
                .reply_with(header, code, |_, out| encode(&DataReply { data: Buffer::new(&data), stat: *stat }, out));
        }
        self.reply_with(header, code, |op, out| encode_outcome(op, outcome, out));
    }

    /// The connection that waits for a transaction: one decided here is known by its zxid, one that a leader decided by
    /// the session and the cxid of the request.
    fn who_awaits(&self, header: &TxnHeader) -> Option<ConnId> {
        if let Duty::Forward { .. } = self.duty {
            return self.forward.who_awaits(header);
        }
        self.awaiting.write_at(header.zxid)
    }

    /// The same, now that it is applied: it waits no longer.
    fn take_awaiting(&mut self, header: &TxnHeader) -> Option<ConnId> {
        if let Duty::Forward { .. } = self.duty {
            let was_full = self.forward.is_full();
            let id = self.forward.take_awaiting(header);
            if was_full && !self.forward.is_full() {
                self.let_the_held_go_on();
            }
            return id;
        }
        let id = self.awaiting.write_at(header.zxid)?;
        self.awaiting.pop_write();
        Some(id)
    }

    /// Replies to the client that waits for a transaction; `body` gets the operation that was requested.
    pub(super) fn reply_with(&mut self, header: &TxnHeader, code: ErrorCode, body: impl FnOnce(OpCode, &mut Vec<u8>)) {
        let Some(id) = self.take_awaiting(header) else { return };
        let zxid = header.zxid;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.phase == ConnPhase::Creating {
            return self.close(id, CloseReason::Violation(format!("the leader refuses a session: {code}")));
        }
        if !matches!(conn.pending.front(), Some(PendingReply::Write { zxid, .. }) if zxid.is_none_or(|at| at == header.zxid))
        {
            // The connection was closed by us in the meantime and its queue emptied.
            return;
        }
        // Another connection speaks for the session now; what becomes of the session is not told to this client.
        if code == ErrorCode::SessionMoved {
            return self.close(id, CloseReason::Moved);
        }
        let Some(PendingReply::Write { xid, op, since, .. }) = conn.pop() else { return };
        conn.reply(xid, zxid.0, code, |out| body(op, out));
        self.replied(id, since, true);
        if op == OpCode::CloseSession {
            self.touch(id);
            self.close(id, CloseReason::Asked);
        } else {
            self.drain(id);
        }
    }

    /// The session is over: its connection goes without a word, the client learns when it comes back.
    pub(super) fn session_ended(&mut self, session: SessionId) {
        if let Some(id) = self.conns.owner_of(session) {
            self.close(id, CloseReason::SessionEnded);
        }
    }

    /// For tests and the loop: whether a connection waits for a write.
    pub fn is_waiting(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| !conn.pending.is_empty())
    }
}

/// The reply's body. `op` is what was asked: it decides whether a create is answered with a stat.
fn encode_outcome(op: OpCode, outcome: &Applied<'_>, out: &mut Vec<u8>) {
    match outcome {
        Applied::Created { path, .. } if op == OpCode::Create => encode_path(path, out),
        Applied::Created { path, stat, .. } => {
            encode(&PathStatReply { path: path.as_str().into(), stat: *stat }, out);
        }
        Applied::DataSet(stat) | Applied::AclSet(stat) => encode(&StatReply { stat: *stat }, out),
        Applied::Multi(results) => {
            for result in results {
                encode_result(result, out);
            }
            encode(&MultiHeader::END, out);
        }
        Applied::Deleted | Applied::Checked | Applied::SessionCreated | Applied::SessionClosed | Applied::Error(_) => {}
    }
}

/// One result of a multi. Every create but the plain one has type `create2`, and a stat.
pub(super) fn encode_result(result: &Applied<'_>, out: &mut Vec<u8>) {
    match result {
        Applied::Created { op: OpCode::Create, path, .. } => {
            encode(&MultiHeader::success(OpCode::Create), out);
            encode_path(path, out);
        }
        Applied::Created { path, stat, .. } => {
            encode(&MultiHeader::success(OpCode::Create2), out);
            encode(&PathStatReply { path: path.as_str().into(), stat: *stat }, out);
        }
        Applied::Deleted => encode(&MultiHeader::success(OpCode::Delete), out),
        Applied::DataSet(stat) => {
            encode(&MultiHeader::success(OpCode::SetData), out);
            encode(&StatReply { stat: *stat }, out);
        }
        Applied::Checked => encode(&MultiHeader::success(OpCode::Check), out),
        Applied::Error(code) => {
            encode(&MultiHeader::failure(*code), out);
            encode(&ErrorReply { err: code.to_i32() }, out);
        }
        // None of these can be part of a multi: the decoder of transactions refuses them.
        Applied::AclSet(_) | Applied::SessionCreated | Applied::SessionClosed | Applied::Multi(_) => {
            encode(&MultiHeader::failure(ErrorCode::RuntimeInconsistency), out);
            encode(&ErrorReply { err: ErrorCode::RuntimeInconsistency.to_i32() }, out);
        }
    }
}
