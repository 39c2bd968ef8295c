//! Sessions that a leader does not know, or whose password is another here. Before it says that one is over, a quorum confirms that it
//! still leads.
//!
//! A leader that is cut off goes on for a moment, while the next one begins sessions and makes passwords of which it does not hear.
//! A client that comes from there need not have seen anything that shows it (G-10). The question is that of a `sync`, and is
//! shared with those.

use std::collections::VecDeque;

use super::Engine;
use super::conn::{CloseReason, ConnId, ConnPhase};
use super::duty::Violation;
use super::handshake::Handshake;
use crate::ids::{LinkId, SessionId};

/// Clients of this server that may wait to be refused. Above: they are closed without an answer.
pub(super) const REFUSALS_MAX: usize = 10_000;
/// Questions of learners that may wait for it. Above: the learner that asks one more is disconnected.
pub(super) const LEARNERS_REFUSALS_MAX: usize = 100_000;

/// Who wants to go on with a session.
enum Resumer {
    /// A client of ours; whether its password is right.
    Client(ConnId, bool),
    /// A learner, for a client of its own, and the timeout that it grants.
    Learner(LinkId, i32),
}

/// One that waits to hear that the session is over.
struct AwaitedRefusal {
    /// The question that was asked after it came.
    token: u64,
    session: SessionId,
    resumer: Resumer,
}

/// Those that wait for a quorum's answer.
#[derive(Default)]
pub(super) struct Refusals {
    /// Oldest first.
    waiting: VecDeque<AwaitedRefusal>,
    /// How many of them are of learners.
    of_learners: usize,
}

impl Engine {
    /// A client of ours is to be refused. `is_right`: its password is, but the session is not known here.
    pub(super) fn refuse_once_it_leads(&mut self, id: ConnId, session: SessionId, is_right: bool) -> Handshake {
        if self.refusals.waiting.len() - self.refusals.of_learners >= REFUSALS_MAX {
            let why =
                format!("{REFUSALS_MAX} clients wait to hear whether their sessions are over, which is the limit");
            self.close(id, CloseReason::Violation(why));
            return Handshake::Done;
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = ConnPhase::Creating;
            self.newcomers.left(conn.address.ip(), id);
        }
        self.await_refusal(session, Resumer::Client(id, is_right));
        Handshake::Done
    }

    /// A learner asks about a session that this leader does not know.
    ///
    /// # Errors
    /// A [`Violation`] when too many wait.
    pub(super) fn deny_once_it_leads(
        &mut self,
        link: LinkId,
        session: SessionId,
        timeout_ms: i32,
    ) -> Result<(), Violation> {
        if self.refusals.of_learners >= LEARNERS_REFUSALS_MAX {
            return Err(Violation(format!(
                "{LEARNERS_REFUSALS_MAX} questions about sessions wait, which is the limit"
            )));
        }
        self.refusals.of_learners += 1;
        self.await_refusal(session, Resumer::Learner(link, timeout_ms));
        Ok(())
    }

    fn await_refusal(&mut self, session: SessionId, resumer: Resumer) {
        let token = self.question();
        self.refusals.waiting.push_back(AwaitedRefusal { token, session, resumer });
    }

    /// A quorum has answered this question, and so all before it.
    pub(super) fn refuse_upto(&mut self, token: u64) {
        while self.refusals.waiting.front().is_some_and(|refusal| refusal.token <= token)
            && let Some(AwaitedRefusal { session, resumer, .. }) = self.refusals.waiting.pop_front()
        {
            match resumer {
                Resumer::Client(id, _) if !self.conns.is_open(id) => {}
                // It has begun meanwhile: its client shall come again.
                Resumer::Client(id, true)
                    if self.has_session(session) || self.is_ending(session) || self.remote.is_beginning(session) =>
                {
                    self.close(id, CloseReason::NotServing);
                }
                Resumer::Client(id, _) => self.refuse_session(id, session),
                Resumer::Learner(link, timeout_ms) => {
                    self.refusals.of_learners -= 1;
                    if self.remote.is_there(link) && !self.is_answered(link, session, timeout_ms) {
                        self.answer_learner(link, session, false);
                    }
                }
            }
        }
    }
}
