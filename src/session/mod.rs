//! Sessions: who is alive, until when, and who may resume which.

use std::collections::BTreeMap;

use crate::failpoint::{self, Failpoint};
use crate::hash::IdMap;
use crate::ids::{Millis, ServerId, SessionId};

#[cfg(test)]
mod model;
mod password;

pub(crate) use password::same_bytes;
pub use password::{PASSWORD_SIZE, Passwords, SessionPasswords, SessionSecret};

/// The value that marks container znodes; no session may have it.
const CONTAINER_MARK: i64 = i64::MIN;
/// Owners with this prefix above these bits are times to live.
const TTL_PREFIX: u64 = 0xff_0000;
const TTL_BITS: u32 = 40;
/// The bits of an id below the server's byte.
const COUNTER_MASK: u64 = u64::MAX >> 8;

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
    sessions: IdMap<SessionId, Session>,
    buckets: BTreeMap<u64, Vec<SessionId>>,
    next_id: SessionId,
    /// Per server, by the first byte of its ids: the highest id issued or seen in the history, so that none is issued
    /// twice (S-27). The ids of one server say nothing about those of another.
    highest: BTreeMap<u8, SessionId>,
    server_id: ServerId,
}

impl Sessions {
    /// No sessions. `tick_ms` is the width of a bucket.
    pub fn new(server_id: ServerId, tick_ms: u64) -> Sessions {
        Sessions {
            tick_ms: tick_ms.max(1),
            sessions: IdMap::default(),
            buckets: BTreeMap::new(),
            next_id: SessionId::NONE,
            highest: BTreeMap::new(),
            server_id,
        }
    }

    /// Begins to issue ids from the wall clock, but above everything seen so far of this server, and gives every session
    /// a full timeout (G-10).
    ///
    /// What was seen need not be all that was issued: a server that has lost its file knows only the sessions that still live.
    /// So where the clock was set back it goes on some seconds later, and not as many each time.
    ///
    /// Source: ZooKeeper 3.9 `SessionTrackerImpl.initializeNextSessionId`.
    pub fn activate(&mut self, now: Millis, wall_ms: i64) {
        let server = if failpoint::on(Failpoint::IdsOfNeighbour) { 0 } else { self.server_id.0 as u8 };
        let clock = id_of(server, (wall_ms as u64 & 0xff_ffff_ffff) << 16);
        // Both have the same first byte, so the sign, which that byte sets, does not matter.
        self.next_id = self.highest.get(&server).map_or(clock, |&highest| match clock > highest {
            true => clock,
            false => later_millisecond(highest, wall_ms),
        });
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
        let mut id = self.next_id;
        while id == SessionId::NONE || id.0 == CONTAINER_MARK || self.sessions.contains_key(&id) {
            id = following(id);
        }
        if id.0 as u64 >> TTL_BITS == TTL_PREFIX {
            // All of these are TTL marks: they are passed in one step.
            id = SessionId(((TTL_PREFIX + 1) << TTL_BITS) as i64);
        }
        self.next_id = following(id);
        self.saw(id);
        id
    }

    /// Whether an id is one of those that this server gives.
    pub fn are_issued_here(&self, id: SessionId) -> bool {
        server_of(id) == self.server_id.0 as u8
    }

    /// The highest id seen of each server, for the snapshot.
    pub fn highest_ids(&self) -> impl Iterator<Item = SessionId> {
        self.highest.values().copied()
    }

    /// Takes note of an id in the history.
    pub fn saw(&mut self, id: SessionId) {
        let highest = self.highest.entry(server_of(id)).or_insert(id);
        *highest = id.max(*highest);
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
        self.saw(id);
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
            Some(_) if failpoint::on(Failpoint::TouchForgotten) => true,
            Some(session) if !session.closing => {
                session.deadline = session.deadline.max(deadline(now, session.timeout_ms, tick_ms));
                true
            }
            _ => false,
        }
    }

    /// A sign of life that another server heard, and the timeout that it granted.
    pub fn touch_for(&mut self, now: Millis, id: SessionId, timeout_ms: i32) {
        let tick_ms = self.tick_ms;
        if let Some(session) = self.sessions.get_mut(&id)
            && !session.closing
        {
            session.deadline = session.deadline.max(deadline(now, timeout_ms, tick_ms));
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

/// Whether a session may have this id: it is neither nobody's nor a mark of containers or times to live (S-27).
pub(crate) fn may_be_issued(id: SessionId) -> bool {
    id != SessionId::NONE && id.0 != CONTAINER_MARK && id.0 as u64 >> TTL_BITS != TTL_PREFIX
}

fn id_of(server: u8, counter: u64) -> SessionId {
    SessionId((u64::from(server) << 56 | counter & COUNTER_MASK) as i64)
}

/// The server that issued an id.
fn server_of(id: SessionId) -> u8 {
    (id.0 as u64 >> 56) as u8
}

/// The next id of the same server.
fn following(id: SessionId) -> SessionId {
    id_of(server_of(id), id.0 as u64 + 1)
}

/// The first id of a millisecond 4 to 70 s after that of `id`, at the same server; which one depends on the clock. So many ids are not
/// issued in a row, and whoever goes on from here another time begins elsewhere.
fn later_millisecond(id: SessionId, wall_ms: i64) -> SessionId {
    let later_ms = 4096 + (wall_ms as u64 & 0xffff);
    id_of(server_of(id), ((id.0 as u64 >> 16) + later_ms) << 16)
}

fn deadline(now: Millis, timeout_ms: i32, tick_ms: u64) -> u64 {
    let timeout_ms = if failpoint::on(Failpoint::ExpireEarly) { timeout_ms / 2 } else { timeout_ms };
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

    const WALL_MS: i64 = 1_700_000_000_000;

    #[test]
    fn ids_are_zookeepers_for_every_server_id() {
        // S-27: the server in the first byte, 40 bits of its clock in the next five, then a count.
        for server in [0u64, 1, 127, 128, 255] {
            let mut sessions = Sessions::new(ServerId(server), 100);
            sessions.activate(Millis(0), WALL_MS);
            let first = sessions.new_id().0 as u64;
            assert_eq!(first, server << 56 | (WALL_MS as u64 & 0xff_ffff_ffff) << 16, "{first:#x}");
            assert_eq!(sessions.new_id().0 as u64, first + 1);
        }
    }

    #[test]
    fn ids_are_never_issued_twice_even_when_the_clock_goes_back() {
        // S-27, SC-45, F-12
        for server in [0, 1, 127, 128, 255] {
            let mut sessions = Sessions::new(ServerId(server), 100);
            sessions.activate(Millis(0), WALL_MS);
            let last = (0..10).map(|_| sessions.new_id()).last().unwrap();
            let mut later = Sessions::new(ServerId(server), 100);
            sessions.highest_ids().for_each(|id| later.saw(id));
            later.activate(Millis(0), 1_000_000);
            let ms_later = (later.new_id().0 as u64 >> 16) - (last.0 as u64 >> 16);
            assert!((4000..70_000).contains(&ms_later), "server {server}: {ms_later}");
        }
    }

    #[test]
    fn ids_are_never_issued_twice_when_the_file_is_lost_and_the_clock_goes_back() {
        // S-27, SC-45, F-12: of three sessions the others know the first, which still lives.
        for server in [0, 1, 127, 128, 255] {
            let mut sessions = Sessions::new(ServerId(server), 100);
            sessions.activate(Millis(0), WALL_MS);
            let issued = [(); 3].map(|()| sessions.new_id());
            let mut refilled = Sessions::new(ServerId(server), 100);
            refilled.begin(Millis(0), issued[0], 1000);
            refilled.activate(Millis(0), WALL_MS - 5000);
            let again = [(); 3].map(|()| refilled.new_id());
            // These have ended as well, and it loses its file once more.
            refilled = Sessions::new(ServerId(server), 100);
            refilled.begin(Millis(0), issued[0], 1000);
            refilled.activate(Millis(0), WALL_MS - 4000);
            let once_more = [(); 3].map(|()| refilled.new_id());
            let mut all = [issued, again, once_more].concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 9, "server {server}");
        }
    }

    #[test]
    fn the_ids_of_other_servers_do_not_push_ours() {
        for server in [0u64, 1, 127, 128, 254] {
            let mut sessions = Sessions::new(ServerId(server), 100);
            for other in [0u64, 2, 126, 129, 255] {
                sessions.saw(SessionId((other << 56 | 0xff_ffff_ffff_fff0) as i64));
                sessions.begin(Millis(0), SessionId((other << 56 | 0xff_ffff_ffff_fff1) as i64), 1000);
            }
            sessions.activate(Millis(0), WALL_MS);
            if server != 0 {
                let expected = server << 56 | (WALL_MS as u64 & 0xff_ffff_ffff) << 16;
                assert_eq!(sessions.new_id().0 as u64, expected, "server {server}");
            }
        }
    }

    #[test]
    fn ids_never_look_like_marks() {
        // S-27: 0 is nobody, the smallest number is a container, 0xff0000 begins a time to live.
        let first_of = |server, highest: u64| {
            let mut sessions = Sessions::new(ServerId(server), 100);
            sessions.saw(SessionId(highest as i64));
            sessions.activate(Millis(0), 0);
            sessions.new_id().0 as u64
        };
        let fresh_of = |server| {
            let mut sessions = Sessions::new(ServerId(server), 100);
            sessions.activate(Millis(0), 0);
            sessions.new_id().0 as u64
        };
        assert_eq!(fresh_of(0), 1);
        assert_eq!(fresh_of(128), 0x8000_0000_0000_0001);
        assert_eq!(fresh_of(255), 0xff00_0100_0000_0000);
        assert_eq!(first_of(255, 0xff00_0012_3456_7890), 0xff00_0100_0000_0000);
        // At the end of its range a server begins again, and passes over the sessions that live.
        let mut sessions = Sessions::new(ServerId(128), 100);
        sessions.next_id = SessionId(0x80ff_ffff_ffff_ffff_u64 as i64);
        assert_eq!([(); 2].map(|()| sessions.new_id().0 as u64), [0x80ff_ffff_ffff_ffff, 0x8000_0000_0000_0001]);
        assert_eq!(first_of(128, 0x80ff_ffff_ffff_ffff), 0x8000_0000_0fff_0000);
        let mut sessions = Sessions::new(ServerId(1), 100);
        sessions.begin(Millis(0), SessionId(0x0100_0000_0000_0000), 1000);
        sessions.begin(Millis(0), SessionId(0x01ff_ffff_ffff_ffff), 1000);
        sessions.next_id = SessionId(0x01ff_ffff_ffff_ffff);
        assert_eq!(sessions.new_id().0, 0x0100_0000_0000_0001);
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
