//! What a follower has on disk before it says so, and what it does without room for it (F-09, S-08, S-12).

use super::hand::{Hand, Past, roomy};
use crate::ids::{Millis, Zxid};
use crate::records::peer::{PacketType, PeerState, QuorumPacket};
use crate::records::txn::Payload;
use crate::store::LogWrite;
use crate::store::tests::world::tiny;
use crate::zab::Standing;

#[test]
fn an_append_that_found_no_room_is_tried_again_after_a_fifth_of_a_second_and_not_before() {
    // F-09, L-03
    let past = Past::writes(2, 10);
    let more = Past::writes(400, 2000);
    let mut hand = Hand::new(&roomy());
    hand.follows_by_log(5, &past.txns);
    hand.disk.set_room(hand.disk.image().len() as u64);
    let mut count = 0;
    while hand.member.store.last_zxid() == Zxid::new(5, count) || count == 0 {
        count += 1;
        let (_, txn) = &more.txns[count as usize];
        hand.packet(QuorumPacket::with_data(PacketType::PROPOSAL, Zxid::new(5, count), txn.clone()));
        hand.turn();
        assert!(count < 390, "there is always room");
    }
    let logged = hand.member.store.last_zxid();
    let found = hand.wires.clock.now;
    hand.disk.set_room(u64::MAX);
    for after in [0, 1, 100, 199] {
        hand.wires.clock.now = found + after;
        hand.hears(PacketType::PING, Zxid::ZERO);
        hand.turn();
        assert_eq!(hand.member.store.last_zxid(), logged, "again after {after} ms");
    }
    assert_eq!(hand.member.poll_timeout(Millis(hand.wires.clock.now)), Some(1));
    hand.wires.clock.now = found + 200;
    hand.turn();
    hand.turn();
    assert_eq!(hand.member.store.last_zxid(), Zxid::new(5, count));
}

#[test]
fn of_a_history_for_which_there_is_no_room_as_much_is_logged_as_there_is_and_the_rest_when_there_is_more() {
    // F-09, L-03
    let past = Past::writes(400, 2000);
    let mut hand = Hand::new(&roomy());
    hand.promises(5);
    hand.disk.set_room(hand.disk.image().len() as u64 + (64 << 10));
    hand.hears(PacketType::DIFF, past.end());
    hand.hears_committed(&past.txns);
    hand.hears(PacketType::NEWLEADER, Zxid::new(5, 0));
    hand.turns(30);
    let logged = hand.member.store.last_zxid();
    assert!(Zxid::ZERO < logged && logged < past.end() && !hand.has_acked(5), "{logged}");
    hand.disk.set_room(u64::MAX);
    hand.serves(5);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn a_member_that_lost_its_leader_votes_though_what_that_sent_finds_no_room() {
    // F-09, L-01, S-16
    let past = Past::writes(400, 2000);
    let (begun, rest) = past.txns.split_at(3);
    let mut hand = Hand::new(&roomy());
    hand.follows_by_log(5, begun);
    hand.disk.set_room(hand.disk.image().len() as u64);
    let mut sent = begun.last().unwrap().0;
    for (zxid, txn) in rest {
        if hand.member.store.last_zxid() == sent {
            hand.packet(QuorumPacket::with_data(PacketType::PROPOSAL, *zxid, txn.clone()));
            hand.turn();
            sent = *zxid;
        }
    }
    let logged = hand.member.store.last_zxid();
    assert!(logged < sent, "there is always room");
    hand.loses_leader();
    hand.turns(1);
    assert_eq!(hand.vote().map(|vote| (vote.state, vote.zxid)), Some((PeerState::Looking, logged)));
    // It follows a leader that has no more than that, still without room.
    hand.follows_by_log(6, &[]);
    assert_eq!((hand.member.store.last_zxid(), hand.member.applied()), (logged, logged));
}

#[test]
fn what_is_promised_is_told_once_it_is_on_disk() {
    // S-08, D-01: an epoch that was promised and forgotten could be promised to another.
    let mut hand = Hand::new(&roomy());
    hand.is_told_who_leads();
    hand.turns(3);
    hand.is_connected();
    hand.is_slow = true;
    hand.hears(PacketType::LEADERINFO, Zxid::new(5, 0));
    hand.turns(3);
    assert!(!hand.has_sent(PacketType::ACKEPOCH), "it is told before it is kept");
    assert_eq!(hand.member.store.epochs().0, 0);
    hand.is_slow = false;
    hand.end_write();
    hand.turn();
    assert!(hand.has_sent(PacketType::ACKEPOCH));
    assert_eq!(hand.member.store.epochs().0, 5);
}

#[test]
fn a_promise_that_comes_while_the_superblock_is_written_is_kept_behind_that_and_told_then() {
    // S-08, D-01
    let mut hand = Hand::new(&roomy());
    hand.is_told_who_leads();
    hand.turns(3);
    hand.is_connected();
    hand.begin_rearranging();
    hand.hears(PacketType::LEADERINFO, Zxid::new(5, 0));
    hand.turns(3);
    assert!(!hand.has_sent(PacketType::ACKEPOCH));
    hand.end_write();
    assert!(!hand.has_sent(PacketType::ACKEPOCH) && hand.member.store.epochs().0 == 0, "that was another write");
    hand.begin_turn();
    let write = hand.member.commit_begin(&mut hand.wires).unwrap();
    assert!(write.is_some() && !hand.member.engine.is_lent, "who serves nobody lets nobody read");
    hand.member.commit_end(&mut hand.wires, write.map(LogWrite::carry_out)).unwrap();
    assert!(hand.has_sent(PacketType::ACKEPOCH));
    assert_eq!(hand.member.store.epochs().0, 5);
}

#[test]
fn a_transaction_that_has_no_room_in_any_extent_ends_the_role_of_a_follower() {
    // R-22, L-01: the leader's limits are larger than ours.
    let past = Past::writes(5, 10);
    let large: Payload = vec![7; tiny().max_record as usize + 1].into();
    let mut hand = Hand::new(&tiny());
    hand.follows_by_log(5, &past.txns);
    hand.packet(QuorumPacket::with_data(PacketType::PROPOSAL, Zxid::new(5, 1), large));
    hand.turn();
    assert_eq!(hand.member.standing(), Some(Standing::Looking));
    assert_eq!(hand.member.store.last_zxid(), past.end());
    assert!(hand.wires.closed.contains(&hand.link));
    let elections = |hand: &Hand| {
        let status = hand.member.ensemble_status(Millis(hand.wires.clock.now));
        status.expect("it is one of an ensemble").numbers.elections
    };
    let begun = elections(&hand);
    hand.turns(20);
    assert_eq!(elections(&hand), begun, "it is tried once");
}

#[test]
fn a_state_is_written_as_fast_as_the_time_of_a_turn_allows() {
    // 64 znodes between two looks at the clock, two milliseconds in a turn.
    let past = Past::writes(400, 10);
    for (look_us, turns) in [(0, 1..=1), (900, 2..=3), (1000, 3..=3), (2500, 5..=8)] {
        let mut hand = Hand::new(&roomy());
        hand.promises(5);
        hand.hears_state(&past);
        hand.wires.clock.look_us = look_us;
        hand.hears(PacketType::NEWLEADER, Zxid::new(5, 0));
        assert!(hand.member.goes_on(), "nobody asks for the first turn");
        let mut count = 0;
        while hand.member.goes_on() {
            hand.turn();
            count += 1;
        }
        assert!(turns.contains(&count), "{count} turns with looks of {look_us} µs");
        hand.serves(5);
    }
}
