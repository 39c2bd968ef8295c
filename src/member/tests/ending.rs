//! Roles that end while something of theirs is under way, packet by packet: what was begun has no effect, or is reported before
//! the next role begins (S-16).

use super::hand::{Hand, Past, roomy};
use crate::engine::Duty;
use crate::ids::{LinkId, ServerId, Zxid};
use crate::member::JoinSettings;
use crate::member::snapshots::Slices;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::store::tests::world::tiny;
use crate::store::{LogWrite, StoreError};

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
fn what_a_leader_sends_behind_its_state_is_applied_to_that_before_it_is_installed_and_after() {
    // S-16, S-21: the log that was there before had higher numbers.
    let (begun, past) = (Past::writes(5, 10), Past::writes(12, 10));
    let (had, lacked) = past.txns.split_at(begun.txns.len());
    assert_eq!(had, begun.txns, "the one history goes on with the other");
    let mut hand = with_a_tail(&Past::writes(2, 10));
    hand.restarts();
    hand.promises(6);
    hand.hears_state(&begun);
    hand.hears_committed(&lacked[..4]);
    hand.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    hand.hears_committed(&lacked[4..]);
    hand.serves(6);
    hand.turns(3);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn bytes_of_another_connection_are_no_part_of_a_state_and_those_behind_its_end_are_given_back() {
    // SC-09, S-21
    let past = Past::writes(5, 10);
    let mut hand = Hand::new(&roomy());
    hand.promises(5);
    hand.hears(PacketType::SNAP, past.end());
    let (first, second) = past.state.split_at(past.state.len() / 2);
    hand.raw(first);
    let other = LinkId { slot: 77, generation: 0 };
    hand.member.raw(&mut hand.wires, other, &[0xff; 9]).unwrap();
    hand.raw(&[second, &[1, 2, 3]].concat());
    assert_eq!(hand.wires.heard, [(hand.link, vec![1, 2, 3])]);
    hand.ends_history(5);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn a_log_that_cannot_be_cut_where_the_leaders_ends_is_replaced_by_the_whole_state() {
    // S-15, L-03
    let (own, past) = (Past::writes(5, 10), Past::writes(8, 10));
    let mut hand = Hand::new(&roomy());
    hand.follows_by_log(5, &own.txns);
    // Nothing of the log is in memory.
    hand.restarts();
    hand.promises(6);
    hand.hears(PacketType::TRUNC, Zxid::new(3, 7));
    assert!(hand.wires.closed.contains(&hand.link));
    assert_eq!(hand.recovered(), (own.end(), own.digest), "nothing is lost by that");
    hand.promises(7);
    assert_eq!(hand.end_told(), Some(Zxid::ZERO), "it asks for everything");
    hand.hears_state(&past);
    hand.ends_history(7);
    assert_eq!((hand.state(), hand.recovered()), ((past.end(), past.digest), (past.end(), past.digest)));
}

#[test]
fn who_reads_without_a_leader_is_closed_before_the_state_of_a_leader_is_installed() {
    // G-01, S-21
    let (old, past) = (Past::writes(3, 10), Past::writes(40, 100));
    let mut hand = Hand::joining(&roomy(), JoinSettings { is_read_only: true, trusts_new_file: Some(true) });
    hand.follows_by_log(5, &old.txns);
    hand.loses_leader();
    hand.wires.clock.now += 2000;
    hand.turn();
    let conn = hand.client(true);
    hand.promises(6);
    hand.hears_state(&past);
    assert!(hand.duty() == Duty::ReadOnly && hand.sent_to(conn).0, "it shows what it has until then");
    hand.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    assert!(hand.duty() == Duty::None && !hand.sent_to(conn).0);
    hand.serves(6);
    assert_eq!(hand.state(), (past.end(), past.digest));
}

#[test]
fn who_may_read_without_a_leader_may_not_while_one_is_followed_or_about_to_be() {
    // G-01: the two seconds begin when there is none, and end when one sends its history.
    let past = Past::writes(5, 10);
    let joining = JoinSettings { is_read_only: true, trusts_new_file: Some(true) };
    let mut hand = Hand::joining(&roomy(), joining);
    let waits = |hand: &mut Hand, duty: Duty| {
        for _ in 0..60 {
            hand.wires.clock.now += 50;
            hand.hears(PacketType::PING, Zxid::ZERO);
            hand.turn();
            assert_eq!(hand.duty(), duty);
        }
    };
    hand.follows_by_log(5, &past.txns);
    hand.packet(only_here());
    hand.turns(3);
    waits(&mut hand, Duty::Forward { epoch: 5, votes: true });
    hand.loses_leader();
    hand.promises(6);
    hand.hears(PacketType::TRUNC, past.end());
    waits(&mut hand, Duty::None);
    hand.ends_history(6);
    waits(&mut hand, Duty::Forward { epoch: 6, votes: true });
    // Nothing of a history is sent that has nothing.
    let mut new = Hand::joining(&roomy(), joining);
    new.follows_by_log(5, &[]);
    waits(&mut new, Duty::Forward { epoch: 5, votes: true });
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
    assert_eq!(hand.wires.clock.now, found + 2000);
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
