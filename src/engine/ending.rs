//! Sessions whose end is proposed: whether they are over is not known before that is committed, so a request about them waits.
//!
//! A client that is told that its session has expired gives up what it holds. The proposal may still come to nothing, with
//! the leader that made it; then the session and its ephemerals live on (S-35).

use std::collections::BTreeMap;

use super::Engine;
use super::caller::Requester;
use super::conn::{ConnId, ConnPhase};
use super::handshake::Handshake;
use crate::ids::SessionId;

/// The requesters that wait to hear whether a session is over.
#[derive(Default)]
pub(super) struct EndingSessions(BTreeMap<SessionId, Vec<Requester>>);

impl Engine {
    /// Whether the end of a session is under way.
    pub(crate) fn is_ending(&self, session: SessionId) -> bool {
        let is_closing = self.state.sessions.get(session).is_some_and(|session| session.closing);
        is_closing || self.remote.ends_before_it_began(session)
    }

    /// A client wants to go on with such a session.
    pub(super) fn wait_for_the_end(&mut self, id: ConnId, session: SessionId) -> Handshake {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = ConnPhase::Creating;
            self.newcomers.left(conn.address.ip(), id);
        }
        self.tell_of_the_end(session, Requester::Client(id));
        Handshake::Done
    }

    /// Tells the requester once it is known, and only once.
    pub(super) fn tell_of_the_end(&mut self, session: SessionId, requester: Requester) {
        let waiting = self.ending.0.entry(session).or_default();
        if !waiting.contains(&requester) {
            waiting.push(requester);
        }
    }

    /// The session is over.
    pub(super) fn end_is_certain(&mut self, session: SessionId) {
        for requester in self.ending.0.remove(&session).unwrap_or_default() {
            match requester {
                Requester::Client(id) => {
                    if self.conns.is_open(id) {
                        self.refuse_session(id, session);
                    }
                }
                Requester::Learner(link) => self.answer_learner(link, session, false),
            }
        }
    }

    /// No end has come of what was proposed: sessions live on, and the last requester of each has it. Those whose beginning has come
    /// to nothing as well never were.
    pub(super) fn ends_are_off(&mut self) {
        for (session, waiting) in std::mem::take(&mut self.ending.0) {
            let is_live = self.state.sessions.is_live(session);
            for requester in waiting {
                match requester {
                    Requester::Client(id) if !self.conns.is_open(id) => {}
                    Requester::Client(id) if is_live => self.resumed(id, session),
                    Requester::Client(id) => self.refuse_session(id, session),
                    Requester::Learner(link) if is_live => self.moves_to(link, session),
                    Requester::Learner(link) => self.answer_learner(link, session, false),
                }
            }
        }
    }
}
