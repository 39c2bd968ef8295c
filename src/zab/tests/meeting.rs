//! What is said to whoever comes, before and after it is known who leads.

use super::hand::{INIT_MS, Member, at};
use crate::ids::{ServerId, Zxid};
use crate::records::peer::{Notification, PacketType, PeerState, QuorumPacket};
use crate::zab::{Leaving, RoleEnd, ZabAction, ZabEvent};

#[test]
fn who_connects_before_the_election_ends_waits_for_its_end() {
    let mut member = Member::new(1..=5);
    assert!(member.done.contains(&ZabAction::LinkBallots(vec![ServerId(1), ServerId(2)])), "it asks for them");
    assert!((200..=220).contains(&member.zab.poll_timeout().since(member.now)), "and waits for answers");
    for (link, id) in [(1, 1), (2, 2)] {
        member.introduces(link, id, PacketType::FOLLOWERINFO, 4);
        assert_eq!(member.closed(link), None);
    }
    member.tell(ZabEvent::Closed { link: at(2) });
    let own = member.vote_told(1).unwrap();
    for from in [1, 2] {
        member.tell(ZabEvent::Ballot { from: ServerId(from), notification: own.clone() });
    }
    assert_eq!(member.zab.learner_counts().map(|counts| counts.learners), Some(1));
    assert!(member.kept().is_some(), "the first has introduced itself already");
    assert_eq!(member.sent(1), [(PacketType::LEADERINFO, Zxid::new(5, 0))]);
}

#[test]
fn who_waits_for_a_leader_that_ends_at_once_is_sent_away_with_its_other_learners() {
    let mut member = Member::new(1..=5);
    // The first makes the epoch 5, the second may not follow that, the third waits behind it.
    for (link, id, kind, accepted) in
        [(1, 1, PacketType::FOLLOWERINFO, 4), (2, 2, PacketType::FOLLOWERINFO, 9), (3, 7, PacketType::OBSERVERINFO, 4)]
    {
        member.introduces(link, id, kind, accepted);
    }
    let mut member = member.wins();
    assert_eq!(member.ending(), Some(RoleEnd::PromisedHigher { server: ServerId(2), epoch: 9 }));
    for link in 1..=3 {
        assert_eq!(member.closed(link), Some(&Leaving::RoleEnded), "{link}");
    }
}

#[test]
fn who_waits_too_long_or_says_too_much_or_waits_for_somebody_else_is_sent_away() {
    let mut member = Member::new(1..=5);
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    member.passes(INIT_MS / 2);
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    member.packet(2, QuorumPacket::bare(PacketType::ACK, Zxid::ZERO));
    assert!(matches!(member.closed(2), Some(Leaving::Protocol(_))));
    member.introduces(3, 2, PacketType::FOLLOWERINFO, 4);
    member.passes(INIT_MS / 2 - 1);
    assert_eq!(member.closed(1), None);
    assert!(member.zab.poll_timeout() <= member.now.plus(1));
    member.passes(1);
    assert_eq!((member.closed(1), member.closed(3)), (Some(&Leaving::NotLeading), None));
    assert!(member.zab.poll_timeout() > member.now, "nothing more is to be done about it");
    // Who was sent away is no learner of the leader to come.
    let mut talker = Member::new(1..=5);
    talker.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    talker.packet(2, QuorumPacket::bare(PacketType::ACK, Zxid::ZERO));
    assert_eq!(talker.wins().zab.learner_counts().map(|counts| counts.learners), Some(0));
    // The second is elected, and it is the second whom the others should ask.
    let vote = |state| Notification { state, leader: ServerId(2), ..member.vote_told(1).unwrap() };
    let (leads, follows) = (vote(PeerState::Leading), vote(PeerState::Following));
    member.tell(ZabEvent::Ballot { from: ServerId(2), notification: leads });
    member.tell(ZabEvent::Ballot { from: ServerId(1), notification: follows });
    assert!(member.done.contains(&ZabAction::Dial { to: ServerId(2) }), "{:?}", member.done);
    assert_eq!(member.closed(3), Some(&Leaving::NotLeading));
    member.tell(ZabEvent::Opened { link: at(5), is_ours: false });
    assert_eq!(member.closed(5), Some(&Leaving::NotLeading));
}

#[test]
fn no_more_than_a_few_may_wait() {
    let mut member = Member::new(1..=5);
    for link in 0..70 {
        member.tell(ZabEvent::Opened { link: at(link), is_ours: false });
    }
    let closed = (0..70).filter(|link| member.closed(*link).is_some()).collect::<Vec<_>>();
    assert_eq!(closed, (64..70).collect::<Vec<_>>());
    let mut looking = Member::new(1..=5);
    let mut leading = Member::established(1..=5);
    leading.tell(ZabEvent::Opened { link: at(9), is_ours: true });
    assert_eq!(leading.closed(9), Some(&Leaving::NotLeading));
    looking.tell(ZabEvent::Opened { link: at(1), is_ours: true });
    assert_eq!(looking.closed(1), Some(&Leaving::NotLeading), "we follow nobody");
}

#[test]
fn who_looks_is_told_whom_this_member_leads_or_follows_with_the_epoch_once_it_works() {
    // ZOOKEEPER-1732
    let looks = |from: u64| {
        let notification = Member::new(1..=5).vote_told(1).unwrap();
        ZabEvent::Ballot { from: ServerId(from), notification }
    };
    let mut member = Member::elected(1..=5);
    member.done.clear();
    member.tell(looks(1));
    let told = member.vote_told(1).expect("it is told");
    assert_eq!((told.state, told.leader, told.peer_epoch), (PeerState::Leading, ServerId(3), 3));
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    member.kept();
    member.tell(looks(1));
    assert_eq!(member.vote_told(1).map(|told| told.peer_epoch), Some(3), "the epoch has not begun");
    member = Member::established(1..=5);
    member.tell(looks(2));
    let told = member.vote_told(2).expect("it is told");
    assert_eq!((told.state, told.leader, told.peer_epoch), (PeerState::Leading, ServerId(3), 5));
    assert_eq!((told.zxid, told.round, told.version), (Zxid::new(2, 5), 1, 2));
    assert_eq!(&*told.config, "version=0");
    // Whoever follows already needs no answer, and an observer that looks gets one.
    member.done.clear();
    member.tell(ZabEvent::Ballot { from: ServerId(2), notification: told.clone() });
    assert_eq!(member.vote_told(2), None);
    member.tell(ZabEvent::Ballot { from: ServerId(9), notification: told });
    assert_eq!(member.vote_told(9), None);
    member.tell(looks(9));
    assert_eq!(member.vote_told(9).map(|told| told.state), Some(PeerState::Leading));
    // Not while it looks: it may be one that restarted, and its vote decides nothing.
    let mut looking = Member::new(1..=5);
    let own = looking.vote_told(1).unwrap();
    for from in [8, 9] {
        looking.tell(ZabEvent::Ballot { from: ServerId(from), notification: own.clone() });
        assert_eq!(looking.vote_told(from).map(|told| told.state), Some(PeerState::Looking));
    }
    assert_eq!(looking.zab.leading(), None);
    assert!(looking.zab.learner_counts().is_none());
}

#[test]
fn an_observer_that_answers_every_answer_is_not_answered_without_end() {
    // One of ZooKeeper's does while its round is later than ours, which we do not take from it.
    let mut looking = Member::new(1..=5);
    let later = Notification { round: 40, leader: ServerId(9), ..looking.vote_told(1).unwrap() };
    let asks = |looking: &mut Member, from: u64, notification: &Notification| {
        looking.done.clear();
        looking.tell(ZabEvent::Ballot { from: ServerId(from), notification: notification.clone() });
        looking.vote_told(from).is_some()
    };
    let mut answers = 0;
    for _ in 0..300 {
        answers += usize::from(asks(&mut looking, 9, &later));
        looking.now = looking.now.plus(1);
    }
    assert_eq!(answers, 3, "in 300 ms");
    // Another one is answered all the same, and so is whoever says something else, or asks in our own round.
    assert!(asks(&mut looking, 8, &later) && !asks(&mut looking, 8, &later));
    assert!(asks(&mut looking, 8, &Notification { round: 41, ..later.clone() }));
    let ours = Notification { round: 1, ..later.clone() };
    assert!(asks(&mut looking, 8, &ours) && asks(&mut looking, 8, &ours));
    let mut leading = Member::established(1..=5);
    for _ in 0..3 {
        assert!(asks(&mut leading, 9, &later));
    }
}
