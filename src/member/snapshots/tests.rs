//! A member whose snapshot fails, in virtual time.

use std::sync::Arc;

use crate::engine::{EngineSettings, ReplicatedState};
use crate::ids::{Millis, Zxid};
use crate::jute::Buffer;
use crate::member::Loading;
use crate::member::snapshots::Slices;
use crate::member::tests::site::{Site, open};
use crate::records::OpCode;
use crate::records::requests::SetDataRequest;
use crate::store::tests::sim_disk::SimDisk;
use crate::store::tests::world::tiny;
use crate::store::{LogWrite, Replay, StoreError, StoreOptions};

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
    let begun = site.driver.clock.now;
    for at in [begun, begun + 1, begun + 1000, begun + 1999] {
        site.driver.clock.now = at;
        for turn in 0..2000 {
            if turn % 500 == 0 {
                site.write();
            }
            site.turn(&[]);
            assert!(!site.is_taking(), "again after {} ms, in turn {turn}", at - begun);
        }
        let now = Millis(site.driver.clock.now);
        assert!(site.member.poll_timeout(now).is_none_or(|ms| ms > 1), "the loop does not turn round for nothing");
    }
    site.driver.clock.now = begun + 2000;
    for _ in 0..300 {
        site.turn(&[]);
    }
    let stats = site.member.store.stats();
    assert_eq!((stats.snapshots, stats.snapshots_failed), (1, 1), "{stats:?}");
    // Nothing of the writes was lost.
    let (applied, digest) = (site.member.applied(), site.member.engine.tree().digest());
    drop(site);
    let again = open(&Arc::new(SimDisk::of_image(disk.image(), 4)), &tiny());
    assert_eq!((again.applied(), again.engine.tree().digest()), (applied, digest));
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

#[test]
fn a_snapshot_that_the_store_refuses_is_given_up_in_the_engine_too_and_the_next_one_is_whole() {
    // F-08, S-43: while it is walked, and when it was walked already.
    for is_walked in [false, true] {
        let disk = Arc::new(SimDisk::new(3));
        let mut site = Site::new(&disk);
        while !site.is_taking() {
            site.write();
        }
        let store = &mut site.member.store;
        store.snapshots.build.as_mut().unwrap().failed = Some(StoreError::Full { capacity: 0 });
        let now = site.driver.clock.now;
        store.snapshots.put_off(Millis(now));
        if is_walked {
            // The store tells of it.
            let done = store.tick(Millis(now)).unwrap().expect("it has ended");
            site.member.snapshots.done(&mut site.member.engine, &site.driver, &done);
        } else {
            site.member.snapshots.slices = Slices { nodes: 1, us: 0, ..Slices::default() };
            site.member.take_snapshot(&mut site.driver).unwrap();
            site.member.snapshots.slices = Slices::default();
        }
        assert!(!site.is_taking() && !site.member.store.snapshot_running(), "{is_walked}");
        site.write();
        assert_eq!(site.member.engine.tree().snapshot_preimage_bytes(), 0, "{is_walked}: nobody asks for what was");
        site.driver.clock.now += 3000;
        site.member.store.tick(Millis(site.driver.clock.now)).unwrap();
        assert!(site.member.store.wants_snapshot());
        assert_eq!(site.member.poll_timeout(Millis(site.driver.clock.now)), Some(1), "one is due");
        for _ in 0..300 {
            site.turn(&[]);
        }
        assert_eq!(site.member.store.stats().snapshots, 1);
        let (applied, digest) = (site.member.applied(), site.member.engine.tree().digest());
        drop(site);
        let again = open(&Arc::new(SimDisk::of_image(disk.image(), 4)), &tiny());
        assert_eq!((again.applied(), again.engine.tree().digest()), (applied, digest));
    }
}

// D-09, G-02: a restart at any moment finds each znode with the data that was set last, whether a snapshot has it or the log.
#[test]
fn data_that_snapshots_leave_to_the_log_is_there_after_every_restart() {
    let disk = Arc::new(SimDisk::new(3));
    let options = StoreOptions { max_size: 8 << 20, ..tiny() };
    let mut site = Site::of(open(&disk, &options));
    const ZNODES: usize = 80;
    for number in 0..ZNODES {
        assert_eq!(site.create(&format!("/k{number}"), 700), Some(0));
    }
    let mut restarts_that_fill = 0;
    for round in 0..40 {
        for at in 0..30 {
            let number = (round * 7 + at * at) % ZNODES;
            let data = vec![(round * 30 + at) as u8; 600 + at];
            let request = SetDataRequest { path: format!("/k{number}").into(), data: Buffer::new(&data), version: -1 };
            assert_eq!(site.ask(OpCode::SetData, &request), Some(0));
        }
        let again = open(&Arc::new(SimDisk::of_image(disk.image(), 4)), &options);
        let member = &site.member;
        assert_eq!((again.applied(), again.engine.tree().digest()), (member.applied(), member.engine.tree().digest()));
        assert!(again.engine.tree().check().is_ok());
        let stats = again.store.stats();
        restarts_that_fill += u32::from(stats.snapshot_log_after < stats.snapshot_zxid);
        if round == 20 {
            // And what is loaded from such a snapshot goes on in the same way.
            site = Site::of(open(&disk, &options));
        }
    }
    assert!(restarts_that_fill > 20, "{restarts_that_fill}: {:?}", site.member.store.stats());
}

// D-09: a state that lacks data is no state.
#[test]
fn a_snapshot_is_whole_when_what_it_leaves_to_the_log_has_come() {
    let mut site = Site::new(&Arc::new(SimDisk::new(3)));
    assert_eq!(site.create("/k", 700), Some(0));
    let (applied, digest) = (site.member.applied(), site.member.engine.tree().digest());
    let mut entries = Vec::new();
    site.member.engine.snapshot_begin_leaving(Zxid::ZERO, 64, &mut |entry| entries.push(entry.to_vec()));
    while !site.member.engine.snapshot_slice(100, &mut |entry| entries.push(entry.to_vec())) {}
    let mut cursor = site.member.store.read_open(Zxid::ZERO).unwrap().expect("all of the log is there");
    let log = site.member.store.read(&mut cursor, 1 << 20).unwrap();
    let mut state = ReplicatedState::new(&EngineSettings::default(), [5, 6]);
    let mut loading = Loading::into(&mut state);
    loading.snapshot_begin(applied);
    entries.iter().for_each(|entry| loading.snapshot_entry(entry).unwrap());
    loading.snapshot_end().unwrap();
    assert!(loading.snapshot_filled().is_err());
    for (zxid, txn) in &log {
        loading.snapshot_value(*zxid, txn).unwrap();
    }
    assert_eq!(loading.snapshot_filled(), Ok(()));
    assert_eq!(state.tree().digest(), digest);
}
