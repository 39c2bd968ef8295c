//! One connection, seen from outside: what goes to the server, and every frame that comes back held against the truth.

use std::collections::VecDeque;

use super::Wrong;
use super::model::Touched;
use super::node::SimNode;
use super::oracle::{self, ReadAnswer};
use super::request::{SimRequest, mark};
use super::truth::{Truth, Wanted};
use super::watching::{CHILD, DATA, PERSISTENT, RECURSIVE, SimEvent, SimWatches};
use super::who::{SUPER, SimUsers};
use crate::engine::{CloseReason, ConnId};
use crate::jute::{Buffer, Decoder, decode, encoded};
use crate::records::OpCode;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::{ReplyHeader, WatcherEvent};

const AUTH_XID: i32 = -4;
const PING_XID: i32 = -2;
const SET_WATCHES_XID: i32 = -8;

/// How a connection begins.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    pub session: i64,
    pub password: Vec<u8>,
    pub timeout: i32,
    pub seen: i64,
}

struct Asked {
    xid: i32,
    request: SimRequest,
    who: SimUsers,
    /// What somebody had been answered when it was asked (G-04).
    floor: i64,
    /// When it reached the server; 0 while it has not.
    arrived: u64,
}

/// What the client makes of a frame once it has read it.
pub(super) enum Taken {
    Greeted { session: i64, password: Vec<u8> },
    Refused,
    Replied { zxid: i64, watched: Option<(String, u8)>, awaited: bool, unwatched: Option<(String, i32)> },
    Event(SimEvent),
    Closed,
}

pub(super) struct SimConn {
    pub id: ConnId,
    pub serial: u64,
    pub client: usize,
    pub hello: Hello,
    /// The session it speaks for, once the server said so.
    pub session: Option<i64>,
    /// The client has another connection by now, or none.
    pub left: bool,
    /// The server closes it.
    pub closing: bool,
    /// Which greeting it was, of all.
    pub bound: u64,
    wire: VecDeque<u8>,
    socket: Vec<u8>,
    /// Lengths of the frames that the server has not taken yet.
    sizes: VecDeque<usize>,
    hello_arrived: bool,
    /// The handshake claims to have seen what the server has not.
    ahead: bool,
    asked: VecDeque<Asked>,
    next_xid: i32,
    /// Who the client is for what it asks next, and who it is to the server by now.
    pub who_asks: SimUsers,
    who: SimUsers,
    watching: SimWatches,
    expected: VecDeque<(i64, Vec<SimEvent>)>,
    missed: Vec<SimEvent>,
    replied_zxid: i64,
    /// Bytes of the output that were looked at.
    checked: usize,
    /// Frames looked at and not read by the client: their ends, counted from what it has read.
    inbox: VecDeque<(usize, Taken)>,
    pub replies: u64,
    pub events: u64,
}

impl SimConn {
    pub(super) fn open(node: &mut SimNode, serial: u64, client: usize, hello: Hello, first_xid: i32) -> SimConn {
        let port = 1000 + (serial % 60_000) as u16;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: hello.seen,
            timeout: hello.timeout,
            session_id: hello.session,
            password: Buffer::new(&hello.password),
        };
        let mut payload = encoded(&request);
        payload.push(0);
        let mut conn = SimConn {
            id: node.member.engine.open(([127, 0, 0, 1], port).into()),
            serial,
            client,
            session: None,
            left: false,
            closing: false,
            bound: 0,
            wire: VecDeque::new(),
            socket: Vec::new(),
            sizes: VecDeque::new(),
            hello_arrived: false,
            ahead: false,
            asked: VecDeque::new(),
            next_xid: first_xid,
            who_asks: SimUsers::default(),
            who: SimUsers::default(),
            watching: SimWatches::default(),
            expected: VecDeque::new(),
            missed: Vec::new(),
            replied_zxid: 0,
            checked: 0,
            inbox: VecDeque::new(),
            replies: 0,
            events: 0,
            hello,
        };
        conn.send(&payload);
        conn
    }

    fn send(&mut self, payload: &[u8]) {
        self.wire.extend((payload.len() as u32).to_be_bytes());
        self.wire.extend(payload);
        self.sizes.push_back(4 + payload.len());
    }

    pub(super) fn waiting(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn next_xid(&self) -> i32 {
        self.next_xid
    }

    /// The client asks. Its session is `session`.
    pub(super) fn ask(&mut self, request: SimRequest, session: i64, truth: &mut Truth) {
        let xid = match &request {
            SimRequest::Auth(_) => AUTH_XID,
            SimRequest::Ping => PING_XID,
            SimRequest::SetWatches { .. } => SET_WATCHES_XID,
            _ => {
                self.next_xid += 1;
                self.next_xid
            }
        };
        if let SimRequest::Auth(user) = request {
            self.who_asks.add(user);
        }
        let who = self.who_asks.clone();
        self.send(&request.encode(xid));
        if request.is_write() {
            let (request, who) = (request.clone(), who.clone());
            truth.wanted.insert((session, xid), Wanted { request, who, conn: self.serial, arrived: 0, tight: false });
        }
        self.asked.push_back(Asked { xid, request, who, floor: truth.acked, arrived: 0 });
    }

    /// Bytes on the wire reach the server's socket, cut anywhere (F-14).
    pub(super) fn travel(&mut self, count: usize) {
        let count = count.min(self.wire.len());
        self.socket.extend(self.wire.drain(..count));
    }

    pub(super) fn on_the_wire(&self) -> usize {
        self.wire.len()
    }

    /// The server reads the socket.
    pub(super) fn offer(&mut self, node: &mut SimNode, truth: &mut Truth, now: u64, tight: bool) {
        if self.socket.is_empty() {
            return;
        }
        let Some((_, close)) = node.member.engine.output(self.id) else { return };
        let was_closing = close.is_some();
        let ahead = self.hello.seen > node.applied().0;
        let received = node.member.engine.receive(self.id, &self.socket);
        self.socket.drain(..received.consumed);
        let mut left = received.consumed;
        while let Some(&size) = self.sizes.front().filter(|size| **size <= left) {
            left -= size;
            self.sizes.pop_front();
            if !was_closing {
                self.arrived(truth, now, tight, ahead);
            }
        }
        if !self.socket.is_empty()
            && let Some(session) = self.session
        {
            truth.waits(session, now);
        }
    }

    fn arrived(&mut self, truth: &mut Truth, now: u64, tight: bool, ahead: bool) {
        if !self.hello_arrived {
            (self.hello_arrived, self.ahead) = (true, ahead);
            return;
        }
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.arrived == 0) else { return };
        truth.arrivals += 1;
        asked.arrived = truth.arrivals;
        let Some(session) = self.session else { return };
        truth.heard(session, now);
        if let SimRequest::Auth(user) = asked.request {
            self.who.add(user);
        }
        if let Some(wanted) = truth.wanted.get_mut(&(session, asked.xid)).filter(|_| asked.request.is_write()) {
            (wanted.arrived, wanted.tight) = (asked.arrived, tight);
        }
        if asked.request == SimRequest::Close
            && let Some(life) = truth.lives.get_mut(&session)
        {
            life.closing = true;
        }
    }

    /// A transaction was applied: what has to be heard of it here.
    pub(super) fn applied(&mut self, zxid: i64, touched: &[Touched]) {
        let mut heard = Vec::new();
        touched.iter().for_each(|touched| heard.extend(self.watching.hear(touched, &self.who)));
        if !heard.is_empty() && !self.closing {
            self.expected.push_back((zxid, heard));
        }
    }

    /// Looks at everything the server has for this client that was not looked at before. The model stands at the server's
    /// last applied transaction. Returns a hash of it.
    ///
    /// Right after a transaction was applied and before the model knows of it, only what was answered before it counts.
    pub(super) fn check(&mut self, node: &SimNode, truth: &mut Truth, now: u64, before: bool) -> Result<u64, Wrong> {
        let Some((output, _)) = node.member.engine.output(self.id) else { return Ok(0) };
        let mut rest = output.get(self.checked..).unwrap_or_default();
        if before {
            if self.session.is_none() {
                return Ok(0);
            }
            rest = &rest[..rest.len() - later(rest, truth.model.zxid)];
        }
        let hash = rest.iter().fold(rest.len() as u64, |hash, byte| hash.wrapping_mul(31).wrapping_add((*byte).into()));
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>().ok_or("S-30: half a frame was queued")?;
            let length = u32::from_be_bytes(*length) as usize;
            let (frame, after) = after.split_at_checked(length).ok_or("S-30: half a frame was queued")?;
            rest = after;
            self.checked += 4 + length;
            self.keeps_secrets(frame)?;
            let taken = if self.session.is_none() {
                self.greeting(frame, truth, now)?
            } else if frame.starts_with(&[0xff; 4]) {
                self.event(frame)?
            } else {
                self.reply(frame, truth)?
            };
            self.inbox.push_back((self.checked, taken));
        }
        Ok(hash)
    }

    /// No frame holds what the connection may not see (S-36).
    fn keeps_secrets(&self, frame: &[u8]) -> Result<(), Wrong> {
        for user in 0..SUPER {
            let mark = mark(user).into_bytes();
            let known = self.who_asks.is(user) || self.who_asks.is(SUPER);
            if !known && frame.windows(mark.len()).any(|bytes| bytes == mark) {
                return Err(format!("S-36: a connection that is {:?} is sent what only user {user} may see", self.who));
            }
        }
        Ok(())
    }

    fn greeting(&mut self, frame: &[u8], truth: &mut Truth, now: u64) -> Result<Taken, Wrong> {
        let response: ConnectResponse<'_> = decode(frame).map_err(|error| format!("SC-62: {error}"))?;
        let (asked, got) = (self.hello.session, response.session_id);
        let known = truth.passwords.get(&asked).is_some_and(|password| *password == self.hello.password);
        let alive = truth.model.sessions.contains_key(&asked);
        let closing = truth.lives.get(&asked).is_some_and(|life| life.closing);
        if self.ahead {
            return Err(format!("G-08: a client that has seen 0x{:x} is served", self.hello.seen));
        }
        if got == 0 {
            if asked == 0 || (known && alive && !closing) {
                return Err(format!("G-10, S-35: session 0x{asked:x} lives and its client is told that it is over"));
            }
            if let Some(life) = truth.lives.get_mut(&asked).filter(|_| known) {
                life.told = Some(truth.arrivals);
            }
            return Ok(Taken::Refused);
        }
        let password = response.password.0.unwrap_or_default().to_vec();
        if response.timeout != self.hello.timeout.clamp(1000, 8000) {
            return Err(format!("R-13: {} ms are granted for {}", response.timeout, self.hello.timeout));
        }
        if asked == 0 {
            if truth.created != Some(got) {
                return Err(format!("S-03: session 0x{got:x} is given out and not committed"));
            }
            truth.passwords.insert(got, password.clone());
        } else if got != asked {
            return Err("G-10: a new session in place of the one asked for".into());
        } else if !known {
            return Err(format!("SC-40: session 0x{asked:x} is resumed with a wrong password"));
        } else if !alive {
            return Err(format!("G-10: session 0x{asked:x} is resumed after its end"));
        } else {
            truth.resumed(got, response.timeout, now);
        }
        truth.arrivals += 1;
        (self.session, self.bound) = (Some(got), truth.arrivals);
        Ok(Taken::Greeted { session: got, password })
    }

    fn event(&mut self, frame: &[u8]) -> Result<Taken, Wrong> {
        self.events += 1;
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = decoder.read().map_err(|error| format!("S-33: {error}"))?;
        let event: WatcherEvent<'_> = decoder.read().map_err(|error| format!("S-33: {error}"))?;
        let (kind, path) = (event.kind, event.path.as_str().to_owned());
        if (header.xid, header.err, event.state) != (-1, 0, 3) || !decoder.rest().is_empty() {
            return Err(format!("S-33: a strange event: {header:?} {event:?}"));
        }
        let event = (kind, path);
        if header.zxid == -1 {
            self.missed.push(event.clone());
            return Ok(Taken::Event(event));
        }
        if header.zxid <= self.replied_zxid {
            let zxid = self.replied_zxid;
            return Err(format!("G-05: {event:?} of 0x{:x} comes after a reply of 0x{zxid:x}", header.zxid));
        }
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
        Ok(Taken::Event(event))
    }

    fn reply(&mut self, frame: &[u8], truth: &mut Truth) -> Result<Taken, Wrong> {
        self.replies += 1;
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = decoder.read().map_err(|error| format!("S-30: {error}"))?;
        let body = decoder.rest();
        let Some(asked) = self.asked.pop_front() else {
            return Err(format!("S-30: a reply to nothing: {header:?}"));
        };
        if header.xid != asked.xid || asked.arrived == 0 {
            return Err(format!("G-02, S-30: the reply to {} comes in the place of {}", header.xid, asked.xid));
        }
        let session = self.session.unwrap_or(0);
        if asked.request.op() == OpCode::Auth {
            let fine = header.err == 0 && body.is_empty();
            let taken = Taken::Replied { zxid: 0, watched: None, awaited: false, unwatched: None };
            return if fine { Ok(taken) } else { Err(format!("S-30: a strange reply to auth: {header:?}")) };
        }
        if header.zxid < self.replied_zxid.max(self.hello.seen) {
            let seen = self.replied_zxid.max(self.hello.seen);
            return Err(format!("G-08, S-32: 0x{:x} after 0x{seen:x}", header.zxid));
        }
        self.replied_zxid = header.zxid;
        if let Some((zxid, due)) = self.expected.front().filter(|(zxid, _)| *zxid <= header.zxid) {
            return Err(format!("G-05, S-33: a reply of 0x{:x} before the events {due:?} of 0x{zxid:x}", header.zxid));
        }
        if !self.missed.is_empty() && !matches!(asked.request, SimRequest::SetWatches { .. }) {
            return Err(format!("G-07, S-33: {:?} without setWatches", self.missed));
        }
        if asked.request.is_write() {
            self.write_answered(&asked, session, header, body, truth)?;
        } else {
            self.read_answered(&asked, session, header, body, truth)?;
        }
        let found = header.err == oracle::OK;
        let watched = match &asked.request {
            SimRequest::Exists { path, watch: true } if found || header.err == -101 => Some((path.clone(), DATA)),
            SimRequest::GetData { path, watch: true } if found => Some((path.clone(), DATA)),
            SimRequest::GetChildren { path, watch: true, .. } if found => Some((path.clone(), CHILD)),
            SimRequest::AddWatch { path, recursive } => {
                Some((path.clone(), if *recursive { RECURSIVE } else { PERSISTENT }))
            }
            _ => None,
        };
        if let Some((path, modes)) = &watched {
            self.watching.add(path, *modes);
        }
        let unwatched = match asked.request {
            SimRequest::RemoveWatches { path, kind } => Some((path, kind)),
            SimRequest::Close => return Ok(Taken::Closed),
            _ => None,
        };
        Ok(Taken::Replied { zxid: header.zxid, watched, awaited: !found, unwatched })
    }

    /// The header names the write's own transaction, and that says what the reply says (G-03, S-34).
    fn write_answered(
        &mut self,
        asked: &Asked,
        session: i64,
        header: ReplyHeader,
        body: &[u8],
        truth: &mut Truth,
    ) -> Result<(), Wrong> {
        truth.acked = truth.acked.max(header.zxid);
        let outcomes = oracle::read_outcomes(&asked.request, header.err, body)?;
        let Some(done) = truth.done.remove(&(session, asked.xid)) else {
            let wanted = truth.wanted.remove(&(session, asked.xid));
            // Short of room, a write may be refused without a trace.
            return match wanted {
                Some(wanted) if wanted.tight && header.err == oracle::QUOTA_EXCEEDED => Ok(()),
                Some(_) => Err(format!("G-09: {:?} is answered {header:?} and not committed", asked.request)),
                None => Err(format!("S-30: {:?} is answered twice", asked.request)),
            };
        };
        if header.zxid != done.zxid {
            return Err(format!("G-03: a write of 0x{:x} is answered with 0x{:x}", done.zxid, header.zxid));
        }
        if (header.err, &outcomes) != (done.code, &done.outcomes) {
            let (request, code) = (&asked.request, header.err);
            let id = if matches!(request, SimRequest::Multi(_)) { "G-13" } else { "S-26, G-14" };
            return Err(format!("{id}: {request:?} was answered {code} {outcomes:?}, ought to be {:?}", done.outcomes));
        }
        Ok(())
    }

    /// A read equals the model at the header's zxid (G-03, S-32).
    fn read_answered(
        &mut self,
        asked: &Asked,
        session: i64,
        header: ReplyHeader,
        body: &[u8],
        truth: &Truth,
    ) -> Result<(), Wrong> {
        let model = &truth.model;
        if header.zxid != model.zxid {
            return Err(format!("G-03: state 0x{:x} is answered as 0x{:x}", model.zxid, header.zxid));
        }
        let expected = match &asked.request {
            SimRequest::CheckWatches { path, kind } => oracle::found(self.watching.has(path, *kind)),
            SimRequest::RemoveWatches { path, kind } => oracle::found(self.watching.remove(path, *kind)),
            SimRequest::SetWatches { since, lists, .. } => {
                let missed = self.watching.come_back(*since, lists, model, &asked.who);
                let heard = std::mem::take(&mut self.missed);
                if heard != missed {
                    return Err(format!("G-07, S-33: since 0x{since:x} {heard:?} is heard, ought to be {missed:?}"));
                }
                ReadAnswer::Nothing
            }
            SimRequest::Sync(path) => {
                if let Some(write) = truth.unsettled(asked.arrived) {
                    return Err(format!("G-04: sync is answered before {:?}", write.request));
                }
                if header.zxid < asked.floor {
                    return Err(format!("G-04: sync at 0x{:x}, 0x{:x} was seen", header.zxid, asked.floor));
                }
                let reply: crate::records::replies::PathReply<'_> = decode(body).map_err(|error| error.to_string())?;
                let echoed = header.err == 0 && reply.path.as_str() == path;
                return if echoed { Ok(()) } else { Err(format!("S-30: sync of {path}: {header:?}")) };
            }
            request => oracle::answer(model, request, &asked.who, session).unwrap_or(ReadAnswer::Nothing),
        };
        let answer = oracle::read_answer(&asked.request, header.err, body)?;
        if answer == expected {
            return Ok(());
        }
        let id = match (&expected, &answer, &asked.request) {
            (ReadAnswer::Error(-102), ..) => "S-36, G-03",
            (.., SimRequest::GetAcl(_)) => "SC-68, S-36",
            (.., SimRequest::CheckWatches { .. } | SimRequest::RemoveWatches { .. }) => "SC-60",
            (ReadAnswer::Stat(_), ReadAnswer::Stat(_), _) => "S-26, S-32",
            (ReadAnswer::Data(a, _), ReadAnswer::Data(b, _), _) if a == b => "S-26, S-32",
            (ReadAnswer::Names(a, _), ReadAnswer::Names(b, _), _) if a == b => "S-26, S-32",
            _ => "G-03, S-32",
        };
        let (zxid, request) = (header.zxid, &asked.request);
        Err(format!("{id}: {request:?} at 0x{zxid:x} was answered {answer:?}, ought to be {expected:?}"))
    }

    /// Everything that was due has been sent, and if the server closes, it may. Returns whether it does.
    pub(super) fn settled(
        &mut self,
        node: &SimNode,
        truth: &Truth,
        moved: bool,
        soft: usize,
        idle: bool,
    ) -> Result<(), Wrong> {
        let Some((output, close)) = node.member.engine.output(self.id) else { return Ok(()) };
        let Some(reason) = close else {
            if let (Some(front), Some(session)) = (self.asked.front().filter(|asked| asked.arrived != 0), self.session)
            {
                let waits = match &front.request {
                    SimRequest::Sync(_) => !idle || output.len() > soft,
                    request if request.is_write() => !truth.done.contains_key(&(session, front.xid)),
                    _ => output.len() > soft,
                };
                if !waits {
                    return Err(format!(
                        "S-30, L-02: nothing is in front of {:?}, and it is not answered",
                        front.request
                    ));
                }
            }
            return match self.expected.front() {
                Some((zxid, due)) => Err(format!("S-33, L-06: {due:?} of 0x{zxid:x} is not sent")),
                None => Ok(()),
            };
        };
        self.expected.clear();
        if std::mem::replace(&mut self.closing, true) {
            return Ok(());
        }
        let ended = self.session.is_some_and(|session| !truth.model.sessions.contains_key(&session));
        let fine = match reason {
            CloseReason::Asked | CloseReason::SessionEnded => ended,
            CloseReason::Moved => moved,
            CloseReason::Refused => self.session.is_none(),
            CloseReason::Violation(why) => {
                let full =
                    why.contains("could not be logged") || why.contains("no room") || why.contains("output above");
                full || self.session.is_none()
            }
            _ => false,
        };
        if fine { Ok(()) } else { Err(format!("SC-40, S-30: {:?} is closed: {reason:?}", self.hello)) }
    }

    /// The client reads up to `most` bytes.
    pub(super) fn read(&mut self, node: &mut SimNode, most: usize) -> Vec<Taken> {
        let Some((output, _)) = node.member.engine.output(self.id) else { return Vec::new() };
        let count = output.len().min(most).min(self.checked);
        node.member.engine.flushed(self.id, count);
        self.checked -= count;
        let mut taken = Vec::new();
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.iter_mut().for_each(|(end, _)| *end = end.saturating_sub(count));
        while inbox.front().is_some_and(|(end, _)| *end == 0) {
            taken.extend(inbox.pop_front().map(|(_, one)| one));
        }
        self.inbox = inbox;
        taken
    }

    /// Whether the server has said everything and closes.
    pub(super) fn is_over(&self, node: &SimNode) -> bool {
        node.member.engine.output(self.id).is_none_or(|(output, close)| close.is_some() && output.is_empty())
    }
}

/// How many bytes of `frames` belong to states past `zxid`. What has no zxid belongs to what comes behind it.
fn later(frames: &[u8], zxid: i64) -> usize {
    let (mut rest, mut whole) = (frames, frames.len());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        match decode_header(after) {
            Some(header) if header.zxid > zxid => return whole,
            Some(header) if header.zxid >= 0 => whole = after.len().saturating_sub(length),
            _ => {}
        }
        rest = after.get(length..).unwrap_or_default();
    }
    whole
}

fn decode_header(frame: &[u8]) -> Option<ReplyHeader> {
    decode(frame.get(..16)?).ok()
}
