//! Sessions: who is alive, until when, and who may resume which.

use std::collections::{BTreeMap, HashMap};

use crate::ids::{Millis, ServerId, SessionId};
use crate::plant::{self, Plant};

#[cfg(test)]
mod model;
mod password;

pub(crate) use password::same_bytes;
pub use password::{PASSWORD_SIZE, Passwords};

/// The value that marks container znodes; no session may have it.
const CONTAINER_MARK: i64 = i64::MIN;

/// What is known of a session.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Granted timeout, ms.
    pub timeout_ms: i32,
    /// Set when its end has been proposed: nothing of it is accepted any more (S-28, SC-37).
    pub closing: bool,
    /// When it expires, in ticks.
    deadline: u64,
    /// The bucket that holds it, in ticks; it may lie before the deadline.
    bucket: u64,
}

/// All sessions, and the buckets in which they expire.
///
/// Deadlines are rounded up to a tick, so that all sessions of a tick expire together. A touch only moves the deadline;
/// the bucket follows when it comes due, so a touch costs no more than a look-up.
#[derive(Debug)]
pub struct Sessions {
    tick_ms: u64,
    sessions: HashMap<SessionId, Session>,
    buckets: BTreeMap<u64, Vec<SessionId>>,
    next_id: i64,
    /// The highest id ever issued here or seen in the history, so that none is issued twice (S-27).
    highest_id: i64,
    server_id: ServerId,
}

impl Sessions {
    /// No sessions. `tick_ms` is the width of a bucket.
    pub fn new(server_id: ServerId, tick_ms: u64) -> Sessions {
        Sessions {
            tick_ms: tick_ms.max(1),
            sessions: HashMap::new(),
            buckets: BTreeMap::new(),
            next_id: 0,
            highest_id: 0,
            server_id,
        }
    }

    /// Begins to issue ids from the wall clock, but above everything seen so far, and gives every session a full
    /// timeout (G-10).
    pub fn activate(&mut self, now: Millis, wall_ms: i64) {
        let clock = ((wall_ms & 0xff_ffff_ffff) << 16) | ((self.server_id.0 as i64 & 0xff) << 56);
        self.next_id = clock.max(self.highest_id.wrapping_add(1));
        self.buckets.clear();
        let tick_ms = self.tick_ms;
        for (&id, session) in &mut self.sessions {
            session.deadline = deadline(now, session.timeout_ms, tick_ms);
            session.bucket = session.deadline;
            self.buckets.entry(session.bucket).or_default().push(id);
        }
        // The order of a hash map must not become the order in which sessions end.
        self.buckets.values_mut().for_each(|ids| ids.sort_unstable());
    }

    /// An id that was never issued before and cannot be taken for a container or TTL mark.
    pub fn new_id(&mut self) -> SessionId {
        while matches!(self.next_id, 0 | CONTAINER_MARK) || (self.next_id >> 56) as u8 == 0xff {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.highest_id = self.highest_id.max(id);
        SessionId(id)
    }

    /// The highest id seen, for the snapshot.
    pub fn highest_id(&self) -> i64 {
        self.highest_id
    }

    /// Takes note of an id in the history.
    pub fn saw(&mut self, highest_id: i64) {
        self.highest_id = self.highest_id.max(highest_id);
    }

    /// The session, if it is alive or closing.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// Whether requests of it are accepted.
    pub fn is_live(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| !session.closing)
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// All of them, in order of their ids.
    pub fn sorted(&self) -> Vec<(SessionId, Session)> {
        let mut all: Vec<(SessionId, Session)> = self.sessions.iter().map(|(&id, session)| (id, *session)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// Forgets all of them, as before loading a snapshot.
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.buckets.clear();
    }

    /// Begins or overwrites a session.
    pub fn begin(&mut self, now: Millis, id: SessionId, timeout_ms: i32) {
        let deadline = deadline(now, timeout_ms, self.tick_ms);
        self.highest_id = self.highest_id.max(id.0);
        let session = Session { timeout_ms, closing: false, deadline, bucket: deadline };
        self.sessions.insert(id, session);
        self.buckets.entry(deadline).or_default().push(id);
    }

    /// It ended. Whatever bucket names it is told so when it comes due.
    pub fn end(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    /// Its end was proposed.
    pub fn set_closing(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.closing = true;
        }
    }

    /// Its end was proposed, but nothing came of it.
    pub fn clear_closing(&mut self) {
        for session in self.sessions.values_mut() {
            session.closing = false;
        }
    }

    /// A sign of life. False if there is no such session, or it is closing.
    pub fn touch(&mut self, now: Millis, id: SessionId) -> bool {
        let tick_ms = self.tick_ms;
        match self.sessions.get_mut(&id) {
            Some(_) if plant::on(Plant::TouchForgotten) => true,
            Some(session) if !session.closing => {
                session.deadline = session.deadline.max(deadline(now, session.timeout_ms, tick_ms));
                true
            }
            _ => false,
        }
    }

    /// Grants another timeout, as a resuming client asked.
    pub fn set_timeout(&mut self, now: Millis, id: SessionId, timeout_ms: i32) {
        let tick_ms = self.tick_ms;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.timeout_ms = timeout_ms;
        session.deadline = deadline(now, timeout_ms, tick_ms);
        // A shorter timeout must not wait for the bucket of the longer one.
        if session.deadline < session.bucket {
            session.bucket = session.deadline;
            self.buckets.entry(session.bucket).or_default().push(id);
        }
    }

    /// When to call [`Sessions::expired`] next.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.buckets.keys().next().map(|&tick| Millis(tick.saturating_mul(self.tick_ms)))
    }

    /// Up to `max` sessions whose deadline has passed. They stay in the table until their end is committed; call
    /// again at once when `max` came back (SC-43).
    pub fn expired(&mut self, now: Millis, max: usize) -> Vec<SessionId> {
        let due = now.0 / self.tick_ms;
        let mut expired = Vec::new();
        let mut looked = 0;
        while let Some(mut entry) = self.buckets.first_entry() {
            let tick = *entry.key();
            if tick > due {
                break;
            }
            let Some(id) = entry.get_mut().pop() else {
                entry.remove();
                continue;
            };
            looked += 1;
            if let Some(session) = self.sessions.get_mut(&id)
                && session.bucket == tick
            {
                // A session whose end is under way stays in sight, in case that end is taken back. The bucket changes at
                // once, because the old one may name the session twice.
                session.bucket = session.deadline.max(due + 1);
                let bucket = session.bucket;
                self.buckets.entry(bucket).or_default().push(id);
                if session.deadline <= due && !session.closing {
                    expired.push(id);
                }
            }
            if expired.len() >= max || looked >= 20 * max {
                break;
            }
        }
        expired
    }

    /// Expiry buckets in order: the moment each comes due and the sessions that are named there. For `dump`.
    pub fn buckets(&self) -> impl Iterator<Item = (Millis, Vec<SessionId>)> {
        let mut by_deadline: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for (&id, session) in &self.sessions {
            by_deadline.entry(session.deadline).or_default().push(id);
        }
        let tick_ms = self.tick_ms;
        by_deadline.into_iter().map(move |(tick, mut ids)| {
            ids.sort_unstable();
            (Millis(tick.saturating_mul(tick_ms)), ids)
        })
    }
}

fn deadline(now: Millis, timeout_ms: i32, tick_ms: u64) -> u64 {
    let timeout_ms = if plant::on(Plant::ExpireEarly) { timeout_ms / 2 } else { timeout_ms };
    now.plus(u64::try_from(timeout_ms).unwrap_or(0)).0 / tick_ms + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(0x100_0000_0000_0001);

    fn sessions() -> Sessions {
        let mut sessions = Sessions::new(ServerId(1), 100);
        sessions.activate(Millis(0), 1_700_000_000_000);
        sessions
    }

    #[test]
    fn a_session_lives_for_its_timeout_and_at_most_a_tick_longer() {
        // G-10, S-35, L-05
        let mut sessions = sessions();
        sessions.begin(Millis(50), A, 1000);
        assert!(sessions.expired(Millis(1050), 10).is_empty());
        assert_eq!(sessions.expired(Millis(1150), 10), [A]);
    }

    #[test]
    fn a_touch_gives_a_full_timeout_again() {
        let mut sessions = sessions();
        sessions.begin(Millis(0), A, 1000);
        assert!(sessions.touch(Millis(900), A));
        assert!(sessions.expired(Millis(1200), 10).is_empty());
        assert!(sessions.expired(Millis(1900), 10).is_empty());
        assert_eq!(sessions.expired(Millis(2100), 10), [A]);
        sessions.set_closing(A);
        assert!(!sessions.touch(Millis(2100), A), "a closing session cannot be saved");
        sessions.end(A);
        assert!(sessions.expired(Millis(9000), 10).is_empty());
        assert_eq!(sessions.poll_timeout(), None);
    }

    #[test]
    fn a_session_is_offered_again_while_its_end_is_not_committed() {
        let mut sessions = sessions();
        sessions.begin(Millis(0), A, 1000);
        assert_eq!(sessions.expired(Millis(1100), 10), [A]);
        assert_eq!(sessions.expired(Millis(1200), 10), [A]);
    }

    #[test]
    fn a_shorter_timeout_counts_at_once() {
        let mut sessions = sessions();
        sessions.begin(Millis(0), A, 60_000);
        sessions.set_timeout(Millis(0), A, 1000);
        assert_eq!(sessions.expired(Millis(1100), 10), [A]);
    }

    #[test]
    fn a_session_that_was_shortened_and_lengthened_is_offered_once() {
        let mut sessions = sessions();
        sessions.begin(Millis(0), A, 3000);
        sessions.set_timeout(Millis(0), A, 1000);
        sessions.set_timeout(Millis(0), A, 3000);
        assert_eq!(sessions.expired(Millis(1100), 10), []);
        assert_eq!(sessions.expired(Millis(3100), 10), [A]);
    }

    #[test]
    fn a_flood_of_expiries_comes_in_slices() {
        // SC-43, R-33
        let mut sessions = sessions();
        for i in 1..=5000 {
            sessions.begin(Millis(0), SessionId(i), 1000);
        }
        let mut seen = 0;
        while !sessions.is_empty() {
            let slice = sessions.expired(Millis(1100), 100);
            assert!(slice.len() <= 100 && !slice.is_empty());
            seen += slice.len();
            slice.into_iter().for_each(|id| sessions.end(id));
        }
        assert_eq!(seen, 5000);
    }

    #[test]
    fn ids_are_never_issued_twice_and_never_look_like_marks() {
        // S-27, SC-45, F-12: not even when the clock goes back over a restart.
        let mut sessions = sessions();
        let first = sessions.new_id();
        let mut later = Sessions::new(ServerId(1), 100);
        later.saw(sessions.highest_id());
        later.activate(Millis(0), 1_000_000_000_000);
        assert!(later.new_id() > first);
        let mut edge = Sessions::new(ServerId(0), 100);
        edge.activate(Millis(0), 0);
        assert_ne!(edge.new_id(), SessionId(0));
        edge.next_id = CONTAINER_MARK;
        assert_ne!(edge.new_id().0, CONTAINER_MARK);
    }

    #[test]
    fn a_new_leader_gives_everybody_a_full_timeout() {
        let mut sessions = sessions();
        sessions.begin(Millis(0), A, 1000);
        sessions.activate(Millis(5000), 1_700_000_000_000);
        assert!(sessions.expired(Millis(6000), 10).is_empty());
        assert_eq!(sessions.expired(Millis(6100), 10), [A]);
    }
}
