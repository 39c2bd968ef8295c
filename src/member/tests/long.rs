//! A transaction that takes several turns to be applied: what waits for it, and what does not (R-24, G-13).

use std::sync::Arc;

use super::feeding::{fed, link};
use super::hand::{Hand, Past, Wires, roomy};
use super::site::{self, Site, frame, writes};
use crate::engine::ConnId;
use crate::jute::Buffer;
use crate::member::feeding::Feeding;
use crate::records::OpCode;
use crate::records::multi::MultiHeader;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::records::requests::SetDataRequest;
use crate::store::StoreOptions;
use crate::store::tests::sim_disk::SimDisk;

/// A log that takes large transactions.
fn spacious() -> StoreOptions {
    StoreOptions {
        extent_size: 512 << 10,
        initial_size: 4 << 20,
        max_size: 32 << 20,
        max_record: 256 << 10,
        log_window: 8 << 20,
        ..roomy()
    }
}

/// Operations of a multi that takes a few turns to be applied.
const PARTS: usize = 6000;

/// So many writes of nothing, all or none of them.
struct Multi(usize);

impl serde::Serialize for Multi {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut list = to.serialize_tuple(2 * self.0 + 1)?;
        for _ in 0..self.0 {
            list.serialize_element(&MultiHeader::request(OpCode::SetData))?;
            list.serialize_element(&SetDataRequest { path: "/".into(), data: Buffer::new(b""), version: -1 })?;
        }
        list.serialize_element(&MultiHeader::END)?;
        list.end()
    }
}

/// The frame of a long multi.
pub(super) fn long(xid: i32) -> Vec<u8> {
    frame(xid, OpCode::Multi, &Multi(PARTS))
}

/// A server that is alone, and is applying a long transaction.
fn applying_alone(options: &StoreOptions) -> (Arc<SimDisk>, Site) {
    let disk = Arc::new(SimDisk::new(3));
    let mut site = Site::of(site::open(&disk, options));
    let multi = long(1);
    site.turn(&multi);
    for _ in 0..20 {
        if !site.member.engine.is_applying() {
            site.turn(&[]);
        }
    }
    assert!(site.member.engine.is_applying(), "it is applied at once: the test is too small");
    (disk, site)
}

/// The only voter, whose log takes large transactions, and a client.
pub(super) fn leading() -> (Hand, ConnId) {
    let past = Past::of(&spacious(), |site| assert_eq!(site.create("/a", 10), Some(0)));
    let mut hand = Hand::leading(&past, &spacious());
    let (conn, _) = hand.client_with_writes(0, 0);
    let answered = hand.sent_to(conn).1;
    hand.member.engine.flushed(conn, answered);
    (hand, conn)
}

/// One whose client's long transaction is being applied.
fn applying_leader() -> (Hand, ConnId) {
    let (mut hand, conn) = leading();
    let multi = long(1);
    assert_eq!(hand.member.engine.receive(conn, &multi).consumed, multi.len());
    for _ in 0..20 {
        if !hand.member.engine.is_applying() {
            hand.turn();
        }
    }
    assert!(hand.member.engine.is_applying(), "it is applied at once: the test is too small");
    (hand, conn)
}

#[test]
fn a_server_that_is_alone_asks_for_turns_until_a_long_transaction_is_applied() {
    let (_, mut site) = applying_alone(&spacious());
    let mut turns = 0;
    while site.member.engine.is_applying() {
        assert!(site.member.goes_on() && site.member.has_undelivered(), "nobody asks for the next turn");
        assert_eq!(site.member.engine.output(site.conn).unwrap().0.len(), 0, "answered before it is applied");
        turns += 1;
        assert!(turns < 100, "it is never over");
        site.turn(&[]);
    }
    assert!(turns > 1 && !site.member.goes_on() && !site.member.has_undelivered());
    assert!(!site.member.engine.output(site.conn).unwrap().0.is_empty());
}

#[test]
fn a_leader_asks_for_turns_until_a_long_transaction_is_applied() {
    let (mut hand, conn) = applying_leader();
    let mut turns = 0;
    while hand.member.engine.is_applying() {
        assert!(hand.member.goes_on() && hand.member.has_undelivered(), "nobody asks for the next turn");
        assert_eq!(hand.sent_to(conn), (true, 0), "answered before it is applied");
        turns += 1;
        assert!(turns < 100, "it is never over");
        hand.turn();
    }
    assert!(turns > 1 && !hand.member.goes_on() && !hand.member.has_undelivered());
    assert!(hand.sent_to(conn).1 > PARTS);
}

#[test]
fn nobody_else_reads_while_a_transaction_is_half_applied() {
    // G-13: what is decided meanwhile is written meanwhile, and then others may read but for that.
    let (mut hand, _) = applying_leader();
    let before = hand.member.store.last_zxid();
    let other = hand.client(false);
    hand.begin_turn();
    let write = hand.member.commit_begin(&mut hand.wires).unwrap().expect("the new session is decided");
    assert!(hand.member.engine.is_applying(), "it is over: the test is too small");
    assert!(!hand.member.engine.is_lent);
    hand.member.commit_end(&mut hand.wires, Some(write.carry_out())).unwrap();
    hand.member.told_all();
    assert!(hand.member.store.last_zxid() > before);
    hand.turns(20);
    assert_eq!(hand.member.applied(), hand.member.store.last_zxid());
    assert!(hand.sent_to(other).1 > 0, "it has its session");
}

#[test]
fn what_has_no_room_is_refused_once_a_long_transaction_before_it_is_applied_and_answered() {
    // R-22, G-14: by the refusal everybody is disconnected who waits for a write.
    let (mut hand, conn) = applying_leader();
    let other = hand.client(false);
    hand.turns(20);
    let (answered, said_hello) = (hand.sent_to(conn).1, hand.sent_to(other).1);
    let multi = long(2);
    hand.member.engine.receive(conn, &multi);
    while !hand.member.engine.is_applying() {
        hand.turn();
    }
    let large = writes(1, spacious().max_record as usize + 1);
    assert_eq!(hand.member.engine.receive(other, &large).consumed, large.len());
    while hand.member.engine.is_applying() {
        assert_eq!((hand.sent_to(conn), hand.sent_to(other)), ((true, answered), (true, said_hello)));
        hand.turn();
    }
    assert_eq!(hand.sent_to(conn), (true, 2 * answered), "it has happened, and its client hears of it");
    hand.turns(3);
    assert!(!hand.sent_to(other).0 && hand.sent_to(conn).0);
}

#[test]
fn a_state_is_sent_to_a_learner_once_a_long_transaction_is_applied() {
    // G-13, S-21: nobody is sent half of it.
    let (_, mut site) = applying_alone(&spacious());
    let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
    feeding.open_snapshot(link(1));
    for _ in 0..3 {
        assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), []);
    }
    while site.member.engine.is_applying() {
        site.turn(&[]);
    }
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [1]);
}

#[test]
fn no_snapshot_begins_while_a_transaction_is_half_applied_and_the_next_one_is_whole() {
    // G-13, S-43
    let options = StoreOptions { log_window: 64 << 10, ..spacious() };
    let (disk, mut site) = applying_alone(&options);
    assert!(site.member.store.wants_snapshot(), "none is due: the test is too small");
    while site.member.engine.is_applying() {
        assert!(!site.is_taking());
        site.turn(&[]);
    }
    for _ in 0..300 {
        site.turn(&[]);
    }
    assert_eq!(site.member.store.stats().snapshots, 1);
    let (applied, digest) = (site.member.applied(), site.member.engine.tree().digest());
    drop(site);
    let again = site::open(&Arc::new(SimDisk::of_image(disk.image(), 4)), &options);
    assert_eq!((again.applied(), again.engine.tree().digest()), (applied, digest));
}

/// A follower that is applying a long transaction, with another one in its log behind it, and what another server made of both.
fn applying_follower() -> (Hand, Past) {
    let past = Past::of(&spacious(), |site| {
        let multi = site.frame(OpCode::Multi, &Multi(PARTS));
        site.turn(&multi);
        (0..20).for_each(|_| site.turn(&[]));
        site.write();
    });
    let mut hand = Hand::new(&spacious());
    hand.follows_by_log(4, &[]);
    let (last, before) = past.txns.split_last().unwrap();
    hand.hears_committed(before);
    hand.packet(QuorumPacket::with_data(PacketType::PROPOSAL, last.0, last.1.clone()));
    hand.turn();
    assert!(hand.member.engine.is_applying(), "it is applied at once: the test is too small");
    (hand, past)
}

#[test]
fn a_member_may_leave_once_it_has_applied_what_is_committed() {
    let (mut hand, past) = applying_follower();
    while hand.member.engine.is_applying() {
        assert!(!hand.member.may_leave() && hand.member.goes_on());
        hand.turn();
    }
    assert!(hand.member.may_leave() && !hand.member.goes_on() && hand.member.applied() < past.end());
    hand.hears(PacketType::COMMIT, past.end());
    assert!(!hand.member.may_leave() && hand.member.goes_on() && hand.member.has_undelivered());
    hand.turn();
    assert!(hand.member.may_leave() && !hand.member.has_undelivered() && hand.member.applied() == past.end());
}

#[test]
fn what_was_committed_and_half_applied_is_applied_whole_when_the_role_ends() {
    // S-16, G-13: and what is behind it, in its order.
    let (mut hand, past) = applying_follower();
    hand.hears(PacketType::COMMIT, past.end());
    hand.loses_leader();
    assert!(!hand.member.engine.is_applying() && !hand.member.has_undelivered());
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}
