//! Roles that end while something of theirs is under way, packet by packet: what was begun has no effect, or is reported before
//! the next role begins (S-16).

use super::hand::{Hand, Past, roomy};
use crate::engine::Duty;
use crate::ids::{Millis, ServerId, Zxid};
use crate::member::JoinSettings;
use crate::member::snapshots::Slices;
use crate::records::peer::{PacketType, PeerState, QuorumPacket};
use crate::records::txn::Payload;
use crate::store::tests::world::tiny;
use crate::store::{LogWrite, StoreError};
use crate::zab::Standing;

/// A transaction that only the leader of epoch 5 and this member have.
fn only_here() -> QuorumPacket {
    let (made, zxid) = (Past::writes(1, 10), Zxid::new(5, 1));
    let mut txn = made.txns.last().unwrap().1.to_vec();
    // Its header says where it stands.
    txn[12..20].copy_from_slice(&zxid.0.to_be_bytes());
    QuorumPacket::with_data(PacketType::PROPOSAL, zxid, txn.into())
}

/// A member that follows with this past, and whose log has one transaction more that is not committed; then its leader is lost.
fn with_a_tail(past: &Past) -> Hand {
    let mut hand = Hand::new(&roomy());
    hand.follows_by_log(5, &past.txns);
    hand.packet(only_here());
    hand.turns(3);
    assert_eq!(hand.member.store.last_zxid(), Zxid::new(5, 1), "it is in the log");
    hand.loses_leader();
    hand
}

#[test]
fn a_state_that_had_come_when_the_role_ended_is_not_what_the_next_leaders_log_goes_to() {
    // S-16, S-21: whole, and half of it.
    let past = Past::writes(20, 100);
    for share in [1, 2] {
        let mut hand = Hand::new(&roomy());
        hand.promises(5);
        hand.hears(PacketType::SNAP, past.end());
        hand.raw(&past.state[..past.state.len() / share]);
        hand.loses_leader();
        // What still comes of it is nothing any more.
        let heard = hand.wires.heard.len();
        hand.raw(&past.state[past.state.len() / share..]);
        assert_eq!(hand.wires.heard.len(), heard);
        hand.follows_by_log(6, &past.txns);
        assert_eq!(hand.state(), (past.end(), past.digest));
        assert_eq!(hand.recovered(), hand.state());
    }
}

/// A member with the one history that is in the middle of installing the other, a slice in each turn.
fn installing(old: &Past, past: &Past) -> Hand {
    let mut hand = Hand::new(&roomy());
    hand.follows_by_log(5, &old.txns);
    hand.loses_leader();
    hand.promises(6);
    hand.hears_state(past);
    hand.wires.clock.look_us = 2500;
    hand.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    hand.turns(2);
    assert!(hand.member.goes_on() && hand.member.store.snapshot_running(), "it is not over: the test is too small");
    hand
}

#[test]
fn an_installation_that_is_under_way_when_the_role_ends_changes_nothing_and_the_next_one_is_whole() {
    // S-16, S-21
    let (old, past) = (Past::writes(3, 10), Past::writes(400, 100));
    let mut hand = installing(&old, &past);
    hand.loses_leader();
    hand.turns(3);
    assert!(!hand.member.goes_on() && !hand.member.store.snapshot_running());
    assert_eq!((hand.state(), hand.recovered()), ((old.end(), old.digest), (old.end(), old.digest)));
    hand.promises(7);
    assert_eq!(hand.end_told(), Some(old.end()));
    hand.hears_state(&past);
    hand.ends_history(7);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn a_state_is_installed_once_the_superblock_is_written_unless_the_role_ends_before() {
    // S-16, S-21
    let past = Past::writes(20, 100);
    for ends in [false, true] {
        let mut hand = Hand::new(&roomy());
        hand.promises(5);
        hand.hears_state(&past);
        hand.begin_rearranging();
        hand.hears(PacketType::NEWLEADER, Zxid::new(5, 0));
        hand.turns(5);
        assert!(!hand.member.store.snapshot_running(), "it waits for the superblock");
        if ends {
            hand.loses_leader();
        }
        hand.is_slow = false;
        hand.end_write();
        hand.turns(30);
        assert_eq!(hand.has_acked(5), !ends);
        let expected = if ends { Zxid::ZERO } else { past.end() };
        assert_eq!((hand.member.applied(), hand.recovered().0), (expected, expected));
        if ends {
            hand.follows_by_log(6, &past.txns);
            assert_eq!(hand.state(), (past.end(), past.digest));
        }
    }
}

#[test]
fn a_state_that_cannot_be_written_ends_the_role_after_a_pause_and_leaves_the_old_one() {
    // F-08, F-09, L-03: the whole state is not sent again at once.
    let (old, past) = (Past::writes(3, 10), Past::writes(900, 2000));
    let mut hand = installing(&old, &past);
    // What was written cannot be read back.
    hand.disk.fail_reads(0, u64::MAX);
    let begun = hand.wires.clock.now;
    while hand.member.store.snapshot_running() {
        hand.turns(1);
        assert!(hand.wires.clock.now < begun + 1000, "it goes on with what cannot be written");
    }
    hand.disk.read_again();
    assert_eq!((hand.state(), hand.recovered()), ((old.end(), old.digest), (old.end(), old.digest)));
    let failed = hand.wires.clock.now;
    let is_left = |hand: &Hand| hand.wires.closed.contains(&hand.link);
    while !is_left(&hand) {
        hand.hears(PacketType::PING, Zxid::ZERO);
        hand.turns(1);
        assert!(hand.wires.clock.now < failed + 2100 && !hand.has_acked(6), "the role does not end");
    }
    assert!(hand.wires.clock.now >= failed + 1900, "it ended {} ms after", hand.wires.clock.now - failed);
    hand.wires.clock.look_us = 0;
    hand.promises(7);
    hand.hears_state(&past);
    hand.ends_history(7);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn an_installation_that_the_store_cannot_go_on_with_ends_the_role_after_a_pause() {
    // F-08, L-03: a piece could not be written, while the helper has others in its hands.
    let (old, past) = (Past::writes(3, 10), Past::writes(400, 100));
    let mut hand = installing(&old, &past);
    hand.member.store.snapshots.build.as_mut().unwrap().failed = Some(StoreError::Full { capacity: 0 });
    let failed = hand.wires.clock.now;
    hand.turns(1);
    assert!(!hand.member.goes_on() && !hand.member.store.snapshot_running(), "it goes on with what cannot be written");
    let is_left = |hand: &Hand| hand.wires.closed.contains(&hand.link);
    while !is_left(&hand) {
        hand.hears(PacketType::PING, Zxid::ZERO);
        hand.turns(1);
        assert!(hand.wires.clock.now < failed + 2100 && !hand.has_acked(6), "the role does not end");
    }
    assert!(hand.wires.clock.now >= failed + 2000, "it ended {} ms after", hand.wires.clock.now - failed);
    assert_eq!((hand.state(), hand.recovered()), ((old.end(), old.digest), (old.end(), old.digest)));
}

#[test]
fn a_log_is_cut_only_when_no_write_is_under_way_and_acknowledged_only_when_it_is_cut() {
    // SC-07, S-15, D-03: the superblock is being written, slowly, when a leader wants the log cut.
    let past = Past::writes(5, 10);
    let mut hand = with_a_tail(&past);
    hand.promises(6);
    hand.begin_rearranging();
    hand.hears(PacketType::TRUNC, past.end());
    hand.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    hand.turns(5);
    assert_eq!(hand.member.store.last_zxid(), Zxid::new(5, 1), "it was cut while the file was written");
    assert!(!hand.has_acked(6));
    hand.end_write();
    assert_eq!(hand.member.store.last_zxid(), past.end());
    hand.is_slow = false;
    hand.turns(5);
    assert!(hand.has_acked(6));
    hand.hears(PacketType::UPTODATE, Zxid(-1));
    hand.turn();
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn a_truncation_that_waits_when_the_role_ends_is_over_before_the_member_votes_again() {
    // SC-07, S-15, S-16, D-06: what it says of its log is what the disk has.
    let past = Past::writes(5, 10);
    let mut hand = with_a_tail(&past);
    hand.promises(6);
    hand.begin_rearranging();
    hand.hears(PacketType::TRUNC, past.end());
    hand.loses_leader();
    hand.is_told_who_leads();
    hand.turns(5);
    let dialled = hand.wires.dialled.len();
    assert_eq!(hand.member.store.last_zxid(), Zxid::new(5, 1));
    hand.end_write();
    hand.is_slow = false;
    hand.turns(2);
    assert_eq!(hand.wires.dialled.len(), dialled, "what it was told before counts for nothing");
    hand.promises(7);
    assert_eq!((hand.end_told(), hand.member.store.last_zxid()), (Some(past.end()), past.end()));
    hand.hears(PacketType::DIFF, past.end());
    hand.ends_history(7);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn a_snapshot_that_is_being_taken_gives_way_to_the_state_of_a_leader() {
    // S-21, S-43: nothing of the one may come into the other.
    let past = Past::writes(30, 10);
    let own = Past::of(&roomy(), |site| (0..100).for_each(|_| site.write()));
    let mut hand = Hand::new(&tiny());
    hand.member.snapshots.slices = Slices { nodes: 1, us: 0, ..Slices::default() };
    hand.follows_by_log(5, &own.txns);
    hand.turns(1);
    assert!(hand.member.snapshots.is_walking(), "none is being taken: the test is too small");
    hand.loses_leader();
    hand.promises(6);
    assert!(hand.member.snapshots.is_walking(), "it was over before: the test is too small");
    hand.hears_state(&past);
    hand.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    assert!(!hand.member.snapshots.is_walking());
    hand.serves(6);
    hand.turns(50);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn a_snapshot_that_is_being_taken_gives_way_to_a_log_that_is_cut() {
    // S-15, S-43
    let own = Past::of(&roomy(), |site| (0..100).for_each(|_| site.write()));
    let mut hand = Hand::new(&tiny());
    hand.member.snapshots.slices = Slices { nodes: 1, us: 0, ..Slices::default() };
    hand.follows_by_log(5, &own.txns);
    hand.packet(only_here());
    hand.turns(1);
    hand.loses_leader();
    hand.promises(6);
    assert!(hand.member.snapshots.is_walking(), "none is being taken: the test is too small");
    hand.hears(PacketType::TRUNC, own.end());
    assert!(!hand.member.snapshots.is_walking() && !hand.member.store.snapshot_running());
    hand.ends_history(6);
    hand.turns(50);
    assert_eq!((hand.state(), hand.recovered()), ((own.end(), own.digest), (own.end(), own.digest)));
}

#[test]
fn what_a_leader_sends_behind_a_cut_is_applied_though_more_had_been_before_it() {
    // S-15, S-16: the transactions that were cut had higher numbers.
    let past = Past::writes(8, 10);
    let (had, lacked) = past.txns.split_at(5);
    let mut hand = Hand::new(&roomy());
    hand.follows_by_log(5, had);
    hand.packet(only_here());
    hand.turns(3);
    hand.restarts();
    assert_eq!(hand.member.applied(), Zxid::new(5, 1), "all of the log is applied");
    hand.promises(6);
    hand.hears(PacketType::TRUNC, had.last().unwrap().0);
    hand.hears_committed(lacked);
    hand.ends_history(6);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn who_reads_without_a_leader_is_closed_before_a_leader_changes_the_state() {
    // G-01: a client must not see what a truncation takes as if it had come later.
    let past = Past::writes(5, 10);
    let mut hand = Hand::joining(&roomy(), JoinSettings { is_read_only: true, trusts_new_file: Some(true) });
    hand.follows_by_log(5, &past.txns);
    hand.packet(only_here());
    hand.turns(3);
    hand.loses_leader();
    hand.wires.clock.now += 2000;
    hand.turn();
    assert_eq!(hand.duty(), Duty::ReadOnly);
    let conn = hand.client(true);
    hand.turn();
    let is_open = |hand: &mut Hand| hand.member.engine.output(conn).is_some_and(|(_, closed)| closed.is_none());
    hand.promises(6);
    assert!(is_open(&mut hand) && hand.duty() == Duty::ReadOnly, "it is served until then");
    hand.hears(PacketType::TRUNC, past.end());
    assert!(!is_open(&mut hand) && hand.duty() == Duty::None);
    hand.ends_history(6);
    assert_eq!(hand.duty(), Duty::Forward { epoch: 6, votes: true });
}

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
fn a_leader_that_is_not_to_be_dialled_at_once_is_dialled_when_the_pause_is_over() {
    // L-03
    let mut hand = Hand::new(&roomy());
    // Two roles in a row end at once.
    for epoch in [5, 6] {
        hand.promises(epoch);
        hand.hears(PacketType::COMMIT, Zxid::new(epoch, 9));
    }
    let ended = hand.wires.clock.now;
    let before = hand.wires.dialled.len();
    hand.turns(20);
    hand.is_told_who_leads();
    hand.turn();
    assert_eq!(hand.wires.dialled.len(), before, "it was dialled at once");
    for _ in 0..100 {
        hand.wires.clock.now += 1;
        hand.turn();
    }
    assert_eq!(hand.wires.dialled.get(before), Some(&(ended + 100, ServerId(3))));
}

#[test]
fn a_leader_that_was_followed_for_long_is_dialled_at_once_when_its_connection_is_lost() {
    // L-03: what failed before that counts no longer.
    for (followed_ms, is_dialled) in [(1000, false), (2000, true)] {
        let mut hand = Hand::new(&roomy());
        for epoch in [5, 6, 7] {
            hand.follows_by_log(epoch, &[]);
            if epoch < 7 {
                hand.loses_leader();
            }
        }
        for _ in 0..followed_ms / 50 {
            hand.wires.clock.now += 50;
            hand.hears(PacketType::PING, Zxid::ZERO);
            hand.turn();
        }
        hand.loses_leader();
        let before = hand.wires.dialled.len();
        hand.turns(20);
        hand.is_told_who_leads();
        hand.turn();
        assert_eq!(hand.wires.dialled.len() > before, is_dialled, "after {followed_ms} ms");
    }
}

#[test]
fn a_state_that_finds_no_room_behind_a_write_that_took_long_is_asked_for_again_no_sooner() {
    // F-09, L-03: the pause counts from when it was found.
    let (old, past) = (Past::writes(3, 10), Past::writes(400, 2000));
    let mut hand = Hand::new(&tiny());
    hand.follows_by_log(5, &old.txns);
    hand.loses_leader();
    hand.promises(6);
    hand.hears_state(&past);
    hand.begin_rearranging();
    hand.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    hand.wires.clock.now += 800;
    hand.is_slow = false;
    hand.end_write();
    let found = hand.wires.clock.now;
    assert!(!hand.member.store.snapshot_running(), "there is room: the test is too small");
    while !hand.wires.closed.contains(&hand.link) {
        hand.hears(PacketType::PING, Zxid::ZERO);
        hand.turns(1);
        assert!(hand.wires.clock.now < found + 2100 && !hand.has_acked(6), "the role does not end");
    }
    assert!(hand.wires.clock.now >= found + 2000, "it ended {} ms after", hand.wires.clock.now - found);
}

#[test]
fn what_clients_ask_for_is_on_its_way_to_the_leader_before_our_own_disk_works() {
    let past = Past::writes(2, 10);
    let mut hand = Hand::new(&roomy());
    hand.follows_by_log(5, &past.txns);
    hand.packet(only_here());
    hand.client(false);
    hand.begin_turn();
    assert!(!hand.has_sent(PacketType::REQUEST));
    let write = hand.member.commit_begin(&mut hand.wires).unwrap();
    assert!(write.is_some() && hand.has_sent(PacketType::REQUEST));
    assert_eq!(hand.wires.flushed, hand.wires.sent.len(), "the system has it");
    hand.member.commit_end(&mut hand.wires, write.map(LogWrite::carry_out)).unwrap();
    assert!(hand.wires.sent.last().is_some_and(|(_, packet)| packet.kind == PacketType::ACK));
    assert_eq!(hand.wires.flushed, hand.wires.sent.len(), "and what follows from the write");
}

#[test]
fn while_a_write_is_under_way_a_leader_decides_no_more_than_its_log_may_take() {
    // R-22, F-10: a slow disk slows the writers down.
    let mut hand = Hand::leading(&Past::writes(2, 10), &tiny());
    let (conn, bytes) = hand.client_with_writes(1000, 700);
    let budget = hand.member.store.log_budget(0) as usize;
    assert!(budget < bytes.len() / 4, "{budget}: the test is too small");
    hand.is_slow = true;
    let (mut taken, mut before) = (0, 0);
    for turn in 0..100 {
        taken += hand.member.engine.receive(conn, &bytes[taken..]).consumed;
        hand.turn();
        if turn == 2 {
            before = taken;
        }
    }
    assert!(before > 0 && taken < 2 * budget, "{taken} bytes are decided, {budget} may be logged");
    hand.is_slow = false;
    hand.end_write();
    for _ in 0..2000 {
        taken += hand.member.engine.receive(conn, &bytes[taken..]).consumed;
        hand.turns(1);
    }
    assert_eq!(taken, bytes.len(), "all are taken in the end");
}

#[test]
fn what_a_leader_decided_while_the_superblock_was_written_is_proposed_as_soon_as_that_is_over() {
    // R-22, L-03: nothing comes from outside, and still the next turn is asked for.
    let mut hand = Hand::leading(&Past::writes(2, 10), &tiny());
    let (conn, bytes) = hand.client_with_writes(1000, 700);
    hand.begin_rearranging();
    let mut taken = 0;
    for _ in 0..20 {
        taken += hand.member.engine.receive(conn, &bytes[taken..]).consumed;
        hand.turn();
    }
    let decided = hand.member.store.last_zxid();
    assert!(hand.member.has_undelivered(), "nothing waits for the room: the test is too small");
    assert!(!hand.member.goes_on(), "it turns and turns while the disk is at work");
    hand.end_write();
    assert!(hand.member.goes_on(), "what was decided waits for something to come");
    hand.is_slow = false;
    hand.turn();
    assert!(hand.member.store.last_zxid() > decided);
    hand.turns(3);
    assert!(!hand.member.goes_on());
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
fn a_leader_that_has_decided_something_asks_for_a_turn_unless_its_disk_is_at_work() {
    // L-03
    let mut hand = Hand::leading(&Past::writes(2, 10), &roomy());
    let (conn, bytes) = hand.client_with_writes(2, 10);
    let half = bytes.len() / 2;
    assert!(!hand.member.goes_on());
    hand.member.engine.receive(conn, &bytes[..half]);
    assert!(hand.member.goes_on(), "what was decided waits for something to come");
    hand.is_slow = true;
    hand.turn();
    hand.member.engine.receive(conn, &bytes[half..]);
    assert!(!hand.member.goes_on(), "it turns and turns while the disk is at work");
    hand.end_write();
    assert!(hand.member.goes_on());
}

#[test]
fn who_reads_without_a_leader_is_closed_before_transactions_of_a_leader_are_applied() {
    // G-01
    let past = Past::writes(8, 10);
    let (had, lacked) = past.txns.split_at(5);
    let mut hand = Hand::joining(&roomy(), JoinSettings { is_read_only: true, trusts_new_file: Some(true) });
    hand.follows_by_log(5, had);
    hand.loses_leader();
    hand.wires.clock.now += 2000;
    hand.turn();
    hand.client(true);
    hand.promises(6);
    assert_eq!(hand.duty(), Duty::ReadOnly);
    hand.hears(PacketType::DIFF, past.end());
    hand.hears_committed(lacked);
    hand.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    for _ in 0..20 {
        assert!(hand.duty() == Duty::None || hand.member.applied() == had[4].0, "it reads what is being changed");
        hand.turns(1);
    }
    hand.serves(6);
    assert_eq!(hand.member.applied(), past.end());
}
