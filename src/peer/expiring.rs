//! Sessions that this process has asked to expire, and the threads that wait until they have ended.
//!
//! Where writes are decided here the end is a transaction of ours; on a follower it is the leader's. Either may be lost with
//! the leader's office. So what counts is whether the session is in our table, and each time that this server takes up a
//! duty it asks anew for those that are.

use super::answer::Answer;
use crate::engine::{Duty, Engine};
use crate::ids::SessionId;

struct Expiring {
    session: SessionId,
    reply: Answer<bool>,
    /// The duty under which its end was asked for.
    asked_under: Option<Duty>,
}

/// All of them, oldest first.
#[derive(Default)]
pub(super) struct Expirings {
    waiting: Vec<Expiring>,
}

impl Expirings {
    /// Somebody wants this session to end, and to be told when it has; false where there is none.
    pub(super) fn push(&mut self, session: SessionId, reply: Answer<bool>) {
        self.waiting.push(Expiring { session, reply, asked_under: None });
    }

    /// Asks for the ends that have not been asked for under this duty. Without a leader no server knows which sessions there
    /// are: they wait for one.
    pub(super) fn ask(&mut self, engine: &mut Engine) {
        let duty = engine.duty();
        if matches!(duty, Duty::None | Duty::ReadOnly) {
            return;
        }
        for mut one in std::mem::take(&mut self.waiting) {
            if one.asked_under != Some(duty) {
                if engine.expire(one.session) {
                    one.asked_under = Some(duty);
                } else if one.asked_under.is_none() && !engine.epoch_is_used_up() {
                    one.reply.give(false);
                    continue;
                }
            }
            self.waiting.push(one);
        }
    }

    /// Tells the threads that wait for a session that has ended.
    pub(super) fn answer(&mut self, engine: &Engine) {
        if self.waiting.is_empty() || engine.is_applying() {
            return;
        }
        let (over, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|one| one.asked_under.is_some() && !engine.has_session(one.session));
        self.waiting = waiting;
        over.into_iter().for_each(|one| one.reply.give(true));
    }
}
