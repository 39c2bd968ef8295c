//! Clients of three members while leaders come and go, packets are held back, and sessions move: what every reply must
//! keep to whatever happens.

use super::*;
use crate::records::txn::decode_txn;

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// A request without an answer.
enum Sent {
    Create {
        path: String,
    },
    /// The newest transaction that anybody had been told of when it was sent.
    Sync {
        known: i64,
    },
    Other,
}

/// A client and its session, on whichever connection it is.
struct Guest {
    client: Client,
    session: Option<(SessionId, [u8; 16])>,
    /// Its handshake on this connection was answered.
    is_greeted: bool,
    sent: VecDeque<(i32, Sent)>,
    /// The newest zxid that it has seen.
    seen: i64,
    is_over: bool,
}

struct Storm {
    ensemble: Ensemble,
    rng: Rng,
    guests: Vec<Guest>,
    /// Creates that were acknowledged, and when.
    acknowledged: Vec<(String, i64)>,
    /// The newest zxid of an acknowledged write.
    known: i64,
    paths: usize,
    /// How many of each kind of thing happened.
    seen: [usize; 5],
}

impl Storm {
    fn ended(&self, session: SessionId) -> bool {
        self.ensemble.history.iter().any(|proposal| {
            let (header, _, _) = decode_txn(&proposal.txn).unwrap();
            header.session == session && header.op == OpCode::CloseSession.to_i32()
        })
    }

    fn comes(&mut self) {
        let at = self.rng.below(3);
        let client = self.ensemble.open(at);
        self.ensemble.send(client, &handshake(0, &[0; 16], 0));
        self.guests.push(Guest {
            client,
            session: None,
            is_greeted: false,
            sent: VecDeque::new(),
            seen: 0,
            is_over: false,
        });
    }

    fn moves(&mut self, index: usize) {
        let at = self.rng.below(3);
        let guest = &mut self.guests[index];
        let Some((session, password)) = guest.session else { return };
        // Often nobody has noticed yet that the old connection is gone.
        if self.rng.one_in(2) {
            self.ensemble.members[guest.client.at].engine.closed(guest.client.conn);
        }
        guest.sent.clear();
        guest.is_greeted = false;
        guest.client = self.ensemble.open(at);
        self.ensemble.send(guest.client, &handshake(session.0, &password, guest.seen));
    }

    fn asks(&mut self, index: usize) {
        let guest = &mut self.guests[index];
        if guest.session.is_none() || guest.is_over {
            return;
        }
        let client = guest.client;
        if self.ensemble.engine(client.at).output(client.conn).is_none_or(|(_, close)| close.is_some()) {
            return;
        }
        let path = format!("/n{}", self.paths);
        let (xid, sent) = match self.rng.below(8) {
            0..=2 => {
                self.paths += 1;
                let flags = self.rng.below(2) as i32;
                (self.ensemble.request(client, OpCode::Create, &create(&path, flags)), Sent::Create { path })
            }
            3 | 4 => {
                let xid = self.ensemble.request(client, OpCode::Sync, &PathRequest { path: "/".into() });
                (xid, Sent::Sync { known: self.known })
            }
            5 => {
                let delete = PathVersionRequest { path: "/nothing".into(), version: -1 };
                (self.ensemble.request(client, OpCode::Delete, &delete), Sent::Other)
            }
            6 if self.rng.one_in(6) => (self.ensemble.request(client, OpCode::CloseSession, &()), Sent::Other),
            _ => {
                let read = PathWatchRequest { path: "/n0".into(), watch: false };
                (self.ensemble.request(client, OpCode::Exists, &read), Sent::Other)
            }
        };
        self.guests[index].sent.push_back((xid, sent));
    }

    /// Takes what came, and looks at it.
    fn hears(&mut self, index: usize) {
        let client = self.guests[index].client;
        let mut bytes = self.ensemble.bytes(client);
        let close = self.ensemble.close_reason(client);
        if self.ensemble.engine(client.at).conns.get(client.conn).is_none() {
            return;
        }
        if !self.guests[index].is_greeted && !bytes.is_empty() {
            self.guests[index].is_greeted = true;
            let response: ConnectResponse<'_> = decode(&bytes[4..]).unwrap();
            let session = SessionId(response.session_id);
            if session == SessionId::NONE {
                let (had, _) = self.guests[index].session.unwrap();
                assert!(self.ended(had), "S-35: {had} was called expired and lives");
                self.guests[index].is_over = true;
                self.seen[0] += 1;
            } else {
                let password: [u8; 16] = response.password.0.unwrap().try_into().unwrap();
                self.guests[index].session = Some((session, password));
            }
            bytes.drain(..41);
        }
        for frame in frames_of(&bytes) {
            let guest = &mut self.guests[index];
            let (xid, sent) = guest.sent.pop_front().expect("an answer to nothing");
            assert_eq!(frame.header.xid, xid, "G-02: out of order");
            assert!(frame.header.zxid >= guest.seen, "G-08: {:#x} after {:#x}", frame.header.zxid, guest.seen);
            guest.seen = frame.header.zxid;
            match sent {
                Sent::Create { path } => {
                    if frame.code() == ErrorCode::Ok {
                        self.acknowledged.push((path, frame.header.zxid));
                        self.known = self.known.max(frame.header.zxid);
                    }
                }
                Sent::Sync { known } => {
                    assert!(frame.header.zxid >= known, "G-04: {:#x}, and {known:#x} was known", frame.header.zxid);
                    self.seen[1] += 1;
                }
                Sent::Other => {}
            }
        }
        if let Some(reason) = close {
            self.guests[index].sent.clear();
            match reason {
                CloseReason::Moved => self.seen[2] += 1,
                CloseReason::NotServing => self.seen[3] += 1,
                CloseReason::SessionEnded => self.seen[4] += 1,
                _ => {}
            }
            self.ensemble.members[client.at].engine.closed(client.conn);
            match self.guests[index].session {
                Some(_) if !self.guests[index].is_over => self.moves(index),
                _ => self.guests[index].is_over = true,
            }
        }
    }

    fn step(&mut self) {
        let guest = self.rng.below(self.guests.len());
        match self.rng.below(24) {
            0 if self.guests.len() < 30 => self.comes(),
            1 => self.moves(guest),
            2..=13 => self.asks(guest),
            14 => self.ensemble.commits = !self.ensemble.commits,
            15 => self.ensemble.confirms = !self.ensemble.confirms,
            16 => {
                let member = self.rng.below(3);
                self.ensemble.members[member].is_behind ^= true;
            }
            17 => {
                let member = self.rng.below(3);
                self.ensemble.members[member].is_mute ^= true;
            }
            18 if self.rng.one_in(6) => {
                self.ensemble.lose_the_leader();
                let leader = self.rng.below(3);
                self.ensemble.lead(leader);
            }
            19 if self.rng.one_in(3) => self.ensemble.pass(500),
            _ => self.ensemble.carry(),
        }
        for index in 0..self.guests.len() {
            self.hears(index);
        }
    }

    fn run(seed: u64) -> [usize; 5] {
        let mut storm = Storm {
            ensemble: Ensemble::new(3),
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            guests: Vec::new(),
            acknowledged: Vec::new(),
            known: 0,
            paths: 0,
            seen: [0; 5],
        };
        for _ in 0..6 {
            storm.comes();
        }
        for _ in 0..600 {
            storm.step();
        }
        let ensemble = &mut storm.ensemble;
        (ensemble.commits, ensemble.confirms) = (true, true);
        for member in &mut ensemble.members {
            (member.is_behind, member.is_mute) = (false, false);
        }
        ensemble.carry();
        for index in 0..storm.guests.len() {
            storm.hears(index);
            storm.ensemble.carry();
            storm.hears(index);
        }
        storm.ensemble.carry();
        for guest in storm.guests.iter().filter(|guest| storm.ensemble.close_reason(guest.client).is_none()) {
            assert!(guest.sent.is_empty(), "S-30: {:?} waits for an answer", guest.client);
        }
        storm.ensemble.assert_equal();
        for (path, zxid) in &storm.acknowledged {
            let created = storm.ensemble.history.iter().find(|proposal| proposal.zxid.0 == *zxid);
            assert!(created.is_some(), "G-09: {path} at {zxid:#x} is lost");
        }
        for member in &storm.ensemble.members {
            let engine = &member.engine;
            assert_eq!((engine.forward.len(), engine.remote.len(), engine.status().syncs), (0, 0, 0), "S-44");
            assert_eq!(engine.in_flight(), 0);
        }
        storm.seen
    }
}

#[test]
fn whatever_happens_to_leaders_and_links_clients_get_what_they_were_promised() {
    // G-02, G-04, G-08, G-09, S-30, S-35, S-44
    let mut seen = [0; 5];
    for seed in 1..=100 {
        let one = std::panic::catch_unwind(|| Storm::run(seed));
        let one = one.unwrap_or_else(|_| panic!("seed {seed}"));
        seen.iter_mut().zip(one).for_each(|(all, one)| *all += one);
    }
    assert!(seen.iter().all(|count| *count >= 3), "what was to be tried hardly happened: {seen:?}");
}
