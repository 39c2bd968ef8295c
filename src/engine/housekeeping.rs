//! What happens by itself: expiry, removal of containers and expired znodes, overdue handshakes.

use super::Engine;
use super::conn::{CloseReason, ConnId, Phase};
use crate::ids::{Millis, SessionId, WallMillis};
use crate::plant::{self, Plant};

/// Sessions expired in one turn; the rest in the next.
const EXPIRIES_PER_TURN_MAX: usize = 500;
/// Sessions looked at before what that cost is.
const EXPIRIES_AT_ONCE: usize = 4;
/// Delayed handshakes are offered again this often, ms.
const ARRIVALS_RETRY_MS: u64 = 50;

impl Engine {
    /// Does what is due. Returns whether more is due at once.
    pub fn tick(&mut self) -> bool {
        self.close_overdue_handshakes();
        if !self.serving {
            return false;
        }
        if self.sessions.poll_timeout().is_some_and(|due| due <= self.now) {
            self.touch_the_kept_alive();
            self.touch_the_held(self.now);
        }
        // What they would change is being decided on.
        if self.work.deciding.is_some() {
            return false;
        }
        self.work.begin();
        let mut count = 0;
        let is_more = loop {
            let now = match plant::on(Plant::ExpireByWall) {
                true => Millis(u64::try_from(self.wall.0 - 1_700_000_000_000).unwrap_or(0)),
                false => self.now,
            };
            if plant::on(Plant::ExpireNever) {
                break false;
            }
            let expired = self.sessions.expired(now, EXPIRIES_AT_ONCE);
            for &session in &expired {
                log::info!("session {session} expired");
                self.counters.expired += 1;
                self.propose_expiry(session);
            }
            count += expired.len();
            if expired.len() < EXPIRIES_AT_ONCE {
                break false;
            }
            if count >= EXPIRIES_PER_TURN_MAX || self.work.is_spent() {
                break true;
            }
        };
        if self.now >= self.next_reaping && !self.work.is_deciding() && !self.work.is_applying() {
            self.reap();
        }
        is_more
    }

    /// Ends a session as its timeout would, only now. False when there is none of that id (any more).
    pub fn expire(&mut self, session: SessionId) -> bool {
        if !self.serving || !self.sessions.is_live(session) {
            return false;
        }
        log::info!("session {session} is expired on request");
        self.counters.expired += 1;
        self.start_deciding_over();
        self.propose_expiry(session);
        true
    }

    /// Cuts a session's connection, if it has one; the session lives on. False when there is none of that id (any more).
    pub fn disconnect(&mut self, session: SessionId) -> bool {
        if !self.sessions.is_live(session) {
            return false;
        }
        if let Some(&id) = self.owners.get(&session) {
            log::info!("the connection of session {session} is cut on request");
            self.close(id, CloseReason::Cut);
        }
        true
    }

    /// When [`Engine::tick`] has something to do, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Millis> {
        let handshake = self.handshakes.front().map(|&(deadline, _)| deadline);
        if !self.serving {
            return handshake;
        }
        [handshake, self.sessions.poll_timeout(), Some(self.next_reaping)].into_iter().flatten().min()
    }

    /// When a connection whose handshake was delayed is worth another try, ms from now.
    pub fn arrivals_retry_ms(&self) -> u64 {
        ARRIVALS_RETRY_MS
    }

    fn touch_the_kept_alive(&mut self) {
        for id in &self.kept_alive {
            if let Some(conn) = self.conns.get(*id).filter(|conn| conn.close.is_none()) {
                self.sessions.touch(self.now, conn.session);
            }
        }
    }

    ///
    fn close_overdue_handshakes(&mut self) {
        while let Some(&(deadline, id)) = self.handshakes.front() {
            let waiting = self.waits_for_handshake(id);
            if waiting && deadline > self.now {
                return;
            }
            self.handshakes.pop_front();
            if waiting {
                self.counters.handshakes_overdue += 1;
                let why = format!("no handshake within {} ms", self.settings.limits.handshake_ms);
                self.close(id, CloseReason::Violation(why));
            }
        }
    }

    fn waits_for_handshake(&self, id: ConnId) -> bool {
        self.conns
            .get(id)
            .is_some_and(|conn| conn.session == SessionId::NONE && conn.close.is_none() && conn.phase == Phase::New)
    }

    /// At most so many per minute, spread over the looks in a minute.
    fn reap(&mut self) {
        let interval = self.settings.container_check_interval_ms.max(1);
        self.next_reaping = self.now.plus(interval);
        let per_look = (self.settings.container_max_per_minute.saturating_mul(interval) / 60_000).max(1);
        let max = usize::try_from(per_look.min(self.settings.container_max_per_minute)).unwrap_or(usize::MAX);
        let wall = if plant::on(Plant::ReapEarly) { WallMillis(self.wall.0 + 1500) } else { self.wall };
        let max = if plant::on(Plant::ReapNever) { 0 } else { max };
        for path in self.tree.reapable(wall, max, self.settings.container_never_used_max_ms) {
            self.propose_reaping(&path);
        }
    }
}
