//! A member whose snapshot fails, in virtual time.

use std::sync::Arc;

use crate::engine::{ConnId, Engine, EngineSettings, ReplicatedState};
use crate::ids::{Millis, WallMillis};
use crate::jute::{Buffer, encode};
use crate::member::{Host, Loading, Member};
use crate::records::OpCode;
use crate::records::connect::ConnectRequest;
use crate::records::requests::{RequestHeader, SetDataRequest};
use crate::store::tests::sim_disk::SimDisk;
use crate::store::tests::world::tiny;
use crate::store::{Disk, LogWrite, LogWritten, Store};

/// It is this late, and nobody reads a clock.
struct Driver(u64);

impl Host for Driver {
    fn time(&self) -> (Millis, WallMillis) {
        (Millis(self.0), WallMillis(1_700_000_000_000 + self.0 as i64))
    }

    fn now_us(&self) -> u64 {
        self.0 * 1000
    }

    fn tell(&mut self, _: &mut Engine) {}
}

struct Site {
    member: Member<Box<Engine>>,
    driver: Driver,
    conn: ConnId,
    writes: i32,
}

fn open(disk: &Arc<SimDisk>) -> Member<Box<Engine>> {
    let settings = EngineSettings::default();
    let mut state = ReplicatedState::new(&settings, [1, 2]);
    let shared: Arc<dyn Disk> = Arc::clone(disk) as _;
    let (store, _) = Store::open_on(shared, &tiny(), &mut Loading::into(&mut state)).unwrap();
    Member::new(settings, state, store, Box::new)
}

impl Site {
    fn new(disk: &Arc<SimDisk>) -> Site {
        let mut member = open(disk);
        let driver = Driver(50_000);
        let (now, wall) = driver.time();
        member.start(now, wall);
        let conn = member.engine.open("127.0.0.1:4000".parse().unwrap());
        // Its session does not expire while this test looks at other things.
        member.engine.keep_alive(conn);
        let mut site = Site { member, driver, conn, writes: 0 };
        let mut hello = Vec::new();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout: 30_000,
            session_id: 0,
            password: Buffer::new(&[0; 16]),
        };
        encode(&request, &mut hello);
        site.send(&hello);
        site
    }

    fn send(&mut self, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.turn(&frame);
        let sent = self.member.engine.output(self.conn).map_or(0, |(out, _)| out.len());
        assert!(sent > 0, "no answer");
        self.member.engine.flushed(self.conn, sent);
    }

    /// One turn of the loop.
    fn turn(&mut self, input: &[u8]) {
        let (now, wall) = self.driver.time();
        let Site { member, driver, conn, .. } = self;
        member.engine.set_time(now, wall);
        member.pace();
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

    fn write(&mut self) {
        self.writes += 1;
        let mut payload = Vec::new();
        encode(&RequestHeader { xid: self.writes, op: OpCode::SetData.to_i32() }, &mut payload);
        let data = vec![self.writes as u8; 700];
        encode(&SetDataRequest { path: "/".into(), data: Buffer::new(&data), version: -1 }, &mut payload);
        self.send(&payload);
    }

    fn is_taking(&self) -> bool {
        self.member.snapshots.is_running(&self.member.store)
    }
}

// F-08, S-43: at once would be a loop of failures that the clients pay for, and a number of turns is no time.
#[test]
fn a_snapshot_that_failed_is_tried_again_after_two_seconds_and_writes_go_on_meanwhile() {
    let disk = Arc::new(SimDisk::new(3));
    let mut site = Site::new(&disk);
    for _ in 0..20 {
        site.turn(&[]);
    }
    let free = site.member.store.extents.first_free().unwrap();
    while !site.is_taking() {
        site.write();
        assert!(site.writes < 300, "no snapshot is taken: {:?}", site.member.store.stats());
    }
    // It cannot be read back where it lies.
    let first = site.member.store.extents.first_free().unwrap_or(free);
    for index in free.min(first)..=first {
        let at = site.member.store.sb().extent_at(index);
        disk.fail_reads(at, at + 512);
    }
    for _ in 0..100 {
        site.turn(&[]);
    }
    let stats = site.member.store.stats();
    assert_eq!((stats.snapshots, stats.snapshots_failed), (0, 1), "{stats:?}");
    let begun = site.driver.0;
    for at in [begun, begun + 1, begun + 1000, begun + 1999] {
        site.driver.0 = at;
        for turn in 0..2000 {
            if turn % 500 == 0 {
                site.write();
            }
            site.turn(&[]);
            assert!(!site.is_taking(), "again after {} ms, in turn {turn}", at - begun);
        }
        let (now, _) = site.driver.time();
        assert!(site.member.poll_timeout(now).is_none_or(|ms| ms > 1), "the loop does not turn round for nothing");
    }
    site.driver.0 = begun + 2000;
    for _ in 0..300 {
        site.turn(&[]);
    }
    let stats = site.member.store.stats();
    assert_eq!((stats.snapshots, stats.snapshots_failed), (1, 1), "{stats:?}");
    // Nothing of the writes was lost.
    let (applied, digest) = (site.member.applied(), site.member.engine.tree().digest());
    drop(site);
    let again = open(&Arc::new(SimDisk::of_image(disk.image(), 4)));
    assert_eq!((again.applied(), again.engine.tree().digest()), (applied, digest));
}

/// A client with a request behind the other, as far as the engine takes them.
struct Pipeline {
    bytes: Vec<u8>,
    taken: usize,
}

impl Site {
    /// `count` writes of 700 bytes.
    fn pipeline(&self, count: i32) -> Pipeline {
        let mut bytes = Vec::new();
        for xid in 1..=count {
            let mut payload = Vec::new();
            encode(&RequestHeader { xid, op: OpCode::SetData.to_i32() }, &mut payload);
            let data = vec![xid as u8; 700];
            encode(&SetDataRequest { path: "/".into(), data: Buffer::new(&data), version: -1 }, &mut payload);
            bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&payload);
        }
        Pipeline { bytes, taken: 0 }
    }

    /// The first half of a turn: what is to be written.
    fn begin(&mut self, pipeline: &mut Pipeline) -> Option<LogWrite> {
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
    fn end(&mut self, written: Option<LogWritten>) -> i32 {
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

// A slow disk slows the writers down. Turns that pass while it writes must not each decide what a turn may.
#[test]
fn while_a_write_is_under_way_no_more_is_decided_than_the_log_may_take() {
    let disk = Arc::new(SimDisk::new(3));
    let mut site = Site::new(&disk);
    for _ in 0..20 {
        site.turn(&[]);
    }
    const WRITES: i32 = 2000;
    let mut pipeline = site.pipeline(WRITES);
    let budget = site.member.store.log_budget(0);
    assert!(budget < pipeline.bytes.len() as u64 / 4, "{budget}");
    let write = site.begin(&mut pipeline).expect("something was decided");
    for _ in 0..100 {
        assert!(site.begin(&mut pipeline).is_none(), "one write at a time");
        site.end(None);
        let pending: usize = site.member.engine.proposals().iter().map(|one| one.txn.len()).sum();
        // The last one may be half over.
        assert!((pending as u64) < budget + 800, "{pending} bytes are decided, {budget} may be logged");
    }
    let mut answers = site.end(Some(write.carry_out()));
    for _ in 0..20_000 {
        let write = site.begin(&mut pipeline);
        answers += site.end(write.map(LogWrite::carry_out));
    }
    assert_eq!((pipeline.taken, answers), (pipeline.bytes.len(), WRITES), "all are answered");
}
