//! A leader: it finds an epoch that a quorum accepts, brings learners up to date, and broadcasts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::confirm::Confirm;
use super::event::{EpochPasswords, LearnerCounts, Leaving, MemberRecord, Standing, ZabAction};
use super::learner_handler::{LearnerHandler, LearnerStage};
use super::own::{Own, RoleEnd};
use super::{LinkId, Payload};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{LearnerInfo, PacketType, QuorumPacket, decode_epoch_ack, leader_info};

mod feeding;
mod passwords;
mod promises;
mod succession;

use succession::Succession;

/// The highest epoch: zxids are signed.
const EPOCH_MAX: u32 = i32::MAX as u32;

/// How far a leader has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LeaderPhase {
    /// Waits for a quorum's accepted epochs.
    Discovering,
    /// The new epoch is being kept as accepted.
    Accepting,
    /// Waits for a quorum that accepts it.
    AwaitEpochAcks,
    /// The new epoch is being kept as current.
    Entering,
    /// Waits for a quorum that has the whole history.
    Synchronizing,
    /// Established.
    Broadcasting,
}

/// A leader and its learners.
///
/// 1. Nothing is told of the new epoch before it is accepted on our own disk, nor counted for us before it is current there.
/// 2. A learner is put on the list in the same step that queues the last transaction it lacked: none is missed, none sent
///    twice (SC-15, SC-16).
/// 3. COMMITs go to a learner only once it was told to serve, in order: ZooKeeper 3.8 dies on one before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    phase: LeaderPhase,
    epoch: u32,
    /// How session passwords are made in it.
    passwords: EpochPasswords,
    /// When discovery or synchronisation must be over.
    deadline: Millis,
    /// Our own epoch and last zxid on taking office: who is ahead of them cannot be led.
    begun_with: (u32, Zxid),
    /// The end of the history on taking office: all of it counts as committed.
    sync_point: Zxid,
    infos: BTreeSet<ServerId>,
    epoch_acks: BTreeSet<ServerId>,
    history_acks: BTreeSet<ServerId>,
    learners: BTreeMap<LinkId, LearnerHandler>,
    next_ping: Millis,
    confirm: Confirm,
    succession: Succession,
}

impl Leader {
    /// Takes office. The own accepted epoch is the first that is known.
    pub(super) fn begin(own: &mut Own) -> Result<Leader, RoleEnd> {
        let mut leader = Leader {
            phase: LeaderPhase::Discovering,
            epoch: 0,
            passwords: own.passwords_to_lead_with(),
            deadline: own.now.plus(own.settings.init_ms()),
            begun_with: (own.record.current_epoch, own.history.last()),
            sync_point: own.history.last(),
            infos: BTreeSet::new(),
            epoch_acks: BTreeSet::new(),
            history_acks: BTreeSet::new(),
            learners: BTreeMap::new(),
            next_ping: own.now.plus(own.settings.tick_ms / 2),
            confirm: Confirm::default(),
            succession: Succession::default(),
        };
        let (me, accepted) = (own.settings.me, own.record.accepted_epoch);
        leader.info(own, me, accepted.max(own.promised_by_others), true)?;
        Ok(leader)
    }

    /// How far it has come.
    pub(super) fn phase(&self) -> LeaderPhase {
        self.phase
    }

    /// Whether it may go without a loss: see [`Zab::may_leave`](super::Zab::may_leave).
    pub(super) fn may_leave(&self, own: &Own) -> bool {
        let last = own.history.last();
        let has_all = |learner: &LearnerHandler| {
            let votes = !learner.is_observer && own.settings.quorums.is_voter(learner.server);
            votes && learner.is_up_to_date && learner.acked >= last && learner.told >= last
        };
        let is_settled = own.history.committed() == last && own.history.delivered() == last;
        self.phase < LeaderPhase::Broadcasting || (is_settled && self.learners.values().any(has_all))
    }

    /// The epoch that it leads in, once discovery has ended.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    fn epoch_start(&self) -> Zxid {
        Zxid::new(self.epoch, 0)
    }

    /// How many learners there are, and how far they are.
    pub(super) fn learner_counts(&self, own: &Own) -> LearnerCounts {
        let mut counts = LearnerCounts { learners: self.learners.len(), ..LearnerCounts::default() };
        for learner in self.learners.values().filter(|learner| learner.is_listed()) {
            if learner.is_observer {
                counts.synced_observers += 1;
                continue;
            }
            counts.synced_followers += 1;
            let votes = own.settings.quorums.is_voter(learner.server);
            counts.synced_non_voting_followers += usize::from(!votes);
        }
        counts
    }

    /// When to call [`Leader::timeout`].
    pub(super) fn poll_timeout(&self) -> Millis {
        let due =
            if self.phase < LeaderPhase::Broadcasting { self.next_ping.min(self.deadline) } else { self.next_ping };
        self.succession.poll_timeout().map_or(due, |at| due.min(at))
    }

    /// A learner has connected.
    pub(super) fn opened(&mut self, own: &mut Own, link: LinkId) {
        self.learners.insert(link, LearnerHandler::new(own.now));
    }

    /// A learner's connection is gone.
    pub(super) fn closed(&mut self, own: &mut Own, link: LinkId) {
        if self.learners.remove(&link).is_some() {
            self.confirm.gone(link);
            own.act(ZabAction::LearnerGone { link });
        }
    }

    fn drop_learner(&mut self, own: &mut Own, link: LinkId, why: Leaving) {
        own.close(link, why);
        self.closed(own, link);
    }

    /// Every connection is closed: the role ends.
    pub(super) fn end(&mut self, own: &mut Own) {
        for &link in self.learners.keys() {
            own.close(link, Leaving::RoleEnded);
        }
    }

    /// A learner's packet.
    ///
    /// # Errors
    /// Why the role ends. A learner that breaks the protocol costs only its own connection.
    pub(super) fn packet(&mut self, own: &mut Own, link: LinkId, packet: QuorumPacket) -> Result<(), RoleEnd> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        learner.heard_at = own.now;
        let (stage, server) = (learner.stage, learner.server);
        match (packet.kind, stage) {
            (PacketType::FOLLOWERINFO | PacketType::OBSERVERINFO, LearnerStage::AwaitInfo) => {
                self.introduced(own, link, &packet)?;
            }
            (PacketType::ACKEPOCH, LearnerStage::AwaitEpochAck) => self.epoch_acked(own, link, &packet)?,
            (PacketType::ACK, LearnerStage::AwaitAck) => self.history_acked(own, link, packet.zxid)?,
            (PacketType::ACK, LearnerStage::Live) => self.acked(own, link, packet.zxid)?,
            (PacketType::PING, LearnerStage::Live) => {
                self.confirm.answered(link);
                own.act(ZabAction::FromLearner { from: server, link, packet });
                self.confirmed(own);
            }
            (PacketType::REQUEST | PacketType::REVALIDATE, LearnerStage::Live)
                if self.phase == LeaderPhase::Broadcasting =>
            {
                own.act(ZabAction::FromLearner { from: server, link, packet });
            }
            (PacketType(1..=19), _) => self.drop_learner(own, link, Leaving::Protocol("a packet out of turn")),
            // As ZooKeeper, so that there may be new ones.
            _ => {}
        }
        Ok(())
    }

    fn introduced(&mut self, own: &mut Own, link: LinkId, packet: &QuorumPacket) -> Result<(), RoleEnd> {
        let info = match LearnerInfo::decode(packet.data()) {
            Ok(info) => info,
            Err(error) => {
                self.drop_learner(own, link, Leaving::Broken(error.to_string()));
                return Ok(());
            }
        };
        let accepted = packet.zxid.epoch();
        // One below the highest must be left for the epoch that begins.
        if info.server == own.settings.me || accepted >= EPOCH_MAX {
            self.drop_learner(own, link, Leaving::Protocol("an impossible server or epoch"));
            return Ok(());
        }
        if own.configs().is_some_and(|configs| info.config_version > configs.seen().version.0) {
            self.drop_learner(own, link, Leaving::Ahead);
            return Ok(());
        }
        let older = self.learners.iter().find(|(at, other)| **at != link && other.is_server(info.server));
        if let Some(older) = older.map(|(at, _)| *at) {
            self.drop_learner(own, older, Leaving::Replaced);
        }
        let is_follower = packet.kind == PacketType::FOLLOWERINFO;
        own.has_met_others |= !info.takes_passwords;
        if is_follower {
            self.met_promise(own, info.server, accepted)?;
        }
        if !info.takes_passwords {
            self.met_others()?;
        }
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.server = info.server;
            learner.is_observer = !is_follower;
            learner.stage = LearnerStage::AwaitEpoch;
        }
        if self.phase >= LeaderPhase::AwaitEpochAcks {
            self.greet(own, link);
            return Ok(());
        }
        self.info(own, info.server, accepted, is_follower)
    }

    fn greet(&mut self, own: &mut Own, link: LinkId) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.stage = LearnerStage::AwaitEpochAck;
            own.send(link, PacketType::LEADERINFO, self.epoch_start(), leader_info(Some(&self.handed_down())));
        }
    }

    /// A server's accepted epoch. Observers raise the epoch to come, and are not counted (SC-27).
    fn info(&mut self, own: &mut Own, server: ServerId, accepted: u32, is_follower: bool) -> Result<(), RoleEnd> {
        if self.phase != LeaderPhase::Discovering {
            return Ok(());
        }
        let next = if failpoint::on(Failpoint::EpochNotRaised) { accepted } else { accepted.saturating_add(1) };
        self.epoch = self.epoch.max(next);
        if self.epoch > EPOCH_MAX {
            return Err(RoleEnd::CounterUsedUp);
        }
        if is_follower && own.settings.quorums.is_voter(server) {
            self.infos.insert(server);
        }
        if own.settings.quorums.is_quorum_of(|voter| self.infos.contains(&voter)) {
            self.phase = LeaderPhase::Accepting;
            if failpoint::on(Failpoint::EpochToldBeforeKept) {
                let waiting = self.links(|learner| learner.stage == LearnerStage::AwaitEpoch);
                waiting.into_iter().for_each(|link| self.greet(own, link));
            }
            own.keep(MemberRecord { accepted_epoch: self.epoch, ..own.record });
        }
        Ok(())
    }

    /// Our own record is on disk.
    ///
    /// # Errors
    /// Why the role ends.
    pub(super) fn kept(&mut self, own: &mut Own) -> Result<(), RoleEnd> {
        match self.phase {
            LeaderPhase::Accepting if own.record.accepted_epoch == self.epoch => {
                self.phase = LeaderPhase::AwaitEpochAcks;
                self.deadline = own.now.plus(own.settings.init_ms());
                let waiting = self.links(|learner| learner.stage == LearnerStage::AwaitEpoch);
                waiting.into_iter().for_each(|link| self.greet(own, link));
                self.epoch_acks.insert(own.settings.me);
                self.count_epoch_acks(own);
            }
            LeaderPhase::Entering if own.record.current_epoch == self.epoch => {
                self.phase = LeaderPhase::Synchronizing;
                self.deadline = own.now.plus(own.settings.init_ms());
                self.history_acks.insert(own.settings.me);
                for link in self.links(|learner| matches!(learner.stage, LearnerStage::AwaitPlan(_))) {
                    self.plan(own, link);
                }
                self.count_history_acks(own)?;
            }
            LeaderPhase::Broadcasting => own.deliver(),
            _ => {}
        }
        Ok(())
    }

    fn links(&self, wanted: impl Fn(&LearnerHandler) -> bool) -> Vec<LinkId> {
        self.learners.iter().filter(|(_, learner)| wanted(learner)).map(|(link, _)| *link).collect()
    }

    fn epoch_acked(&mut self, own: &mut Own, link: LinkId, packet: &QuorumPacket) -> Result<(), RoleEnd> {
        let current = match decode_epoch_ack(packet.data()) {
            Ok(current) => current,
            Err(error) => {
                self.drop_learner(own, link, Leaving::Broken(error.to_string()));
                return Ok(());
            }
        };
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        let theirs = packet.zxid;
        if self.phase == LeaderPhase::AwaitEpochAcks
            && let Ok(current) = u32::try_from(current)
        {
            // What a server reports that was established and has logged nothing since hides no transaction.
            let has_nothing_since = theirs == Zxid::new(current, 0);
            let is_ahead = current > self.begun_with.0 || (current == self.begun_with.0 && theirs > self.begun_with.1);
            if is_ahead && !(has_nothing_since && current == self.begun_with.0) {
                self.drop_learner(own, link, Leaving::Ahead);
                return Ok(());
            }
            let counts = !learner.is_observer && own.settings.quorums.is_voter(learner.server);
            if counts && theirs != Zxid(-1) {
                self.epoch_acks.insert(learner.server);
            }
        }
        learner.stage = LearnerStage::AwaitPlan(theirs);
        if self.phase >= LeaderPhase::Synchronizing {
            self.plan(own, link);
        } else {
            self.count_epoch_acks(own);
        }
        Ok(())
    }

    fn count_epoch_acks(&mut self, own: &mut Own) {
        let quorum = &own.settings.quorums;
        if self.phase == LeaderPhase::AwaitEpochAcks && quorum.is_quorum_of(|voter| self.epoch_acks.contains(&voter)) {
            self.phase = LeaderPhase::Entering;
            own.found_config(self.epoch_start());
            own.keep(MemberRecord { current_epoch: self.epoch, passwords: self.passwords, ..own.record });
        }
    }

    /// What counts as committed towards a learner in synchronisation.
    fn committed(&self, own: &Own) -> Zxid {
        own.history.committed().max(self.sync_point)
    }

    fn history_acked(&mut self, own: &mut Own, link: LinkId, zxid: Zxid) -> Result<(), RoleEnd> {
        if zxid != self.epoch_start() {
            self.drop_learner(own, link, Leaving::Protocol("something else was acknowledged before the history"));
            return Ok(());
        }
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        learner.has_history = true;
        // An observer is sent nothing before it is committed, and more may have been than memory has.
        if learner.is_observer && learner.sent < own.history.base() {
            learner.stage = LearnerStage::Reading;
            let after = learner.sent;
            own.act(ZabAction::Read { link, after });
            return Ok(());
        }
        learner.stage = LearnerStage::Live;
        if self.phase == LeaderPhase::Broadcasting {
            self.up_to_date(own, link);
            return Ok(());
        }
        if !learner.is_observer {
            self.history_acks.insert(learner.server);
        }
        self.count_history_acks(own)
    }

    fn count_history_acks(&mut self, own: &mut Own) -> Result<(), RoleEnd> {
        let has_all = |voter| self.history_acks.contains(&voter);
        let is_quorum = own.settings.quorums.is_quorum_of(has_all)
            || (failpoint::on(Failpoint::ObserverCounted) && self.is_quorum_with_observers(own));
        if self.phase != LeaderPhase::Synchronizing || !is_quorum {
            return Ok(());
        }
        assert!(own.history.durable() >= self.sync_point, "established on a history that is not on our disk");
        self.phase = LeaderPhase::Broadcasting;
        own.pretends = None;
        own.history.commit(self.sync_point);
        own.replay();
        own.act(ZabAction::Stand(Standing::Leading { epoch: self.epoch }));
        if let Some(new) = own.pending() {
            self.activate(own, Zxid::ZERO, new);
        }
        for link in self.links(|learner| learner.stage == LearnerStage::Live) {
            self.up_to_date(own, link);
        }
        Ok(())
    }

    /// What a planted bug takes for a quorum.
    fn is_quorum_with_observers(&self, own: &Own) -> bool {
        let observers = self.learners.values().filter(|learner| learner.is_observer && learner.has_history);
        2 * (self.history_acks.len() + observers.count()) > own.settings.quorums.voters().len()
    }

    fn up_to_date(&mut self, own: &mut Own, link: LinkId) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.is_up_to_date = true;
            learner.tracked = None;
            own.send_bare(link, PacketType::UPTODATE, Zxid(-1));
        }
        self.tell_commits(own, link);
    }

    /// The engine has decided. Proposals leave before our own sync begins.
    ///
    /// # Errors
    /// [`RoleEnd::CounterUsedUp`] when the epoch has no more zxids.
    pub(super) fn decided(&mut self, own: &mut Own, txns: Vec<(Zxid, Payload)>) -> Result<(), RoleEnd> {
        assert!(self.phase == LeaderPhase::Broadcasting, "decided by a leader that is not established");
        // Decided before the engine was told that another one leads.
        if self.succession.is_under_way() {
            return Ok(());
        }
        for (zxid, txn) in txns {
            assert!(zxid.epoch() == self.epoch, "{zxid} is not of the epoch {}", self.epoch);
            if zxid.counter() > Zxid::counter_last() && !failpoint::on(Failpoint::CounterRunsOver) {
                return Err(RoleEnd::CounterUsedUp);
            }
            let pushed = own.history.push(zxid, Arc::clone(&txn));
            assert!(pushed.is_ok(), "the engine left a hole: {zxid} after {pushed:?}");
            let noted = own.note_txn(zxid, &txn);
            assert!(noted.is_ok(), "the engine decided a configuration that cannot be read, at {zxid}");
            for (link, learner) in &mut self.learners {
                if learner.is_listed() && !learner.is_observer {
                    own.send(*link, PacketType::PROPOSAL, zxid, Arc::clone(&txn));
                    learner.sent = zxid;
                    learner.untold.push_back(zxid);
                }
            }
        }
        Ok(())
    }

    /// Our own log is on disk further than it was.
    pub(super) fn synced(&mut self, own: &mut Own) {
        self.commit(own);
    }

    fn acked(&mut self, own: &mut Own, link: LinkId, zxid: Zxid) -> Result<(), RoleEnd> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        // The second acknowledgement of the history, which every server sends.
        if zxid.counter() == 0 {
            return Ok(());
        }
        if zxid > learner.sent {
            self.drop_learner(own, link, Leaving::Protocol("a proposal was acknowledged that was not sent"));
            return Ok(());
        }
        learner.acked = learner.acked.max(zxid);
        self.commit(own);
        self.end_of_counter(own)
    }

    /// Commits what a quorum has on disk, in order.
    fn commit(&mut self, own: &mut Own) {
        if self.phase != LeaderPhase::Broadcasting {
            return;
        }
        let before = own.history.committed();
        while !self.succession.is_under_way()
            && let Some(head) = own.history.next_after(own.history.committed())
        {
            let me = own.settings.me;
            let durable = own.history.durable();
            let has_head = |voter: ServerId| {
                if voter == me {
                    return durable >= head || failpoint::on(Failpoint::LeaderCountsUnsynced);
                }
                self.learners.values().any(|learner| {
                    learner.server == voter
                        && !learner.is_observer
                        && (learner.stage == LearnerStage::Live || failpoint::on(Failpoint::CutCountsAsAcked))
                        && learner.acked >= head
                })
            };
            let quorums = &own.settings.quorums;
            let is_enough = |voter| voter != me && has_head(voter);
            let one_has = || failpoint::on(Failpoint::OneIsQuorum) && quorums.voters().into_iter().any(is_enough);
            if !quorums.is_quorum_of(has_head) && !one_has() {
                break;
            }
            own.history.commit(head);
            if let Some(new) = own.proposed_at(head) {
                self.activate(own, head, new);
            }
        }
        if own.history.committed() > before {
            let early = failpoint::on(Failpoint::CommitsBeforeUpToDate);
            for link in self.links(|learner| learner.is_up_to_date || (early && learner.is_listed())) {
                self.tell_commits(own, link);
            }
        }
        own.deliver();
    }

    /// Tells a learner of the commits it was not told of.
    fn tell_commits(&mut self, own: &mut Own, link: LinkId) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        learner.tell_commits(own, link, &self.succession.leaders);
    }

    fn end_of_counter(&self, own: &Own) -> Result<(), RoleEnd> {
        let last = own.history.last();
        let is_idle = own.history.committed() == last;
        let is_used_up = last.epoch() == self.epoch
            && last.counter() >= Zxid::counter_spared()
            && !failpoint::on(Failpoint::CounterRunsOver);
        if is_used_up && is_idle { Err(RoleEnd::CounterUsedUp) } else { Ok(()) }
    }

    /// The engine wants to know that we still lead (G-04).
    pub(super) fn confirm(&mut self, own: &mut Own, token: u64) {
        if self.confirm.ask(token) {
            self.ping(own);
        }
        self.confirmed(own);
    }

    fn confirmed(&mut self, own: &mut Own) {
        let me = own.settings.me;
        loop {
            let has_answered = |voter: ServerId| {
                voter == me
                    || self.learners.iter().any(|(link, learner)| {
                        learner.server == voter && !learner.is_observer && self.confirm.has_answered(*link)
                    })
            };
            if !self.confirm.is_asking() || !own.settings.quorums.is_quorum_of(has_answered) {
                return;
            }
            for token in self.confirm.take() {
                own.act(ZabAction::Confirmed { token });
            }
            if self.confirm.next_round() {
                self.ping(own);
            }
        }
    }

    fn ping(&mut self, own: &mut Own) {
        let zxid = own.history.last();
        for (link, learner) in &self.learners {
            if learner.is_listed() {
                own.send_bare(*link, PacketType::PING, zxid);
                // One before it was told to serve is not answered.
                if learner.is_up_to_date {
                    self.confirm.sent(*link);
                }
            }
        }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// [`RoleEnd::NoQuorum`] when too few are heard of, or do not come in time.
    pub(super) fn timeout(&mut self, own: &mut Own) -> Result<(), RoleEnd> {
        if self.phase < LeaderPhase::Broadcasting && own.now >= self.deadline {
            return Err(RoleEnd::NoQuorum);
        }
        if own.now < self.next_ping {
            return Ok(());
        }
        // After a pause only one round: the others would ask about the past.
        self.next_ping = own.now.plus(own.settings.tick_ms / 2);
        self.drop_the_silent(own);
        // Where voters have become fewer, those that answered may be a quorum now.
        self.confirmed(own);
        if self.phase == LeaderPhase::Broadcasting && !self.succession.is_under_way() {
            let me = own.settings.me;
            let is_heard = |voter: ServerId| {
                let is_it = |learner: &LearnerHandler| learner.is_server(voter) && !learner.is_observer;
                let mut learners = self.learners.values();
                voter == me || learners.any(|learner| is_it(learner) && learner.is_heard(own.now, &own.settings))
            };
            if !own.settings.quorums.is_quorum_of(is_heard) && !failpoint::on(Failpoint::QuorumNotWatched) {
                return Err(RoleEnd::NoQuorum);
            }
            self.end_of_counter(own)?;
        }
        self.ping(own);
        Ok(())
    }

    fn drop_the_silent(&mut self, own: &mut Own) {
        let sync_ms = own.settings.sync_ms();
        for link in self.links(|_| true) {
            let Some(learner) = self.learners.get_mut(&link) else { continue };
            if own.now.since(learner.heard_at) > learner.silence_max_ms(&own.settings) {
                self.drop_learner(own, link, Leaving::Silent);
                continue;
            }
            if learner.is_observer || !learner.is_up_to_date {
                continue;
            }
            match learner.tracked {
                Some((zxid, since)) if zxid > learner.acked => {
                    if own.now.since(since) > sync_ms {
                        self.drop_learner(own, link, Leaving::Lagging);
                    }
                }
                _ => learner.tracked = (learner.sent > learner.acked).then_some((learner.sent, own.now)),
            }
        }
    }

    /// A packet of the engine's for a learner.
    pub(super) fn to_learner(&self, own: &mut Own, link: LinkId, packet: QuorumPacket) {
        if self.learners.get(&link).is_some_and(|learner| learner.is_up_to_date) {
            own.act(ZabAction::Send { link, packet });
        }
    }
}

#[cfg(test)]
impl Leader {
    /// Moves every moment back by so many ms and forgets what does not matter any more, so that equal situations are equal values.
    pub(super) fn rebase(&mut self, ms: u64) {
        let back = |at: Millis| Millis(at.0.saturating_sub(ms));
        self.deadline = if self.phase < LeaderPhase::Broadcasting { back(self.deadline) } else { Millis(0) };
        self.next_ping = back(self.next_ping);
        for learner in self.learners.values_mut() {
            learner.heard_at = back(learner.heard_at);
            learner.tracked = learner.tracked.map(|(zxid, since)| (zxid, back(since)));
        }
        self.confirm.forget_the_past();
    }
}
