//! How one of three voters comes to lead, packet by packet, and what it does then.

use std::sync::Arc;

use super::following::LEADER;
use super::hand::{INIT_MS, Member, TICK_MS, at, epochs};
use crate::ids::{ServerId, Zxid};
use crate::records::peer::{PacketType, PeerState, QuorumPacket};
use crate::zab::{Leaving, Majority, Quorum, Quorums, RoleEnd, Standing, ZabAction, ZabEvent};

#[test]
fn an_epoch_is_told_once_it_is_accepted_on_the_own_disk_and_begins_once_it_is_current_there() {
    // D-01, S-07
    let mut member = Member::elected(1..=5);
    assert_eq!(member.zab.leading(), None);
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 7);
    assert_eq!(member.sent(1), [], "it is not on our disk yet");
    assert_eq!(member.zab.leading(), None);
    assert_eq!(member.kept(), Some(epochs(8, 3)));
    assert_eq!(member.zab.leading(), Some((8, false)));
    assert_eq!(member.sent(1), [(PacketType::LEADERINFO, Zxid::new(8, 0))]);
    member.accepts(1, Zxid::new(2, 5), 2);
    assert_eq!(member.sent(1), [], "nothing is synchronised before the epoch is ours");
    assert_eq!(member.kept(), Some(epochs(8, 8)));
    assert_eq!((member.zab.record().accepted_epoch, member.zab.record().current_epoch), (8, 8));
    let history = [(PacketType::DIFF, Zxid::new(2, 5)), (PacketType::NEWLEADER, Zxid::new(8, 0))];
    assert_eq!(member.sent(1), history);
    assert!(!member.done.contains(&ZabAction::Stand(Standing::Leading { epoch: 8 })));
    member.acks(1, Zxid::new(8, 0));
    assert_eq!(member.sent(1), [(PacketType::UPTODATE, Zxid(-1))]);
    assert!(member.done.contains(&ZabAction::Stand(Standing::Leading { epoch: 8 })));
    assert_eq!(member.zab.leading(), Some((8, true)));
    // Who comes later is told of the epoch at once, and is brought up to date at once.
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 1);
    assert_eq!(member.sent(2), [(PacketType::LEADERINFO, Zxid::new(8, 0))]);
    member.accepts(2, Zxid::new(2, 3), 2);
    let (proposal, commit) = (PacketType::PROPOSAL, PacketType::COMMIT);
    let missing = [4, 5].map(|counter| Zxid::new(2, counter));
    let wanted = [
        (PacketType::DIFF, missing[1]),
        (proposal, missing[0]),
        (commit, missing[0]),
        (proposal, missing[1]),
        (commit, missing[1]),
        (PacketType::NEWLEADER, Zxid::new(8, 0)),
    ];
    assert_eq!(member.sent(2), wanted);
}

#[test]
fn a_voter_that_promised_a_higher_epoch_ends_the_one_that_it_may_not_follow_and_the_next_is_above_that() {
    // L-03, S-08: it would be refused for as long as this leader leads.
    for is_established in [true, false] {
        let mut member = if is_established {
            Member::established(1..=5)
        } else {
            let mut member = Member::elected(1..=5);
            member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
            member.kept();
            member
        };
        member.introduces(2, 2, PacketType::FOLLOWERINFO, 5);
        assert_eq!(member.ending(), None, "it has accepted this epoch");
        member.introduces(7, 7, PacketType::FOLLOWERINFO, 11);
        member.introduces(8, 2, PacketType::OBSERVERINFO, 11);
        assert_eq!(member.ending(), None, "a stranger, and a voter that observes: a quorum does without them");
        member.introduces(9, 2, PacketType::FOLLOWERINFO, 1006);
        assert_eq!(member.ending(), None, "that far no ensemble is ahead of its leader");
        member.introduces(3, 2, PacketType::FOLLOWERINFO, 9);
        assert_eq!(member.ending(), Some(RoleEnd::PromisedHigher { server: ServerId(2), epoch: 9 }));
        member.done.clear();
        member.passes(1000);
        let mut member = member.wins();
        // That voter need not be among those who come first.
        member.introduces(4, 1, PacketType::FOLLOWERINFO, 5);
        assert_eq!(member.kept().map(|record| record.accepted_epoch), Some(10));
    }
}

#[test]
fn the_new_epoch_is_above_every_one_that_was_accepted_and_only_voters_make_a_quorum_for_it() {
    // SC-27
    let mut member = Member::elected(1..=5);
    member.introduces(7, 7, PacketType::OBSERVERINFO, 11);
    member.introduces(8, 8, PacketType::FOLLOWERINFO, 9);
    member.introduces(2, 2, PacketType::OBSERVERINFO, 6);
    assert_eq!(member.kept(), None, "an observer, a stranger and a voter that observes");
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 2);
    assert_eq!(member.kept(), Some(epochs(12, 3)));
    for link in [1, 2, 7, 8] {
        assert_eq!(member.sent(link), [(PacketType::LEADERINFO, Zxid::new(12, 0))], "{link}");
    }
    // Nor for the history.
    member.accepts(7, Zxid::new(2, 5), 2);
    member.accepts(8, Zxid::new(2, 5), 2);
    member.accepts(2, Zxid::new(2, 5), 2);
    assert_eq!(member.kept(), None);
    member.accepts(1, Zxid::new(2, 5), 2);
    assert!(member.kept().is_some());
    for link in [7, 8, 2] {
        assert_eq!(member.sent(link).last(), Some(&(PacketType::NEWLEADER, Zxid::new(12, 0))));
        member.acks(link, Zxid::new(12, 0));
        assert_eq!(member.sent(link), [], "{link} makes no quorum");
    }
    member.sent(1);
    member.acks(1, Zxid::new(12, 0));
    for link in [1, 2, 7, 8] {
        assert_eq!(member.sent(link), [(PacketType::UPTODATE, Zxid(-1))], "{link}");
    }
}

#[test]
fn who_is_ahead_of_a_leader_to_be_is_refused_and_who_cannot_be_counted_is_not() {
    let counts = |last: Zxid, current: i32| {
        let mut member = Member::elected(1..=5);
        member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
        member.kept();
        member.accepts(1, last, current);
        let closed = member.closed(1).cloned();
        (member.kept().is_some(), closed)
    };
    let z = |counter| Zxid::new(2, counter);
    assert_eq!(counts(z(5), 3), (true, None));
    assert_eq!(counts(z(9), 2), (true, None), "the longer log is of an older epoch");
    assert_eq!(counts(z(6), 3), (false, Some(Leaving::Ahead)));
    assert_eq!(counts(z(1), 4), (false, Some(Leaving::Ahead)));
    // It was established in our epoch and has logged nothing since.
    assert_eq!(counts(Zxid::new(3, 0), 3), (true, None));
    assert_eq!(counts(Zxid::new(4, 0), 4), (false, Some(Leaving::Ahead)));
    // It may have promised the epoch to another one, or does not know what it has.
    assert_eq!(counts(z(5), -1), (false, None));
    assert_eq!(counts(Zxid(-1), 2), (false, None));
}

#[test]
fn who_is_ahead_only_of_where_an_established_leader_began_is_brought_back() {
    let mut member = Member::established(1..=5);
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    member.accepts(2, Zxid::new(2, 9), 3);
    assert_eq!(member.closed(2), None);
    let sent = member.sent(2);
    assert_eq!(sent[1..], [(PacketType::TRUNC, Zxid::new(2, 5)), (PacketType::NEWLEADER, Zxid::new(5, 0))]);
}

#[test]
fn who_comes_while_others_are_brought_up_to_date_does_not_wait_for_them() {
    let mut member = Member::elected(1..=5);
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    member.kept();
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    assert_eq!(member.sent(2), [(PacketType::LEADERINFO, Zxid::new(5, 0))]);
    member.accepts(1, Zxid::new(2, 5), 2);
    member.kept();
    member.accepts(2, Zxid::new(2, 5), 2);
    assert_eq!(member.sent(2).last(), Some(&(PacketType::NEWLEADER, Zxid::new(5, 0))));
    member.acks(2, Zxid::new(5, 0));
    assert_eq!(member.zab.leading(), Some((5, true)), "the first one is not waited for");
}

#[test]
fn what_a_leader_has_in_its_log_is_committed_with_its_office() {
    // S-09: it may have been acknowledged to a client by the leader before.
    let mut member = Member::new(1..=5).serving();
    member.hears_txn(PacketType::PROPOSAL, Zxid::new(6, 1));
    member.synced();
    member.tell(ZabEvent::Closed { link: at(LEADER) });
    let mut member = member.wins();
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 6);
    member.kept();
    member.accepts(1, Zxid::new(2, 5), 2);
    member.kept();
    let wanted = [
        (PacketType::LEADERINFO, Zxid::new(7, 0)),
        (PacketType::DIFF, Zxid::new(6, 1)),
        (PacketType::PROPOSAL, Zxid::new(6, 1)),
        (PacketType::COMMIT, Zxid::new(6, 1)),
        (PacketType::NEWLEADER, Zxid::new(7, 0)),
    ];
    assert_eq!(member.sent(1), wanted);
    assert!(!member.done.contains(&ZabAction::Replay { upto: Zxid::new(6, 1) }));
    member.acks(1, Zxid::new(7, 0));
    assert!(member.done.contains(&ZabAction::Replay { upto: Zxid::new(6, 1) }));
    assert_eq!(member.zab.history().delivered(), Zxid::new(6, 1));
}

#[test]
fn a_learner_whose_words_cannot_be_read_or_cannot_be_loses_its_connection() {
    let broken = QuorumPacket::with_data(PacketType::FOLLOWERINFO, Zxid::ZERO, Arc::from([1, 2]));
    let mut member = Member::elected(1..=5);
    member.tell(ZabEvent::Opened { link: at(1), is_ours: false });
    member.packet(1, broken);
    assert!(matches!(member.closed(1), Some(Leaving::Broken(_))));
    for (link, id, accepted, is_possible) in
        [(2, 3, 1, false), (3, 1, i32::MAX as u32, false), (4, 1, i32::MAX as u32 - 1, true)]
    {
        member.introduces(link, id, PacketType::FOLLOWERINFO, accepted);
        let closed = member.closed(link).cloned();
        assert_eq!(closed.is_none(), is_possible, "{id} {accepted}");
        assert!(is_possible || matches!(closed, Some(Leaving::Protocol(_))));
    }
    assert_eq!(member.kept().map(|record| record.accepted_epoch), Some(i32::MAX as u32));
    member.packet(4, QuorumPacket::with_data(PacketType::ACKEPOCH, Zxid::ZERO, Arc::from([1])));
    assert!(matches!(member.closed(4), Some(Leaving::Broken(_))));
    assert!(member.done.contains(&ZabAction::LearnerGone { link: at(4) }));
}

#[test]
fn a_packet_out_of_turn_costs_its_sender_the_connection_and_an_unknown_one_is_passed_over() {
    let mut member = Member::elected(1..=5);
    for (link, kind) in [
        (10, PacketType::ACK),
        (11, PacketType::ACKEPOCH),
        (12, PacketType::PING),
        (13, PacketType::REQUEST),
        (14, PacketType::REVALIDATE),
    ] {
        member.tell(ZabEvent::Opened { link: at(link), is_ours: false });
        member.packet(link, QuorumPacket::bare(kind, Zxid::ZERO));
        assert!(matches!(member.closed(link), Some(Leaving::Protocol(_))), "{kind:?}");
    }
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    member.packet(1, QuorumPacket::bare(PacketType(99), Zxid::ZERO));
    assert_eq!(member.closed(1), None);
    // A request that comes before there is anybody to decide it.
    member.kept();
    member.introduces(7, 7, PacketType::OBSERVERINFO, 4);
    member.accepts(1, Zxid::new(2, 5), 2);
    member.kept();
    member.accepts(7, Zxid::new(2, 5), 2);
    member.acks(7, Zxid::new(5, 0));
    member.packet(7, QuorumPacket::bare(PacketType::REQUEST, Zxid::ZERO));
    assert!(matches!(member.closed(7), Some(Leaving::Protocol(_))), "{:?}", member.done);
    // What is acknowledged first is the history.
    member.acks(1, Zxid::new(2, 5));
    assert!(matches!(member.closed(1), Some(Leaving::Protocol(_))));
}

#[test]
fn a_newer_connection_of_a_server_takes_the_place_of_the_older_one() {
    let mut member = Member::established(1..=5);
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    member.tell(ZabEvent::Opened { link: at(9), is_ours: false });
    member.introduces(4, 1, PacketType::FOLLOWERINFO, 4);
    assert_eq!([1, 2, 4, 9].map(|link| member.closed(link).cloned()), [Some(Leaving::Replaced), None, None, None]);
}

#[test]
fn a_leader_to_be_gives_up_when_too_few_come_in_time_and_the_time_begins_anew_at_each_step() {
    // SC-18
    let mut member = Member::elected(1..=5);
    assert_eq!(member.zab.poll_timeout(), member.now.plus(TICK_MS / 2));
    member.passes(INIT_MS - 1);
    assert_eq!(member.zab.take_ending(), None);
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    member.kept();
    member.passes(INIT_MS - 1);
    member.accepts(1, Zxid::new(2, 5), 2);
    member.kept();
    assert_eq!(member.zab.take_ending(), None);
    for _ in 0..10 {
        // It says nothing to the point, but it is there.
        member.passes(INIT_MS / 10 - 1);
        member.packet(1, QuorumPacket::bare(PacketType(99), Zxid::ZERO));
    }
    assert_eq!(member.zab.take_ending(), None);
    assert!(member.zab.poll_timeout() <= member.now.plus(10));
    member.passes(10);
    assert_eq!(member.zab.take_ending(), Some(RoleEnd::NoQuorum));
    assert_eq!(member.closed(1), Some(&Leaving::RoleEnded));
    assert!(member.done.contains(&ZabAction::Stand(Standing::Looking)));
    assert_eq!(member.vote_told(1).map(|vote| vote.state), Some(PeerState::Looking));
}

// Found by a seed: one of seven led with two, and with a third that had died while it installed a state.
#[test]
fn who_is_silent_for_as_long_as_it_may_install_a_state_keeps_no_leader_in_office() {
    // L-04, SC-22
    let mut member = Member::established(1..=5);
    // What it has is of another epoch, and neither memory nor log know it.
    let link = at(2);
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 3);
    member.accepts(2, Zxid::ZERO, 0);
    member.tell(ZabEvent::Records { link, before: None, txns: Vec::new() });
    let zxid = member.zab.history().last();
    member.tell(ZabEvent::SnapshotOpened { link, zxid });
    member.tell(ZabEvent::SnapshotStreamed { link });
    assert!(member.sent(2).iter().any(|(kind, _)| *kind == PacketType::NEWLEADER));
    member.tell(ZabEvent::Closed { link: at(1) });
    for _ in 0..2 * INIT_MS / TICK_MS {
        assert_eq!(member.zab.take_ending(), None, "it is waited for");
        member.passes(TICK_MS / 2);
    }
    member.passes(TICK_MS / 2);
    assert_eq!(member.zab.take_ending(), Some(RoleEnd::NoQuorum));
}

#[test]
fn a_leader_that_too_few_are_connected_to_gives_up_and_one_that_is_heard_goes_on() {
    let mut member = Member::established(1..=5);
    for _ in 0..40 {
        member.passes(TICK_MS / 2);
        member.packet(1, QuorumPacket::bare(PacketType::PING, Zxid::ZERO));
    }
    assert_eq!(member.zab.take_ending(), None);
    let pings = member.sent(1).iter().filter(|(kind, _)| *kind == PacketType::PING).count();
    assert_eq!(pings, 40, "twice in a tick");
    // Who has connected may take a while to say who it is.
    member.tell(ZabEvent::Opened { link: at(9), is_ours: false });
    for _ in 0..2 * INIT_MS / TICK_MS {
        member.passes(TICK_MS / 2);
        member.packet(1, QuorumPacket::bare(PacketType::PING, Zxid::ZERO));
    }
    assert_eq!(member.closed(9), None);
    member.passes(TICK_MS / 2);
    assert_eq!(member.closed(9), Some(&Leaving::Silent));
    // An observer and a server that is not of the ensemble do not keep it in office.
    for (link, id, kind) in [(7, 7, PacketType::OBSERVERINFO), (8, 8, PacketType::FOLLOWERINFO)] {
        member.introduces(link, id, kind, 4);
    }
    member.tell(ZabEvent::Closed { link: at(1) });
    assert_eq!(member.zab.take_ending(), None, "it may come back");
    member.passes(TICK_MS / 2);
    assert_eq!(member.zab.take_ending(), Some(RoleEnd::NoQuorum));
}

#[test]
fn a_transaction_is_committed_once_two_of_three_have_it_and_applied_once_we_have_it() {
    // S-11, S-14, D-05
    let z = |counter| Zxid::new(5, counter);
    let mut member = Member::established(1..=5);
    member.introduces(7, 7, PacketType::OBSERVERINFO, 4);
    member.accepts(7, Zxid::new(2, 5), 2);
    member.acks(7, z(0));
    member.sent(7);
    member.sent(1);
    member.decides(1);
    member.decides(2);
    assert_eq!(member.sent(1), [(PacketType::PROPOSAL, z(1)), (PacketType::PROPOSAL, z(2))]);
    assert_eq!(member.sent(7), [], "an observer is told of what is committed");
    member.acks(7, z(0));
    member.synced();
    assert_eq!(member.zab.history().committed(), Zxid::new(2, 5), "nobody but us has it");
    member.acks(1, z(1));
    assert_eq!(member.sent(1), [(PacketType::COMMIT, z(1))]);
    assert_eq!(member.sent(7), [(PacketType::INFORM, z(1))]);
    assert!(member.done.contains(&ZabAction::Deliver { upto: z(1) }));
    // Nor does a follower without a vote make a quorum.
    member.introduces(8, 8, PacketType::FOLLOWERINFO, 4);
    member.accepts(8, Zxid::new(2, 5), 2);
    member.acks(8, z(0));
    member.acks(8, z(2));
    assert_eq!(member.zab.history().committed(), z(1));
    // The second acknowledgement of the history says nothing of proposals.
    member.acks(1, z(0));
    assert_eq!((member.sent(1), member.closed(1)), (vec![], None));
    // Others have it before our own disk has: it is committed, and we apply it later.
    let mut slow = Member::established(1..=5);
    slow.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    slow.accepts(2, Zxid::new(2, 5), 2);
    slow.acks(2, z(0));
    slow.decides(1);
    slow.acks(1, z(1));
    assert_eq!(slow.zab.history().committed(), Zxid::new(2, 5));
    slow.acks(2, z(1));
    assert_eq!(slow.zab.history().committed(), z(1));
    assert!(!slow.done.contains(&ZabAction::Deliver { upto: z(1) }));
    slow.synced();
    assert!(slow.done.contains(&ZabAction::Deliver { upto: z(1) }));
}

#[test]
fn a_follower_that_comes_while_proposals_are_under_way_is_sent_them_once_and_counts_for_them() {
    // SC-15, SC-16
    let z = |counter| Zxid::new(5, counter);
    let mut member = Member::established(1..=5);
    member.decides(1);
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    member.accepts(2, Zxid::new(2, 5), 2);
    let wanted = [
        (PacketType::LEADERINFO, z(0)),
        (PacketType::DIFF, Zxid::new(2, 5)),
        (PacketType::PROPOSAL, z(1)),
        (PacketType::NEWLEADER, z(0)),
    ];
    assert_eq!(member.sent(2), wanted);
    member.decides(2);
    assert_eq!(member.sent(2), [(PacketType::PROPOSAL, z(2))]);
    member.synced();
    member.acks(1, z(1));
    assert_eq!(member.sent(2), [], "ZooKeeper 3.8 dies on a commit before it is told to serve");
    member.acks(2, z(0));
    assert_eq!(member.sent(2), [(PacketType::UPTODATE, Zxid(-1)), (PacketType::COMMIT, z(1))]);
    member.acks(2, z(1));
    member.acks(2, z(2));
    assert_eq!(member.sent(2), [(PacketType::COMMIT, z(2))]);
    // An observer is told of them once they are committed.
    member.decides(3);
    for (link, id, kind) in [(7, 7, PacketType::OBSERVERINFO), (8, 8, PacketType::FOLLOWERINFO)] {
        member.introduces(link, id, kind, 4);
        member.accepts(link, z(2), 5);
    }
    assert_eq!(member.sent(7)[2..], [(PacketType::NEWLEADER, z(0))]);
    let last = [(PacketType::PROPOSAL, z(3)), (PacketType::NEWLEADER, z(0))];
    assert_eq!(member.sent(8)[2..], last);
    member.acks(8, z(0));
    member.acks(8, z(3));
    assert_eq!(member.closed(8), None, "it acknowledges what it was sent");
}

#[test]
fn a_sync_is_confirmed_by_pings_that_were_sent_after_it() {
    // G-04
    let mut member = Member::established(1..=5);
    let confirmed = |member: &Member, token| member.done.contains(&ZabAction::Confirmed { token });
    let answer = || QuorumPacket::bare(PacketType::PING, Zxid::ZERO);
    member.passes(TICK_MS / 2);
    member.tell(ZabEvent::Confirm { token: 7 });
    let pings = member.sent(1);
    assert_eq!(pings.len(), 2, "one by the clock, one for the question: {pings:?}");
    member.tell(ZabEvent::Confirm { token: 8 });
    assert_eq!(member.sent(1), [], "it shares the next one");
    member.packet(1, answer());
    assert!(!confirmed(&member, 7), "that was of before");
    member.packet(1, answer());
    assert!(confirmed(&member, 7) && !confirmed(&member, 8));
    assert_eq!(member.sent(1).len(), 1);
    // Observers and strangers confirm nothing.
    for (link, id, kind) in [(7, 7, PacketType::OBSERVERINFO), (8, 8, PacketType::FOLLOWERINFO)] {
        member.introduces(link, id, kind, 4);
        member.accepts(link, Zxid::new(2, 5), 2);
        member.acks(link, Zxid::new(5, 0));
        member.passes(TICK_MS / 2);
        member.packet(link, answer());
        member.packet(link, answer());
    }
    assert!(!confirmed(&member, 8));
    member.packet(1, answer());
    assert!(confirmed(&member, 8));
    // What a learner that left has answered does not count for its next connection.
    member.tell(ZabEvent::Confirm { token: 9 });
    member.tell(ZabEvent::Closed { link: at(1) });
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    member.accepts(1, Zxid::new(2, 5), 2);
    member.acks(1, Zxid::new(5, 0));
    member.packet(1, answer());
    assert!(!confirmed(&member, 9), "an answer to nothing");
    member.passes(TICK_MS / 2);
    member.packet(1, answer());
    assert!(confirmed(&member, 9));
}

#[test]
fn a_leader_alone_in_a_quorum_of_one_confirms_at_once() {
    let mut member = Member::established(1..=5);
    member.zab.own.settings.quorums = Quorums::of(Quorum::Majority(Majority::new(vec![ServerId(3)])));
    member.tell(ZabEvent::Confirm { token: 1 });
    assert!(member.done.contains(&ZabAction::Confirmed { token: 1 }));
}

#[test]
fn a_question_is_answered_once_the_leader_is_a_quorum_because_the_other_voters_were_removed() {
    let mut member = Member::established(1..=5);
    member.tell(ZabEvent::Confirm { token: 1 });
    assert!(!member.done.contains(&ZabAction::Confirmed { token: 1 }));
    member.zab.own.settings.quorums = Quorums::of(Quorum::Majority(Majority::new(vec![ServerId(3)])));
    member.passes(TICK_MS / 2);
    assert!(member.done.contains(&ZabAction::Confirmed { token: 1 }));
}

#[test]
fn a_leader_goes_without_a_loss_once_a_voter_has_and_knows_everything() {
    let z = |counter| Zxid::new(5, counter);
    let mut member = Member::elected(1..=5);
    assert!(member.zab.may_leave(), "it was not established");
    member = Member::established(1..=5);
    assert!(member.zab.may_leave());
    member.decides(1);
    assert!(!member.zab.may_leave(), "nobody has it");
    member.acks(1, z(1));
    assert!(!member.zab.may_leave(), "we do not have it");
    member.synced();
    assert!(member.zab.may_leave());
    let mut slow = Member::established(1..=5);
    slow.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    slow.accepts(2, Zxid::new(2, 5), 2);
    slow.acks(2, z(0));
    slow.decides(1);
    slow.acks(1, z(1));
    slow.acks(2, z(1));
    assert!(slow.zab.history().committed() == z(1) && !slow.zab.may_leave(), "nobody here was answered yet");
    // Only those that do not vote are left, or one that is not in sync.
    for (link, id, kind) in [(7, 7, PacketType::OBSERVERINFO), (8, 8, PacketType::FOLLOWERINFO)] {
        member.introduces(link, id, kind, 4);
        member.accepts(link, Zxid::new(2, 5), 2);
        member.acks(link, z(0));
        member.acks(link, z(1));
    }
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    member.accepts(2, Zxid::new(2, 5), 2);
    assert!(member.zab.may_leave());
    member.tell(ZabEvent::Closed { link: at(1) });
    assert!(!member.zab.may_leave(), "{:?}", member.zab.learner_counts());
    member.acks(2, z(0));
    assert!(member.zab.may_leave());
    member.decides(2);
    member.synced();
    assert!(!member.zab.may_leave(), "we alone have it");
    member.acks(2, z(2));
    assert!(member.zab.may_leave());
    let mut looking = Member::new(1..=5);
    assert!(looking.zab.may_leave() && looking.zab.learner_counts().is_none());
    assert_eq!(looking.zab.voter_count(), 3);
    looking.tell(ZabEvent::Confirm { token: 1 });
    assert!(!looking.done.contains(&ZabAction::Confirmed { token: 1 }), "who does not lead confirms nothing");
}

#[test]
fn the_engine_speaks_to_a_learner_from_the_moment_it_is_told_to_serve() {
    let mut member = Member::established(1..=5);
    let packet = || QuorumPacket::bare(PacketType::SYNC, Zxid::ZERO);
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    member.accepts(2, Zxid::new(2, 5), 2);
    member.sent(2);
    for link in [1, 2, 9] {
        member.tell(ZabEvent::ToLearner { link: at(link), packet: packet() });
    }
    let is_sync = |sent: Vec<(PacketType, Zxid)>| sent.iter().any(|(kind, _)| *kind == PacketType::SYNC);
    assert_eq!([1, 2, 9].map(|link| is_sync(member.sent(link))), [true, false, false]);
}
