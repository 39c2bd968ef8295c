//! Learners that are fed: in which order, how much in a turn, and when there is more to do.

use std::sync::Arc;

use super::hand::{Hand, Past, Wires, roomy};
use super::site::{LoopClock, Site, open};
use crate::ids::{LinkId, Zxid};
use crate::member::feeding::Feeding;
use crate::member::{Host, MemberParts};
use crate::records::peer::PacketType;
use crate::store::tests::sim_disk::SimDisk;
use crate::zab::ZabEvent;

/// As much as a connection may have to send before it is given no more.
const MUCH: usize = 2 << 20;

pub(super) fn link(slot: u32) -> LinkId {
    LinkId { slot, generation: 0 }
}

/// What one turn of this feeding is to be told of.
fn turn(feeding: &mut Feeding, site: &mut Site, wires: &mut Wires, until_us: u64) -> Vec<ZabEvent> {
    let member = &mut site.member;
    let mut parts =
        MemberParts { engine: &mut member.engine, store: &mut member.store, snapshots: &mut member.snapshots };
    feeding.turn(&mut parts, wires, until_us).unwrap()
}

/// Whom one turn of this feeding gave something.
pub(super) fn fed(feeding: &mut Feeding, site: &mut Site, wires: &mut Wires, until_us: u64) -> Vec<u32> {
    let whom = |event: &ZabEvent| match event {
        ZabEvent::Records { link, .. } | ZabEvent::SnapshotOpened { link, .. } => link.slot,
        other => panic!("{other:?}"),
    };
    turn(feeding, site, wires, until_us).iter().map(whom).collect()
}

#[test]
fn learners_are_fed_in_turn_where_there_is_not_time_for_all() {
    // L-03: one that always wants more does not keep the others from what they lack.
    let mut site = Site::new(&Arc::new(SimDisk::new(3)));
    let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
    wires.clock.look_us = 10;
    let mut order = Vec::new();
    for turn in 0..7 {
        (1..=3).for_each(|slot| feeding.read(link(slot), Zxid::ZERO));
        let until_us = wires.now_us() + 15;
        let whom = fed(&mut feeding, &mut site, &mut wires, until_us);
        assert_eq!(whom.len(), 1, "turn {turn}: there is time for one");
        order.extend(whom);
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 3, 1]);
    let now_us = wires.clock.now * 1000;
    wires.clock = LoopClock::at(wires.clock.now);
    (1..=3).for_each(|slot| feeding.read(link(slot), Zxid::ZERO));
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, now_us), [], "there is time for nobody");
    // With time for all each has its part.
    (1..=3).for_each(|slot| feeding.read(link(slot), Zxid::ZERO));
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [2, 3, 1]);
}

#[test]
fn who_has_enough_to_send_is_passed_over_and_asks_for_no_turn() {
    // SC-33
    let mut site = Site::new(&Arc::new(SimDisk::new(3)));
    let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
    assert!(!feeding.goes_on(&wires), "nobody is fed");
    wires.waiting.insert(link(1), MUCH);
    feeding.read(link(1), Zxid::ZERO);
    assert!(!feeding.goes_on(&wires), "it takes nothing");
    feeding.read(link(2), Zxid::ZERO);
    assert!(feeding.goes_on(&wires));
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [2]);
    wires.waiting.clear();
    assert!(feeding.goes_on(&wires));
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [1]);
    // The state waits for nothing but to be asked for.
    feeding.open_snapshot(link(3));
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [3]);
    assert!(!feeding.goes_on(&wires));
}

#[test]
fn a_learner_is_given_as_much_in_a_turn_as_there_is_time_and_the_leader_goes_on_until_it_has_all() {
    // L-03, R-26: several pieces of the log.
    let past = Past::writes(300, 3000);
    let behind = past.txns[9].0;
    let lacks = past.txns.len() - 10;
    let mut at_once = Hand::leading(&past, &roomy());
    at_once.is_observed(link(1), behind);
    at_once.turn();
    assert_eq!(at_once.txns_sent(link(1)), lacks);
    let mut hand = Hand::leading(&past, &roomy());
    hand.wires.clock.look_us = 600;
    hand.is_observed(link(1), behind);
    let mut turns = 0;
    let sent = |hand: &Hand| hand.txns_sent(link(1));
    while sent(&hand) < lacks {
        hand.turn();
        turns += 1;
        assert!(turns < 100, "it is never fed: {} of {lacks}", sent(&hand));
        assert!(hand.member.goes_on() || sent(&hand) == lacks, "nobody asks for the next turn");
    }
    assert!(turns > 3, "all in {turns} turns: there was no time for that");
    hand.turns(3);
    assert!(!hand.member.goes_on(), "it has everything");
}

#[test]
fn log_that_was_read_to_a_learner_is_not_read_again_for_it() {
    // L-03, R-26: whoever is far behind would else cost more with each piece, and fail by what it has already.
    let past = Past::writes(300, 3000);
    let behind = past.txns[9].0;
    let mut hand = Hand::leading(&past, &roomy());
    hand.wires.clock.look_us = 600;
    hand.is_observed(link(1), behind);
    let (mut pieces, mut had) = (0, 0);
    while hand.txns_sent(link(1)) < past.txns.len() - 10 {
        hand.turn();
        let sent = hand.zxids_sent(link(1)).last().unwrap_or(behind);
        (pieces, had) = (pieces + usize::from(hand.txns_sent(link(1)) > had), hand.txns_sent(link(1)));
        // What a reading that began anew would begin with.
        let store = &hand.member.store;
        for extent in store.log.extents.iter().filter(|extent| had > 0 && extent.base_zxid <= sent) {
            let at = store.sb().extent_at(extent.index);
            hand.disk.fail_reads(at, at + 64);
        }
        assert!(pieces < 100, "it is never fed: {had}");
        assert!(hand.wires.sent.iter().all(|(_, packet)| packet.kind != PacketType::SNAP), "after {had} of the log");
    }
    assert!(pieces > 2, "all in {pieces} pieces: the test is too small");
}

#[test]
fn a_state_that_cannot_be_sent_any_further_ends_its_connection_and_no_other() {
    // L-03, S-21: the learner comes again, and is sent another one from its beginning.
    let past = Past::writes(50, 1000);
    let mut site = Site::new(&Arc::new(SimDisk::new(3)));
    let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
    (1..=2).for_each(|slot| feeding.open_snapshot(link(slot)));
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [1, 2]);
    // Another state takes the place of the one that is being sent.
    let mut hearing = site.member.engine.hear(past.end());
    hearing.feed(&past.state).unwrap();
    site.member.engine.take_over(hearing.finish().unwrap());
    feeding.stream_snapshot(link(1));
    assert!(feeding.goes_on(&wires));
    let events = turn(&mut feeding, &mut site, &mut wires, u64::MAX);
    assert!(matches!(events[..], [ZabEvent::Closed { link: gone }] if gone == link(1)), "{events:?}");
    assert_eq!(wires.closed, [link(1)]);
    assert!(!feeding.goes_on(&wires), "nothing is left of it");
    feeding.open_snapshot(link(3));
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [3]);
    feeding.stream_snapshot(link(3));
    let events = turn(&mut feeding, &mut site, &mut wires, u64::MAX);
    assert!(matches!(events[..], [ZabEvent::SnapshotStreamed { link: whole }] if whole == link(3)), "{events:?}");
    assert_eq!(wires.closed, [link(1)]);
}

#[test]
fn who_is_fed_no_longer_holds_neither_log_nor_state() {
    // S-43, R-26: the room of what is read to nobody is free.
    let past = Past::writes(20, 1000);
    let mut site = Site::new(&Arc::new(SimDisk::of_image(past.image(), 3)));
    let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
    let walks = |site: &mut Site| {
        let all: Vec<_> = std::iter::from_fn(|| site.member.engine.retell_begin()).collect();
        all.iter().for_each(|one| site.member.engine.retell_end(one));
        all.len()
    };
    let free = walks(&mut site);
    for is_role_over in [false, true] {
        feeding.read(link(1), past.txns[2].0);
        feeding.open_snapshot(link(2));
        assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [1, 2]);
        assert!(site.member.store.pins.first().is_some() && walks(&mut site) == free - 1, "nothing is held");
        let member = &mut site.member;
        let mut parts =
            MemberParts { engine: &mut member.engine, store: &mut member.store, snapshots: &mut member.snapshots };
        if is_role_over {
            feeding.clear(&mut parts);
        } else {
            (1..=2).for_each(|slot| feeding.forget(&mut parts, link(slot)));
        }
        assert_eq!((site.member.store.pins.first(), walks(&mut site)), (None, free), "{is_role_over}");
    }
}

#[test]
fn a_state_is_sent_in_pieces_as_far_as_time_and_connection_allow() {
    // SC-33, R-26: no more than a megabyte waits for a connection, and a piece beside it.
    let past = Past::writes(900, 2000);
    let piece = 66 << 10;
    let sent = |wires: &Wires| wires.raw.iter().map(|(_, size)| *size).sum::<usize>();
    let begin = || {
        let mut site = Site::of(open(&Arc::new(SimDisk::of_image(past.image(), 3)), &roomy()));
        let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
        feeding.open_snapshot(link(1));
        assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [1]);
        feeding.stream_snapshot(link(1));
        (site, feeding, wires)
    };
    let is_whole = |events: &[ZabEvent]| matches!(events, [ZabEvent::SnapshotStreamed { .. }]);
    let is_more = |events: &[ZabEvent]| matches!(events, [ZabEvent::StateMoves { link: moves }] if *moves == link(1));
    // A connection that takes everything, and no hurry.
    let (mut site, mut feeding, mut wires) = begin();
    assert!(is_whole(&turn(&mut feeding, &mut site, &mut wires, u64::MAX)));
    let whole = sent(&wires);
    assert!(whole > 1_800_000 && wires.raw.iter().all(|(to, size)| *to == link(1) && *size < piece), "{whole}");
    assert!(wires.raw.len() < 40, "{} pieces", wires.raw.len());
    // One that takes nothing for a while.
    let (mut site, mut feeding, mut wires) = begin();
    wires.is_blocked = true;
    assert!(is_more(&turn(&mut feeding, &mut site, &mut wires, u64::MAX)));
    assert!(((1 << 20)..(1 << 20) + piece).contains(&sent(&wires)), "{}", sent(&wires));
    assert!(!feeding.goes_on(&wires) && turn(&mut feeding, &mut site, &mut wires, u64::MAX).is_empty());
    wires.waiting.clear();
    wires.is_blocked = false;
    assert!(feeding.goes_on(&wires) && is_whole(&turn(&mut feeding, &mut site, &mut wires, u64::MAX)));
    assert_eq!(sent(&wires), whole);
    // No time: what was walked leaves, and the next turn goes on.
    let (mut site, mut feeding, mut wires) = begin();
    wires.clock.look_us = 10;
    let mut turns = 1;
    loop {
        let until_us = wires.now_us() + 20;
        let (before, events) = (wires.raw.len(), turn(&mut feeding, &mut site, &mut wires, until_us));
        assert_eq!(wires.raw.len(), before + 1, "turn {turns}");
        if is_whole(&events) {
            break;
        }
        assert!(is_more(&events) && feeding.goes_on(&wires));
        turns += 1;
    }
    assert_eq!(sent(&wires), whole);
    assert!(turns > 10, "{turns}");
}

#[test]
fn a_learner_that_asks_for_other_log_than_it_was_given_last_is_given_what_it_asks_for() {
    // L-03, R-26: what was kept open for the other is kept no longer.
    let past = Past::writes(20, 1000);
    let mut site = Site::of(open(&Arc::new(SimDisk::of_image(past.image(), 3)), &roomy()));
    let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
    let mut reads = |after: Zxid| {
        feeding.read(link(1), after);
        let events = turn(&mut feeding, &mut site, &mut wires, u64::MAX);
        let [ZabEvent::Records { before, txns, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*before, Some(after));
        txns.first().map(|(zxid, _)| *zxid)
    };
    for at in [2, 9, 5] {
        assert_eq!(reads(past.txns[at].0), Some(past.txns[at + 1].0));
    }
    let member = &mut site.member;
    let mut parts =
        MemberParts { engine: &mut member.engine, store: &mut member.store, snapshots: &mut member.snapshots };
    feeding.forget(&mut parts, link(1));
    assert_eq!(site.member.store.pins.first(), None);
}

#[test]
fn a_learner_that_goes_and_a_role_that_ends_leave_nothing_that_is_held_or_fed() {
    // S-43, R-26, S-16: a connection that takes nothing would hold it for ever.
    let past = Past::writes(300, 3000);
    for is_role_over in [false, true] {
        let mut hand = Hand::leading(&past, &roomy());
        hand.wires.clock.look_us = 600;
        hand.is_observed(link(1), past.txns[9].0);
        hand.turn();
        hand.wires.waiting.insert(link(1), MUCH);
        hand.turns(3);
        assert!(hand.member.store.pins.first().is_some(), "it has everything: the test is too small");
        if is_role_over {
            hand.is_left_for_another_epoch(link(2));
            assert!(hand.wires.closed.contains(&link(1)));
        } else {
            hand.tell(ZabEvent::Closed { link: link(1) });
        }
        assert_eq!(hand.member.store.pins.first(), None, "{is_role_over}");
        hand.wires.waiting.clear();
        let before = hand.txns_sent(link(1));
        hand.turns(30);
        assert_eq!(hand.txns_sent(link(1)), before, "{is_role_over}");
        assert!(!hand.member.goes_on());
    }
}

#[test]
fn log_that_cannot_be_read_is_not_held_either() {
    // F-07: the learner is sent the state.
    let past = Past::writes(20, 1000);
    let disk = Arc::new(SimDisk::of_image(past.image(), 3));
    let mut site = Site::new(&disk);
    let (mut feeding, mut wires) = (Feeding::default(), Wires::default());
    feeding.read(link(1), past.txns[2].0);
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [1]);
    (0..30).for_each(|_| site.write());
    let upto = site.member.applied();
    let last = site.member.store.log.extents.last().copied().unwrap();
    feeding.read(link(1), last.base_zxid);
    assert_eq!(fed(&mut feeding, &mut site, &mut wires, u64::MAX), [1]);
    feeding.read(link(1), upto);
    site.write();
    let at = site.member.store.log.at;
    disk.fail_reads(at - 600, at);
    let events = turn(&mut feeding, &mut site, &mut wires, u64::MAX);
    assert!(matches!(&events[..], [ZabEvent::Records { before: None, txns, .. }] if txns.is_empty()), "{events:?}");
    assert_eq!(site.member.store.pins.first(), None);
}
