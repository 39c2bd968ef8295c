//! A learner's packets one by one, where an ensemble's run shows only that something is late.

use crate::ids::{LinkId, Millis, ServerId, Zxid};
use crate::records::peer::{PacketType, QuorumPacket};
use crate::zab::event::MemberRecord;
use crate::zab::history::History;
use crate::zab::learner::{Learner, LearnerPhase};
use crate::zab::own::{Own, ZabSettings};
use crate::zab::{Majority, Quorum, Quorums, VotingRight, ZabAction};

const LINK: LinkId = LinkId { slot: 1, generation: 0 };

fn own() -> Own {
    let voters = (1..=3).map(ServerId).collect();
    let settings = ZabSettings {
        me: ServerId(1),
        is_participant: true,
        quorums: Quorums { committed: Quorum::Majority(Majority::new(voters)), next: Vec::new() },
        config: "".into(),
        tick_ms: 100,
        init_limit: 10,
        sync_limit: 5,
        reconfig: None,
        passwords: None,
    };
    Own {
        settings,
        right: VotingRight::Held,
        counts: true,
        history: History::at(Zxid::ZERO),
        record: MemberRecord::default(),
        run: 1,
        now: Millis(0),
        appending: None,
        keeping: None,
        keep_next: None,
        reconfig: None,
        designated: None,
        truncating: None,
        installing: false,
        has_met_others: false,
        promised_by_others: 0,
        is_failed: false,
        actions: Default::default(),
        pretends: Default::default(),
        uncut: Default::default(),
    }
}

fn keep(own: &mut Own, learner: &mut Learner) {
    own.record = own.keeping.take().expect("a record is to be kept");
    learner.kept(own);
}

#[test]
fn a_learner_answers_pings_from_the_moment_it_is_told_to_serve() {
    // The leader counts them from there: one left out would put off every `sync` by a ping from then on.
    let (mut own, z) = (own(), |counter| Zxid::new(1, counter));
    let mut learner = Learner::begin(&mut own, ServerId(2), false);
    learner.opened(&mut own, LINK);
    let txn = || Some([7].into());
    let packet = |kind, zxid, data| QuorumPacket { kind, zxid, data, authinfo: None };
    learner.packet(&mut own, packet(PacketType::LEADERINFO, z(0), None)).unwrap();
    keep(&mut own, &mut learner);
    for (kind, zxid, data) in [
        (PacketType::DIFF, z(1), None),
        (PacketType::PROPOSAL, z(1), txn()),
        (PacketType::COMMIT, z(1), None),
        (PacketType::NEWLEADER, z(0), None),
    ] {
        learner.packet(&mut own, packet(kind, zxid, data)).unwrap();
    }
    own.history.synced(z(1));
    learner.synced(&mut own);
    keep(&mut own, &mut learner);
    let answers =
        |own: &mut Own| own.actions.drain(..).filter(|act| matches!(act, ZabAction::AnswerPing { .. })).count();
    learner.packet(&mut own, packet(PacketType::PING, z(1), None)).unwrap();
    assert_eq!(answers(&mut own), 0, "not before");
    // Committed by others and not on our disk yet, as ZooKeeper's leaders may tell before they tell us to serve.
    learner.packet(&mut own, packet(PacketType::PROPOSAL, z(2), txn())).unwrap();
    learner.packet(&mut own, packet(PacketType::COMMIT, z(2), None)).unwrap();
    learner.packet(&mut own, packet(PacketType::UPTODATE, Zxid(-1), None)).unwrap();
    learner.packet(&mut own, packet(PacketType::PING, z(2), None)).unwrap();
    assert_eq!(answers(&mut own), 1);
    own.history.synced(z(2));
    learner.synced(&mut own);
    assert_eq!(learner.phase(), LearnerPhase::Serving);
}
