//! How session passwords are made: a fact of an epoch, which its leader hands down.

use super::following::LEADER;
use super::hand::{Member, at, epochs};
use crate::ids::{ServerId, Zxid};
use crate::records::peer::{HandedDown, LearnerInfo, PacketType, QuorumPacket, decode_leader_info, leader_info};
use crate::session::{SessionPasswords, SessionSecret};
use crate::zab::{EpochPasswords, Leaving, RoleEnd, Standing, ZabAction, ZabEvent};

const THEIRS: SessionSecret = SessionSecret([7; 32]);
const OWN: SessionSecret = SessionSecret([3; 32]);

/// Its own secret, and what its file says of passwords.
fn with(mut member: Member, mode: Option<SessionPasswords>) -> Member {
    member.zab.own.record.passwords = EpochPasswords { mode, secret: OWN };
    member
}

fn passwords(member: &Member) -> (Option<SessionPasswords>, SessionSecret) {
    let EpochPasswords { mode, secret } = member.zab.record().passwords;
    (mode, secret)
}

impl Member {
    fn is_greeted(&mut self, mode: SessionPasswords) {
        let handed = HandedDown { passwords: mode.code(), secret: THEIRS.0 };
        let data = leader_info(Some(&handed));
        self.packet(LEADER, QuorumPacket::with_data(PacketType::LEADERINFO, Zxid::new(6, 0), data));
    }

    /// What it hands down to the learner on this connection, if it was the last packet there.
    fn hands(&self, link: u32) -> Option<(Option<SessionPasswords>, [u8; 32])> {
        let packet = self.done.iter().rev().find_map(|action| match action {
            ZabAction::Send { link: to, packet } if *to == at(link) => Some(packet),
            _ => None,
        })?;
        let handed = decode_leader_info(packet.data()).filter(|_| packet.kind == PacketType::LEADERINFO)?;
        Some((SessionPasswords::of_code(handed.passwords), handed.secret))
    }

    /// One of ZooKeeper's says who it is.
    fn introduces_another_make(&mut self, link: u32, id: u64, kind: PacketType) {
        self.tell(ZabEvent::Opened { link: at(link), is_ours: false });
        let info = LearnerInfo { server: ServerId(id), config_version: 0, takes_passwords: false };
        self.packet(link, QuorumPacket::with_data(kind, Zxid::new(4, 0), info.encoded()));
    }
}

#[test]
fn a_learner_takes_its_leaders_word_when_it_enters_the_epoch_and_not_before() {
    // SC-40
    let mut member = with(Member::new(1..=5).greeting(), Some(SessionPasswords::Moving));
    member.is_greeted(SessionPasswords::Keyed);
    assert_eq!(member.kept(), Some(epochs(6, 3)));
    assert_eq!(passwords(&member), (Some(SessionPasswords::Moving), OWN), "the epoch may never begin");
    member.hears(PacketType::DIFF, member.zab.history().last());
    member.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    assert_eq!(member.kept(), Some(epochs(6, 6)));
    assert_eq!(passwords(&member), (Some(SessionPasswords::Keyed), THEIRS));
}

#[test]
fn a_learner_that_is_sent_the_state_takes_the_word_with_it() {
    let mut member = with(Member::new(1..=5).greeting(), None);
    member.is_greeted(SessionPasswords::Keyed);
    member.kept();
    member.hears(PacketType::SNAP, Zxid::new(5, 6));
    member.tell(ZabEvent::Heard { link: at(LEADER), is_whole: true });
    member.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    let install = member.done.iter().find_map(|action| match action {
        ZabAction::Install { run, record, .. } => Some((*run, *record)),
        _ => None,
    });
    let (run, record) = install.expect("it is installed");
    assert_eq!(record.passwords, EpochPasswords { mode: Some(SessionPasswords::Keyed), secret: THEIRS });
    assert_eq!(passwords(&member).1, OWN);
    member.tell(ZabEvent::Installed { run, is_done: true });
    assert_eq!(passwords(&member), (Some(SessionPasswords::Keyed), THEIRS));
}

#[test]
fn under_a_leader_of_zookeepers_passwords_are_its_own() {
    let mut member = with(Member::new(1..=5).greeting(), Some(SessionPasswords::Keyed));
    member.hears(PacketType::LEADERINFO, Zxid::new(6, 0));
    member.kept();
    member.hears(PacketType::DIFF, member.zab.history().last());
    member.hears(PacketType::NEWLEADER, Zxid::new(6, 0));
    member.kept();
    assert_eq!(passwords(&member), (Some(SessionPasswords::Compatible), OWN), "and our secret stays");
}

#[test]
fn a_leader_whose_word_cannot_be_understood_is_left() {
    let mut member = Member::new(1..=5).greeting();
    let handed = HandedDown { passwords: 77, secret: THEIRS.0 };
    let data = leader_info(Some(&handed));
    member.packet(LEADER, QuorumPacket::with_data(PacketType::LEADERINFO, Zxid::new(6, 0), data));
    assert!(matches!(member.ending(), Some(RoleEnd::LeaderBroke(_))));
    assert_eq!(member.zab.record().accepted_epoch, 4);
}

#[test]
fn a_leader_hands_on_what_it_was_told_and_what_has_no_word_yet_takes_both_kinds() {
    let keyed = Some(SessionPasswords::Keyed);
    let compatible = Some(SessionPasswords::Compatible);
    for (kept, wanted, expected) in [
        (keyed, None, keyed),
        (compatible, None, compatible),
        // Its sessions may have come from a server alone, or from ZooKeeper's.
        (None, None, Some(SessionPasswords::Moving)),
        // Its sessions have ZooKeeper's, or may: each learns its own in this epoch, and in the next no other is taken.
        (compatible, keyed, Some(SessionPasswords::Moving)),
        (None, keyed, Some(SessionPasswords::Moving)),
        (Some(SessionPasswords::Moving), keyed, keyed),
        (keyed, keyed, keyed),
        (keyed, compatible, compatible),
    ] {
        let mut member = with(Member::new(1..=5), kept);
        member.zab.own.settings.passwords = wanted;
        let mut member = member.wins();
        member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
        assert_eq!(member.kept(), Some(epochs(5, 3)));
        assert_eq!(member.hands(1), Some((expected, OWN.0)), "{kept:?} {wanted:?}");
        member.accepts(1, Zxid::new(2, 5), 2);
        assert_eq!(member.kept(), Some(epochs(5, 5)));
        assert_eq!(passwords(&member), (expected, OWN));
    }
}

#[test]
fn a_learner_of_zookeepers_that_comes_before_the_epoch_is_told_decides_for_it() {
    let mut member = with(Member::new(1..=5), Some(SessionPasswords::Keyed)).wins();
    member.introduces_another_make(1, 1, PacketType::OBSERVERINFO);
    member.introduces(2, 2, PacketType::FOLLOWERINFO, 4);
    member.kept();
    assert_eq!(member.hands(2), Some((Some(SessionPasswords::Compatible), OWN.0)));
}

#[test]
fn a_learner_of_zookeepers_that_comes_later_begins_an_epoch_with_its_passwords() {
    let mut member = with(Member::new(1..=5), Some(SessionPasswords::Keyed)).wins();
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    member.kept();
    assert_eq!(member.hands(1), Some((Some(SessionPasswords::Keyed), OWN.0)));
    member.accepts(1, Zxid::new(2, 5), 2);
    member.kept();
    member.acks(1, Zxid::new(5, 0));
    assert!(member.done.contains(&ZabAction::Stand(Standing::Leading { epoch: 5 })));
    member.introduces_another_make(2, 2, PacketType::FOLLOWERINFO);
    assert_eq!(member.ending(), Some(RoleEnd::OthersPasswords));
    assert_eq!(passwords(&member).0, Some(SessionPasswords::Keyed), "in the epoch that ends, and in no other way");
    member.done.clear();
    member.passes(1000);
    let mut member = member.wins();
    member.introduces(3, 1, PacketType::FOLLOWERINFO, 5);
    assert_eq!(member.kept(), Some(epochs(6, 5)));
    assert_eq!(member.hands(3), Some((Some(SessionPasswords::Compatible), OWN.0)));
    member.accepts(3, Zxid::new(2, 5), 5);
    member.kept();
    member.acks(3, Zxid::new(6, 0));
    assert_eq!(passwords(&member).0, Some(SessionPasswords::Compatible));
    // Now it is one of several.
    member.introduces_another_make(4, 2, PacketType::FOLLOWERINFO);
    assert_eq!(member.ending(), None);
    assert_eq!(member.zab.leading(), Some((6, true)));
}

#[test]
fn who_has_followed_a_leader_of_zookeepers_leads_with_its_passwords() {
    // Its members may still be there, whatever the key says.
    let mut member = with(Member::new(1..=5).greeting(), Some(SessionPasswords::Keyed));
    member.zab.own.settings.passwords = Some(SessionPasswords::Keyed);
    member.hears(PacketType::LEADERINFO, Zxid::new(6, 0));
    member.kept();
    member.tell(ZabEvent::Closed { link: at(LEADER) });
    member.done.clear();
    member.passes(1000);
    let mut member = member.wins();
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 6);
    member.kept();
    assert_eq!(member.hands(1), Some((Some(SessionPasswords::Compatible), OWN.0)));
}

#[test]
fn who_has_not_kept_the_epoch_of_its_log_votes_with_the_one_before_and_does_not_lead_who_has() {
    // D-06: a crash between an epoch's first transactions and the epoch. Its leader's secret is not here.
    let member = Member::kept_as(1..=5, epochs(2, 1));
    let vote = member.vote_told(1).expect("it votes");
    assert_eq!((vote.zxid, vote.peer_epoch), (Zxid::new(2, 5), 1));
    let mut member = member.wins();
    member.introduces(1, 1, PacketType::FOLLOWERINFO, 2);
    assert_eq!(member.kept(), Some(epochs(3, 1)));
    member.accepts(1, Zxid::new(2, 3), 2);
    assert_eq!(member.closed(1), Some(&Leaving::Ahead), "it has less, and has entered the epoch");
    // What no ensemble had before has the epoch of its log.
    let member = Member::kept_as(1..=5, epochs(0, 0));
    assert_eq!(member.vote_told(1).map(|vote| vote.peer_epoch), Some(2));
}
