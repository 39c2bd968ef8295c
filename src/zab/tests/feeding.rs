//! How a learner is brought up to date from the log and by a snapshot.

use super::hand::{Member, SYNC_MS, at, txn};
use crate::ids::Zxid;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::zab::{Leaving, ZabAction, ZabEvent};

impl Member {
    /// A learner that lacks what memory does not have; it is asked for in the log.
    fn behind(last: Zxid) -> Member {
        let mut member = Member::established(100..=105);
        member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
        member.accepts(2, last, 2);
        assert_eq!(member.sent(2), [(PacketType::LEADERINFO, Zxid::new(5, 0))]);
        assert!(member.done.contains(&ZabAction::Read { link: at(2), after: last }), "{:?}", member.done);
        member.done.clear();
        member
    }

    fn reads(&mut self, before: Option<u32>, counters: std::ops::RangeInclusive<u32>) {
        let txns = counters.map(|counter| (Zxid::new(2, counter), txn(counter as u8))).collect();
        let before = before.map(|counter| Zxid::new(2, counter));
        self.tell(ZabEvent::Records { link: at(2), before, txns });
    }
}

const NOTHING: std::ops::RangeInclusive<u32> = std::ops::RangeInclusive::new(1, 0);

#[test]
fn what_memory_does_not_have_is_read_from_the_log_piece_by_piece() {
    let z = |counter| Zxid::new(2, counter);
    let mut member = Member::behind(z(90));
    member.reads(Some(90), 91..=95);
    let sent = member.sent(2);
    assert_eq!(sent[0], (PacketType::DIFF, z(105)));
    let of = |sent: &[(PacketType, Zxid)], kind| {
        sent.iter().filter(|one| one.0 == kind).map(|one| one.1.counter()).collect::<Vec<_>>()
    };
    assert_eq!(of(&sent, PacketType::PROPOSAL), [91, 92, 93, 94, 95]);
    assert_eq!(of(&sent, PacketType::COMMIT), [91, 92, 93, 94, 95]);
    assert!(member.done.contains(&ZabAction::Read { link: at(2), after: z(95) }));
    // The piece overlaps with the last one, and with memory.
    member.reads(Some(95), 94..=102);
    let sent = member.sent(2);
    assert_eq!(of(&sent, PacketType::PROPOSAL), (96..=105).collect::<Vec<_>>());
    assert_eq!(of(&sent, PacketType::COMMIT), (96..=105).collect::<Vec<_>>());
    assert_eq!(sent.last(), Some(&(PacketType::NEWLEADER, Zxid::new(5, 0))));
    member.reads(Some(105), NOTHING);
    assert_eq!((member.sent(2), member.closed(2)), (vec![], None), "nobody asked");
}

#[test]
fn what_a_learner_has_too_much_is_cut_by_what_the_log_tells() {
    let mut member = Member::behind(Zxid::new(2, 90));
    member.reads(Some(88), 91..=93);
    let sent = member.sent(2);
    assert_eq!(sent[..2], [(PacketType::TRUNC, Zxid::new(2, 88)), (PacketType::PROPOSAL, Zxid::new(2, 91))]);
}

#[test]
fn a_log_that_ends_or_begins_too_early_costs_the_connection_and_no_hole() {
    // S-13
    for (before, counters) in [(Some(95), NOTHING), (Some(97), 98..=99), (None, NOTHING)] {
        let mut member = Member::behind(Zxid::new(2, 90));
        member.reads(Some(90), 91..=95);
        member.sent(2);
        member.reads(before, counters);
        assert!(matches!(member.closed(2), Some(Leaving::Protocol(_))), "{before:?}");
        assert_eq!(member.sent(2), []);
        assert_eq!(member.zab.learner_counts().map(|counts| counts.learners), Some(1));
    }
}

#[test]
fn who_lacks_more_than_the_log_has_is_sent_the_state_and_what_follows_it() {
    let z = |counter| Zxid::new(2, counter);
    for (holds, is_in_memory) in [(102, true), (99, true), (95, false)] {
        let mut member = Member::behind(z(1));
        member.reads(None, NOTHING);
        assert!(member.done.contains(&ZabAction::OpenSnapshot { link: at(2) }), "{:?}", member.done);
        member.tell(ZabEvent::SnapshotStreamed { link: at(2) });
        assert_eq!(member.sent(2), [], "it was not opened yet");
        member.tell(ZabEvent::SnapshotOpened { link: at(2), zxid: z(holds) });
        assert_eq!(member.sent(2), [(PacketType::SNAP, z(holds))]);
        assert!(member.done.contains(&ZabAction::StreamSnapshot { link: at(2) }));
        member.tell(ZabEvent::SnapshotOpened { link: at(2), zxid: z(holds) });
        assert_eq!(member.sent(2), [], "it is opened once");
        // What is proposed meanwhile follows.
        member.decides(1);
        assert_eq!(member.sent(2), []);
        member.tell(ZabEvent::SnapshotStreamed { link: at(2) });
        if !is_in_memory {
            assert!(member.done.contains(&ZabAction::Read { link: at(2), after: z(holds) }));
            member.reads(Some(holds), holds + 1..=103);
        }
        let sent = member.sent(2);
        let proposed: Vec<_> = sent.iter().filter(|one| one.0 == PacketType::PROPOSAL).map(|one| one.1).collect();
        let wanted: Vec<_> = (holds + 1..=105).map(z).chain([Zxid::new(5, 1)]).collect();
        assert_eq!(proposed, wanted);
        assert_eq!(sent.iter().filter(|one| one.0 == PacketType::COMMIT).count(), wanted.len() - 1);
        assert_eq!(sent.last(), Some(&(PacketType::NEWLEADER, Zxid::new(5, 0))));
    }
}

#[test]
fn a_learner_that_is_sent_its_history_is_not_silent() {
    let mut member = Member::behind(Zxid::new(2, 1));
    member.reads(None, NOTHING);
    let zxid = Zxid::new(2, 95);
    member.tell(ZabEvent::SnapshotOpened { link: at(2), zxid });
    let lives = |member: &mut Member, ms| {
        member.passes(ms);
        member.packet(1, QuorumPacket::bare(PacketType::PING, Zxid::ZERO));
    };
    // It takes more and more of the snapshot, then of the log.
    for _ in 0..12 {
        lives(&mut member, SYNC_MS / 2);
        member.tell(ZabEvent::StateMoves { link: at(2) });
    }
    member.tell(ZabEvent::SnapshotStreamed { link: at(2) });
    for counter in 96..=99 {
        (0..3).for_each(|_| lives(&mut member, SYNC_MS / 2));
        member.reads(Some(counter - 1), counter..=counter);
    }
    assert_eq!(member.closed(2), None);
    // From the end of the stream on it has its time anew.
    let mut late = Member::behind(Zxid::new(2, 1));
    late.reads(None, NOTHING);
    late.tell(ZabEvent::SnapshotOpened { link: at(2), zxid });
    (0..3).for_each(|_| lives(&mut late, SYNC_MS / 2));
    late.tell(ZabEvent::SnapshotStreamed { link: at(2) });
    (0..3).for_each(|_| lives(&mut late, SYNC_MS / 2));
    assert_eq!(late.closed(2), None);
    // Another that takes nothing is.
    let mut stuck = Member::behind(Zxid::new(2, 1));
    stuck.reads(None, NOTHING);
    stuck.tell(ZabEvent::SnapshotOpened { link: at(2), zxid });
    (0..5).for_each(|_| lives(&mut stuck, SYNC_MS / 2));
    assert_eq!(stuck.closed(2), Some(&Leaving::Silent));
}
