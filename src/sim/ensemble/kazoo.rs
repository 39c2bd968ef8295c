//! A client as kazoo is one: it connects to any of the servers, pings, moves on when it hears nothing, resumes its session,
//! registers its watches again. Everything that it reads is held against the history.

mod doubting;

use std::collections::{BTreeSet, VecDeque};

pub(super) use doubting::Doubt;

use super::canon::Canon;
use super::swarm::Swarm;
use crate::ids::{ServerId, SessionId, Zxid};
use crate::jute::{Buffer, Decoder, decode, encoded};
use crate::records::OpCode;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::{ReplyHeader, WatcherEvent};
use crate::records::txn::{Txn, decode_txn};
use crate::session::{Passwords, SessionPasswords};
use crate::sim::Wrong;
use crate::sim::model::{CHILDREN_CHANGED, CREATED, DATA_CHANGED, DELETED};
use crate::sim::oracle::{self, ReadAnswer};
use crate::sim::request::{SimRequest, Write, framed};
use crate::sim::watching::{CHILD, DATA, SimEvent, SimWatches};
use crate::sim::who::{ModelAcl, SimUsers};
use crate::store::tests::sim_disk::Rng;

const PING_XID: i32 = -2;
const SET_WATCHES_XID: i32 = -8;
const NO_NODE: i32 = -101;
/// Requests that wait for their answers, at most.
const WAITING_MAX: usize = 6;

struct KazooRequest {
    xid: i32,
    request: SimRequest,
    /// The highest zxid that anybody had been shown when it was sent (G-04).
    floor: i64,
    sent_at: u64,
}

/// What a client does next.
pub(super) enum KazooStep {
    Nothing,
    /// It connects to this server.
    Connect(ServerId),
    Send(Vec<u8>),
    HangUp,
}

pub(super) struct KazooClient {
    number: usize,
    rng: Rng,
    servers: Vec<ServerId>,
    /// When it acts next, µs; what is on the agenda for another time is void.
    pub acts_due: u64,
    stream: Option<u64>,
    is_greeted: bool,
    greeted_at: u64,
    /// The member that it spoke to last, and which of its parts that was.
    greeted_by: Option<ServerId>,
    greeted_part: u64,
    /// Its member has heard of it since then, µs.
    heard_of_at: u64,
    /// It has asked for something that ends a local session, whether or not that was answered.
    may_be_over: bool,
    session: i64,
    password: Vec<u8>,
    /// Whether it tries now and then to take its own session over with a wrong password.
    pub tries_wrong: bool,
    wrongs: Rng,
    /// It has, over this connection.
    is_wrong: bool,
    timeout_ms: i32,
    /// The highest zxid that it has read (G-08).
    seen: i64,
    next_xid: i32,
    /// Of its connection, of all that there were.
    conn: u64,
    asked: VecDeque<KazooRequest>,
    input: Vec<u8>,
    heard_at: u64,
    sent_at: u64,
    /// It does not try to connect before.
    pub pauses_until: u64,
    /// How long it thinks at most before it asks again, µs, and until when it does. Pings do not wait for that.
    think_us: u64,
    thinks_until: u64,
    /// What it watches, by what it has read.
    watching: SimWatches,
    awaited: BTreeSet<String>,
    /// What the server of its connection has registered for it.
    served: SimWatches,
    cursor: i64,
    expected: VecDeque<(i64, Vec<SimEvent>)>,
    missed: Vec<SimEvent>,
    data_max: u64,
    closes: bool,
    /// It doubts that its server leads.
    doubts: Option<Doubt>,
    /// It wants no ephemerals, for which its session would become known to all.
    stays_local: bool,
    /// Asks nothing new.
    pub is_quiet: bool,
    /// Answers that it has read since this was reset.
    pub answers: u64,
}

impl KazooClient {
    pub(super) fn new(seed: u64, number: usize, swarm: &Swarm, timeout_ms: i32) -> Self {
        let (mut rng, wrongs) = (Rng(seed), Rng(!seed));
        let mut servers = swarm.doors();
        let first = rng.below(servers.len() as u64) as usize;
        servers.rotate_left(first);
        KazooClient {
            number,
            servers,
            acts_due: 0,
            stream: None,
            is_greeted: false,
            greeted_at: 0,
            greeted_by: None,
            greeted_part: 0,
            heard_of_at: 0,
            may_be_over: false,
            session: 0,
            password: vec![0; 16],
            tries_wrong: false,
            wrongs,
            is_wrong: false,
            timeout_ms,
            seen: 0,
            next_xid: 0,
            conn: 0,
            asked: VecDeque::new(),
            input: Vec::new(),
            heard_at: 0,
            sent_at: 0,
            pauses_until: 0,
            think_us: swarm.think_us.max(1000),
            thinks_until: 0,
            watching: SimWatches::default(),
            awaited: BTreeSet::new(),
            served: SimWatches::default(),
            cursor: 0,
            expected: VecDeque::new(),
            missed: Vec::new(),
            data_max: swarm.data_max,
            closes: rng.chance(3),
            doubts: None,
            stays_local: swarm.local_sessions && number.is_multiple_of(2),
            is_quiet: false,
            answers: 0,
            rng,
        }
    }

    pub(super) fn stream(&self) -> Option<u64> {
        self.stream
    }

    pub(super) fn session(&self) -> i64 {
        self.session
    }

    /// Its session, once its connection speaks for it.
    pub(super) fn greeted_session(&self) -> Option<i64> {
        self.is_greeted.then_some(self.session)
    }

    /// Requests that are not answered yet. There is nearly always a ping under way.
    pub(super) fn waiting(&self) -> usize {
        self.asked.iter().filter(|asked| asked.request != SimRequest::Ping).count()
    }

    /// The connection is gone: what was asked has an unknown outcome.
    pub(super) fn lost(&mut self, now: u64) {
        (self.stream, self.is_greeted) = (None, false);
        self.asked.clear();
        self.input.clear();
        let most_us = self.patience_us(now, u64::from(self.timeout_ms.unsigned_abs()) * 50);
        self.pauses_until = now + 1000 + self.rng.below(most_us);
    }

    /// It has connected.
    pub(super) fn connected(&mut self, stream: u64, conn: u64, now: u64) -> Vec<u8> {
        (self.stream, self.conn, self.is_greeted) = (Some(stream), conn, false);
        (self.served, self.cursor) = (SimWatches::default(), 0);
        self.expected.clear();
        self.missed.clear();
        (self.heard_at, self.sent_at) = (now, now);
        self.is_wrong = self.tries_wrong && self.session != 0 && self.wrongs.chance(3);
        let password = if self.is_wrong { self.wrong_password() } else { self.password.clone() };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.seen,
            timeout: self.timeout_ms,
            session_id: self.session,
            password: Buffer::new(&password),
        };
        let mut payload = encoded(&request);
        payload.push(0);
        framed(&payload)
    }

    /// One that anybody can compute, or one that is nearly right.
    fn wrong_password(&mut self) -> Vec<u8> {
        let mut passwords = Passwords::new([0; 32]);
        passwords.set_mode(SessionPasswords::Compatible);
        let mut wrong = self.password.clone();
        match self.wrongs.below(3) {
            0 => wrong = passwords.of(SessionId(self.session)).to_vec(),
            1 => wrong[15] ^= 1,
            _ => wrong.truncate(8),
        }
        wrong
    }

    fn timeout_us(&self) -> u64 {
        u64::from(self.timeout_ms.unsigned_abs()) * 1000
    }

    /// Its session and for how long it has spoken for it over this connection, µs, if it does.
    pub(super) fn speaks_for(&self, now: u64) -> Option<(i64, u64)> {
        self.is_greeted.then_some((self.session, now - self.greeted_at))
    }

    /// Who greeted it last.
    pub(super) fn greeted_by(&self) -> Option<ServerId> {
        self.greeted_by
    }

    /// When it is to look again at what it could do: a ping is due by then, or it has thought, or waited, enough.
    pub(super) fn acts_at(&self, now: u64) -> u64 {
        let third = self.timeout_us() / 3;
        let at = match (self.stream, self.is_greeted) {
            (None, _) => self.pauses_until,
            (Some(_), false) => self.heard_at + third + 1,
            (Some(_), true) => self.thinks_until.min(self.sent_at + third + 1).min(self.heard_at + 2 * third + 1),
        };
        now + self.patience_us(now, at.saturating_sub(now)).max(1000)
    }

    /// Looks at what it could do.
    pub(super) fn acts(&mut self, now: u64, canon: &mut Canon) -> KazooStep {
        let timeout_us = self.timeout_us();
        if self.stream.is_none() {
            if now < self.pauses_until {
                return KazooStep::Nothing;
            }
            // A local session lives where it was.
            if !canon.has_local || self.wrongs.chance(2) {
                self.servers.rotate_left(1);
            }
            return KazooStep::Connect(self.servers[0]);
        }
        if now - self.heard_at > timeout_us * 2 / 3 {
            self.lost(now);
            return KazooStep::HangUp;
        }
        if !self.is_greeted {
            return KazooStep::Nothing;
        }
        if now - self.sent_at > timeout_us / 3 {
            return KazooStep::Send(self.ask(SimRequest::Ping, now, canon));
        }
        if now < self.thinks_until {
            return KazooStep::Nothing;
        }
        self.thinks_until = now + 1000 + self.rng.below(self.patience_us(now, self.think_us));
        if let Some(step) = self.doubting_step(now, canon) {
            return step;
        }
        if self.is_quiet || self.asked.len() >= WAITING_MAX {
            return KazooStep::Nothing;
        }
        let mut bytes = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let request = self.draw();
            let is_close = request == SimRequest::Close;
            bytes.extend(self.ask(request, now, canon));
            if is_close {
                break;
            }
        }
        KazooStep::Send(bytes)
    }

    fn ask(&mut self, request: SimRequest, now: u64, canon: &mut Canon) -> Vec<u8> {
        let xid = match request {
            SimRequest::Ping => PING_XID,
            SimRequest::SetWatches { .. } => SET_WATCHES_XID,
            _ => {
                self.next_xid += 1;
                self.next_xid
            }
        };
        if request.is_write() {
            let (request, conn, at) = (request.clone(), self.conn, self.servers[0]);
            let sent = super::canon::SentWrite { request, conn, at, floor: canon.acked };
            canon.sent.insert((self.session, xid), sent);
        }
        self.may_be_over |= request.may_end_local();
        let bytes = framed(&request.encode(xid));
        self.asked.push_back(KazooRequest { xid, request, floor: canon.shown, sent_at: now });
        self.sent_at = now;
        bytes
    }

    // -----------------------------------------------------------------------------------------------------------
    // What it asks for

    fn path(&mut self) -> String {
        let top = self.rng.below(3);
        match self.rng.below(4) {
            0 => format!("/t{top}"),
            _ => format!("/t{top}/c{}", self.rng.below(4)),
        }
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        let length = self.rng.below(self.data_max) as usize;
        Some(vec![self.rng.next() as u8; length])
    }

    fn write(&mut self) -> Write {
        let mut path = self.path();
        let version = if self.rng.chance(4) { self.rng.below(4) as i32 } else { -1 };
        match self.rng.below(10) {
            0..5 => {
                let flags = [0, 0, 1, 1, 2, 3][self.rng.below(6) as usize] & if self.stays_local { 2 } else { 3 };
                if flags >= 2 {
                    path.push_str("-q");
                }
                let op = if self.rng.chance(2) { OpCode::Create } else { OpCode::Create2 };
                Write::Create { op, path, data: self.data(), acl: vec![ModelAcl::open()], flags, ttl: -1 }
            }
            5..8 => Write::Set { path, data: self.data(), version },
            _ => Write::Delete { path, version },
        }
    }

    fn draw(&mut self) -> SimRequest {
        let watch = self.rng.chance(3);
        match self.rng.below(100) {
            0..40 => SimRequest::Write(self.write()),
            40..48 => SimRequest::Multi((0..1 + self.rng.below(3)).map(|_| self.write()).collect()),
            48..60 => SimRequest::GetData { path: self.path(), watch },
            60..72 => SimRequest::GetChildren { path: self.path(), watch, stat: self.rng.chance(2) },
            72..84 => SimRequest::Exists { path: self.path(), watch },
            84..94 => SimRequest::Sync(self.path()),
            94 if self.closes && self.rng.chance(5) => SimRequest::Close,
            _ => SimRequest::Ping,
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // What it reads

    /// Bytes have come. What it says at once is returned.
    pub(super) fn reads(&mut self, bytes: &[u8], now: u64, canon: &mut Canon) -> Result<Vec<u8>, Wrong> {
        self.input.extend_from_slice(bytes);
        self.heard_at = now;
        let mut says = Vec::new();
        while let Some(length) = self.input.first_chunk::<4>() {
            let end = 4 + u32::from_be_bytes(*length) as usize;
            if self.input.len() < end {
                break;
            }
            let frame: Vec<u8> = self.input.drain(..end).skip(4).collect();
            let read = match (self.is_greeted, frame.starts_with(&[0xff; 4])) {
                (false, _) => {
                    says.extend(self.greeted(&frame, now, canon)?);
                    Ok(())
                }
                (true, true) => self.event(&frame, canon),
                (true, false) => self.reply(&frame, canon),
            };
            read.map_err(|why| format!("{why} (client {}, session 0x{:x})", self.number, self.session))?;
            if self.stream.is_none() {
                break;
            }
        }
        Ok(says)
    }

    fn greeted(&mut self, frame: &[u8], now: u64, canon: &mut Canon) -> Result<Vec<u8>, Wrong> {
        let response: ConnectResponse<'_> = decode(frame)
            .or_else(|_| decode(&frame[..frame.len().saturating_sub(1)]))
            .map_err(|error| format!("SC-62: {error}"))?;
        let got = response.session_id;
        if self.is_wrong {
            if got != 0 {
                return Err(format!("SC-40: session 0x{got:x} is resumed with a wrong password"));
            }
            // Nothing has happened to the session: it goes on with the right one.
            canon.mark("mark: a wrong password is refused");
            self.lost(now);
            return Ok(Vec::new());
        }
        if got == 0 {
            let ended = canon.ended.contains_key(&self.session)
                || canon.closing.contains(&self.session)
                || canon.model.is_local(self.session);
            if self.session == 0 || !ended {
                return Err(format!("G-10, S-35: session 0x{:x} is said to be over and lives", self.session));
            }
            let silent_us = now - self.heard_of_at;
            let is_same_part =
                self.greeted_by == Some(self.servers[0]) && canon.part_of(self.servers[0]) == self.greeted_part;
            if canon.model.is_local(self.session)
                && is_same_part
                && !self.may_be_over
                && silent_us < self.timeout_us() * 8 / 10
            {
                // Clocks may differ by a tenth.
                return Err(format!(
                    "G-10: 0x{:x} is called over by its member, {silent_us} µs after that heard of it",
                    self.session
                ));
            }
            canon.mark("mark: a client is told that its session is over");
            self.ends(now);
            return Ok(Vec::new());
        }
        if self.session != 0 && got != self.session {
            return Err(format!("G-10: session 0x{got:x} in place of 0x{:x}", self.session));
        }
        if self.session == 0 && !canon.model.ever.contains(&got) {
            if !canon.has_local {
                return Err(format!("S-03: session 0x{got:x} is given out and not committed"));
            }
            if !canon.model.local.insert(got) {
                return Err(format!("S-27: session 0x{got:x} is given out twice"));
            }
        }
        if canon.ended.get(&got).is_some_and(|ended| *ended <= self.seen) {
            return Err(format!("G-10: session 0x{got:x} is resumed, and its client has seen its end"));
        }
        if self.session != 0 && canon.model.is_local(got) {
            canon.mark("mark: a local session goes on");
        }
        let at = self.servers[0];
        match self.greeted_by.replace(at) {
            Some(before) if self.session != 0 && before == at => {
                canon.mark("mark: a session goes on at the same member")
            }
            Some(_) if self.session != 0 => canon.mark("mark: a session goes on at another member"),
            _ => {}
        }
        if self.session != 0 && Zxid(self.seen).epoch() < canon.last().epoch() {
            canon.mark("mark: a session goes on under another leader");
        }
        (self.session, self.is_greeted, self.timeout_ms) = (got, true, response.timeout);
        (self.greeted_at, self.heard_of_at) = (now, self.sent_at);
        self.greeted_part = canon.part_of(at);
        self.password = response.password.0.unwrap_or_default().to_vec();
        if self.watching.is_empty() {
            return Ok(Vec::new());
        }
        let lists = self.watching.lists(|path| self.awaited.contains(path));
        let request = SimRequest::SetWatches { since: self.seen, lists, short: true };
        Ok(self.ask(request, now, canon))
    }

    /// The session is over; the next is a new one.
    fn ends(&mut self, now: u64) {
        self.may_be_over = false;
        (self.session, self.password) = (0, vec![0; 16]);
        (self.watching, self.awaited) = (SimWatches::default(), BTreeSet::new());
        self.lost(now);
    }

    /// Follows the history on behalf of what the server has registered: what is due by `upto`.
    fn advance(&mut self, canon: &Canon, upto: i64) {
        if upto <= self.cursor {
            return;
        }
        if !self.served.is_empty() {
            for txn in canon.between(self.cursor, upto) {
                let mut heard: Vec<SimEvent> = Vec::new();
                for touched in &txn.touched {
                    heard.extend(self.served.hear(touched, &SimUsers::default()));
                }
                if !heard.is_empty() {
                    self.expected.push_back((txn.zxid.0, heard));
                }
            }
        }
        self.cursor = upto;
    }

    fn event(&mut self, frame: &[u8], canon: &Canon) -> Result<(), Wrong> {
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = decoder.read().map_err(|error| format!("S-33: {error}"))?;
        let event: WatcherEvent<'_> = decoder.read().map_err(|error| format!("S-33: {error}"))?;
        let event = (event.kind, event.path.as_str().to_owned());
        self.watching.spent(event.0, &event.1);
        self.awaited.remove(&event.1);
        if header.zxid == -1 {
            self.missed.push(event);
            return Ok(());
        }
        if header.zxid > canon.last().0 {
            return Err(format!("S-33: {event:?} of 0x{:x}, which is not committed", header.zxid));
        }
        self.advance(canon, header.zxid);
        let Some((zxid, due)) = self.expected.front_mut() else {
            return Err(format!("S-33, G-06: {event:?} of 0x{:x} is not due", header.zxid));
        };
        let Some(at) = due.iter().position(|due| *due == event).filter(|_| *zxid == header.zxid) else {
            return Err(format!("S-33, G-06: {event:?} of 0x{:x}, where 0x{zxid:x} {due:?} is due", header.zxid));
        };
        due.remove(at);
        if due.is_empty() {
            self.expected.pop_front();
        }
        Ok(())
    }

    fn reply(&mut self, frame: &[u8], canon: &mut Canon) -> Result<(), Wrong> {
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = decoder.read().map_err(|error| format!("S-30: {error}"))?;
        let body = decoder.rest();
        let Some(asked) = self.asked.pop_front().filter(|asked| asked.xid == header.xid) else {
            return Err(format!("G-02, S-30: a reply out of turn: {header:?}"));
        };
        let what = &asked.request;
        if header.zxid > canon.last().0 && !canon.is_begin_of_java(Zxid(header.zxid)) {
            return Err(format!("G-03: {what:?} is answered at 0x{:x}, which is not committed", header.zxid));
        }
        // The begin of an epoch and the last transaction before it are the same state.
        if header.zxid < self.seen && !canon.between(header.zxid, self.seen).is_empty() {
            return Err(format!("G-08, S-32: {what:?} is answered at 0x{:x} after 0x{:x}", header.zxid, self.seen));
        }
        self.heard_of_at = self.heard_of_at.max(asked.sent_at);
        self.advance(canon, header.zxid);
        if let Some((zxid, due)) = self.expected.front() {
            return Err(format!("G-05, S-33: a reply of 0x{:x} before the events {due:?} of 0x{zxid:x}", header.zxid));
        }
        if !self.missed.is_empty() && !matches!(what, SimRequest::SetWatches { .. }) {
            return Err(format!("G-07, S-33: {:?} without setWatches", self.missed));
        }
        self.seen = header.zxid;
        canon.shown = canon.shown.max(header.zxid);
        self.answers += 1;
        if what.is_write() {
            self.write_answered(&asked, header, body, canon)?;
            if *what == SimRequest::Close {
                let now = self.heard_at;
                self.ends(now);
            }
            return Ok(());
        }
        self.read_answered(&asked, header, body, canon)
    }

    /// The header names the write's own transaction, and that says what the reply says.
    fn write_answered(
        &mut self,
        asked: &KazooRequest,
        header: ReplyHeader,
        body: &[u8],
        canon: &mut Canon,
    ) -> Result<(), Wrong> {
        let what = &asked.request;
        let outcomes = oracle::read_outcomes(what, header.err, body)?;
        let key = (self.session, asked.xid);
        let Some(done) = canon.done.remove(&key) else {
            let was_sent = canon.sent.remove(&key).is_some();
            if was_sent && header.err == oracle::QUOTA_EXCEEDED && canon.may_refuse {
                // Refused for want of room, without a trace.
                return Ok(());
            }
            if was_sent && *what == SimRequest::Close && header.err == oracle::OK && canon.model.is_local(self.session)
            {
                canon.mark("mark: a local session is closed");
                return Ok(());
            }
            return Err(format!("G-09: {what:?} is answered {header:?} and not committed"));
        };
        if header.zxid != done.zxid {
            return Err(format!("G-03: a write of 0x{:x} is answered with 0x{:x}", done.zxid, header.zxid));
        }
        if (header.err, &outcomes) != (done.code, &done.outcomes) {
            let code = header.err;
            return Err(format!("G-14: {what:?} was answered {code} {outcomes:?}, ought to be {:?}", done.outcomes));
        }
        let bytes = canon.at(Zxid(header.zxid)).map(|txn| txn.bytes.clone()).unwrap_or_else(|| [].into());
        let known = decode_txn(&bytes).is_ok_and(|(head, txn, _)| {
            head.session.0 == self.session && head.cxid == asked.xid && !matches!(txn, Txn::CreateSession(_))
        });
        if !known {
            return Err(format!("G-09: {what:?} is answered with the zxid of another: {header:?}"));
        }
        canon.acked = canon.acked.max(header.zxid);
        Ok(())
    }

    /// A read equals the state at the header's zxid.
    fn read_answered(
        &mut self,
        asked: &KazooRequest,
        header: ReplyHeader,
        body: &[u8],
        canon: &mut Canon,
    ) -> Result<(), Wrong> {
        let (zxid, what) = (header.zxid, &asked.request);
        let expected = match what {
            SimRequest::Ping => return Ok(()),
            SimRequest::Sync(_) => {
                // What was seen may be the begin of an epoch, which is no other state.
                let is_early = zxid < asked.floor && !canon.between(zxid, asked.floor).is_empty();
                if is_early && !canon.may_be_deposed_java(Zxid(zxid), Zxid(asked.floor)) {
                    return Err(format!("G-04: sync at 0x{zxid:x}, 0x{:x} had been seen", asked.floor));
                }
                return if header.err == 0 { Ok(()) } else { Err(format!("S-30: {what:?}: {header:?}")) };
            }
            SimRequest::SetWatches { since, lists, .. } => {
                let missed = self.come_back(*since, lists, canon, zxid);
                let heard = std::mem::take(&mut self.missed);
                canon.mark(match missed.is_empty() {
                    false => "mark: a client is told what it missed",
                    true => "mark: a client that comes back has missed nothing",
                });
                if heard != missed {
                    return Err(format!("G-07, S-33: since 0x{since:x} {heard:?} is heard, due is {missed:?}"));
                }
                ReadAnswer::Nothing
            }
            other => canon.answer(other, zxid).ok_or("S-30: a reply to nothing that can be asked")?,
        };
        let found = oracle::read_answer(what, header.err, body)?;
        if found != expected {
            return Err(format!("G-03, S-32: {what:?} at 0x{zxid:x} is {found:?}, ought to be {expected:?}"));
        }
        if zxid < canon.shown {
            canon.mark("mark: a read is of an earlier state than others have seen");
        }
        let is_there = header.err == oracle::OK;
        let watched = match what {
            SimRequest::Exists { path, watch: true } if is_there || header.err == NO_NODE => Some((path, DATA)),
            SimRequest::GetData { path, watch: true } if is_there => Some((path, DATA)),
            SimRequest::GetChildren { path, watch: true, .. } if is_there => Some((path, CHILD)),
            _ => None,
        };
        if let Some((path, modes)) = watched {
            self.served.add(path, modes);
            self.watching.add(path, modes);
            match is_there {
                true => drop(self.awaited.remove(path)),
                false => drop(self.awaited.insert(path.clone())),
            }
        }
        Ok(())
    }

    /// What a server ought to tell a client that is back, from its state at `zxid` (G-07).
    fn come_back(&mut self, since: i64, lists: &[Vec<String>; 5], canon: &Canon, zxid: i64) -> Vec<SimEvent> {
        let mut missed = Vec::new();
        let [data, exist, child, ..] = lists;
        for path in data {
            match canon.changes(path, zxid) {
                None => missed.push((DELETED, path.clone())),
                Some((changed, _)) if changed > since => missed.push((DATA_CHANGED, path.clone())),
                Some(_) => self.served.add(path, DATA),
            }
        }
        for path in exist {
            match canon.changes(path, zxid) {
                Some(_) => missed.push((CREATED, path.clone())),
                None => self.served.add(path, DATA),
            }
        }
        for path in child {
            match canon.changes(path, zxid) {
                None => missed.push((DELETED, path.clone())),
                Some((_, changed)) if changed > since => missed.push((CHILDREN_CHANGED, path.clone())),
                Some(_) => self.served.add(path, CHILD),
            }
        }
        missed
    }
}
