//! The engine without sockets, clock or disk: bytes in, bytes out, time written down.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::ids::{Millis, SessionId, WallMillis};
use crate::jute::{Buffer, decode, encode, encoded};
use crate::meter;
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::replies::*;
use crate::records::requests::*;
use crate::records::{Acl, ErrorCode, EventType, OpCode, perms};

mod accounts;
mod answers;
mod behind;
mod bounds;
mod cost;
mod edges;
mod ensemble;
mod exact;
mod gates;
mod greedy;
mod hearing;
mod large;
mod limits;
mod lives;
mod long;
mod quotas;
mod reconfig;
mod replies;
mod sessions;
mod slices;
mod states;
mod told;
mod watching;
mod writes;

const ALONE: Duty = Duty::Alone { epoch: 0 };

/// An engine whose proposals commit when the test says so.
struct World {
    engine: Engine,
    inputs: HashMap<ConnId, Vec<u8>>,
    now: Millis,
    xid: i32,
    /// Committed so far, for replaying.
    log: Vec<Proposal>,
    /// The most steps that anything took between two looks at the clock.
    worst: u64,
}

/// What came out of a connection.
#[derive(Debug, PartialEq)]
struct Frame {
    header: ReplyHeader,
    body: Vec<u8>,
}

impl Frame {
    fn code(&self) -> ErrorCode {
        ErrorCode::from_i32(self.header.err).unwrap()
    }

    fn event(&self) -> (EventType, String) {
        assert_eq!(self.header.xid, -1, "not an event: {self:?}");
        let event: WatcherEvent<'_> = decode(&self.body).unwrap();
        assert_eq!(event.state, 3);
        (EventType::from_i32(event.kind).unwrap(), event.path.as_str().to_owned())
    }
}

impl World {
    fn new() -> World {
        World::with(EngineSettings { tick_ms: 1000, session_timeout_min_ms: 2000, ..EngineSettings::default() })
    }

    fn with(settings: EngineSettings) -> World {
        let mut engine = Engine::empty(settings, [3; 32], [1, 2]);
        engine.serve(ALONE, Millis(0), WallMillis(1_700_000_000_000));
        World { engine, inputs: HashMap::new(), now: Millis(0), xid: 0, log: Vec::new(), worst: 0 }
    }

    /// Goes on with the state of a snapshot.
    fn load(&mut self, zxid: Zxid, entries: &[Vec<u8>]) {
        let loaded = self.engine.reload(|state| {
            state.load_begin(zxid);
            entries.iter().try_for_each(|entry| state.load_entry(entry))?;
            state.load_end()
        });
        loaded.unwrap();
    }

    fn open(&mut self) -> ConnId {
        self.engine.open("127.0.0.1:4000".parse().unwrap())
    }

    /// A connection with a session.
    fn client(&mut self) -> ConnId {
        let conn = self.open();
        self.send(conn, &handshake(0, &[0; 16], 0));
        self.commit();
        let bytes = self.bytes(conn);
        assert_eq!(bytes.len(), 41, "a handshake reply");
        conn
    }

    fn session(&self, conn: ConnId) -> SessionId {
        self.engine.conns.get(conn).unwrap().session
    }

    /// Offers a payload as one frame.
    fn send(&mut self, conn: ConnId, payload: &[u8]) -> NextInput {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.offer(conn, &frame)
    }

    /// Offers raw bytes after what was not taken yet.
    fn offer(&mut self, conn: ConnId, bytes: &[u8]) -> NextInput {
        let mut input = self.inputs.remove(&conn).unwrap_or_default();
        input.extend_from_slice(bytes);
        let received = self.measured(|engine| engine.receive(conn, &input));
        input.drain(..received.consumed);
        self.inputs.insert(conn, input);
        received.next
    }

    /// Sends a request without committing anything.
    fn request(&mut self, conn: ConnId, op: OpCode, body: &impl serde::Serialize) -> i32 {
        self.xid += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.xid, op: op.to_i32() }, &mut payload);
        encode(body, &mut payload);
        self.send(conn, &payload);
        self.xid
    }

    /// Does something that the loop does without a look at its clock.
    fn measured<R>(&mut self, work: impl FnOnce(&mut Engine) -> R) -> R {
        let before = meter::counted();
        let result = work(&mut self.engine);
        self.worst = self.worst.max(meter::counted() - before);
        result
    }

    /// Commits everything proposed, and what follows from that.
    fn commit(&mut self) {
        self.measured(Engine::go_on);
        loop {
            let proposals: Vec<Proposal> = self.engine.poll_proposals().collect();
            if proposals.is_empty() && !self.engine.has_work() {
                break;
            }
            for proposal in proposals {
                while self.engine.is_busy() {
                    self.measured(Engine::go_on);
                }
                self.measured(|engine| engine.deliver_begin(proposal.zxid, &proposal.txn)).unwrap();
                while !self.measured(Engine::apply_slice).unwrap() {}
                self.log.push(proposal);
            }
            self.measured(Engine::go_on);
        }
        self.check_sums();
        let waiting: Vec<ConnId> = self.inputs.keys().copied().collect();
        for conn in waiting {
            if self.inputs.get(&conn).is_some_and(|input| !input.is_empty()) && self.engine.output(conn).is_some() {
                self.offer(conn, &[]);
            }
        }
    }

    /// What is queued for all is the sum of what is queued for each.
    fn check_sums(&self) {
        let each: usize = self.engine.conns.iter().map(|(_, conn)| conn.out.counted).sum();
        assert_eq!(self.engine.output_total(), each, "bytes queued for all clients");
    }

    /// All output of a connection, taken.
    fn bytes(&mut self, conn: ConnId) -> Vec<u8> {
        let out = self.engine.output(conn).map(|(out, _)| out.to_vec()).unwrap_or_default();
        self.engine.flushed(conn, out.len());
        self.check_sums();
        out
    }

    fn frames(&mut self, conn: ConnId) -> Vec<Frame> {
        frames_of(&self.bytes(conn))
    }

    /// One request, committed, with its only answer.
    fn call(&mut self, conn: ConnId, op: OpCode, body: &impl serde::Serialize) -> Frame {
        let xid = self.request(conn, op, body);
        self.commit();
        let mut frames = self.frames(conn);
        let frame = frames.pop().unwrap_or_else(|| panic!("no answer to {op}"));
        assert!(frames.is_empty(), "more than one answer to {op}: {frames:?}");
        assert_eq!(frame.header.xid, xid);
        frame
    }

    fn create(&mut self, conn: ConnId, path: &str, flags: i32) -> Frame {
        self.call(conn, OpCode::Create, &create(path, flags))
    }

    fn set(&mut self, conn: ConnId, path: &str) -> Frame {
        self.call(conn, OpCode::SetData, &SetDataRequest { path: path.into(), data: Buffer::new(b"x"), version: -1 })
    }

    fn delete(&mut self, conn: ConnId, path: &str) -> Frame {
        self.call(conn, OpCode::Delete, &PathVersionRequest { path: path.into(), version: -1 })
    }

    fn exists(&mut self, conn: ConnId, path: &str, watch: bool) -> bool {
        let frame = self.call(conn, OpCode::Exists, &PathWatchRequest { path: path.into(), watch });
        frame.code() == ErrorCode::Ok
    }

    fn events(&mut self, conn: ConnId) -> Vec<(EventType, String)> {
        self.frames(conn).iter().map(Frame::event).collect()
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.engine.set_time(self.now, WallMillis(1_700_000_000_000 + self.now.0 as i64));
        while self.engine.tick() {}
        self.commit();
    }

    fn is_closing(&self, conn: ConnId) -> bool {
        self.engine.output(conn).is_none_or(|(_, close)| close.is_some())
    }
}

fn frames_of(bytes: &[u8]) -> Vec<Frame> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(Frame { header: decode(frame).unwrap(), body: frame[16..].to_vec() });
        rest = after;
    }
    frames
}

fn handshake(session: i64, password: &[u8], last_zxid_seen: i64) -> Vec<u8> {
    let mut payload = Vec::new();
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen,
        timeout: 4000,
        session_id: session,
        password: Buffer::new(password),
    };
    encode(&request, &mut payload);
    payload.push(0);
    payload
}

fn create(path: &str, flags: i32) -> CreateRequest<'_> {
    CreateRequest { path: path.into(), data: Buffer::new(b"d"), acl: Some(vec![Acl::open()]), flags }
}
