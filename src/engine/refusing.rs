//! Sessions that a leader does not know. Before it says that one is over, a quorum confirms that it still leads.
//!
//! A leader that is cut off goes on for a moment, while the next one begins sessions of which it does not hear. A client that comes
//! from there need not have seen anything that shows it (G-10). The question is that of a `sync`, and is shared with those.

use std::collections::VecDeque;

use super::Engine;
use super::caller::Requester;
use super::conn::{CloseReason, ConnId, ConnPhase};
use super::handshake::Handshake;
use crate::ids::SessionId;

/// Clients of this server that may wait to be refused. Above: they are closed without an answer.
pub(super) const REFUSALS_MAX: usize = 10_000;

/// Who asked for a session that is not known here.
struct AwaitedRefusal {
    /// The question that was asked after that.
    token: u64,
    session: SessionId,
    requester: Requester,
    timeout_ms: i32,
}

/// Those that wait for a quorum's answer, oldest first.
#[derive(Default)]
pub(super) struct Refusals(VecDeque<AwaitedRefusal>);

impl Engine {
    /// A client of ours wants to go on with a session that this leader does not know.
    pub(super) fn refuse_once_it_leads(&mut self, id: ConnId, session: SessionId, timeout_ms: i32) -> Handshake {
        if self.refusals.0.len() >= REFUSALS_MAX {
            let why =
                format!("{REFUSALS_MAX} clients wait to hear whether their sessions are over, which is the limit");
            self.close(id, CloseReason::Violation(why));
            return Handshake::Done;
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = ConnPhase::Creating;
            self.newcomers.left(conn.address.ip(), id);
        }
        self.await_refusal(session, Requester::Client(id), timeout_ms);
        Handshake::Done
    }

    pub(super) fn await_refusal(&mut self, session: SessionId, requester: Requester, timeout_ms: i32) {
        let token = self.question();
        self.refusals.0.push_back(AwaitedRefusal { token, session, requester, timeout_ms });
    }

    /// A quorum has answered this question, and so all before it.
    pub(super) fn refuse_upto(&mut self, token: u64) {
        while self.refusals.0.front().is_some_and(|refusal| refusal.token <= token)
            && let Some(AwaitedRefusal { session, requester, timeout_ms, .. }) = self.refusals.0.pop_front()
        {
            match requester {
                Requester::Client(id) if !self.conns.is_open(id) => {}
                // It has begun meanwhile: its client shall come again.
                Requester::Client(id) if self.has_session(session) || self.is_ending(session) => {
                    self.close(id, CloseReason::NotServing);
                }
                Requester::Client(id) => self.refuse_session(id, session),
                Requester::Learner(link) => {
                    if self.remote.is_there(link) && !self.is_answered(link, session, timeout_ms) {
                        self.answer_learner(link, session, false);
                    }
                }
            }
        }
    }
}
