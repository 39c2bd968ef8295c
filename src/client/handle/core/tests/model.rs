//! A plain carrier and a plain server: bytes go when a test lets them, and a connection is cut where it says.

use std::collections::BTreeMap;

use super::super::session::first_unsent;
use super::super::{Delivery, SessionCore, Terms};
use crate::client::handle::transport::{Reply, SizeLimit, State, WatchedPaths};
use crate::code::{self, Code, Outcome};
use crate::ids::SessionId;
use crate::jute::{Buffer, Decoder, decode, encode, encoded};
use crate::records::OpCode;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::{ReplyHeader, WatcherEvent};
use crate::records::requests::{AuthRequest, PersistentWatches, RequestHeader, SetWatchesRequest};

pub(super) const TIMEOUT: i32 = 9000;
const PASSWORD: [u8; 16] = [3; 16];

pub(super) fn terms() -> Terms {
    Terms {
        session_timeout_ms: TIMEOUT,
        resume: None,
        allow_read_only: false,
        size_limit: SizeLimit::Queue(1 << 20),
        frame_size_max: 1 << 16,
        identity_limits: None,
        closes_on_next_connection: false,
    }
}

/// What a request's waiter was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Reply { waiter: u32, code: Code, zxid: i64, record: Vec<u8> },
    Failure { waiter: u32, code: Code, outcome: Outcome },
    Event { zxid: i64, path: String },
    State(State),
    Closed { waiter: u32, code: Code },
}

/// A server that answers in order, and remembers what it did.
#[derive(Default)]
pub(super) struct Server {
    /// Sessions that live.
    pub(super) sessions: Vec<i64>,
    last_session: i64,
    pub(super) zxid: i64,
    /// The writes carried out, by the number in their record.
    pub(super) executed: Vec<u32>,
    /// What it was told first on each connection, and after that the operations.
    pub(super) heard: Vec<Vec<String>>,
    /// Writes bring an event before their reply.
    pub(super) sends_events: bool,
    pub(super) handshakes: Vec<(i64, i64, Vec<u8>)>,
    session: Option<i64>,
    input: Vec<u8>,
    /// Bytes for the client.
    pub(super) output: Vec<u8>,
}

impl Server {
    pub(super) fn expire_all(&mut self) {
        self.sessions.clear();
    }

    fn begin_connection(&mut self) {
        self.session = None;
        self.input.clear();
        self.output.clear();
        self.heard.push(Vec::new());
    }

    fn send(&mut self, payload: &[u8]) {
        self.output.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        self.output.extend_from_slice(payload);
    }

    fn reply(&mut self, xid: i32, zxid: i64, err: i32, record: &[u8]) {
        let mut payload = encoded(&ReplyHeader { xid, zxid, err });
        payload.extend_from_slice(record);
        self.send(&payload);
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(head) = self.input.first_chunk::<4>() {
            let end = 4 + u32::from_be_bytes(*head) as usize;
            if self.input.len() < end {
                return;
            }
            let frame: Vec<u8> = self.input.drain(..end).skip(4).collect();
            if self.session.is_none() { self.handshake(&frame) } else { self.request(&frame) }
        }
    }

    fn handshake(&mut self, frame: &[u8]) {
        let (request, _) = ConnectRequest::decode(frame).unwrap();
        let password = request.password.0.unwrap().to_vec();
        self.handshakes.push((request.session_id, request.last_zxid_seen, password));
        let id = match request.session_id {
            0 => {
                self.last_session += 1;
                self.sessions.push(self.last_session);
                self.last_session
            }
            id if self.sessions.contains(&id) && request.password.0 == Some(&PASSWORD) => id,
            _ => 0,
        };
        let timeout = if id == 0 { 0 } else { request.timeout };
        let response =
            ConnectResponse { protocol_version: 0, timeout, session_id: id, password: Buffer::new(&PASSWORD) };
        let mut payload = encoded(&response);
        payload.push(0);
        self.send(&payload);
        self.session = Some(id);
    }

    fn request(&mut self, frame: &[u8]) {
        let mut decoder = Decoder::new(frame);
        let RequestHeader { xid, op } = decoder.read().unwrap();
        let body = decoder.rest();
        let heard = match OpCode::from_i32(op).unwrap() {
            OpCode::SetData => {
                self.zxid += 1;
                let number = u32::from_be_bytes(body.try_into().unwrap());
                self.executed.push(number);
                if self.sends_events {
                    let event = WatcherEvent { kind: 3, state: 3, path: "/watched".into() };
                    self.reply(-1, self.zxid, 0, &encoded(&event));
                }
                self.reply(xid, self.zxid, 0, body);
                format!("set {number} as {xid}")
            }
            OpCode::Auth => {
                let auth: AuthRequest<'_> = decode(body).unwrap();
                let text = format!("auth {} {xid}", String::from_utf8_lossy(auth.auth.0.unwrap()));
                let err = if auth.scheme.as_str() == "bad" { code::AUTH_FAILED } else { code::OK };
                self.reply(xid, 0, err, &[]);
                text
            }
            op @ (OpCode::SetWatches | OpCode::SetWatches2) => {
                let mut decoder = Decoder::new(body);
                let watches: SetWatchesRequest<'_> = decoder.read().unwrap();
                let more: Option<PersistentWatches<'_>> = (op == OpCode::SetWatches2).then(|| decoder.read().unwrap());
                self.reply(xid, self.zxid, 0, &[]);
                let count = watches.data.len()
                    + watches.exist.len()
                    + watches.child.len()
                    + more.map_or(0, |more| more.persistent.len() + more.recursive.len());
                format!("{op} of {count} since {} {xid}", watches.relative_zxid)
            }
            OpCode::CloseSession => {
                let session = self.session;
                self.sessions.retain(|id| Some(*id) != session);
                self.zxid += 1;
                self.reply(xid, self.zxid, 0, &[]);
                "close".to_owned()
            }
            op => {
                self.reply(xid, self.zxid, 0, &[]);
                format!("{op}")
            }
        };
        self.heard.last_mut().unwrap().push(heard);
    }
}

/// A session under a carrier whose every byte is the test's.
pub(super) struct Carrier {
    pub(super) core: SessionCore<u32>,
    pub(super) server: Server,
    pub(super) watches: WatchedPaths,
    pub(super) told: Vec<Told>,
    writing: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    /// How often each waiter was told of its end.
    ends: BTreeMap<u32, u32>,
}

impl Carrier {
    pub(super) fn new(terms: Terms) -> Carrier {
        Carrier {
            core: SessionCore::new(terms),
            server: Server::default(),
            watches: WatchedPaths::default(),
            told: Vec::new(),
            writing: Vec::new(),
            written: 0,
            input: Vec::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Carries out what the core has for those who wait.
    pub(super) fn deliver(&mut self, bytes: &[u8]) {
        let mut deliveries = Vec::new();
        self.core.take_deliveries(&mut deliveries);
        for delivery in deliveries {
            let told = match delivery {
                Delivery::Reply { request, header, record } => match request.waiter {
                    None => continue,
                    Some(waiter) => {
                        Told::Reply { waiter, code: header.err, zxid: header.zxid, record: bytes[record].to_vec() }
                    }
                },
                Delivery::Failure { request, code, is_unsent } => match request.waiter {
                    None => continue,
                    Some(waiter) => {
                        let reply = if is_unsent { Reply::unsent(code) } else { Reply::failed(code) };
                        Told::Failure { waiter, code, outcome: reply.outcome() }
                    }
                },
                Delivery::Event { zxid, record } => {
                    let event: WatcherEvent<'_> = decode(&bytes[record]).unwrap();
                    Told::Event { zxid, path: event.path.as_str().to_owned() }
                }
                Delivery::State(state) => {
                    assert!(!self.told.iter().any(|told| matches!(told, Told::State(state) if state.is_final())));
                    Told::State(state)
                }
                Delivery::Closed { waiter, code } => Told::Closed { waiter, code },
            };
            if let Told::Reply { waiter, .. } | Told::Failure { waiter, .. } | Told::Closed { waiter, .. } = &told {
                let ends = self.ends.entry(*waiter).or_default();
                *ends += 1;
                assert_eq!(*ends, 1, "{waiter} was told twice");
            }
            self.told.push(told);
        }
    }

    /// A write that says its number.
    pub(super) fn submit(&mut self, number: u32) {
        self.core.submit(OpCode::SetData, &number.to_be_bytes(), number).unwrap();
    }

    pub(super) fn connect(&mut self) {
        self.server.begin_connection();
        self.core.connected();
    }

    /// Lets up to so many bytes go to the server; how many that were.
    pub(super) fn send(&mut self, most: usize) -> usize {
        let mut sent = 0;
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.written = 0;
                self.core.take(&mut self.writing);
            }
            let size = (self.writing.len() - self.written).min(most - sent);
            if size == 0 {
                return sent;
            }
            self.server.take_in(&self.writing[self.written..self.written + size]);
            self.written += size;
            sent += size;
        }
    }

    /// Lets up to so many bytes come from the server; how many that were.
    pub(super) fn receive(&mut self, most: usize) -> usize {
        let size = self.server.output.len().min(most);
        let bytes: Vec<u8> = self.server.output.drain(..size).collect();
        self.hear(&bytes).unwrap();
        size
    }

    /// These bytes come.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let (taken, result) = self.core.received(&input, || self.watches.clone());
        self.deliver(&input);
        self.input = input[taken..].to_vec();
        result.map_err(|error| error.0)
    }

    /// Lets everything go and come.
    pub(super) fn run(&mut self) {
        while self.send(usize::MAX) + self.receive(usize::MAX) > 0 {}
    }

    /// The connection is cut.
    pub(super) fn cut(&mut self) {
        let writing = std::mem::take(&mut self.writing);
        self.core.lost(&writing[first_unsent(&writing, self.written)..]);
        self.written = 0;
        self.input.clear();
        self.server.output.clear();
        self.deliver(&[]);
    }

    pub(super) fn up(terms: Terms) -> Carrier {
        let mut carrier = Carrier::new(terms);
        carrier.connect();
        carrier.run();
        assert_eq!(carrier.told, [Told::State(State::Connected)]);
        assert_eq!(carrier.core.info().id, SessionId(1));
        carrier.told.clear();
        carrier
    }

    /// What became of a request, if it ended.
    pub(super) fn end_of(&self, number: u32) -> Option<&Told> {
        self.told.iter().find(|told| match told {
            Told::Reply { waiter, .. } | Told::Failure { waiter, .. } | Told::Closed { waiter, .. } => {
                *waiter == number
            }
            _ => false,
        })
    }

    pub(super) fn states(&self) -> Vec<State> {
        let states = self.told.iter().filter_map(|told| match told {
            Told::State(state) => Some(*state),
            _ => None,
        });
        states.collect()
    }

    /// Each of these writes ended as it says, and happened as its end says.
    pub(super) fn check_outcomes(&self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            let times = self.server.executed.iter().filter(|executed| **executed == number).count();
            let outcome = match self.end_of(number) {
                Some(Told::Reply { code: code::OK, record, .. }) => {
                    assert_eq!(record[..], number.to_be_bytes(), "another's reply");
                    Outcome::Done
                }
                Some(Told::Failure { outcome, .. }) => *outcome,
                other => panic!("{number}: {other:?}"),
            };
            match outcome {
                Outcome::Done => assert_eq!(times, 1, "{number}"),
                Outcome::NotDone => assert_eq!(times, 0, "{number}"),
                Outcome::Unknown => assert!(times <= 1, "{number} happened {times} times"),
            }
        }
        assert!(self.server.executed.is_sorted(), "{:?}", self.server.executed);
    }
}

/// A frame around a payload.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// The answer to a handshake.
pub(super) fn welcome(session_id: i64, timeout: i32, password: &[u8], is_read_only: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(
        &ConnectResponse { protocol_version: 0, timeout, session_id, password: Buffer::new(password) },
        &mut payload,
    );
    payload.push(u8::from(is_read_only));
    frame(&payload)
}

/// A reply without a record.
pub(super) fn reply(xid: i32, zxid: i64, err: i32) -> Vec<u8> {
    frame(&encoded(&ReplyHeader { xid, zxid, err }))
}
