//! How a member comes to follow, packet by packet, on a disk that answers when it is told to.

use super::hand::{INIT_MS, Member, SYNC_MS, at, epochs, txn};
use crate::ids::{ServerId, Zxid};
use crate::records::peer::{LearnerInfo, Notification, PacketType, PeerState, QuorumPacket, epoch_ack};
use crate::zab::{Leaving, MemberRecord, RoleEnd, Standing, ZabAction, ZabEvent};

pub(super) const LEADER: u32 = 9;

/// Of epoch 2, which the member's history is of.
fn old(counter: u32) -> Zxid {
    Zxid::new(2, counter)
}

/// Of epoch 6, which the leader tells.
fn new(counter: u32) -> Zxid {
    Zxid::new(6, counter)
}

impl Member {
    /// One that has found the second server to lead, and is to dial it.
    fn dialling(mut self) -> Member {
        let vote = |state| Notification { state, leader: ServerId(2), ..self.vote_told(1).unwrap() };
        for (from, notification) in [(2, vote(PeerState::Leading)), (1, vote(PeerState::Following))] {
            self.tell(ZabEvent::Ballot { from: ServerId(from), notification });
        }
        assert_eq!(self.done.pop(), Some(ZabAction::Dial { to: ServerId(2) }));
        self.done.clear();
        self
    }

    /// One that has introduced itself.
    pub(super) fn greeting(self) -> Member {
        let mut member = self.dialling();
        member.tell(ZabEvent::Opened { link: at(LEADER), is_ours: true });
        member
    }

    /// One that has accepted the leader's epoch and told where its log ends.
    pub(super) fn promised(self) -> Member {
        let mut member = self.greeting();
        member.hears(PacketType::LEADERINFO, new(0));
        member.kept();
        assert_eq!(member.sent(LEADER).last().map(|sent| sent.0), Some(PacketType::ACKEPOCH));
        member
    }

    /// One that serves, with nothing to catch up.
    pub(super) fn serving(self) -> Member {
        let mut member = self.promised();
        let last = member.zab.history().last();
        member.hears(PacketType::DIFF, last);
        member.hears(PacketType::NEWLEADER, new(0));
        member.kept();
        member.hears(PacketType::UPTODATE, Zxid(-1));
        let votes = member.zab.own.settings.is_participant;
        let standing = Standing::Following { leader: ServerId(2), epoch: 6, votes };
        assert_eq!(member.done.pop(), Some(ZabAction::Stand(standing)));
        member.done.clear();
        member
    }

    pub(super) fn hears(&mut self, kind: PacketType, zxid: Zxid) {
        self.packet(LEADER, QuorumPacket::bare(kind, zxid));
    }

    pub(super) fn hears_txn(&mut self, kind: PacketType, zxid: Zxid) {
        self.packet(LEADER, QuorumPacket::with_data(kind, zxid, txn(zxid.counter() as u8)));
    }

    pub(super) fn ending(&mut self) -> Option<RoleEnd> {
        self.zab.take_ending()
    }

    /// The data of the last packet of a kind to the leader.
    pub(super) fn data_sent(&self, wanted: PacketType) -> Option<Vec<u8>> {
        self.done.iter().rev().find_map(|action| match action {
            ZabAction::Send { packet, .. } if packet.kind == wanted => Some(packet.data().to_vec()),
            _ => None,
        })
    }
}

#[test]
fn the_leader_is_dialled_a_few_times_and_not_for_longer_than_the_limit() {
    let dial = ZabAction::Dial { to: ServerId(2) };
    let mut member = Member::new(1..=5).dialling();
    for _ in 0..4 {
        member.tell(ZabEvent::DialFailed);
        let wait = member.zab.poll_timeout().since(member.now);
        assert_eq!(wait, 100);
        member.passes(wait - 1);
        assert_eq!(member.done, []);
        member.passes(1);
        assert_eq!(member.done.pop(), Some(dial.clone()));
    }
    assert_eq!(member.ending(), None);
    member.tell(ZabEvent::DialFailed);
    assert_eq!(member.ending(), Some(RoleEnd::LeaderLost(Leaving::Silent)));
    // A dial that tells nothing.
    let mut silent = Member::new(1..=5).dialling();
    assert_eq!(silent.zab.poll_timeout(), silent.now.plus(INIT_MS));
    silent.passes(INIT_MS - 1);
    assert_eq!((silent.ending(), silent.done.len()), (None, 0));
    silent.passes(1);
    assert_eq!(silent.ending(), Some(RoleEnd::LeaderLost(Leaving::Silent)));
    assert!(silent.done.contains(&ZabAction::Stand(Standing::Looking)));
}

#[test]
fn a_connection_more_than_one_to_the_leader_is_closed_and_a_failed_dial_does_not_matter_then() {
    let mut member = Member::new(1..=5).greeting();
    member.tell(ZabEvent::DialFailed);
    member.tell(ZabEvent::Opened { link: at(8), is_ours: true });
    assert_eq!((member.closed(8), member.closed(LEADER)), (Some(&Leaving::RoleEnded), None));
    member.tell(ZabEvent::Closed { link: at(8) });
    member.passes(INIT_MS);
    assert_eq!(member.ending(), None);
    assert!(!member.done.contains(&ZabAction::Dial { to: ServerId(2) }));
    member.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(matches!(member.ending(), Some(RoleEnd::LeaderLost(_))));
}

#[test]
fn an_epoch_is_promised_once_it_is_on_the_own_disk_and_never_below_what_was_accepted() {
    // D-01, S-08
    let mut member = Member::new(1..=5).greeting();
    let info = LearnerInfo { server: ServerId(3), config_version: 0, takes_passwords: true };
    assert_eq!(member.data_sent(PacketType::FOLLOWERINFO), Some(info.encoded().to_vec()));
    assert_eq!(member.sent(LEADER), [(PacketType::FOLLOWERINFO, Zxid::new(4, 0))]);
    member.hears(PacketType::LEADERINFO, new(0));
    assert_eq!(member.sent(LEADER), []);
    assert_eq!(member.kept(), Some(epochs(6, 3)));
    assert_eq!(member.data_sent(PacketType::ACKEPOCH), Some(epoch_ack(3).to_vec()));
    assert_eq!(member.sent(LEADER), [(PacketType::ACKEPOCH, old(5))]);
    // It may have been promised to somebody else.
    let mut again = Member::new(1..=5).greeting();
    again.sent(LEADER);
    again.hears(PacketType::LEADERINFO, Zxid::new(4, 0));
    assert_eq!(again.data_sent(PacketType::ACKEPOCH), Some(epoch_ack(-1).to_vec()));
    assert_eq!(again.kept(), None);
    let mut last = Member::new(1..=5).greeting();
    last.hears(PacketType::LEADERINFO, Zxid::new(i32::MAX as u32, 0));
    assert_eq!(last.kept().map(|record| record.accepted_epoch), Some(i32::MAX as u32));
    for epoch in [3, 1 << 31] {
        let mut broken = Member::new(1..=5).greeting();
        broken.hears(PacketType::LEADERINFO, Zxid::new(epoch, 0));
        assert!(matches!(broken.ending(), Some(RoleEnd::LeaderBroke(_))), "{epoch}");
        assert_eq!(broken.kept(), None);
    }
}

#[test]
fn the_history_is_on_disk_before_the_epoch_and_the_epoch_before_the_acknowledgement() {
    // SC-04, SC-05, D-02, D-03, S-12, ZOOKEEPER-4685
    let mut member = Member::new(1..=5).promised();
    member.hears(PacketType::DIFF, new(2));
    for zxid in [new(1), new(2)] {
        member.hears_txn(PacketType::PROPOSAL, zxid);
        member.hears(PacketType::COMMIT, zxid);
    }
    // Outstanding while the history was sent.
    member.hears_txn(PacketType::PROPOSAL, new(3));
    member.hears_txn(PacketType::PROPOSAL, new(4));
    assert_eq!(member.zab.begin_append(), None, "it is not a history yet");
    member.hears(PacketType::NEWLEADER, new(0));
    assert_eq!(member.kept(), None);
    member.synced();
    assert_eq!(member.sent(LEADER), []);
    assert_eq!(member.kept(), Some(epochs(6, 6)));
    // What was committed is acknowledged by the history, the rest one by one.
    let (ack, commit) = (PacketType::ACK, PacketType::COMMIT);
    assert_eq!(member.sent(LEADER), [(ack, new(0)), (ack, new(3)), (ack, new(4))]);
    member.hears_txn(PacketType::PROPOSAL, new(5));
    member.synced();
    assert_eq!(member.sent(LEADER), [(ack, new(5))]);
    assert_eq!(member.done, [], "nothing is applied before it is told to serve");
    member.hears(PacketType::UPTODATE, Zxid(-1));
    assert_eq!(member.sent(LEADER), [(ack, new(0))]);
    let standing = Standing::Following { leader: ServerId(2), epoch: 6, votes: true };
    assert_eq!(member.done, [ZabAction::Replay { upto: new(2) }, ZabAction::Stand(standing)]);
    member.done.clear();
    member.hears(commit, new(3));
    assert_eq!(member.done, [ZabAction::Deliver { upto: new(3) }]);
    // Committed by others and not on our disk yet.
    member.hears_txn(PacketType::PROPOSAL, new(6));
    for zxid in [new(4), new(5), new(6)] {
        member.hears(commit, zxid);
    }
    assert_eq!(member.done.last(), Some(&ZabAction::Deliver { upto: new(5) }));
    member.synced();
    assert_eq!(member.done.last(), Some(&ZabAction::Deliver { upto: new(6) }));
    assert_eq!(member.sent(LEADER), [(ack, new(6))]);
}

#[test]
fn what_was_logged_and_never_committed_is_committed_when_the_next_leader_has_it_too() {
    // S-02, D-06
    let mut member = Member::new(1..=5).serving();
    member.hears_txn(PacketType::PROPOSAL, new(1));
    member.synced();
    member.tell(ZabEvent::Closed { link: at(LEADER) });
    let mut member = member.promised_anew();
    assert_eq!(member.sent(LEADER).last(), Some(&(PacketType::ACKEPOCH, new(1))));
    member.hears(PacketType::DIFF, new(1));
    member.hears(PacketType::NEWLEADER, Zxid::new(7, 0));
    member.kept();
    member.done.clear();
    member.hears(PacketType::UPTODATE, Zxid(-1));
    assert_eq!(member.done[0], ZabAction::Replay { upto: new(1) });
    assert_eq!(member.zab.history().delivered(), new(1));
}

#[test]
fn a_member_serves_once_all_that_was_committed_is_on_its_own_disk() {
    // D-06
    let mut member = Member::new(1..=5).promised();
    member.hears(PacketType::DIFF, old(5));
    member.hears(PacketType::NEWLEADER, new(0));
    member.kept();
    for zxid in [new(1), new(2)] {
        member.hears_txn(PacketType::PROPOSAL, zxid);
        member.hears(PacketType::COMMIT, zxid);
    }
    member.sent(LEADER);
    member.hears(PacketType::UPTODATE, Zxid(-1));
    member.hears_txn(PacketType::PROPOSAL, new(3));
    member.hears(PacketType::COMMIT, new(3));
    assert_eq!((member.done.len(), member.sent(LEADER)), (0, vec![]));
    member.synced();
    let ack = PacketType::ACK;
    assert_eq!(member.sent(LEADER), [1, 2, 3, 0].map(|counter| (ack, new(counter))));
    assert_eq!(member.done[0], ZabAction::Replay { upto: new(3) });
    let notification = Member::new(1..=5).vote_told(1).unwrap();
    member.tell(ZabEvent::Ballot { from: ServerId(1), notification });
    assert_eq!(member.vote_told(1).map(|told| told.peer_epoch), Some(6), "it is told by its epoch from then on");
    // The disk first, and the leader's word last.
    let mut quick = Member::new(1..=5).promised();
    quick.hears(PacketType::DIFF, old(5));
    quick.hears(PacketType::NEWLEADER, new(0));
    quick.kept();
    quick.hears_txn(PacketType::PROPOSAL, new(1));
    quick.synced();
    quick.hears(PacketType::COMMIT, new(1));
    assert!(!quick.done.contains(&ZabAction::Replay { upto: new(1) }));
    quick.hears(PacketType::UPTODATE, Zxid(-1));
    assert!(quick.done.contains(&ZabAction::Replay { upto: new(1) }));
}

#[test]
fn what_breaks_the_order_of_the_history_ends_the_role_and_what_comes_twice_does_not() {
    // S-13, S-14, SC-16
    let (proposal, commit) = (PacketType::PROPOSAL, PacketType::COMMIT);
    let syncing = || {
        let mut member = Member::new(1..=5).promised();
        member.hears(PacketType::DIFF, new(2));
        member.hears_txn(proposal, old(4));
        member.hears_txn(proposal, old(5));
        member.hears(commit, old(4));
        member.hears_txn(proposal, new(1));
        assert_eq!((member.ending(), member.zab.history().last()), (None, new(1)));
        member
    };
    let broken = |deed: &dyn Fn(&mut Member)| {
        let mut member = syncing();
        deed(&mut member);
        matches!(member.ending(), Some(RoleEnd::LeaderBroke(_)))
    };
    assert!(broken(&|member| member.hears_txn(proposal, new(3))), "a hole");
    assert!(broken(&|member| member.hears_txn(proposal, Zxid::new(7, 1))), "of an epoch to come");
    assert!(broken(&|member| member.hears(proposal, new(2))), "without a transaction");
    assert!(broken(&|member| member.hears(commit, new(2))), "what was not proposed");
    assert!(broken(&|member| member.hears(PacketType::NEWLEADER, Zxid::new(7, 0))), "another's history");
    assert!(broken(&|member| member.hears(PacketType::NEWLEADER, new(1))), "not the end of a history");
    assert!(broken(&|member| member.hears(PacketType::LEADERINFO, new(0))), "out of turn");
    assert!(broken(&|member| member.hears(PacketType::UPTODATE, Zxid(-1))), "before the end of the history");
    let informed = |member: &mut Member| {
        member.hears(commit, new(1));
        member.hears_txn(PacketType::INFORM, new(2));
    };
    assert!(broken(&informed), "what is for observers");
    let activates = || QuorumPacket::with_data(PacketType::INFORMANDACTIVATE, new(2), [0; 9].into());
    assert!(broken(&|member| member.packet(LEADER, activates())), "what is for observers");
    assert!(!broken(&|member| member.hears_txn(proposal, new(2))));
    assert!(!broken(&|member| member.hears(commit, new(1))));
    assert!(!broken(&|member| member.hears(commit, old(5))), "it is committed already");
    assert!(!broken(&|member| member.hears(PacketType::PING, new(1))));
    assert!(!broken(&|member| member.hears(PacketType(99), new(1))), "what may be new one day");
    // Two are outstanding: only the older one may be committed, and each once.
    let serving = || {
        let mut member = Member::new(1..=5).serving();
        for zxid in [new(1), new(2)] {
            member.hears_txn(proposal, zxid);
        }
        member.synced();
        member
    };
    let mut member = serving();
    member.hears(commit, new(2));
    assert!(matches!(member.ending(), Some(RoleEnd::LeaderBroke(_))));
    let mut member = serving();
    member.hears(commit, new(1));
    assert_eq!(member.ending(), None);
    member.hears(commit, new(1));
    assert!(matches!(member.ending(), Some(RoleEnd::LeaderBroke(_))));
}

#[test]
fn what_is_proposed_before_the_way_to_be_brought_up_to_date_is_told_is_out_of_turn() {
    for (kind, zxid) in [(PacketType::PROPOSAL, new(1)), (PacketType::COMMIT, old(5)), (PacketType::NEWLEADER, new(0))]
    {
        let mut member = Member::new(1..=5).promised();
        member.hears_txn(kind, zxid);
        assert!(matches!(member.ending(), Some(RoleEnd::LeaderBroke(_))), "{kind:?}");
    }
    let mut pinged = Member::new(1..=5).promised();
    pinged.hears(PacketType::PING, new(0));
    assert_eq!((pinged.ending(), pinged.sent(LEADER)), (None, vec![]));
    let mut early = Member::new(1..=5).greeting();
    early.hears(PacketType::PING, new(0));
    assert!(matches!(early.ending(), Some(RoleEnd::LeaderBroke(_))));
    let mut again = Member::new(1..=5).promised();
    again.hears(PacketType::LEADERINFO, new(0));
    assert!(matches!(again.ending(), Some(RoleEnd::LeaderBroke(_))));
}

#[test]
fn a_log_is_cut_on_disk_before_anything_is_appended_to_it() {
    // D-08, S-15
    let mut member = Member::new(1..=5).promised();
    member.hears(PacketType::TRUNC, old(3));
    let Some(ZabAction::Truncate { run, to }) = member.done.pop() else { panic!("{:?}", member.done) };
    assert_eq!(to, old(3));
    member.hears_txn(PacketType::PROPOSAL, new(1));
    member.hears(PacketType::COMMIT, new(1));
    member.hears(PacketType::NEWLEADER, new(0));
    assert_eq!((member.zab.begin_append(), member.kept()), (None, None));
    member.tell(ZabEvent::Truncated { run, is_done: true });
    assert_eq!(member.kept(), None, "the rest is not on disk");
    assert_eq!(
        member.zab.txns(Zxid::ZERO, new(9)).map(|one| one.0).collect::<Vec<_>>(),
        [1, 2, 3].map(old).into_iter().chain([new(1)]).collect::<Vec<_>>()
    );
    member.synced();
    assert!(member.kept().is_some());
    assert_eq!(member.sent(LEADER), [(PacketType::ACK, new(0))]);
    // One that ends there already is cut to where it ends.
    let mut same = Member::new(1..=5).promised();
    same.hears(PacketType::TRUNC, old(5));
    assert!(matches!(same.done.pop(), Some(ZabAction::Truncate { to, .. }) if to == old(5)));
    // With nothing behind it the cut alone makes the history, whenever it is done.
    for is_late in [false, true] {
        let mut short = Member::new(1..=5).promised();
        short.hears(PacketType::TRUNC, old(3));
        let Some(ZabAction::Truncate { run, .. }) = short.done.pop() else { panic!("{:?}", short.done) };
        let done = ZabEvent::Truncated { run, is_done: true };
        if is_late {
            short.hears(PacketType::NEWLEADER, new(0));
            assert_eq!(short.kept(), None);
            short.tell(done);
        } else {
            short.tell(done);
            short.hears(PacketType::NEWLEADER, new(0));
        }
        assert_eq!(short.kept(), Some(epochs(6, 6)), "{is_late}");
    }
}

#[test]
fn a_log_that_cannot_be_cut_is_what_it_was_and_the_next_leader_is_asked_for_its_state() {
    // L-03, S-15
    let asked = |member: Member| {
        assert_eq!(member.zab.history().last(), old(5));
        let own = member.vote_told(1).expect("it looks");
        assert_eq!((own.state, own.zxid), (PeerState::Looking, old(5)), "its vote is true");
        let mut member = member.promised_anew();
        member.sent(LEADER).pop().map(|sent| sent.1)
    };
    let mut refused = Member::new(1..=5).promised();
    refused.hears(PacketType::TRUNC, old(3));
    let Some(ZabAction::Truncate { run, .. }) = refused.done.pop() else { panic!("{:?}", refused.done) };
    refused.tell(ZabEvent::Truncated { run, is_done: false });
    assert_eq!(refused.ending(), Some(RoleEnd::CannotTruncate));
    assert_eq!(asked(refused), Some(Zxid::ZERO));
    // To what was never here there is no cut.
    for to in [old(7), Zxid::new(3, 0), new(1)] {
        let mut member = Member::new(1..=5).promised();
        member.hears(PacketType::TRUNC, to);
        assert_eq!(member.ending(), Some(RoleEnd::CannotTruncate), "{to}");
        assert!(!member.done.iter().any(|action| matches!(action, ZabAction::Truncate { .. })));
        assert_eq!(asked(member), Some(Zxid::ZERO), "{to}");
    }
    // Who leads in between has a history that everybody has.
    let mut led = Member::new(1..=5).promised();
    led.hears(PacketType::TRUNC, old(7));
    let mut led = led.wins();
    led.introduces(1, 1, PacketType::FOLLOWERINFO, 4);
    led.kept();
    led.accepts(1, old(5), 2);
    led.kept();
    led.acks(1, Zxid::new(7, 0));
    assert_eq!(led.zab.leading().map(|leading| leading.1), Some(true));
    led.tell(ZabEvent::Closed { link: at(1) });
    led.passes(INIT_MS);
    let mut led = led.promised_anew();
    assert_eq!(led.sent(LEADER).pop(), Some((PacketType::ACKEPOCH, old(5))));
    // Nor to what is not between what is here.
    let mut between = Member::new(1..=5).serving();
    between.hears_txn(PacketType::PROPOSAL, new(1));
    between.synced();
    between.tell(ZabEvent::Closed { link: at(LEADER) });
    between.ending();
    let mut between = between.promised_anew();
    between.hears(PacketType::TRUNC, Zxid::new(3, 1));
    assert_eq!(between.ending(), Some(RoleEnd::CannotTruncate));
    // A leader with nothing answers that with nothing: it is asked in words that have no other answer.
    let mut empty = Member::new(1..=5).promised();
    empty.hears(PacketType::TRUNC, old(7));
    let mut empty = empty.promised_anew();
    empty.hears(PacketType::DIFF, Zxid::ZERO);
    assert_eq!(empty.ending(), Some(RoleEnd::CannotTruncate));
    let mut empty = empty.promised_anew();
    assert_eq!(empty.sent(LEADER).pop(), Some((PacketType::ACKEPOCH, Zxid(-1))));
    // A state that was installed ends the asking.
    empty.hears(PacketType::SNAP, Zxid::new(1, 9));
    empty.tell(ZabEvent::Heard { link: at(LEADER), is_whole: true });
    empty.hears(PacketType::NEWLEADER, Zxid::new(empty.zab.record().accepted_epoch, 0));
    let run = empty.done.iter().find_map(|action| match action {
        ZabAction::Install { run, .. } => Some(*run),
        _ => None,
    });
    empty.tell(ZabEvent::Installed { run: run.expect("it installs"), is_done: true });
    empty.tell(ZabEvent::Closed { link: at(LEADER) });
    let mut empty = empty.promised_anew();
    assert_eq!(empty.sent(LEADER).pop(), Some((PacketType::ACKEPOCH, Zxid::new(1, 9))));
}

impl Member {
    /// Follows the second server again, in the next epoch.
    fn promised_anew(self) -> Member {
        let mut member = self.greeting();
        let epoch = member.zab.record().accepted_epoch + 1;
        member.hears(PacketType::LEADERINFO, Zxid::new(epoch, 0));
        member.kept();
        member
    }

    /// One that is sent a whole state as of the fifth transaction of epoch 5.
    pub(super) fn hearing() -> Member {
        let mut member = Member::new(1..=5).promised();
        member.hears(PacketType::SNAP, Zxid::new(5, 5));
        assert_eq!(member.done.pop(), Some(ZabAction::Hear { link: at(LEADER) }));
        member
    }

    fn installs(&mut self) -> Option<(u64, Zxid, MemberRecord)> {
        let found = self.done.iter().position(|action| matches!(action, ZabAction::Install { .. }))?;
        let ZabAction::Install { run, at, record, .. } = self.done.remove(found) else { return None };
        Some((run, at, record))
    }
}

#[test]
fn a_state_takes_the_place_of_the_own_history_once_it_is_whole_and_installed() {
    // S-08, SC-09
    let z = |counter| Zxid::new(5, counter);
    let mut member = Member::hearing();
    member.tell(ZabEvent::Heard { link: at(LEADER), is_whole: true });
    member.hears_txn(PacketType::PROPOSAL, z(6));
    member.hears(PacketType::COMMIT, z(6));
    member.hears_txn(PacketType::PROPOSAL, new(1));
    assert_eq!(member.zab.begin_append(), None);
    member.hears(PacketType::NEWLEADER, new(0));
    assert_eq!(member.done, [ZabAction::Replay { upto: z(6) }, member.done[1].clone()]);
    let (run, at, record) = member.installs().expect("it is installed");
    assert_eq!((at, record.accepted_epoch, record.current_epoch), (z(6), 6, 6));
    assert_eq!(member.zab.record().current_epoch, 3);
    assert_eq!(member.zab.history().last(), new(1), "what is replayed into it is what was received");
    let mut twice = Member { zab: member.zab.clone(), now: member.now, done: Vec::new() };
    twice.hears(PacketType::NEWLEADER, new(0));
    assert!(matches!(twice.ending(), Some(RoleEnd::LeaderBroke(_))), "a history ends once");
    // More is committed while it is being installed.
    member.hears(PacketType::COMMIT, new(1));
    assert_eq!((member.sent(LEADER), member.zab.begin_append()), (vec![], None));
    member.tell(ZabEvent::Installed { run, is_done: true });
    assert_eq!(member.zab.record(), record);
    let history = member.zab.history();
    assert_eq!((history.delivered(), history.durable(), history.committed()), (z(6), z(6), new(1)));
    assert_eq!(member.sent(LEADER), [(PacketType::ACK, new(0))]);
    member.synced();
    member.hears(PacketType::UPTODATE, Zxid(-1));
    assert!(member.done.contains(&ZabAction::Replay { upto: new(1) }));
}

#[test]
fn a_state_that_breaks_off_or_cannot_be_installed_leaves_everything_as_it_was() {
    // SC-09, S-15
    let unharmed = |member: &Member| {
        let history = member.zab.history();
        let record = epochs(6, 3);
        history.last() == old(5) && member.zab.record() == record && member.done.contains(&ZabAction::Unhear)
    };
    let mut torn = Member::hearing();
    torn.tell(ZabEvent::Heard { link: at(1), is_whole: false });
    assert_eq!(torn.ending(), None, "that was another connection");
    torn.tell(ZabEvent::Heard { link: at(LEADER), is_whole: false });
    assert!(matches!(torn.ending(), Some(RoleEnd::LeaderBroke(_))) && unharmed(&torn));
    let mut lost = Member::hearing();
    lost.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(matches!(lost.ending(), Some(RoleEnd::LeaderLost(_))) && unharmed(&lost));
    for kind in [PacketType::PROPOSAL, PacketType::NEWLEADER] {
        let mut within = Member::hearing();
        within.hears_txn(kind, if kind == PacketType::NEWLEADER { new(0) } else { Zxid::new(5, 6) });
        assert!(matches!(within.ending(), Some(RoleEnd::LeaderBroke(_))) && unharmed(&within), "{kind:?}");
    }
    // S-08: a log that begins there would be ahead of every epoch that is kept.
    for impossible in [Zxid::new(7, 0), Zxid(-1), Zxid(i64::MIN)] {
        let mut ahead = Member::new(1..=5).promised();
        ahead.hears(PacketType::SNAP, impossible);
        assert!(matches!(ahead.ending(), Some(RoleEnd::LeaderBroke(_))), "{impossible}");
        assert!(!ahead.done.iter().any(|action| matches!(action, ZabAction::Hear { .. })));
    }
    let mut whole = Member::hearing();
    whole.tell(ZabEvent::Heard { link: at(LEADER), is_whole: true });
    whole.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(matches!(whole.ending(), Some(RoleEnd::LeaderLost(_))) && unharmed(&whole));
    let mut none = Member::new(1..=5).promised();
    none.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(!none.done.contains(&ZabAction::Unhear), "there was no state");
    let mut full = Member::hearing();
    full.tell(ZabEvent::Heard { link: at(LEADER), is_whole: true });
    full.hears(PacketType::NEWLEADER, new(0));
    let (run, ..) = full.installs().unwrap();
    full.tell(ZabEvent::Installed { run, is_done: false });
    assert_eq!(full.ending(), Some(RoleEnd::DiskFailed));
    assert!(unharmed(&full));
    // What is heard of it twice is heard once.
    let mut twice = Member::hearing();
    twice.tell(ZabEvent::Heard { link: at(LEADER), is_whole: true });
    twice.tell(ZabEvent::Heard { link: at(LEADER), is_whole: false });
    assert_eq!(twice.ending(), None);
}

#[test]
fn the_next_election_waits_for_what_the_disk_still_does() {
    // S-16
    let looks = |member: &Member| member.vote_told(1).is_some();
    let mut installing = Member::hearing();
    installing.tell(ZabEvent::Heard { link: at(LEADER), is_whole: true });
    installing.hears(PacketType::NEWLEADER, new(0));
    let (run, ..) = installing.installs().unwrap();
    installing.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(!looks(&installing));
    assert_eq!(installing.zab.poll_timeout().0, u64::MAX);
    installing.passes(10 * INIT_MS);
    assert!(!looks(&installing));
    installing.tell(ZabEvent::Installed { run, is_done: false });
    assert!(looks(&installing));
    // An append that ends later is on disk all the same, and acknowledged to nobody.
    let mut appending = Member::new(1..=5).serving();
    appending.hears_txn(PacketType::PROPOSAL, new(1));
    let (run, upto) = appending.zab.begin_append().unwrap();
    appending.hears_txn(PacketType::PROPOSAL, new(2));
    assert_eq!(appending.zab.begin_append(), None, "one is under way");
    appending.hears(PacketType::COMMIT, new(1));
    appending.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(!looks(&appending));
    assert_eq!(appending.zab.begin_append(), None);
    let notification = Member::new(1..=5).vote_told(1).unwrap();
    appending.tell(ZabEvent::Ballot { from: ServerId(1), notification });
    assert!(!looks(&appending), "it does not know yet what it may vote with");
    appending.sent(LEADER);
    appending.tell(ZabEvent::Synced { run, upto });
    assert_eq!(appending.sent(LEADER), []);
    assert_eq!(appending.vote_told(1).map(|vote| vote.zxid), Some(new(1)), "the second one was never on disk");
    assert_eq!(appending.zab.history().last(), new(1));
    assert_eq!((appending.zab.history().delivered(), appending.zab.history().committed()), (old(5), old(5)));
    // A record too.
    let mut keeping = Member::new(1..=5).greeting();
    keeping.hears(PacketType::LEADERINFO, new(0));
    keeping.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(!looks(&keeping));
    assert!(keeping.kept().is_some() && looks(&keeping));
    assert_eq!(keeping.zab.record().accepted_epoch, 6);
    // A cut as well, and it counts.
    let mut cutting = Member::new(1..=5).promised();
    cutting.hears(PacketType::TRUNC, old(3));
    let Some(ZabAction::Truncate { run, .. }) = cutting.done.pop() else { panic!("{:?}", cutting.done) };
    cutting.tell(ZabEvent::Closed { link: at(LEADER) });
    assert!(!looks(&cutting));
    cutting.tell(ZabEvent::Truncated { run, is_done: true });
    assert_eq!(cutting.vote_told(1).map(|vote| vote.zxid), Some(old(3)));
}

#[test]
fn a_log_that_cannot_be_written_ends_the_role_and_takes_no_more() {
    // SC-55
    let mut member = Member::new(1..=5).serving();
    member.hears_txn(PacketType::PROPOSAL, new(1));
    member.zab.begin_append().unwrap();
    member.tell(ZabEvent::AppendFailed);
    assert_eq!(member.ending(), Some(RoleEnd::DiskFailed));
    assert_eq!(member.closed(LEADER), Some(&Leaving::RoleEnded));
    assert!(member.vote_told(1).is_none(), "it takes no part in elections");
    member.passes(10 * INIT_MS);
    assert!(member.vote_told(1).is_none() && member.zab.begin_append().is_none());
}

#[test]
fn a_leader_that_says_nothing_is_left_and_one_that_sends_a_state_is_not() {
    let silent = |member: &mut Member, limit: u64| {
        assert_eq!(member.zab.poll_timeout(), member.now.plus(limit + 1));
        member.passes(limit);
        assert_eq!(member.zab.take_ending(), None);
        member.passes(1);
        member.zab.take_ending() == Some(RoleEnd::LeaderLost(Leaving::Silent))
    };
    assert!(silent(&mut Member::new(1..=5).promised(), INIT_MS));
    assert!(silent(&mut Member::new(1..=5).serving(), SYNC_MS));
    let mut settling = Member::new(1..=5).promised();
    settling.hears(PacketType::DIFF, new(1));
    settling.hears_txn(PacketType::PROPOSAL, new(1));
    settling.hears(PacketType::NEWLEADER, new(0));
    assert!(silent(&mut settling, SYNC_MS));
    let mut late = Member::new(1..=5).dialling();
    late.passes(INIT_MS / 2);
    late.tell(ZabEvent::Opened { link: at(LEADER), is_ours: true });
    assert!(silent(&mut late, INIT_MS));
    let mut member = Member::hearing();
    for _ in 0..5 {
        member.passes(INIT_MS);
        member.tell(ZabEvent::StateMoves { link: at(LEADER) });
    }
    assert!(silent(&mut member, INIT_MS));
    // Only a state moves.
    let mut serving = Member::new(1..=5).serving();
    serving.passes(SYNC_MS);
    serving.tell(ZabEvent::StateMoves { link: at(LEADER) });
    serving.passes(1);
    assert_eq!(serving.ending(), Some(RoleEnd::LeaderLost(Leaving::Silent)));
    let mut other = Member::hearing();
    other.passes(INIT_MS);
    other.tell(ZabEvent::StateMoves { link: at(1) });
    other.passes(1);
    assert_eq!(other.ending(), Some(RoleEnd::LeaderLost(Leaving::Silent)));
}

#[test]
fn between_the_engine_and_the_leader_packets_pass_while_it_serves() {
    let request = || QuorumPacket::with_data(PacketType::REQUEST, Zxid::ZERO, txn(7));
    let sync = || QuorumPacket::with_data(PacketType::SYNC, new(1), txn(7));
    let mut early = Member::new(1..=5).promised();
    early.tell(ZabEvent::ToLeader(request()));
    assert_eq!(early.done, []);
    early.packet(LEADER, sync());
    assert!(matches!(early.ending(), Some(RoleEnd::LeaderBroke(_))));
    let mut member = Member::new(1..=5).serving();
    member.tell(ZabEvent::ToLeader(request()));
    assert_eq!(member.done.pop(), Some(ZabAction::Send { link: at(LEADER), packet: request() }));
    member.packet(LEADER, sync());
    assert_eq!(member.done.pop(), Some(ZabAction::FromLeader { link: at(LEADER), packet: sync() }));
    member.hears(PacketType::PING, new(3));
    assert_eq!(member.done.pop(), Some(ZabAction::AnswerPing { link: at(LEADER), zxid: new(3) }));
    // A connection that is not the leader's.
    let before = member.done.len();
    member.packet(1, sync());
    assert_eq!(member.done.len(), before);
    member.tell(ZabEvent::Closed { link: at(1) });
    member.tell(ZabEvent::Opened { link: at(1), is_ours: false });
    assert_eq!(
        (member.done.pop(), member.ending()),
        (Some(ZabAction::Close { link: at(1), why: Leaving::NotLeading }), None)
    );
    // The others are told whom it follows, with the epoch that it works in once it does.
    let notification = Member::new(1..=5).vote_told(1).unwrap();
    let mut catching = Member::new(1..=5).promised();
    catching.hears(PacketType::DIFF, old(5));
    catching.tell(ZabEvent::Ballot { from: ServerId(1), notification: notification.clone() });
    assert_eq!(catching.vote_told(1).map(|told| told.peer_epoch), Some(3));
    member.tell(ZabEvent::Ballot { from: ServerId(1), notification });
    let told = member.vote_told(1).expect("it is told");
    assert_eq!((told.state, told.leader, told.peer_epoch), (PeerState::Following, ServerId(2), 6));
}

#[test]
fn an_observer_takes_what_is_committed_and_acknowledges_the_history_alone() {
    let mut member = Member::observing(1..=5).serving();
    assert_eq!(member.sent(LEADER), []);
    member.hears_txn(PacketType::INFORM, new(1));
    assert_eq!(member.zab.history().committed(), new(1));
    assert_eq!(member.done, [], "it is not in our own log");
    member.synced();
    assert_eq!(member.done, [ZabAction::Deliver { upto: new(1) }]);
    // With the leader to be in front of it.
    let data: Vec<u8> = 2u64.to_be_bytes().into_iter().chain([42]).collect();
    member.packet(LEADER, QuorumPacket::with_data(PacketType::INFORMANDACTIVATE, new(2), data.into()));
    member.synced();
    let taken: Vec<_> = member.zab.txns(new(1), new(2)).cloned().collect();
    assert_eq!(taken, [(new(2), txn(42))]);
    assert_eq!(member.done.last(), Some(&ZabAction::Deliver { upto: new(2) }));
    assert_eq!(member.sent(LEADER), []);
    let mut short = Member::observing(1..=5).serving();
    short.packet(LEADER, QuorumPacket::with_data(PacketType::INFORMANDACTIVATE, new(1), txn(1)));
    assert!(matches!(short.ending(), Some(RoleEnd::LeaderBroke(_))));
    let mut early = Member::observing(1..=5).promised();
    early.hears_txn(PacketType::INFORM, new(1));
    assert!(matches!(early.ending(), Some(RoleEnd::LeaderBroke(_))));
    let mut greeting = Member::observing(1..=5).greeting();
    assert_eq!(greeting.sent(LEADER), [(PacketType::OBSERVERINFO, Zxid::new(4, 0))]);
    // It says so to who asks without a vote, as it does.
    let notification = Member::new(1..=5).vote_told(1).unwrap();
    greeting.tell(ZabEvent::Ballot { from: ServerId(8), notification });
    assert_eq!(greeting.vote_told(8).map(|told| told.state), Some(PeerState::Observing));
}

#[test]
fn a_member_that_follows_without_a_vote_answers_no_voter() {
    // L-08: a voter of ZooKeeper's answers whatever a server without a vote says while it looks for a leader, and would be answered
    // again, without end.
    let notification = Member::new(1..=5).vote_told(1).unwrap();
    let mut observer = Member::observing(1..=5).serving();
    observer.done.clear();
    observer.tell(ZabEvent::Ballot { from: ServerId(1), notification });
    assert_eq!(observer.vote_told(1), None);
}
