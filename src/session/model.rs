//! Sessions and their expiry against a plain list, over any order of what can happen to them.

use super::*;

const TICK: u64 = 100;

#[derive(Clone, Copy, Debug)]
struct One {
    id: i64,
    timeout_ms: i32,
    closing: bool,
    /// The first tick in which it may expire.
    deadline: u64,
    /// It was offered, so it is not offered again before this tick.
    again: u64,
}

fn deadline_of(now: u64, timeout_ms: i32) -> u64 {
    (now + timeout_ms as u64) / TICK + 1
}

struct World {
    sessions: Sessions,
    plain: Vec<One>,
    now: u64,
}

impl World {
    fn new() -> World {
        World { sessions: Sessions::new(ServerId(1), TICK), plain: Vec::new(), now: 0 }
    }

    fn one(&mut self, id: i64) -> Option<&mut One> {
        self.plain.iter_mut().find(|one| one.id == id)
    }

    fn begin(&mut self, id: i64, timeout_ms: i32) {
        self.sessions.begin(Millis(self.now), SessionId(id), timeout_ms);
        self.plain.retain(|one| one.id != id);
        let deadline = deadline_of(self.now, timeout_ms);
        self.plain.push(One { id, timeout_ms, closing: false, deadline, again: 0 });
        self.plain.sort_by_key(|one| one.id);
    }

    fn expire(&mut self) {
        let due = self.now / TICK;
        let mut expected = Vec::new();
        for one in &mut self.plain {
            if one.deadline <= due && one.again <= due {
                one.again = due + 1;
                if !one.closing {
                    expected.push(SessionId(one.id));
                }
            }
        }
        let mut found = self.sessions.expired(Millis(self.now), 1000);
        found.sort_unstable();
        assert_eq!(found, expected, "at {}", self.now);
        if let Some(next) = self.sessions.poll_timeout() {
            assert!(next.0 > self.now, "nothing is left to do at {}", self.now);
        }
    }

    fn compare(&self) {
        let sorted: Vec<(i64, i32, bool)> =
            self.sessions.sorted().iter().map(|(id, one)| (id.0, one.timeout_ms, one.closing)).collect();
        let plain: Vec<(i64, i32, bool)> = self.plain.iter().map(|one| (one.id, one.timeout_ms, one.closing)).collect();
        assert_eq!(sorted, plain);
        assert_eq!((self.sessions.len(), self.sessions.is_empty()), (plain.len(), plain.is_empty()));
        for one in &self.plain {
            assert_eq!(self.sessions.is_live(SessionId(one.id)), !one.closing);
            assert_eq!(self.sessions.get(SessionId(one.id)).map(|found| found.timeout_ms), Some(one.timeout_ms));
        }
        let mut buckets: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for one in &self.plain {
            buckets.entry(one.deadline * TICK).or_default().push(SessionId(one.id));
        }
        let found: Vec<(u64, Vec<SessionId>)> = self.sessions.buckets().map(|(at, ids)| (at.0, ids)).collect();
        assert_eq!(found, buckets.into_iter().collect::<Vec<_>>());
        let due = self.plain.iter().map(|one| one.deadline.max(one.again) * TICK).min();
        if let Some(due) = due {
            assert!(self.sessions.poll_timeout().is_some_and(|next| next.0 <= due), "nobody is woken at {due}");
        }
    }
}

#[test]
fn any_order_of_lives_and_touches_expires_who_was_silent_and_nobody_else() {
    // G-10, S-35, L-05
    let mut state = 3u64;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % limit
    };
    let mut world = World::new();
    for _ in 0..8_000 {
        let id = SessionId(1 + below(6) as i64);
        let now = Millis(world.now);
        match below(16) {
            0..2 => world.begin(id.0, 1 + below(2000) as i32),
            2 => {
                world.sessions.end(id);
                world.plain.retain(|one| one.id != id.0);
            }
            3..8 => {
                let touched = world.sessions.touch(now, id);
                let one = world.one(id.0).filter(|one| !one.closing);
                assert_eq!(touched, one.is_some());
                if let Some(one) = one {
                    one.deadline = one.deadline.max(deadline_of(now.0, one.timeout_ms));
                }
            }
            8 => {
                let timeout_ms = 1 + below(3000) as i32;
                world.sessions.set_timeout(now, id, timeout_ms);
                if let Some(one) = world.one(id.0) {
                    (one.timeout_ms, one.deadline) = (timeout_ms, deadline_of(now.0, timeout_ms));
                }
            }
            9 => {
                world.sessions.set_closing(id);
                if let Some(one) = world.one(id.0) {
                    one.closing = true;
                }
            }
            10 if below(4) == 0 => {
                world.sessions.clear_closing();
                world.plain.iter_mut().for_each(|one| one.closing = false);
            }
            11 if below(40) == 0 => {
                world.sessions.clear();
                world.plain.clear();
                assert_eq!(world.sessions.poll_timeout(), None);
            }
            _ => {
                world.now += below(400);
                world.expire();
            }
        }
        world.compare();
    }
}

#[test]
fn a_flood_of_sessions_that_have_ended_is_passed_in_slices_too() {
    // SC-43, R-33
    let mut world = World::new();
    for id in 1..=1000 {
        world.begin(id, 1000);
    }
    (1..=1000).for_each(|id| world.sessions.end(SessionId(id)));
    let mut slices = 0;
    while world.sessions.poll_timeout().is_some_and(|due| due.0 <= 1100) {
        assert!(world.sessions.expired(Millis(1100), 10).is_empty());
        slices += 1;
    }
    assert!((4..=6).contains(&slices), "{slices} slices of at most 200 names");
}

#[test]
fn a_tick_of_nothing_is_one_millisecond() {
    let mut sessions = Sessions::new(ServerId(1), 0);
    sessions.begin(Millis(0), SessionId(1), 10);
    assert!(sessions.expired(Millis(10), 10).is_empty());
    assert_eq!(sessions.expired(Millis(11), 10), [SessionId(1)]);
}
