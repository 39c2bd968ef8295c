//! What happens by itself: expiry, removal of containers and expired znodes, overdue handshakes.

use super::conn::{CloseReason, ConnId};
use super::{Duty, Engine};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, SessionId, WallMillis};

/// Sessions expired in one turn; the rest in the next.
const EXPIRIES_PER_TURN_MAX: usize = 500;
/// Sessions looked at before what that cost is.
const EXPIRIES_AT_ONCE: usize = 4;
/// Delayed handshakes are offered again this often, ms.
const ARRIVALS_RETRY_MS: u64 = 50;

impl Engine {
    /// Does what is due. Returns whether more is due at once.
    ///
    /// Everything that clients have sent must have been taken in before, because a session that has not been heard expires.
    pub fn tick(&mut self) -> bool {
        self.tick_hearing(&mut |_| false)
    }

    /// The same, but `has_sent` tells of a connection whether its client has sent something that was not taken in yet:
    /// a client that the server lets wait is not silent.
    pub fn tick_hearing(&mut self, has_sent: &mut dyn FnMut(ConnId) -> bool) -> bool {
        self.close_overdue_handshakes();
        let is_more_local = self.expire_the_local(has_sent);
        let is_more = match self.duty {
            Duty::Alone { .. } | Duty::Decide { .. } => self.expire_the_silent(has_sent),
            Duty::Forward { .. } if failpoint::on(Failpoint::FollowerExpires) => {
                let due = self.state.sessions.expired(self.clock.listened(), 1);
                due.into_iter().for_each(|session| self.forward_expiry(session));
                false
            }
            // Only a leader expires what others know too.
            Duty::Forward { .. } | Duty::ReadOnly | Duty::None => false,
        };
        self.tick_unheard();
        is_more || is_more_local
    }

    /// What is due even when it is not known yet which clients are silent.
    pub fn tick_unheard(&mut self) {
        let silent_max = self.settings.limits.sessionless_max;
        for (id, why) in self.newcomers.make_room(self.clock.now, &self.conns, silent_max) {
            self.close(id, CloseReason::Violation(why));
        }
        let may_reap = self.duty.decides() && !self.is_deciding() && !self.work.is_applying();
        if may_reap && self.clock.now >= self.next_reaping {
            self.reap();
        }
    }

    /// Whether a session has been silent for too long, as far as is known.
    pub fn silence_is_due(&mut self) -> bool {
        self.newcomers.forget_finished(&self.conns);
        self.silence_due_at().is_some_and(|at| at <= self.clock.now)
    }

    fn silence_due_at(&self) -> Option<Millis> {
        let session = self.state.sessions.poll_timeout().filter(|_| self.duty.decides());
        let first = [self.newcomers.poll_timeout(), session, self.local.poll_timeout()].into_iter().flatten().min()?;
        Some(self.clock.of_listened(first))
    }

    fn expire_the_silent(&mut self, has_sent: &mut dyn FnMut(ConnId) -> bool) -> bool {
        let listened = self.clock.listened();
        if self.state.sessions.poll_timeout().is_some_and(|due| due <= listened) {
            self.touch_the_kept_alive();
            self.touch_the_held(listened);
        }
        // What they would change is being decided on.
        if self.work.deciding.is_some() {
            return false;
        }
        self.spent.begin();
        let mut count = 0;
        loop {
            let now = match failpoint::on(Failpoint::ExpireByWall) {
                true => Millis(u64::try_from(self.clock.wall.0 - 1_700_000_000_000).unwrap_or(0)),
                false => listened,
            };
            if failpoint::on(Failpoint::ExpireNever) {
                return false;
            }
            if self.epoch_is_used_up() {
                return false;
            }
            let due = self.state.sessions.expired(now, EXPIRIES_AT_ONCE);
            for &session in &due {
                if self.conns.owner_of(session).is_some_and(&mut *has_sent) {
                    self.state.sessions.touch(listened, session);
                    continue;
                }
                let line = || format!("session {session} expired");
                self.conns.complaints.say_at(log::Level::Info, self.clock.now, "session expired", line);
                self.counters.expired += 1;
                self.propose_expiry(session);
            }
            count += due.len();
            if due.len() < EXPIRIES_AT_ONCE {
                return false;
            }
            if count >= EXPIRIES_PER_TURN_MAX || self.spent.is_over() {
                return true;
            }
        }
    }

    /// Whether there is a session of that id here, also one whose end is under way.
    pub fn has_session(&self, session: SessionId) -> bool {
        self.state.sessions.get(session).is_some() || self.local.get(session).is_some()
    }

    /// Ends a session as its timeout would, only now. False when there is none of that id (any more).
    pub fn expire(&mut self, session: SessionId) -> bool {
        if self.end_local(session) {
            return true;
        }
        if !self.state.sessions.is_live(session) || self.epoch_is_used_up() {
            return false;
        }
        match self.duty {
            Duty::Alone { .. } | Duty::Decide { .. } => {
                self.counters.expired += 1;
                self.start_deciding_over();
                self.propose_expiry(session);
            }
            Duty::Forward { .. } => self.forward_expiry(session),
            Duty::ReadOnly | Duty::None => return false,
        }
        log::info!("session {session} is expired on request");
        true
    }

    /// Cuts a session's connection, if it has one; the session lives on. False when there is none of that id (any more).
    pub fn disconnect(&mut self, session: SessionId) -> bool {
        if !self.table_of(session).is_live(session) {
            return false;
        }
        if let Some(id) = self.conns.owner_of(session) {
            log::info!("the connection of session {session} is cut on request");
            self.close(id, CloseReason::Cut);
        }
        true
    }

    /// When [`Engine::tick`] has something to do, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Millis> {
        let reaping = self.duty.decides().then_some(self.next_reaping);
        [self.silence_due_at(), reaping].into_iter().flatten().min()
    }

    /// When a connection whose handshake was delayed is worth another try, ms from now.
    pub fn arrivals_retry_ms(&self) -> u64 {
        ARRIVALS_RETRY_MS
    }

    fn touch_the_kept_alive(&mut self) {
        let listened = self.clock.listened();
        for session in self.conns.kept_alive_sessions() {
            self.state.sessions.touch(listened, session);
        }
    }

    ///
    fn close_overdue_handshakes(&mut self) {
        while let Some(id) = self.newcomers.next_overdue(self.clock.listened(), &self.conns) {
            self.counters.handshakes_overdue += 1;
            let why = format!("no handshake within {} ms", self.settings.limits.handshake_ms);
            self.close(id, CloseReason::Violation(why));
        }
    }

    /// At most so many per minute, spread over the looks in a minute.
    fn reap(&mut self) {
        let interval = self.settings.container_check_interval_ms.max(1);
        self.next_reaping = self.clock.now.plus(interval);
        let per_look = (self.settings.container_max_per_minute.saturating_mul(interval) / 60_000).max(1);
        let max = usize::try_from(per_look.min(self.settings.container_max_per_minute)).unwrap_or(usize::MAX);
        let wall =
            if failpoint::on(Failpoint::ReapEarly) { WallMillis(self.clock.wall.0 + 1500) } else { self.clock.wall };
        let max = if failpoint::on(Failpoint::ReapNever) { 0 } else { max };
        for path in self.state.tree.reapable(wall, max, self.settings.container_never_used_max_ms) {
            if self.epoch_is_used_up() {
                break;
            }
            self.propose_reaping(&path);
        }
    }
}
