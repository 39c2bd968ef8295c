//! The engine as a server drives it, without sockets, clock or disk, talking to hostile clients (Z-01, Z-04, Z-16).
//!
//! What must hold whatever is sent: no panic; replies whole, well formed and in the order of the requests; a healthy
//! client beside the hostile one is served; a turn ends; nothing is left over when the clients are gone; and the log
//! replayed, or a snapshot loaded, gives the same tree.

use std::collections::VecDeque;

use zoarium::engine::{ConnId, Engine, EngineLimits, EngineSettings, NextInput, Proposal};
use zoarium::ids::{Millis, WallMillis};
use zoarium::jute::{Buffer, Decoder, encode, encoded};
use zoarium::records::connect::{ConnectRequest, ConnectResponse};
use zoarium::records::replies::{ReplyHeader, WatcherEvent};
use zoarium::records::requests::{PathWatchRequest, RequestHeader, WatchRequest};
use zoarium::records::{EventType, OpCode};

use super::Rng;
use super::seeds;
use super::state::{Picture, picture, reloaded};

const PING_XID: i32 = -2;
/// A limit on turns in a row: a server that does not come to rest has lost its way.
const TURNS_MAX: usize = 100_000;

pub(crate) fn settings() -> EngineSettings {
    EngineSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        extended_types: true,
        enforce_quota: true,
        container_check_interval_ms: 1000,
        super_digest: Some("super:UdxDQl4f9v5oITwcAsO9bmWgHSI=".to_owned()),
        // Small ones, so that small inputs reach them.
        limits: EngineLimits {
            in_flight_per_connection_max: 16,
            in_flight_max: 32,
            waiting_size_max: 4096,
            output_soft_max: 4096,
            output_hard_max: 1 << 20,
            watches_per_connection_max: 100,
            watches_max: 150,
            acl_entries_max: 20,
            identities_max: 5,
            path_size_max: 1000,
            path_depth_max: 50,
            reply_size_max: 64 << 10,
            sessionless_max: 4,
            ..EngineLimits::default()
        },
        ..EngineSettings::default()
    }
}

/// One client as the server sees it, and what it is owed.
struct Line {
    id: ConnId,
    input: Vec<u8>,
    blocked: bool,
    /// The handshake's frame was taken.
    greeted: bool,
    /// The handshake's answer came.
    answered: bool,
    /// Xids of requests taken and not answered yet.
    owed: VecDeque<i32>,
    /// Bytes of output it takes per turn.
    appetite: usize,
    got: Vec<u8>,
    replies: usize,
}

struct World {
    engine: Engine,
    lines: Vec<Option<Line>>,
    now: Millis,
    log: Vec<Proposal>,
}

impl World {
    fn new(lines: usize) -> World {
        let mut engine = Engine::empty(settings(), [3; 32], [1, 2]);
        engine.serve(zoarium::engine::Duty::Alone { epoch: 0 }, Millis(0), wall(Millis(0)));
        World { engine, lines: (0..lines).map(|_| None).collect(), now: Millis(0), log: Vec::new() }
    }

    fn open(&mut self, index: usize) {
        self.close(index);
        let id = self.engine.open("127.0.0.1:4000".parse().expect("an address"));
        self.lines[index] = Some(Line {
            id,
            input: Vec::new(),
            blocked: false,
            greeted: false,
            answered: false,
            owed: VecDeque::new(),
            appetite: usize::MAX,
            got: Vec::new(),
            replies: 0,
        });
    }

    fn close(&mut self, index: usize) {
        if let Some(line) = self.lines[index].take() {
            self.engine.closed(line.id);
        }
    }

    fn send(&mut self, index: usize, bytes: &[u8]) {
        if let Some(line) = &mut self.lines[index] {
            line.input.extend_from_slice(bytes);
        }
    }

    fn appetite(&mut self, index: usize, bytes: usize) {
        if let Some(line) = &mut self.lines[index] {
            line.appetite = bytes;
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.settle();
    }

    /// Turns until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    /// One turn of a loop; whether anything happened.
    fn turn(&mut self) -> bool {
        self.engine.set_time(self.now, wall(self.now));
        let mut moved = false;
        for index in 0..self.lines.len() {
            moved |= self.receive(index);
        }
        moved |= self.engine.has_work();
        self.engine.go_on();
        while self.engine.tick() {}
        moved |= self.commit();
        while let Some(id) = self.engine.poll_touched() {
            if let Some(line) = self.lines.iter_mut().flatten().find(|line| line.id == id) {
                line.blocked = false;
            }
        }
        for index in 0..self.lines.len() {
            moved |= self.flush(index);
        }
        moved
    }

    fn receive(&mut self, index: usize) -> bool {
        let Some(line) = &mut self.lines[index] else { return false };
        if line.blocked || line.input.is_empty() {
            return false;
        }
        let closing = is_closing(&self.engine, line.id);
        let received = self.engine.receive(line.id, &line.input);
        assert!(received.consumed <= line.input.len());
        let taken: Vec<u8> = line.input.drain(..received.consumed).collect();
        if !closing && !is_closing(&self.engine, line.id) {
            line.take_note(&taken);
        } else if !closing {
            line.take_note_in_part(&taken);
        }
        line.blocked = received.next == NextInput::Blocked;
        if let NextInput::More(wanted) = received.next {
            assert!(wanted == 0 || wanted > line.input.len(), "{wanted} bytes are wanted, {} there", line.input.len());
        }
        received.consumed > 0
    }

    fn commit(&mut self) -> bool {
        let proposals: Vec<Proposal> = self.engine.poll_proposals().collect();
        for proposal in &proposals {
            self.engine.deliver(proposal.zxid, &proposal.txn).expect("what was proposed can be applied");
        }
        let some = !proposals.is_empty();
        self.log.extend(proposals);
        some
    }

    fn flush(&mut self, index: usize) -> bool {
        let Some(line) = &mut self.lines[index] else { return false };
        let Some((out, close)) = self.engine.output(line.id) else {
            self.lines[index] = None;
            return false;
        };
        let sent = out.len().min(line.appetite);
        let over = close.is_some() && sent == out.len();
        line.got.extend_from_slice(&out[..sent]);
        line.read_replies();
        self.engine.flushed(line.id, sent);
        if over {
            self.close(index);
        }
        sent > 0 || over
    }

    /// The clients leave, then the state is compared with what its log and its snapshot say.
    fn end(mut self) {
        for index in 0..self.lines.len() {
            self.close(index);
        }
        let status = self.engine.status();
        assert_eq!((status.connections, status.watches, status.output_total), (0, 0, 0));
        let live = picture(&mut self.engine);
        let mut replayed = Engine::empty(settings(), [3; 32], [5, 6]);
        for proposal in &self.log {
            replayed.replay(proposal.zxid, &proposal.txn).expect("what was applied can be replayed");
        }
        assert_eq!(picture(&mut replayed), live, "the log says something else");
        assert_eq!(reloaded(&mut self.engine), Ok(live.clone()), "the snapshot says something else");
        check_picture(&live);
    }
}

impl Line {
    /// What was taken is owed an answer: the first frame is the handshake, the others are requests.
    fn take_note(&mut self, taken: &[u8]) {
        let rest = self.take_note_in_part(taken);
        assert_eq!(rest, 0, "half a frame was taken");
    }

    /// The same for what a connection was closed over: not all of it are frames.
    fn take_note_in_part(&mut self, mut taken: &[u8]) -> usize {
        while let Some((length, rest)) = taken.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let Some(frame) = rest.get(..length) else { break };
            if !self.greeted {
                self.greeted = true;
            } else if let Ok(RequestHeader { xid, op }) = Decoder::new(frame).read() {
                // A ping is answered as one, whatever xid it has.
                self.owed.push_back(if op == OpCode::Ping.to_i32() { PING_XID } else { xid });
            }
            taken = &rest[length..];
        }
        taken.len()
    }

    fn read_replies(&mut self) {
        let got = std::mem::take(&mut self.got);
        let mut rest = &got[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).expect("a length is positive");
            let Some(frame) = after.get(..length) else { break };
            self.read_reply(frame);
            rest = &after[length..];
        }
        self.got = rest.to_vec();
    }

    fn read_reply(&mut self, frame: &[u8]) {
        if !self.answered {
            self.answered = true;
            assert!(self.greeted, "an answer without a handshake");
            let response = Decoder::new(frame).read::<ConnectResponse<'_>>().expect("a handshake's answer");
            assert_eq!(response.password.len(), 16);
            return;
        }
        let mut decoder = Decoder::new(frame);
        let header: ReplyHeader = decoder.read().expect("a reply's header");
        // A request may have any xid, that of events too.
        if self.owed.front() == Some(&header.xid) {
            self.owed.pop_front();
            self.replies += 1;
            return;
        }
        assert_eq!(header.xid, -1, "neither an event nor the reply in turn: {header:?}, owed {:?}", self.owed);
        let event: WatcherEvent<'_> = decoder.read().expect("an event");
        assert!(EventType::from_i32(event.kind).is_some(), "{event:?}");
    }
}

fn is_closing(engine: &Engine, id: ConnId) -> bool {
    engine.output(id).is_none_or(|(_, close)| close.is_some())
}

fn wall(now: Millis) -> WallMillis {
    WallMillis(1_700_000_000_000 + now.0 as i64)
}

fn check_picture(picture: &Picture) {
    for (path, ..) in &picture.nodes {
        assert!(zoarium::path::is_valid(path), "{path:?} is in the tree");
    }
}

/// A frame around `payload`.
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// A request with its header, framed.
pub(crate) fn request(xid: i32, op: OpCode, body: &impl serde::Serialize) -> Vec<u8> {
    let mut payload = encoded(&RequestHeader { xid, op: op.to_i32() });
    encode(body, &mut payload);
    framed(&payload)
}

/// A handshake for a new session, framed.
pub(crate) fn greeting() -> Vec<u8> {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout: 10_000,
        session_id: 0,
        password: Buffer::new(&[0; 16]),
    };
    let mut payload = encoded(&request);
    payload.push(0);
    framed(&payload)
}

const HEALTHY: usize = 0;
const HOSTILE: usize = 1;

/// A server with one healthy client that watches everything.
fn with_healthy_client(lines: usize) -> World {
    let mut world = World::new(lines);
    world.open(HEALTHY);
    world.send(HEALTHY, &greeting());
    world.send(HEALTHY, &request(1, OpCode::AddWatch, &WatchRequest { path: "/".into(), kind: 1 }));
    world.settle();
    world
}

/// Whatever happened, the healthy client is answered.
fn healthy_is_served(world: &mut World) {
    let line = world.lines[HEALTHY].as_mut().expect("the healthy client was cut off");
    let before = line.replies;
    world.send(HEALTHY, &request(7, OpCode::Exists, &PathWatchRequest { path: "/".into(), watch: true }));
    world.settle();
    let line = world.lines[HEALTHY].as_ref().expect("the healthy client was cut off");
    assert_eq!((line.replies, line.owed.len()), (before + 1, 0), "the healthy client was not answered");
}

fn chopped(input: &[u8], size_max: usize) {
    let mut rng = Rng::of(input);
    let mut world = with_healthy_client(2);
    world.open(HOSTILE);
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + rng.below(size_max)).min(rest.len()));
        world.send(HOSTILE, piece);
        if rng.chance(3) {
            world.settle();
        } else {
            world.turn();
        }
        rest = after;
    }
    world.settle();
    if let Some(line) = &world.lines[HOSTILE] {
        assert!(line.blocked || line.owed.is_empty(), "{} requests were not answered", line.owed.len());
    }
    healthy_is_served(&mut world);
    world.end();
}

/// Z-01
pub(crate) fn frames(input: &[u8]) {
    chopped(input, input.len().max(1));
}

/// Z-04
pub(crate) fn handshake(input: &[u8]) {
    chopped(input, 7);
}

/// Z-16: bytes are commands, each for one of three clients.
pub(crate) fn server(input: &[u8]) {
    let mut world = with_healthy_client(4);
    let mut bytes = input.iter().copied();
    let mut xid = 100;
    while let Some(command) = bytes.next() {
        let who = 1 + usize::from(command & 0xf) % 3;
        let mut next = || bytes.next().unwrap_or(0);
        match command >> 4 {
            0..=5 => {
                let (op, path, flavour) = (next(), next(), next());
                xid += 1;
                world.send(who, &seeds::made_request(xid, op, path, flavour));
            }
            6 | 7 => {
                let length = usize::from(next());
                let payload: Vec<u8> = bytes.by_ref().take(length).collect();
                world.send(who, &framed(&payload));
            }
            8 => {
                let length = usize::from(next() & 31);
                let raw: Vec<u8> = bytes.by_ref().take(length).collect();
                world.send(who, &raw);
            }
            9 | 10 => {
                world.open(who);
                world.send(who, &greeting());
            }
            11 => world.close(who),
            12 => {
                let ms = 10 * u64::from(next());
                world.send(HEALTHY, &request(-2, OpCode::Ping, &()));
                world.settle();
                world.pass(ms);
            }
            13 => {
                let bytes = usize::from(next()) * 8;
                world.appetite(who, bytes);
            }
            14 => world.appetite(who, usize::MAX),
            _ => {
                world.turn();
            }
        }
        if command & 1 == 0 {
            world.settle();
        }
    }
    for who in 1..4 {
        world.appetite(who, usize::MAX);
    }
    world.settle();
    healthy_is_served(&mut world);
    world.end();
}

/// The transactions that come of what one client sends, and the engine that made them.
pub(crate) fn history(input: &[u8]) -> (Engine, Vec<Proposal>) {
    let mut world = World::new(2);
    world.open(HOSTILE);
    world.send(HOSTILE, input);
    world.settle();
    (world.engine, world.log)
}
