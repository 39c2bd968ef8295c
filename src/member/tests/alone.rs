//! A member that is alone: who reads while it writes, what it asks of its driver, what becomes of what has no room.

use std::sync::Arc;

use super::site::{Site, new_session, open};
use crate::engine::{Damage, LogSpace};
use crate::ids::SessionId;
use crate::jute::{Buffer, decode, encode};
use crate::member::snapshots::Slices;
use crate::member::{Appended, MemberFailure, trust_new_file};
use crate::records::connect::{ConnectRequest, ConnectResponse};
use crate::records::requests::{PathVersionRequest, SetDataRequest};
use crate::records::{ErrorCode, OpCode};
use crate::session::{Passwords, SessionPasswords};
use crate::store::tests::sim_disk::SimDisk;
use crate::store::tests::world::tiny;
use crate::store::{MemberState, Soundness, Store, StoreError};

const OK: Option<i32> = Some(0);

fn site() -> (Arc<SimDisk>, Site) {
    let disk = Arc::new(SimDisk::new(3));
    let site = Site::new(&disk);
    (disk, site)
}

fn set(site: &mut Site, size: usize) -> Option<i32> {
    let data = vec![7; size];
    site.ask(OpCode::SetData, &SetDataRequest { path: "/".into(), data: Buffer::new(&data), version: -1 })
}

fn delete(site: &mut Site, path: &str) -> Option<i32> {
    site.ask(OpCode::Delete, &PathVersionRequest { path: path.into(), version: -1 })
}

#[test]
fn others_read_while_it_writes_unless_they_would_see_what_is_not_told_yet() {
    // G-05
    let (_, mut site) = site();
    let mut pipeline = site.pipeline(500);
    let write = site.begin(&mut pipeline).expect("something was decided");
    assert!(site.member.engine.is_lent);
    site.member.commit_end(&mut site.driver, Some(write.carry_out())).unwrap();
    assert!(!site.member.engine.is_lent, "it works with it again");
    // What was applied has events that have not left.
    let write = site.begin(&mut pipeline).expect("more was decided");
    assert!(!site.member.engine.is_lent);
    site.end(Some(write.carry_out()));
    let write = site.begin(&mut pipeline).expect("more was decided");
    assert!(site.member.engine.is_lent, "all is told");
    site.end(Some(write.carry_out()));
    while let Some(write) = site.begin(&mut pipeline) {
        site.end(Some(write.carry_out()));
    }
    assert!(!site.member.engine.is_lent, "nothing is written that would take time");
}

#[test]
fn clients_are_told_of_what_was_applied_after_each_32_transactions_of_one_turn() {
    let (_, mut site) = site();
    let mut pipeline = site.pipeline_of(64, 10);
    let write = site.begin(&mut pipeline).expect("something was decided");
    site.driver.told = 0;
    let answers = site.end(Some(write.carry_out()));
    assert_eq!((answers, site.driver.told), (64, 2));
}

#[test]
fn what_is_decided_while_a_write_is_under_way_waits_for_it_and_then_asks_for_a_turn() {
    // D-10
    let (_, mut site) = site();
    assert!(!site.member.goes_on() && !site.member.has_undelivered());
    let mut pipeline = site.pipeline(2);
    let (both, half) = (pipeline.bytes.clone(), pipeline.bytes.len() / 2);
    pipeline.bytes.truncate(half);
    let write = site.begin(&mut pipeline).expect("a write was decided");
    assert!(!site.member.goes_on(), "what is under way asks for no turn");
    assert!(site.member.has_undelivered());
    pipeline.bytes = both;
    assert!(site.begin(&mut pipeline).is_none(), "one write at a time");
    assert!(site.member.engine.has_proposals() && !site.member.may_propose());
    assert!(!site.member.goes_on());
    assert_eq!(site.end(None), 0, "nothing is answered before");
    assert_eq!(site.end(Some(write.carry_out())), 1);
    assert!(site.member.goes_on() && site.member.may_propose() && !site.member.has_undelivered());
    let write = site.begin(&mut pipeline).expect("the other one");
    assert_eq!(site.end(Some(write.carry_out())), 1);
    assert!(!site.member.goes_on() && !site.member.may_propose());
}

#[test]
fn a_write_takes_as_long_as_its_sync_in_what_is_told_of_latencies() {
    let (_, mut site) = site();
    let mut pipeline = site.pipeline(1);
    let write = site.begin(&mut pipeline).expect("something was decided");
    site.driver.clock.now += 30;
    assert_eq!(site.end(Some(write.carry_out())), 1);
    let (_, writes) = site.member.engine.latencies();
    assert_eq!(writes.latency().max_ms(), 30);
}

#[test]
fn a_failure_is_told_in_the_words_of_what_failed() {
    let full = StoreError::Full { capacity: 77 };
    assert_eq!(MemberFailure::from(full.clone()).to_string(), full.to_string());
    assert_eq!(MemberFailure::from(Damage("torn in two".into())).to_string(), Damage("torn in two".into()).to_string());
    assert!(Damage("torn in two".into()).to_string().contains("torn in two"));
}

#[test]
fn the_steps_of_a_commit_can_be_taken_one_by_one() {
    let (_, mut site) = site();
    assert!(!site.member.propose(), "nothing was decided");
    assert_eq!(site.member.append().unwrap(), Appended::Durable);
    assert_eq!(site.member.deliver_next().unwrap(), None);
    let before = site.member.applied();
    let pipeline = site.pipeline(1);
    site.member.engine.receive(site.conn, &pipeline.bytes);
    assert!(site.member.propose());
    assert_eq!(site.member.store.last_zxid(), before, "not on disk yet");
    assert_eq!(site.member.deliver_next().unwrap(), None, "so it is not committed");
    assert_eq!(site.member.append().unwrap(), Appended::Durable);
    let delivered = site.member.deliver_next().unwrap().expect("it is committed");
    assert!(site.member.go_on_applying().unwrap());
    assert_eq!((site.member.applied(), site.member.store.last_zxid()), (delivered.zxid, delivered.zxid));
    assert!(delivered.zxid > before && !site.member.has_undelivered());
}

#[test]
fn a_transaction_too_large_for_the_log_closes_its_client_and_others_go_on() {
    // R-22, G-14
    let (disk, mut site) = site();
    assert_eq!(set(&mut site, 700), OK);
    let before = site.member.applied();
    assert_eq!(set(&mut site, tiny().max_record as usize + 1), None, "it is not known what becomes of it");
    assert!(!site.member.goes_on() && !site.member.has_undelivered());
    site.member.engine.closed(site.conn);
    site.connect();
    assert_eq!(set(&mut site, 30), OK);
    assert_eq!(site.member.applied().0, before.0 + 2, "a session and a write");
    // In steps, too.
    let data = vec![7; tiny().max_record as usize + 1];
    let large = SetDataRequest { path: "/".into(), data: Buffer::new(&data), version: -1 };
    let frame = site.frame(OpCode::SetData, &large);
    site.member.engine.receive(site.conn, &frame);
    assert!(site.member.propose());
    assert_eq!(site.member.append().unwrap(), Appended::Refused);
    assert!(!site.member.has_undelivered());
    site.connect();
    assert_eq!(set(&mut site, 31), OK);
    let applied = site.member.applied();
    drop(site);
    assert_eq!(open(&Arc::new(SimDisk::of_image(disk.image(), 4)), &tiny()).applied(), applied);
}

#[test]
fn the_driver_is_told_once_when_the_log_runs_out_of_room_and_once_when_it_has_some_again() {
    // R-22, L-12, F-09
    for is_disk_full in [false, true] {
        let (disk, mut site) = site();
        assert_eq!(site.member.log_space(), LogSpace::Plenty);
        if is_disk_full {
            disk.set_room(disk.image().len() as u64 + (192 << 10));
        }
        let mut count = 0;
        while site.space.is_none() {
            assert!(count < 2000, "there is always room: {:?}", site.member.store.space());
            site.create(&format!("/n{count}"), 900);
            count += 1;
            // For a snapshot, if one is due.
            for _ in 0..20 {
                site.driver.clock.now += 1;
                site.turn(&[]);
            }
        }
        let told = site.space.take().unwrap();
        assert_eq!((told.log_space, told.is_disk_full), (LogSpace::Reserve, is_disk_full));
        assert_eq!(site.member.log_space(), LogSpace::Reserve);
        assert_eq!(site.create("/more", 10), Some(ErrorCode::QuotaExceeded.to_i32()));
        assert_eq!(site.space, None, "nothing has changed since");
        for number in 0..count {
            delete(&mut site, &format!("/n{number}"));
            for _ in 0..20 {
                site.driver.clock.now += 1;
                site.turn(&[]);
            }
        }
        let told = site.space.take().expect("there is room again");
        assert_eq!(told.log_space, LogSpace::Plenty);
        assert_eq!(site.create("/more", 10), OK);
    }
}

/// Turns in which a snapshot of about eighty znodes is walked that may take so long in each, µs.
fn turns_of_a_walk(slices: Slices, is_somebody_held: bool) -> usize {
    let (_, mut site) = site();
    for number in 0..80 {
        assert_eq!(site.create(&format!("/n{number}"), 10), OK);
    }
    while !site.is_taking() {
        site.write();
    }
    (site.member.snapshots.slices, site.driver.clock.look_us) = (slices, 10);
    let pipeline = site.pipeline(1);
    let mut turns = 0;
    while site.member.snapshots.is_walking() {
        turns += 1;
        assert_eq!(site.member.poll_timeout(site.driver_now()), Some(1), "it goes on at once");
        if is_somebody_held {
            site.member.engine.set_log_budget(0);
            site.member.engine.receive(site.conn, &pipeline.bytes);
            assert_eq!(site.member.engine.held_count(), 1);
        }
        site.member.take_snapshot(&mut site.driver).unwrap();
        assert!(turns < 200, "it is never over");
    }
    turns
}

#[test]
fn a_snapshot_is_walked_in_slices_which_are_longer_while_somebody_waits_for_it() {
    // each look at the clock is ten microseconds after the one before.
    let slices = |us| Slices { nodes: 1, us, us_held: 200, ..Slices::default() };
    // One znode between two looks: two or three of them are over in 20 µs, eight or nine in 80.
    let (short, long) = (turns_of_a_walk(slices(20), false), turns_of_a_walk(slices(80), false));
    assert!((35..=50).contains(&short) && (9..=14).contains(&long), "{short}, {long}");
    let held = turns_of_a_walk(slices(20), true);
    assert!((3..=6).contains(&held), "{held}");
    let many = turns_of_a_walk(Slices { nodes: 8, ..slices(20) }, false);
    assert!((4..=7).contains(&many), "{many}");
}

#[test]
fn snapshots_that_were_published_are_counted_with_the_time_that_they_took() {
    let (_, mut site) = site();
    while !site.is_taking() {
        site.write();
    }
    assert!(site.member.snapshots.is_walking());
    site.driver.clock.now += 30;
    while site.is_taking() {
        site.turn(&[]);
    }
    let took = site.member.snapshots.summary();
    assert_eq!((took.name, took.count, took.sum, took.min, took.max), ("snapshottime", 1, 30, 30, 30));
    assert_eq!(site.member.store.stats().snapshots, 1);
    site.member.snapshots.reset_times();
    assert_eq!(site.member.snapshots.summary().count, 0);
}

#[test]
fn a_server_that_was_a_member_goes_on_in_the_epoch_that_it_keeps() {
    // S-05, S-08
    let disk = Arc::new(SimDisk::new(3));
    let mut member = open(&disk, &tiny());
    let state = MemberState { accepted_epoch: 7, current_epoch: 7, ..member.store.member_state().clone() };
    member.store.keep(&state).unwrap();
    let mut site = Site::of(member);
    assert_eq!(set(&mut site, 10), OK);
    assert_eq!(site.member.applied().epoch(), 7);
    assert!(site.member.standing().is_none() && site.member.may_leave() && !site.member.begin_leaving());
}

/// A client that comes with a session, or for a new one: the session and the password that it is given; session 0 when it is refused.
fn hello(site: &mut Site, session_id: i64, password: &[u8; 16]) -> (i64, Vec<u8>) {
    let request = ConnectRequest { session_id, password: Buffer::new(password), ..new_session() };
    let mut frame = vec![0; 4];
    encode(&request, &mut frame);
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    site.conn = site.member.engine.open("127.0.0.1:4000".parse().unwrap());
    site.member.engine.keep_alive(site.conn);
    site.turn(&frame);
    let (out, _) = site.member.engine.output(site.conn).unwrap();
    let length = u32::from_be_bytes(*out.first_chunk().unwrap()) as usize;
    let body = &out[4..4 + length];
    let response: ConnectResponse<'_> = decode(body).or_else(|_| decode(&body[..length - 1])).unwrap();
    (response.session_id, response.password.0.unwrap().to_vec())
}

#[test]
fn a_server_that_was_a_member_takes_the_passwords_that_its_ensembles_sessions_have() {
    // SC-40: where nobody ever said which those are, they may be of either kind.
    for (kept, current_epoch, mode) in [
        (None, 0, SessionPasswords::Keyed),
        (None, 7, SessionPasswords::Moving),
        (Some(SessionPasswords::Keyed), 7, SessionPasswords::Keyed),
        (Some(SessionPasswords::Moving), 7, SessionPasswords::Moving),
        (Some(SessionPasswords::Compatible), 7, SessionPasswords::Compatible),
    ] {
        let mut member = open(&Arc::new(SimDisk::new(3)), &tiny());
        let state = MemberState {
            accepted_epoch: current_epoch,
            current_epoch,
            passwords: kept.map_or(0, SessionPasswords::code),
            secret: [9; 32],
            ..member.store.member_state().clone()
        };
        member.store.keep(&state).unwrap();
        let mut site = Site::of(member);
        let (session, given) = hello(&mut site, 0, &[0; 16]);
        let mut passwords = Passwords::new([9; 32]);
        passwords.set_mode(mode);
        assert_eq!(given, passwords.of(SessionId(session)), "{kept:?}, {current_epoch}");
        passwords.set_mode(SessionPasswords::Compatible);
        let (resumed, _) = hello(&mut site, session, &passwords.of(SessionId(session)));
        let is_taken = mode != SessionPasswords::Keyed;
        assert_eq!(resumed, if is_taken { session } else { 0 }, "{kept:?}, {current_epoch}: by the formula");
    }
}

#[test]
fn an_operators_word_is_kept_for_a_file_that_is_new_and_for_no_other() {
    // F-21
    let disk = Arc::new(SimDisk::new(3));
    let mut new = open(&disk, &tiny());
    assert!(trust_new_file(&mut new.store).unwrap());
    assert_eq!(new.store.member_state().soundness, Soundness::NewAndTrusted);
    let (_, mut used) = site();
    assert!(!trust_new_file(&mut used.member.store).unwrap(), "it has a session");
    assert_eq!(used.member.store.member_state().soundness, Soundness::Sound);
    let damaged = Arc::new(SimDisk::new(5));
    drop(open(&damaged, &tiny()));
    let mut damaged = Store::open_to_be_filled(damaged, &tiny()).unwrap();
    assert!(!trust_new_file(&mut damaged).unwrap(), "it may have lost everything");
    assert_eq!(damaged.member_state().soundness, Soundness::Damaged);
    let mut elected = open(&Arc::new(SimDisk::new(4)), &tiny());
    let state = MemberState { accepted_epoch: 1, current_epoch: 1, ..elected.store.member_state().clone() };
    elected.store.keep(&state).unwrap();
    assert!(!trust_new_file(&mut elected.store).unwrap(), "it has followed a leader");
}
