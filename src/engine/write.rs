//! The way of a write: the caller that it is decided for, the transaction that it becomes, the requester that is answered.

use std::sync::Arc;

use super::caller::{Caller, Requester};
use super::conn::{ConnId, PendingReply};
use super::decide::DecisionRefused;
use super::decider::{Decider, Ground};
use super::settings::RECORD_OVERHEAD;
use super::{Duty, Engine};
use crate::failpoint::{self, Failpoint};
use crate::ids::{SessionId, Zxid};
use crate::records::txn::{CreateSessionTxn, Txn};
use crate::records::{ErrorCode, OpCode};

impl Engine {
    /// The decider, and what its decisions stand on.
    pub(super) fn decider(&mut self) -> (&mut Decider, Ground<'_>) {
        let Engine { decider, settings, state, remote, local, reconfig_view, spent, duty, .. } = self;
        (decider, Ground { settings, state, remote, local, reconfig_view: reconfig_view.as_ref(), spent, duty: *duty })
    }

    /// Decides a write of a client and proposes the outcome.
    pub(super) fn write(&mut self, id: ConnId, xid: i32, op: OpCode, body: &[u8]) {
        if self.is_done_locally(id, xid, op, body) {
            return;
        }
        match self.duty {
            Duty::Alone { .. } | Duty::Decide { .. } => {
                let Some(conn) = self.conns.get(id) else { return };
                let caller =
                    Caller { session: conn.session, requester: Requester::Client(id), who: Arc::clone(&conn.who) };
                self.decide_for(caller, xid, op, body);
            }
            Duty::Forward { .. } => self.forward_write(id, xid, op, body),
            Duty::ReadOnly | Duty::None => self.refuse_write(id, xid),
        }
    }

    /// Decides a write of any caller.
    pub(super) fn decide_for(&mut self, caller: Caller, xid: i32, op: OpCode, body: &[u8]) {
        // The end of a session may come from anywhere.
        if op != OpCode::CloseSession && !self.speaks_for(caller.session, caller.requester) {
            return self.propose_for(&caller, xid, op, &Txn::error(ErrorCode::SessionMoved));
        }
        if op == OpCode::Multi {
            return self.multi(xid, caller, body);
        }
        if body.len() > self.record_size_max().saturating_sub(RECORD_OVERHEAD) {
            return self.refuse_unlogged(&caller, xid, op, ErrorCode::BadArguments);
        }
        if op == OpCode::CloseSession {
            let txn = self.decide_close(caller.session);
            self.propose_for(&caller, xid, op, &txn);
            return;
        }
        if op == OpCode::Reconfig {
            return self.reconfig(&caller, xid, body);
        }
        let (decider, ground) = self.decider();
        match decider.decide(&ground, &caller, op, body) {
            Ok(txn) => self.propose_for(&caller, xid, op, &txn),
            Err(DecisionRefused::Logged(code)) => self.propose_for(&caller, xid, op, &Txn::error(code)),
            Err(DecisionRefused::Unlogged(code)) => self.refuse_unlogged(&caller, xid, op, code),
        }
    }

    /// Refuses without a transaction, unless a learner waits for one.
    pub(super) fn refuse_unlogged(&mut self, caller: &Caller, xid: i32, op: OpCode, code: ErrorCode) {
        match caller.requester {
            Requester::Client(id) => self.answer(id, xid, None, code, Vec::new(), None),
            Requester::Learner(_) if failpoint::on(Failpoint::RefusalUnlogged) => {}
            Requester::Learner(_) => self.propose_for(caller, xid, op, &Txn::error(code)),
        }
    }

    /// Gives a transaction its place and its bytes.
    pub(super) fn propose(&mut self, session: SessionId, cxid: i32, txn: &Txn<'_>) -> Zxid {
        self.decider.propose(self.duty, self.clock.wall, session, cxid, txn)
    }

    /// Proposes for the requesting session: a client of ours gets its reply when the transaction is delivered, a learner sees it then.
    pub(super) fn propose_for(&mut self, caller: &Caller, xid: i32, op: OpCode, txn: &Txn<'_>) {
        let zxid = self.propose(caller.session, xid, txn);
        match caller.requester {
            Requester::Client(id) => {
                let since = self.clock.now;
                self.awaiting.push_write(zxid, id);
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.push(PendingReply::Write { zxid: Some(zxid), xid, op, since });
                }
            }
            Requester::Learner(link) => self.remote.note_proposed(zxid, link),
        }
    }

    /// Proposes that a session of a client of ours, which knows it already, is one of all servers.
    pub(super) fn propose_upgrade(&mut self, id: ConnId, session: SessionId, timeout_ms: i32) {
        self.remote.set_speaker(session, Requester::Client(id));
        self.remote.begins(session);
        self.propose(session, 0, &Txn::CreateSession(CreateSessionTxn { timeout: timeout_ms }));
    }

    /// Bytes of the largest record that may be proposed.
    pub(super) fn record_size_max(&self) -> usize {
        self.duty.record_size_max(&self.settings.limits)
    }

    /// The end of a session, asked for or by expiry: nothing of it is accepted any more.
    fn decide_close(&mut self, session: SessionId) -> Txn<'static> {
        self.state.sessions.set_closing(session);
        self.remote.end_is_decided(session, self.settings.local_sessions);
        let (decider, ground) = self.decider();
        decider.close_session(&ground, session)
    }

    /// Proposes the end of an expired session.
    pub(super) fn propose_expiry(&mut self, session: SessionId) {
        let txn = self.decide_close(session);
        self.propose(session, 0, &txn);
    }

    /// Proposes the removal of a container or expired znode, if nothing outstanding speaks against it.
    pub(super) fn propose_reaping(&mut self, path: &str) {
        let (decider, ground) = self.decider();
        if let Some(txn) = decider.reap(&ground, path) {
            self.propose(SessionId::NONE, 0, &txn);
        }
    }
}
