//! One of three voters, with a hand on its disk and on what it is told.

use std::sync::Arc;

use crate::ids::{LinkId, Millis, ServerId, Zxid};
use crate::records::peer::{LearnerInfo, Notification, PacketType, QuorumPacket, epoch_ack};
use crate::records::txn::Payload;
use crate::zab::{
    Configs, EpochPasswords, History, Leaving, Majority, MemberRecord, Quorum, Quorums, Start, VotingRight, Zab,
    ZabAction, ZabEvent, ZabSettings,
};

pub(super) const TICK_MS: u64 = 100;
pub(super) const INIT_MS: u64 = 10 * TICK_MS;
pub(super) const SYNC_MS: u64 = 5 * TICK_MS;
pub(super) const BEGIN: Millis = Millis(1_000);

pub(super) fn at(slot: u32) -> LinkId {
    LinkId { slot, generation: 0 }
}

pub(super) fn txn(byte: u8) -> Payload {
    Payload::from([byte])
}

/// A record of these epochs, whatever sessions have for passwords.
pub(super) fn epochs(accepted_epoch: u32, current_epoch: u32) -> MemberRecord {
    MemberRecord { accepted_epoch, current_epoch, passwords: EpochPasswords::default() }
}

/// The third of three voters.
pub(super) struct Member {
    pub(super) zab: Zab,
    pub(super) now: Millis,
    pub(super) done: Vec<ZabAction>,
}

impl Member {
    /// Its history are the transactions of `counters` in epoch 2, and it has accepted epoch 4.
    pub(super) fn new(counters: std::ops::RangeInclusive<u32>) -> Member {
        Member::kept_as(counters, epochs(4, 3))
    }

    /// The same, with another record.
    pub(super) fn kept_as(counters: std::ops::RangeInclusive<u32>, record: MemberRecord) -> Member {
        Member::begin(true, counters, record, None)
    }

    /// One of an ensemble whose members may change.
    pub(super) fn changing(counters: std::ops::RangeInclusive<u32>, configs: Configs) -> Member {
        Member::begin(true, counters, epochs(4, 3), Some(configs))
    }

    /// One without a vote.
    pub(super) fn observing(counters: std::ops::RangeInclusive<u32>) -> Member {
        Member::begin(false, counters, epochs(4, 3), None)
    }

    fn begin(
        is_participant: bool,
        counters: std::ops::RangeInclusive<u32>,
        record: MemberRecord,
        reconfig: Option<Configs>,
    ) -> Member {
        let settings = ZabSettings {
            me: ServerId(3),
            is_participant,
            quorums: Quorums::of(Quorum::Majority(Majority::new((1..=3).map(ServerId).collect()))),
            config: Arc::from("version=0"),
            tick_ms: TICK_MS,
            init_limit: 10,
            sync_limit: 5,
            reconfig,
            passwords: None,
        };
        let (first, last) = (*counters.start(), Zxid::new(2, *counters.end()));
        let mut history = History::at(Zxid::new(2, first - 1));
        counters.for_each(|counter| history.push(Zxid::new(2, counter), txn(counter as u8)).unwrap());
        history.installed(last);
        let zab = Zab::new(BEGIN, settings, Start { history, record, right: VotingRight::Held });
        let mut member = Member { zab, now: BEGIN, done: Vec::new() };
        member.collect();
        member
    }

    /// One that both others have elected.
    pub(super) fn elected(counters: std::ops::RangeInclusive<u32>) -> Member {
        Member::new(counters).wins()
    }

    /// Both others elect it.
    pub(super) fn wins(mut self) -> Member {
        let own = self.vote_told(1).expect("it votes");
        for from in [1, 2] {
            self.tell(ZabEvent::Ballot { from: ServerId(from), notification: own.clone() });
        }
        self
    }

    /// One that leads, with the first server as its follower over connection 1, everything on disk.
    pub(super) fn established(counters: std::ops::RangeInclusive<u32>) -> Member {
        let mut member = Member::elected(counters);
        let last = member.zab.history().last();
        member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
        member.kept();
        member.accepts(1, last, 2);
        member.kept();
        member.acks(1, Zxid::new(5, 0));
        assert_eq!(member.zab.leading(), Some((5, true)));
        member.done.clear();
        member
    }

    pub(super) fn tell(&mut self, event: ZabEvent) {
        self.zab.handle(self.now, event);
        self.collect();
    }

    pub(super) fn collect(&mut self) {
        self.done.extend(std::iter::from_fn(|| self.zab.poll_action()));
    }

    pub(super) fn packet(&mut self, link: u32, packet: QuorumPacket) {
        self.tell(ZabEvent::Packet { link: at(link), packet });
    }

    pub(super) fn acks(&mut self, link: u32, zxid: Zxid) {
        self.packet(link, QuorumPacket::bare(PacketType::ACK, zxid));
    }

    pub(super) fn introduces(&mut self, link: u32, id: u64, kind: PacketType, accepted: u32) {
        self.tell(ZabEvent::Opened { link: at(link), is_ours: false });
        let info = LearnerInfo { server: ServerId(id), config_version: 0, takes_passwords: true };
        self.packet(link, QuorumPacket::with_data(kind, Zxid::new(accepted, 0), info.encoded()));
    }

    pub(super) fn accepts(&mut self, link: u32, last: Zxid, current: i32) {
        self.packet(link, QuorumPacket::with_data(PacketType::ACKEPOCH, last, epoch_ack(current)));
    }

    /// The record that is to be kept; the disk has it then.
    pub(super) fn kept(&mut self) -> Option<MemberRecord> {
        let asked = self.done.iter().rposition(|action| matches!(action, ZabAction::Keep { .. }))?;
        let ZabAction::Keep { run, record, .. } = self.done.remove(asked) else { return None };
        self.tell(ZabEvent::Kept { run });
        Some(epochs(record.accepted_epoch, record.current_epoch))
    }

    pub(super) fn synced(&mut self) {
        let (run, upto) = self.zab.begin_append().expect("there is something to append");
        self.tell(ZabEvent::Synced { run, upto });
    }

    pub(super) fn decides(&mut self, counter: u32) {
        self.tell(ZabEvent::Decided(vec![(Zxid::new(5, counter), txn(counter as u8))]));
    }

    /// What was sent over a connection, since it was last looked at.
    pub(super) fn sent(&mut self, link: u32) -> Vec<(PacketType, Zxid)> {
        let mut sent = Vec::new();
        self.done.retain(|action| match action {
            ZabAction::Send { link: to, packet } if *to == at(link) => {
                sent.push((packet.kind, packet.zxid));
                false
            }
            _ => true,
        });
        sent
    }

    pub(super) fn closed(&self, link: u32) -> Option<&Leaving> {
        self.done.iter().find_map(|action| match action {
            ZabAction::Close { link: closed, why } if *closed == at(link) => Some(why),
            _ => None,
        })
    }

    /// The last vote that a server was told.
    pub(super) fn vote_told(&self, to: u64) -> Option<Notification> {
        self.done.iter().rev().find_map(|action| match action {
            ZabAction::Ballot { to: told, notification } if told.0 == to => Some(notification.clone()),
            _ => None,
        })
    }

    pub(super) fn passes(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.tell(ZabEvent::Timeout);
    }
}
