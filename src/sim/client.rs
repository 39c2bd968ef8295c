//! A simulated client: what it knows, what it does next, and how it comes back.

use std::collections::BTreeSet;

use super::conn::{Hello, Taken};
use super::request::{SimRequest, Taste};
use super::truth::Truth;
use super::watching::{RECURSIVE, SimWatches};
use super::who::SimUsers;
use crate::store::tests::sim_disk::Rng;

pub(super) struct SimClient {
    pub rng: Rng,
    /// Of its connection.
    pub conn: Option<u64>,
    /// It has read the answer to its handshake.
    pub greeted: bool,
    pub session: i64,
    password: Vec<u8>,
    timeout: i32,
    /// The highest zxid in any reply it has read (G-08).
    seen: i64,
    pub next_xid: i32,
    /// What it has watched on its session, by what it has read.
    watching: SimWatches,
    /// Watched paths that were not there.
    awaited: BTreeSet<String>,
    /// On a new connection, what it says first.
    first: Vec<SimRequest>,
    user: Option<usize>,
    /// Reads only now and then.
    pub slow: bool,
    /// Asks nothing for long stretches.
    idle: bool,
    quiet: bool,
}

impl SimClient {
    pub(super) fn new(seed: u64, number: usize) -> SimClient {
        let mut rng = Rng(seed);
        SimClient {
            conn: None,
            greeted: false,
            session: 0,
            password: vec![0; 16],
            timeout: [500, 1000, 2500, 4000, 9000][rng.below(5) as usize],
            seen: 0,
            next_xid: 1 + number as i32 * 1_000_000,
            watching: SimWatches::default(),
            awaited: BTreeSet::new(),
            first: Vec::new(),
            user: [None, None, Some(0), Some(1)][rng.below(4) as usize],
            slow: rng.chance(4),
            idle: rng.chance(6),
            quiet: false,
            rng,
        }
    }

    /// Asks for nothing new, so that what is open can be answered.
    pub(super) fn calm(&mut self) {
        (self.quiet, self.slow) = (true, false);
    }

    /// The connection is gone, whoever cut it. What was asked has an unknown outcome (G-14).
    pub(super) fn lost_connection(&mut self) {
        (self.conn, self.greeted) = (None, false);
    }

    /// How it connects: anew, again, or with what is not its own.
    pub(super) fn hello(&mut self, truth: &Truth) -> Hello {
        let mut hello =
            Hello { session: self.session, password: self.password.clone(), timeout: self.timeout, seen: self.seen };
        if self.rng.chance(20) {
            // It comes from a server that knows more.
            hello.seen = truth.model.zxid + 1 + self.rng.below(5) as i64;
        }
        if self.rng.chance(8)
            && let Some((session, password)) = truth.passwords.iter().nth(self.rng.below(8) as usize)
        {
            // Somebody else's session; he may have ended it long ago.
            (hello.session, hello.password) = (*session, password.clone());
        }
        if hello.session != 0 && self.rng.chance(6) {
            hello.password[3] ^= 1;
        }
        if self.rng.chance(10) {
            hello.timeout = 1000 + self.rng.below(5000) as i32;
        }
        hello
    }

    /// What it asks now, if anything; `waiting` requests are unanswered.
    pub(super) fn next(&mut self, taste: &Taste, who: &SimUsers, waiting: usize) -> Option<SimRequest> {
        if !self.greeted {
            return None;
        }
        if let Some(first) = self.first.pop() {
            return Some(first);
        }
        let idles = self.idle && !self.rng.chance(20);
        if self.quiet || idles || waiting >= 14 {
            return (self.quiet && waiting == 0 && self.rng.chance(10)).then_some(SimRequest::Ping);
        }
        Some(taste.request(&mut self.rng, who))
    }

    /// After a reconnect it may not have seen the last reply: what it says of that is a little older then, and may be the
    /// very last change of something that it watched.
    pub(super) fn doubts(&mut self, request: SimRequest, truth: &Truth) -> SimRequest {
        let SimRequest::SetWatches { since, lists, short } = request else { return request };
        let [data, _, child, ..] = &lists;
        let zxids = data.iter().chain(child).filter_map(|path| truth.model.nodes.get(path));
        let changed: Vec<i64> =
            zxids.flat_map(|node| [node.zxids.1, node.zxids.2]).filter(|zxid| *zxid <= since).collect();
        let since = match changed.len() as u64 {
            count if count > 0 && self.rng.chance(2) => changed[self.rng.below(count) as usize],
            _ => since,
        };
        SimRequest::SetWatches { since, lists, short }
    }

    /// It has read a frame.
    pub(super) fn takes(&mut self, taken: Taken) {
        match taken {
            Taken::Greeted { session, password } => {
                self.greeted = true;
                if session != self.session {
                    (self.watching, self.awaited) = (SimWatches::default(), BTreeSet::new());
                }
                (self.session, self.password) = (session, password);
                // First who it is, then what it watched; the list is asked from its end.
                if !self.watching.is_empty() && !self.rng.chance(4) {
                    let lists = self.watching.lists(|path| self.awaited.contains(path));
                    let short = lists[3].is_empty() && lists[4].is_empty();
                    self.first.push(SimRequest::SetWatches { since: self.seen, lists, short });
                } else {
                    (self.watching, self.awaited) = (SimWatches::default(), BTreeSet::new());
                }
                self.first.extend(self.user.map(SimRequest::Auth));
            }
            Taken::Refused => {
                // Expired, or a wrong password. Begin anew.
                (self.session, self.password) = (0, vec![0; 16]);
            }
            Taken::Replied { zxid, watched, awaited, unwatched } => {
                self.seen = self.seen.max(zxid);
                if let Some((path, modes)) = watched {
                    self.watching.add(&path, modes);
                    if awaited && modes != RECURSIVE {
                        self.awaited.insert(path);
                    } else {
                        self.awaited.remove(&path);
                    }
                }
                if let Some((path, kind)) = unwatched {
                    self.watching.remove(&path, kind);
                }
            }
            Taken::Event((kind, path)) => {
                self.watching.spent(kind, &path);
                self.awaited.remove(&path);
            }
            Taken::Closed => (self.session, self.password) = (0, vec![0; 16]),
        }
    }
}
