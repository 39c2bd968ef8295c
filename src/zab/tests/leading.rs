//! A leader that is the only voter, and learners whose packets are written by hand.

use std::sync::Arc;

use super::hand::epochs;
use crate::ids::{LinkId, Millis, ServerId, Zxid};
use crate::records::peer::{LearnerInfo, Notification, PacketType, PeerState, QuorumPacket, epoch_ack};
use crate::records::txn::Payload;
use crate::zab::{
    History, LearnerCounts, Leaving, Majority, Quorum, Quorums, RoleEnd, Standing, Start, VotingRight, Zab, ZabAction,
    ZabEvent, ZabSettings,
};

const TICK_MS: u64 = 100;
const SYNC_MS: u64 = 5 * TICK_MS;

fn at(slot: u32) -> LinkId {
    LinkId { slot, generation: 0 }
}

struct Lead {
    zab: Zab,
    now: Millis,
    /// What is for learners and the engine, since it was last looked at.
    done: Vec<ZabAction>,
    epoch: u32,
}

impl Lead {
    /// A leader whose history is `last` and before.
    fn new(last: Zxid) -> Lead {
        let settings = ZabSettings {
            me: ServerId(1),
            is_participant: true,
            quorums: Quorums::of(Quorum::Majority(Majority::new(vec![ServerId(1)]))),
            config: Arc::from("version=0"),
            tick_ms: TICK_MS,
            init_limit: 10,
            sync_limit: 5,
            reconfig: None,
            passwords: None,
        };
        let record = epochs(last.epoch(), last.epoch());
        let zab =
            Zab::new(Millis(1000), settings, Start { history: History::at(last), record, right: VotingRight::Held });
        let mut lead = Lead { zab, now: Millis(1000), done: Vec::new(), epoch: 0 };
        lead.carry();
        for _ in 0..100 {
            if lead.epoch != 0 {
                lead.done.clear();
                return lead;
            }
            lead.now = lead.now.max(lead.zab.poll_timeout());
            lead.tell(ZabEvent::Timeout);
        }
        panic!("a voter alone does not lead: {:?}", lead.zab);
    }

    fn tell(&mut self, event: ZabEvent) {
        self.zab.handle(self.now, event);
        self.carry();
    }

    /// Does what is to be done, the disk's work at once.
    fn carry(&mut self) {
        loop {
            while let Some(action) = self.zab.poll_action() {
                match action {
                    ZabAction::Keep { run, .. } => self.zab.handle(self.now, ZabEvent::Kept { run }),
                    ZabAction::Stand(Standing::Leading { epoch }) => self.epoch = epoch,
                    other => self.done.push(other),
                }
            }
            let Some((run, upto)) = self.zab.begin_append() else { return };
            self.zab.handle(self.now, ZabEvent::Synced { run, upto });
        }
    }

    fn packet(&mut self, link: u32, packet: QuorumPacket) {
        self.tell(ZabEvent::Packet { link: at(link), packet });
    }

    fn z(&self, counter: u32) -> Zxid {
        Zxid::new(self.epoch, counter)
    }

    /// Brings the server `id` up to the history, all but the acknowledgement.
    fn joins(&mut self, link: u32, id: u64, kind: PacketType) {
        let last = self.zab.history().last();
        self.tell(ZabEvent::Opened { link: at(link), is_ours: false });
        let info = LearnerInfo { server: ServerId(id), config_version: 0, takes_passwords: true };
        self.packet(link, QuorumPacket::with_data(kind, Zxid::new(self.epoch - 1, 0), info.encoded()));
        let current = i32::try_from(last.epoch()).unwrap();
        self.packet(link, QuorumPacket::with_data(PacketType::ACKEPOCH, last, epoch_ack(current)));
    }

    /// And acknowledges it.
    fn lives(&mut self, link: u32, id: u64, kind: PacketType) {
        self.joins(link, id, kind);
        self.packet(link, QuorumPacket::bare(PacketType::ACK, self.z(0)));
    }

    fn decide(&mut self, counter: u32) {
        let txn = Payload::from([1]);
        self.tell(ZabEvent::Decided(vec![(self.z(counter), txn)]));
    }

    /// Why the connection was closed, if it was.
    fn closed(&self, link: u32) -> Option<&Leaving> {
        self.done.iter().find_map(|action| match action {
            ZabAction::Close { link: closed, why } if *closed == at(link) => Some(why),
            _ => None,
        })
    }

    /// Lets a time pass in which the learners of `alive` answer pings.
    fn pass(&mut self, ms: u64, alive: &[u32]) {
        let end = self.now.plus(ms);
        while self.now < end {
            self.now = self.zab.poll_timeout().max(self.now.plus(1)).min(end);
            self.tell(ZabEvent::Timeout);
            for link in alive {
                self.packet(*link, QuorumPacket::bare(PacketType::PING, Zxid::ZERO));
            }
        }
    }
}

#[test]
fn the_leader_counts_its_learners_by_what_they_are_and_how_far() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    assert_eq!(lead.zab.learner_counts(), Some(LearnerCounts::default()));
    lead.lives(10, 2, PacketType::FOLLOWERINFO);
    lead.joins(11, 3, PacketType::FOLLOWERINFO);
    for (link, id) in [(12, 4), (13, 5), (14, 6)] {
        lead.lives(link, id, PacketType::OBSERVERINFO);
    }
    lead.tell(ZabEvent::Opened { link: at(15), is_ours: false });
    // None of the two followers has a vote, and one connection has not said whose it is.
    let counts =
        LearnerCounts { learners: 6, synced_followers: 2, synced_non_voting_followers: 2, synced_observers: 3 };
    assert_eq!(lead.zab.learner_counts(), Some(counts));
    lead.tell(ZabEvent::Closed { link: at(14) });
    assert_eq!(lead.zab.learner_counts().map(|counts| (counts.learners, counts.synced_observers)), Some((5, 2)));
}

#[test]
fn a_learner_that_acknowledges_what_it_was_not_sent_loses_its_connection() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    lead.lives(10, 2, PacketType::FOLLOWERINFO);
    lead.decide(1);
    lead.packet(10, QuorumPacket::bare(PacketType::ACK, lead.z(1)));
    assert_eq!(lead.closed(10), None);
    lead.packet(10, QuorumPacket::bare(PacketType::ACK, lead.z(2)));
    assert!(matches!(lead.closed(10), Some(Leaving::Protocol(_))), "{:?}", lead.done);
}

#[test]
fn who_does_not_answer_or_does_not_acknowledge_loses_its_connection_and_nobody_else() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    for (link, id) in [(10, 2), (11, 3), (12, 4)] {
        lead.lives(link, id, PacketType::FOLLOWERINFO);
    }
    lead.lives(13, 5, PacketType::OBSERVERINFO);
    // All but 10 answer; 11 does not acknowledge what comes now, 13 need not.
    lead.decide(1);
    lead.packet(12, QuorumPacket::bare(PacketType::ACK, lead.z(1)));
    lead.pass(SYNC_MS, &[11, 12, 13]);
    assert_eq!([10, 11, 12, 13].map(|link| lead.closed(link).is_some()), [false; 4], "not before its time");
    lead.pass(SYNC_MS, &[11, 12, 13]);
    assert_eq!(lead.closed(10), Some(&Leaving::Silent));
    assert_eq!(lead.closed(11), Some(&Leaving::Lagging));
    assert_eq!([12, 13].map(|link| lead.closed(link)), [None, None]);
    // Who acknowledges late, and then has nothing more to acknowledge, is not behind.
    lead.decide(2);
    lead.pass(SYNC_MS / 2, &[12, 13]);
    lead.packet(12, QuorumPacket::bare(PacketType::ACK, lead.z(2)));
    // Who has acknowledged everything is not behind, for however long nothing is written.
    lead.pass(10 * SYNC_MS, &[12, 13]);
    assert_eq!([12, 13].map(|link| lead.closed(link)), [None, None]);
}

// EP: the low half of a zxid must not run over into the epoch.
#[test]
fn a_leader_whose_counter_is_nearly_used_up_begins_a_new_epoch_when_nothing_is_under_way() {
    // SC-21
    for (counter, ends) in [(0xffff_ffef, false), (0xffff_fff0, true), (0xffff_fffd, true)] {
        let mut lead = Lead::new(Zxid::new(1, 5));
        lead.lives(10, 2, PacketType::FOLLOWERINFO);
        let epoch = lead.epoch;
        // As after four thousand million transactions.
        lead.zab.own.history = History::at(lead.z(counter - 1));
        let last = lead.z(counter);
        let txn = Payload::from([1]);
        lead.tell(ZabEvent::Decided(vec![(last, txn)]));
        lead.packet(10, QuorumPacket::bare(PacketType::ACK, last));
        assert_eq!(lead.zab.take_ending() == Some(RoleEnd::CounterUsedUp), ends, "{last}");
        assert_eq!(lead.closed(10), ends.then_some(&Leaving::RoleEnded), "{last}");
        assert_eq!(lead.zab.leading().is_some_and(|(now, _)| now == epoch), !ends, "{last}");
    }
}

#[test]
fn what_a_learner_has_for_the_engine_comes_with_its_name() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    lead.lives(10, 2, PacketType::FOLLOWERINFO);
    lead.lives(11, 3, PacketType::OBSERVERINFO);
    lead.done.clear();
    for (link, id, kind) in [(10, 2, PacketType::REQUEST), (11, 3, PacketType::REVALIDATE), (10, 2, PacketType::PING)] {
        let packet = QuorumPacket::with_data(kind, Zxid::ZERO, Arc::from([7]));
        lead.packet(link, packet.clone());
        let wanted = ZabAction::FromLearner { from: ServerId(id), link: at(link), packet };
        assert_eq!(lead.done.pop(), Some(wanted));
    }
}

// A million znodes take longer to install than a small `initLimit` is.
#[test]
fn a_learner_that_installs_a_state_is_waited_for_longer_than_one_that_lacks_little() {
    // SC-22
    let mut lead = Lead::new(Zxid::new(1, 5));
    lead.joins(10, 2, PacketType::FOLLOWERINFO);
    lead.joins(11, 3, PacketType::FOLLOWERINFO);
    // The log does not reach back to where the third is, and it is sent the state.
    let link = at(12);
    lead.tell(ZabEvent::Opened { link, is_ours: false });
    let info = LearnerInfo { server: ServerId(4), config_version: 0, takes_passwords: true };
    lead.packet(12, QuorumPacket::with_data(PacketType::FOLLOWERINFO, Zxid::ZERO, info.encoded()));
    lead.packet(12, QuorumPacket::with_data(PacketType::ACKEPOCH, Zxid::ZERO, epoch_ack(0)));
    lead.tell(ZabEvent::Records { link, before: None, txns: Vec::new() });
    let zxid = lead.zab.history().last();
    lead.tell(ZabEvent::SnapshotOpened { link, zxid });
    assert!(lead.done.contains(&ZabAction::StreamSnapshot { link }), "{:?}", lead.done);
    lead.tell(ZabEvent::SnapshotStreamed { link });
    let init_ms = 10 * TICK_MS;
    lead.pass(2 * init_ms, &[]);
    assert_eq!([10, 11].map(|link| lead.closed(link)), [Some(&Leaving::Silent); 2]);
    assert_eq!(lead.closed(12), None);
    lead.pass(7 * init_ms, &[]);
    assert_eq!(lead.closed(12), None);
    lead.pass(2 * init_ms, &[]);
    assert_eq!(lead.closed(12), Some(&Leaving::Silent));
}

impl Lead {
    /// The zxids of what was sent to a learner in packets of this kind.
    fn sent(&self, link: u32, kind: PacketType) -> Vec<Zxid> {
        let sent = self.done.iter().filter_map(|action| match action {
            ZabAction::Send { link: to, packet } if *to == at(link) && packet.kind == kind => Some(packet.zxid),
            _ => None,
        });
        sent.collect()
    }

    /// Which packets of these kinds were sent to it, in their order.
    fn kinds(&self, link: u32, kinds: &[PacketType]) -> Vec<PacketType> {
        let sent = self.done.iter().filter_map(|action| match action {
            ZabAction::Send { link: to, packet } if *to == at(link) && kinds.contains(&packet.kind) => {
                Some(packet.kind)
            }
            _ => None,
        });
        sent.collect()
    }
}

// Found with a million znodes refilled under load: more than memory keeps was committed while the state was installed.
#[test]
fn a_follower_that_took_long_to_acknowledge_is_told_of_every_commit() {
    // SC-17
    let mut lead = Lead::new(Zxid::new(1, 5));
    lead.joins(10, 2, PacketType::FOLLOWERINFO);
    lead.done.clear();
    (1..=2000).for_each(|counter| lead.decide(counter));
    assert!(lead.zab.history().base() > lead.z(1000), "memory does not reach back so far");
    lead.packet(10, QuorumPacket::bare(PacketType::ACK, lead.z(0)));
    (2001..=2010).for_each(|counter| lead.decide(counter));
    let all: Vec<_> = (1..=2010).map(|counter| lead.z(counter)).collect();
    assert_eq!(lead.sent(10, PacketType::PROPOSAL), all);
    assert_eq!(lead.sent(10, PacketType::COMMIT), all);
}

#[test]
fn an_observer_that_took_long_to_acknowledge_is_sent_what_was_committed_meanwhile_from_the_log() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    lead.joins(10, 2, PacketType::OBSERVERINFO);
    lead.done.clear();
    (1..=2000).for_each(|counter| lead.decide(counter));
    let (first, base) = (lead.z(0), lead.zab.history().base());
    lead.packet(10, QuorumPacket::bare(PacketType::ACK, lead.z(0)));
    assert_eq!(lead.sent(10, PacketType::UPTODATE), []);
    let Some(ZabAction::Read { link, after }) = lead.done.last().cloned() else { panic!("{:?}", lead.done.last()) };
    assert!(link == at(10) && after == Zxid::new(1, 5), "{after} {first}");
    for part in [1..=700, 701..=1800] {
        let before = if *part.start() == 1 { after } else { lead.z(part.start() - 1) };
        let txns = part.map(|counter| (lead.z(counter), Payload::from([1]))).collect();
        lead.tell(ZabEvent::Records { link, before: Some(before), txns });
    }
    assert!(base < lead.z(1800));
    (2001..=2010).for_each(|counter| lead.decide(counter));
    // It is informed, before UPTODATE too: its history has ended, and no COMMIT comes between the two (S-14).
    assert_eq!((lead.sent(10, PacketType::COMMIT), lead.sent(10, PacketType::PROPOSAL)), (vec![], vec![]));
    let told = lead.sent(10, PacketType::INFORM);
    assert_eq!(told, (1..=2010).map(|counter| lead.z(counter)).collect::<Vec<_>>());
    let order = lead.kinds(10, &[PacketType::COMMIT, PacketType::UPTODATE, PacketType::INFORM, PacketType::NEWLEADER]);
    let mut changes = order;
    changes.dedup();
    assert_eq!(changes, [PacketType::INFORM, PacketType::UPTODATE, PacketType::INFORM]);
    lead.packet(10, QuorumPacket::bare(PacketType::PING, Zxid::ZERO));
    assert_eq!(lead.closed(10), None, "it is a learner like any other");
}

#[test]
fn a_learner_is_sent_the_log_to_its_end_where_memory_has_nothing() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    let link = at(10);
    lead.tell(ZabEvent::Opened { link, is_ours: false });
    let info = LearnerInfo { server: ServerId(2), config_version: 0, takes_passwords: true };
    lead.packet(10, QuorumPacket::with_data(PacketType::FOLLOWERINFO, Zxid::ZERO, info.encoded()));
    lead.packet(10, QuorumPacket::with_data(PacketType::ACKEPOCH, Zxid::new(1, 2), epoch_ack(1)));
    let txns = (3..=5).map(|counter| (Zxid::new(1, counter), Payload::from([1]))).collect();
    lead.tell(ZabEvent::Records { link, before: Some(Zxid::new(1, 2)), txns });
    assert_eq!(lead.sent(10, PacketType::PROPOSAL), [3, 4, 5].map(|counter| Zxid::new(1, counter)));
    assert_eq!(lead.sent(10, PacketType::NEWLEADER), [lead.z(0)]);
}

#[test]
fn a_leader_whose_own_disk_is_the_quorum_begins_a_new_epoch_in_time_too() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    lead.zab.own.history = History::at(lead.z(0xffff_ffef));
    let zxid = lead.z(0xffff_fff0);
    lead.tell(ZabEvent::Decided(vec![(zxid, Payload::from([1]))]));
    lead.pass(TICK_MS, &[]);
    assert_eq!(lead.zab.take_ending(), Some(RoleEnd::CounterUsedUp));
}

#[test]
fn a_voter_alone_tells_who_asks_that_it_leads_in_its_epoch() {
    let mut lead = Lead::new(Zxid::new(1, 5));
    let asks = Notification {
        state: PeerState::Looking,
        leader: ServerId(7),
        zxid: Zxid::ZERO,
        round: 1,
        peer_epoch: 0,
        version: 2,
        config: Arc::from(""),
    };
    lead.tell(ZabEvent::Ballot { from: ServerId(7), notification: asks });
    let Some(ZabAction::Ballot { to, notification }) = lead.done.pop() else { panic!("{:?}", lead.done) };
    assert_eq!((to, notification.state), (ServerId(7), PeerState::Leading));
    assert_eq!((notification.leader, notification.peer_epoch), (ServerId(1), i64::from(lead.epoch)));
}

#[test]
fn the_last_counters_of_an_epoch_are_used_and_those_behind_them_are_not() {
    for (counter, is_used) in [(0xffff_fffd, true), (0xffff_fffe, false)] {
        let mut lead = Lead::new(Zxid::new(1, 5));
        lead.lives(10, 2, PacketType::FOLLOWERINFO);
        lead.zab.own.history = History::at(lead.z(counter - 1));
        let zxid = lead.z(counter);
        lead.tell(ZabEvent::Decided(vec![(zxid, Payload::from([1]))]));
        assert_eq!(lead.sent(10, PacketType::PROPOSAL).contains(&zxid), is_used, "{zxid}");
        assert_eq!(lead.zab.take_ending(), (!is_used).then_some(RoleEnd::CounterUsedUp));
    }
}
