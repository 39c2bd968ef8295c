//! One member that is alone, with one client, in virtual time; what its driver and the seat of its engine are asked is noted.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::engine::{ConnId, Engine, EngineSettings, ReplicatedState};
use crate::ids::{Millis, WallMillis};
use crate::jute::{Buffer, decode, encode};
use crate::member::{EngineSeat, Host, Loading, LogSpaceChanged, Member};
use crate::records::connect::ConnectRequest;
use crate::records::replies::ReplyHeader;
use crate::records::requests::{CreateRequest, RequestHeader, SetDataRequest};
use crate::records::{Acl, OpCode};
use crate::store::tests::sim_disk::SimDisk;
use crate::store::tests::world::tiny;
use crate::store::{Disk, LogWrite, LogWritten, Store, StoreOptions};

/// Where the engine sits; others may read it while it is lent.
pub(in crate::member) struct Seat {
    engine: Box<Engine>,
    pub is_lent: bool,
}

impl Seat {
    /// It is the member's own to begin with.
    pub(super) fn of(engine: Engine) -> Seat {
        Seat { engine: Box::new(engine), is_lent: false }
    }
}

impl Deref for Seat {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl DerefMut for Seat {
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

impl EngineSeat for Seat {
    fn lend(&mut self) {
        self.is_lent = true;
    }

    fn take_back(&mut self) {
        self.is_lent = false;
    }
}

/// The loop's clock.
#[derive(Default)]
pub(in crate::member) struct LoopClock {
    /// It is this late, ms.
    pub now: u64,
    /// So much time passes with each look at the clock of slices, µs.
    pub look_us: u64,
    looked_us: Cell<u64>,
}

impl LoopClock {
    /// It is this late, ms, and no look at it costs anything.
    pub(in crate::member) fn at(now: u64) -> LoopClock {
        LoopClock { now, ..LoopClock::default() }
    }

    pub(in crate::member) fn time(&self) -> (Millis, WallMillis) {
        (Millis(self.now), WallMillis(1_700_000_000_000 + self.now as i64))
    }

    pub(in crate::member) fn now_us(&self) -> u64 {
        self.looked_us.set(self.looked_us.get() + self.look_us);
        self.now * 1000 + self.looked_us.get()
    }
}

/// The loop.
#[derive(Default)]
pub(in crate::member) struct Driver {
    pub clock: LoopClock,
    /// How often clients were told while more was to be applied.
    pub told: usize,
}

impl Host for Driver {
    fn time(&self) -> (Millis, WallMillis) {
        self.clock.time()
    }

    fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    fn tell(&mut self, _: &mut Engine) {
        self.told += 1;
    }
}

pub(in crate::member) struct Site {
    pub member: Member<Seat>,
    pub driver: Driver,
    pub conn: ConnId,
    pub writes: i32,
    /// What was told last of the room for the log.
    pub space: Option<LogSpaceChanged>,
}

/// What is on this disk, not serving yet.
pub(in crate::member) fn open(disk: &Arc<SimDisk>, options: &StoreOptions) -> Member<Seat> {
    let settings = EngineSettings::default();
    let mut state = ReplicatedState::new(&settings, [1, 2]);
    let shared: Arc<dyn Disk> = Arc::clone(disk) as _;
    let (store, _) = Store::open_on(shared, options, &mut Loading::into(&mut state)).unwrap();
    Member::new(settings, state, store, Seat::of)
}

impl Site {
    pub(in crate::member) fn new(disk: &Arc<SimDisk>) -> Site {
        Site::of(open(disk, &tiny()))
    }

    /// One that begins to serve.
    pub(in crate::member) fn of(mut member: Member<Seat>) -> Site {
        let driver = Driver { clock: LoopClock::at(50_000), ..Driver::default() };
        let (now, wall) = driver.time();
        member.start(now, wall);
        let conn = member.engine.open("127.0.0.1:4000".parse().unwrap());
        let mut site = Site { member, driver, conn, writes: 0, space: None };
        site.begin_session();
        site
    }

    /// The time since the start.
    pub(in crate::member) fn driver_now(&self) -> Millis {
        Millis(self.driver.clock.now)
    }

    /// Its client comes with a new connection, and begins a session.
    pub(in crate::member) fn connect(&mut self) {
        self.conn = self.member.engine.open("127.0.0.1:4000".parse().unwrap());
        self.begin_session();
    }

    fn begin_session(&mut self) {
        // Its session does not expire while this test looks at other things.
        self.member.engine.keep_alive(self.conn);
        let mut hello = Vec::new();
        encode(&new_session(), &mut hello);
        self.send(&hello);
    }

    /// The client's next request.
    pub(in crate::member) fn frame(&mut self, op: OpCode, body: &impl serde::Serialize) -> Vec<u8> {
        self.writes += 1;
        frame(self.writes, op, body)
    }

    /// One request, and the code that it is answered with; `None` when the connection is closed without an answer.
    pub(in crate::member) fn ask(&mut self, op: OpCode, body: &impl serde::Serialize) -> Option<i32> {
        let frame = self.frame(op, body);
        self.turn(&frame);
        let out = self.member.engine.output(self.conn).map_or_else(Vec::new, |(out, _)| out.to_vec());
        self.member.engine.flushed(self.conn, out.len());
        let header: ReplyHeader = decode(out.get(4..20)?).unwrap();
        assert_eq!(header.xid, self.writes);
        Some(header.err)
    }

    /// A znode of so many bytes, and the code that its creation is answered with.
    pub(in crate::member) fn create(&mut self, path: &str, size: usize) -> Option<i32> {
        let data = vec![7; size];
        let acl = Some(vec![Acl::open()]);
        self.ask(OpCode::Create, &CreateRequest { path: path.into(), data: Buffer::new(&data), acl, flags: 0 })
    }

    pub(in crate::member) fn send(&mut self, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.turn(&frame);
        let sent = self.member.engine.output(self.conn).map_or(0, |(out, _)| out.len());
        assert!(sent > 0, "no answer");
        self.member.engine.flushed(self.conn, sent);
    }

    /// One turn of the loop.
    pub(in crate::member) fn turn(&mut self, input: &[u8]) {
        let (now, wall) = self.driver.time();
        let Site { member, driver, conn, space, .. } = self;
        member.engine.set_time(now, wall);
        *space = member.pace().or(*space);
        if !input.is_empty() {
            assert_eq!(member.engine.receive(*conn, input).consumed, input.len());
        }
        member.engine.go_on();
        member.engine.tick();
        member.commit(driver).unwrap();
        member.told_all();
        member.take_snapshot(driver).unwrap();
        member.tick(driver).unwrap();
    }

    pub(in crate::member) fn write(&mut self) {
        self.writes += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.writes, op: OpCode::SetData.to_i32() }, &mut payload);
        let data = vec![self.writes as u8; 700];
        encode(&SetDataRequest { path: "/".into(), data: Buffer::new(&data), version: -1 }, &mut payload);
        self.send(&payload);
    }

    pub(in crate::member) fn is_taking(&self) -> bool {
        self.member.snapshots.is_running(&self.member.store)
    }
}

/// A client with a request behind the other, as far as the engine takes them.
pub(in crate::member) struct Pipeline {
    pub bytes: Vec<u8>,
    pub taken: usize,
}

/// What a client asks for that has no session yet.
pub(super) fn new_session() -> ConnectRequest<'static> {
    let password = Buffer::new(&[0; 16]);
    ConnectRequest { protocol_version: 0, last_zxid_seen: 0, timeout: 30_000, session_id: 0, password }
}

/// The frame of a request.
pub(super) fn frame(xid: i32, op: OpCode, body: &impl serde::Serialize) -> Vec<u8> {
    let mut frame = vec![0; 4];
    encode(&RequestHeader { xid, op: op.to_i32() }, &mut frame);
    encode(body, &mut frame);
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// The frames of `count` writes of so many bytes.
pub(in crate::member) fn writes(count: i32, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for xid in 1..=count {
        let data = vec![xid as u8; size];
        let request = SetDataRequest { path: "/".into(), data: Buffer::new(&data), version: -1 };
        bytes.extend(frame(xid, OpCode::SetData, &request));
    }
    bytes
}

impl Site {
    /// `count` writes of 700 bytes.
    pub(in crate::member) fn pipeline(&self, count: i32) -> Pipeline {
        self.pipeline_of(count, 700)
    }

    /// `count` writes of so many bytes.
    pub(in crate::member) fn pipeline_of(&self, count: i32, size: usize) -> Pipeline {
        Pipeline { bytes: writes(count, size), taken: 0 }
    }

    /// The first half of a turn: what is to be written.
    pub(in crate::member) fn begin(&mut self, pipeline: &mut Pipeline) -> Option<LogWrite> {
        let (now, wall) = self.driver.time();
        let Site { member, driver, conn, .. } = self;
        member.engine.set_time(now, wall);
        member.pace();
        pipeline.taken += member.engine.receive(*conn, &pipeline.bytes[pipeline.taken..]).consumed;
        member.engine.go_on();
        member.engine.tick();
        member.commit_begin(driver).unwrap()
    }

    /// The second half; how many answers come of it.
    pub(in crate::member) fn end(&mut self, written: Option<LogWritten>) -> i32 {
        let Site { member, driver, conn, .. } = self;
        member.commit_end(driver, written).unwrap();
        member.told_all();
        member.take_snapshot(driver).unwrap();
        member.tick(driver).unwrap();
        let out = member.engine.output(*conn).map_or_else(Vec::new, |(out, _)| out.to_vec());
        member.engine.flushed(*conn, out.len());
        let (mut rest, mut answers) = (&out[..], 0);
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            rest = &behind[u32::from_be_bytes(*head) as usize..];
            answers += 1;
        }
        answers
    }
}
