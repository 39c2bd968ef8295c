//! A configuration that changes, packet by packet, under a leader that may be of another make.

use super::following::LEADER;
use super::hand::{Member, at};
use crate::ids::{ServerId, SessionId, Zxid};
use crate::jute::{Buffer, encode};
use crate::records::OpCode;
use crate::records::membership::Membership;
use crate::records::peer::{LearnerInfo, Notification, PacketType, PeerState, QuorumPacket};
use crate::records::txn::{Payload, SetDataTxn, TxnHeader};
use crate::zab::{ConfigChange, Configs, Leaving, RoleEnd, Standing, ZabAction, ZabEvent};

/// Three voters and perhaps more, by their lines' ends.
fn config(version: Zxid, lines: &[(u64, &str)]) -> Membership {
    let lines: Vec<String> = lines.iter().map(|(id, end)| format!("server.{id}=host{id}:1:2:{end}\n")).collect();
    Membership::parse(&lines.concat()).unwrap().with_version(version)
}

fn three() -> Membership {
    config(Zxid::new(2, 0), &[(1, "participant"), (2, "participant"), (3, "participant")])
}

/// Of epoch 6, which the leader tells.
fn z(counter: u32) -> Zxid {
    Zxid::new(6, counter)
}

fn txn_of(config: &Membership) -> Payload {
    let header =
        TxnHeader { session: SessionId(1), cxid: 1, zxid: config.version, time: 0, op: OpCode::Reconfig as i32 };
    let mut out = Vec::new();
    encode(&header, &mut out);
    let text = config.to_string();
    let data = Buffer::new(text.as_bytes());
    encode(&SetDataTxn { path: "/zookeeper/config".into(), data, version: -1 }, &mut out);
    out.into()
}

fn designates(leader: u64) -> Payload {
    leader.to_be_bytes()[..].into()
}

impl Member {
    fn hears_with(&mut self, kind: PacketType, zxid: Zxid, data: Payload) {
        self.packet(LEADER, QuorumPacket::with_data(kind, zxid, data));
    }

    fn is_delivered(&self, wanted: Zxid) -> bool {
        self.done.contains(&ZabAction::Deliver { upto: wanted })
    }

    fn was_told(&self, wanted: ConfigChange) -> bool {
        self.done.iter().any(|action| matches!(action, ZabAction::Configured { change, .. } if *change == wanted))
    }

    /// One that serves, and that a change of configuration was proposed to and acknowledged by.
    fn proposed(new: &Membership) -> Member {
        let mut member = Member::changing(1..=5, Configs::of(three())).serving();
        member.hears_with(PacketType::PROPOSAL, new.version, txn_of(new));
        assert!(member.was_told(ConfigChange::Proposed));
        member.synced();
        assert_eq!(member.sent(LEADER), [(PacketType::ACK, new.version)]);
        assert_eq!(member.zab.configs().unwrap().seen(), new);
        member
    }
}

#[test]
fn others_are_told_the_configuration_and_its_version() {
    let member = Member::changing(1..=5, Configs::of(three())).greeting();
    let info = LearnerInfo { server: ServerId(3), config_version: Zxid::new(2, 0).0, takes_passwords: true };
    assert_eq!(member.data_sent(PacketType::FOLLOWERINFO), Some(info.encoded().to_vec()));
    let looking = Member::changing(1..=5, Configs::of(three()));
    assert_eq!(*looking.vote_told(1).unwrap().config, *three().to_string());
}

#[test]
fn a_commit_that_changes_a_role_is_durable_then_applied_then_ends_the_role() {
    let new = config(z(1), &[(1, "participant"), (2, "participant"), (3, "observer")]);
    let mut member = Member::proposed(&new);
    member.hears_with(PacketType::COMMITANDACTIVATE, z(1), designates(2));
    assert!(!member.is_delivered(z(1)), "answered before the configuration is durable");
    assert!(member.kept().is_some());
    assert!(member.is_delivered(z(1)) && member.was_told(ConfigChange::Activated { is_in_log: true }));
    assert_eq!(member.ending(), None, "whoever asked is answered first");
    member.passes(20);
    assert_eq!(member.ending(), Some(RoleEnd::Reconfigured { leader: Some(ServerId(2)) }));
    assert!(member.done.contains(&ZabAction::Dial { to: ServerId(2) }), "without an election");
    member.done.clear();
    member.tell(ZabEvent::Opened { link: at(7), is_ours: true });
    assert_eq!(member.sent(7).last().map(|sent| sent.0), Some(PacketType::OBSERVERINFO));
}

#[test]
fn who_is_designated_leads_and_who_comes_too_soon_comes_again() {
    let new = config(z(1), &[(1, "participant"), (3, "participant")]);
    let mut member = Member::proposed(&new);
    member.hears_with(PacketType::COMMITANDACTIVATE, z(1), designates(3));
    member.kept();
    member.done.clear();
    member.passes(20);
    assert_eq!(member.ending(), Some(RoleEnd::Reconfigured { leader: Some(ServerId(3)) }));
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 6);
    assert_eq!(member.kept().map(|record| record.accepted_epoch), Some(7), "a quorum of two leads in the next epoch");
    assert_eq!(member.sent(1), [(PacketType::LEADERINFO, Zxid::new(7, 0))]);
    assert!(member.vote_told(1).is_none(), "there was an election");
    // The other one has left for it sooner than it knows.
    let mut early = Member::proposed(&config(z(1), &[(1, "participant"), (3, "participant")]));
    early.hears_with(PacketType::COMMITANDACTIVATE, z(1), designates(1));
    early.kept();
    early.passes(20);
    early.tell(ZabEvent::Opened { link: at(7), is_ours: true });
    early.ending();
    early.done.clear();
    early.tell(ZabEvent::Closed { link: at(7) });
    early.passes(100);
    assert_eq!(early.ending(), None);
    assert!(early.done.contains(&ZabAction::Dial { to: ServerId(1) }));
}

#[test]
fn who_is_removed_follows_without_a_vote() {
    let new = config(z(1), &[(1, "participant"), (2, "participant")]);
    let mut member = Member::proposed(&new);
    member.hears_with(PacketType::COMMITANDACTIVATE, z(1), designates(2));
    member.kept();
    member.passes(50);
    assert_eq!(member.ending(), None);
    assert!(member.is_delivered(z(1)) && !member.zab.own.votes());
}

#[test]
fn with_reconfiguration_switched_off_it_is_a_commit_like_any_other() {
    let new = config(z(1), &[(1, "participant"), (2, "participant"), (3, "observer")]);
    let mut member = Member::new(1..=5).serving();
    member.hears_with(PacketType::PROPOSAL, z(1), txn_of(&new));
    member.synced();
    member.hears_with(PacketType::COMMITANDACTIVATE, z(1), designates(1));
    assert!(member.is_delivered(z(1)) && member.kept().is_none());
    member.passes(50);
    assert_eq!(member.ending(), None);
    let info = LearnerInfo { server: ServerId(3), config_version: 0, takes_passwords: true };
    assert_eq!(Member::new(1..=5).greeting().data_sent(PacketType::FOLLOWERINFO), Some(info.encoded().to_vec()));
    // What others say of their configuration means nothing.
    let mut looking = Member::new(1..=5);
    let heard = Notification { config: new.to_string().as_str().into(), ..looking.vote_told(1).unwrap() };
    looking.tell(ZabEvent::Ballot { from: ServerId(1), notification: heard });
    assert!(looking.kept().is_none());
}

#[test]
fn what_a_new_leader_tells_is_kept_with_its_epoch_and_in_force_when_it_says_to_serve() {
    let new =
        config(Zxid::new(3, 7), &[(1, "participant"), (2, "participant"), (3, "participant"), (4, "participant")]);
    let mut member = Member::changing(1..=5, Configs::of(three())).promised();
    let last = member.zab.history().last();
    member.hears(PacketType::DIFF, last);
    member.hears_with(PacketType::NEWLEADER, z(0), new.to_string().as_bytes().into());
    let asked = member.done.iter().find_map(|action| match action {
        ZabAction::Keep { record, configs, .. } => Some((record.current_epoch, configs.as_ref()?.told.clone())),
        _ => None,
    });
    assert_eq!(asked, Some((6, Some(new.clone()))));
    assert!(!member.sent(LEADER).contains(&(PacketType::ACK, z(0))));
    member.kept();
    assert_eq!(member.sent(LEADER), [(PacketType::ACK, z(0))]);
    assert_eq!(member.zab.configs().unwrap().committed, three(), "it is not committed yet");
    assert_eq!(member.zab.voter_count(), 4);
    member.hears(PacketType::UPTODATE, Zxid(-1));
    assert!(
        !member.done.iter().any(|action| matches!(action, ZabAction::Stand(_))),
        "it serves before that is durable"
    );
    member.kept();
    assert_eq!(member.zab.configs().unwrap(), &Configs::of(new));
    assert!(member.was_told(ConfigChange::Activated { is_in_log: false }));
    assert!(member.done.iter().any(|action| matches!(action, ZabAction::Stand(Standing::Following { .. }))));
}

#[test]
fn a_configuration_that_cannot_be_read_is_a_reason_to_leave() {
    let wrong = |text: &str| -> Payload { text.as_bytes().into() };
    let mut told = Member::changing(1..=5, Configs::of(three())).promised();
    let last = told.zab.history().last();
    told.hears(PacketType::DIFF, last);
    told.hears_with(PacketType::NEWLEADER, z(0), wrong("some thing"));
    assert!(matches!(told.ending(), Some(RoleEnd::LeaderBroke(_))));
    let mut proposed = Member::changing(1..=5, Configs::of(three())).serving();
    // Its version is not its own zxid.
    proposed.hears_with(PacketType::PROPOSAL, z(1), txn_of(&three()));
    assert!(matches!(proposed.ending(), Some(RoleEnd::LeaderBroke(_))));
}

#[test]
fn who_looks_for_a_leader_hears_of_newer_members_and_of_older_ones_not() {
    let new = config(Zxid::new(5, 9), &[(1, "participant"), (3, "participant"), (4, "participant")]);
    let mut member = Member::changing(1..=5, Configs::of(three()));
    let ballot = |member: &Member, config: &Membership| Notification {
        config: config.to_string().as_str().into(),
        state: PeerState::Looking,
        ..member.vote_told(1).unwrap()
    };
    let old = ballot(&member, &config(Zxid::new(1, 9), &[(4, "participant")]));
    member.tell(ZabEvent::Ballot { from: ServerId(1), notification: old });
    assert!(member.kept().is_none());
    let newer = ballot(&member, &new);
    member.tell(ZabEvent::Ballot { from: ServerId(1), notification: newer });
    member.done.retain(|action| matches!(action, ZabAction::Keep { .. }));
    member.kept();
    assert_eq!(member.zab.configs().unwrap(), &Configs::of(new));
    assert!(member.done.contains(&ZabAction::LinkBallots(vec![ServerId(1), ServerId(4)])), "a new election");
}

#[test]
fn who_looks_for_a_leader_may_be_a_stranger_and_takes_nothing_back() {
    // As in ZooKeeper: who joined while we were away is in no configuration that we know. S-11: what waits to be committed is asked
    // all the same.
    let stranger = |member: &mut Member, config: &str| {
        let told = Notification { config: config.into(), leader: ServerId(9), ..member.vote_told(1).unwrap() };
        member.tell(ZabEvent::Ballot { from: ServerId(9), notification: told });
    };
    let own = |counter| Zxid::new(2, counter);
    let proposed = config(own(4), &[(1, "participant"), (3, "participant"), (4, "participant")]);
    let configs = Configs { logged: Some(proposed), ..Configs::of(three()) };
    let mut member = Member::changing(1..=5, configs.clone());
    let others = config(Zxid::ZERO, &[(3, "participant"), (9, "participant")]);
    let as_old = others.with_version(three().version).to_string();
    let nobody = format!("server.9=host9:1:2:observer\nversion={:x}", own(9).0);
    let below_zero = others.to_string().replace("version=0", "version=ffffffffffffffff");
    for text in [others.to_string(), as_old, nobody, below_zero, "version".to_owned(), "x".repeat(4000)] {
        stranger(&mut member, &text);
        assert_eq!(member.zab.configs(), Some(&configs), "{text}");
    }
    let newer = others.with_version(own(2));
    stranger(&mut member, &newer.to_string());
    assert_eq!(member.zab.configs(), Some(&Configs { committed: newer, ..configs }));
}

#[test]
fn an_observer_is_not_told_of_members_that_are_only_proposed() {
    // S-11: it is not sent the proposal, and takes what it is told with the epoch for committed once it serves.
    let mut leader = Member::changing(1..=5, Configs::of(three())).wins();
    let last = leader.zab.history().last();
    leader.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    leader.kept();
    leader.accepts(1, last, 2);
    leader.kept();
    leader.acks(1, Zxid::new(5, 0));
    assert_eq!(leader.zab.leading(), Some((5, true)));
    let new = config(Zxid::new(5, 1), &[(1, "participant"), (3, "participant"), (4, "observer")]);
    leader.tell(ZabEvent::Decided(vec![(new.version, txn_of(&new))]));
    for (link, id, kind, told) in [(8, 4, PacketType::OBSERVERINFO, three()), (9, 2, PacketType::FOLLOWERINFO, new)] {
        leader.done.clear();
        leader.introduces(link, id, kind, 4);
        leader.accepts(link, last, 2);
        let data = leader.data_sent(PacketType::NEWLEADER).expect("it is told the epoch");
        assert_eq!(String::from_utf8(data).unwrap(), told.to_string(), "server {id}");
    }
}

#[test]
fn a_learner_with_newer_members_is_not_led() {
    let mut leader = Member::changing(1..=5, Configs::of(three())).wins();
    leader.tell(ZabEvent::Opened { link: at(1), is_ours: false });
    let info = LearnerInfo { server: ServerId(1), config_version: Zxid::new(4, 4).0, takes_passwords: true };
    leader.packet(1, QuorumPacket::with_data(PacketType::FOLLOWERINFO, Zxid::new(4, 0), info.encoded()));
    assert_eq!(leader.closed(1), Some(&Leaving::Ahead));
}

#[test]
fn nothing_is_appended_behind_a_change_that_only_what_follows_it_commits() {
    let one = config(z(1), &[(1, "participant"), (2, "participant"), (3, "participant"), (4, "participant")]);
    let two = config(z(2), &[(2, "participant"), (3, "participant"), (4, "participant")]);
    let mut member = Member::proposed(&one);
    member.hears_with(PacketType::PROPOSAL, z(2), txn_of(&two));
    assert_eq!(member.zab.begin_append(), None, "after a crash nobody would know that the first one is committed");
    member.kept();
    assert_eq!(member.zab.configs().unwrap().committed, one);
    member.synced();
    assert_eq!(member.sent(LEADER), [(PacketType::ACK, z(2))]);
}

#[test]
fn two_that_take_each_other_for_strangers_do_not_answer_as_fast_as_they_can() {
    // L-08
    let others = config(Zxid::new(2, 0), &[(1, "participant"), (2, "participant")]);
    let mut member = Member::changing(1..=5, Configs::of(others));
    let ballot = member.vote_told(1).unwrap();
    let mut answers = 0;
    for _ in 0..100 {
        member.done.clear();
        member.now = member.now.plus(1);
        member.tell(ZabEvent::Ballot { from: ServerId(7), notification: ballot.clone() });
        answers += usize::from(member.vote_told(7).is_some());
    }
    assert!((1..=5).contains(&answers), "{answers} answers in 100 ms");
}
