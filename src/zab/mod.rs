//! Atomic broadcast: which transactions are agreed on, in which order.
//!
//! [`Zab`] is one member's part: election, discovery, synchronisation, broadcast. It does no I/O and reads no clock; `member`
//! carries it out. A server that is alone has [`Broadcast`] only, as a quorum of one.

mod broadcast;
mod configured;
mod confirm;
mod election;
mod event;
mod history;
mod leader;
mod learner;
mod learner_handler;
mod newcomer;
mod own;
mod plan;
mod quorum;
mod reconfig;
#[cfg(test)]
mod tests;
mod vote;

use std::collections::{BTreeMap, VecDeque};

pub use broadcast::Broadcast;
pub use election::wait_max_ms as election_wait_max_ms;
use election::{Ask, LeaderElection};
pub use event::{EpochPasswords, LearnerCounts, Leaving, MemberRecord, Standing, ZabAction, ZabEvent};
pub use history::History;
use leader::Leader;
use learner::Learner;
pub use newcomer::{Silence, VotingRight};
use own::Own;
pub use own::{RoleEnd, ZabSettings};
pub use quorum::{Groups, Majority, Quorum, Quorums};
pub use reconfig::{ConfigChange, Configs};
pub use vote::Vote;

use crate::failpoint::{self, Failpoint};
pub use crate::ids::LinkId;
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::peer::{Notification, PeerState, QuorumPacket};
pub use crate::records::txn::{Payload, Proposal};

/// Learners that may wait while it is not known who leads.
const WAITING_MAX: usize = 64;

/// What a member begins with, as its file says.
#[derive(Clone, Debug)]
pub struct Start {
    /// The end of the log; all of it applied.
    pub history: History,
    /// The epochs as kept.
    pub record: MemberRecord,
    /// Whether its vote may count.
    pub right: VotingRight,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ZabRole {
    /// An election; not begun while durable work of an earlier role is under way.
    Looking {
        has_begun: bool,
    },
    Leading(Box<Leader>),
    Learning(Box<Learner>),
}

/// A connection to our quorum port that came before it is known who leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EarlyConnection {
    since: Millis,
    first: Option<QuorumPacket>,
}

/// One member's part in election and broadcast.
///
/// Give one event, then drain [`Zab::poll_action`] and carry the actions out in order. A `Send` may leave at once: `Zab`
/// itself holds back what must wait for the disk. What an action makes durable is reported by the event named with it. An
/// append is not an action but a question ([`Zab::begin_append`]), asked when the host is ready to sync, so that
/// everything that came meanwhile shares it.
///
/// 1. Durable work of a role is reported before the next role begins (S-16).
/// 2. What is in the history and not durable when a role ends is forgotten; what is durable stays, delivered or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zab {
    own: Own,
    election: LeaderElection,
    role: ZabRole,
    /// What we voted for at the end of the last election; its epoch is raised once we are in sync.
    final_vote: Vote,
    waiting: BTreeMap<LinkId, EarlyConnection>,
    /// Why the last role ended.
    ending: Option<RoleEnd>,
}

impl Zab {
    /// A member that begins to look for a leader.
    pub fn new(now: Millis, settings: ZabSettings, start: Start) -> Zab {
        let epoch = start.history.last().epoch();
        // A file that no ensemble had has its log's, as in ZooKeeper. Else what was kept counts: a crash between an epoch's first
        // transactions and the epoch leaves a member that does not know how its sessions have their passwords, and that
        // nobody has counted. Whoever has entered the epoch is the better leader.
        let current_epoch = if start.record.accepted_epoch == 0 { epoch } else { start.record.current_epoch };
        let accepted_epoch = start.record.accepted_epoch.max(epoch);
        let election = LeaderElection::new(settings.me, settings.tick_ms);
        // Who has no vote has none to lose, unless it may be given one.
        let has_none =
            (!settings.is_participant && settings.reconfig.is_none()) || failpoint::on(Failpoint::NewFileVotes);
        let right = if has_none { VotingRight::Held } else { start.right };
        let reconfig = configured::begin(settings.reconfig.clone());
        let mut own = Own {
            settings,
            right,
            counts: false,
            history: start.history,
            record: MemberRecord { accepted_epoch, current_epoch, ..start.record },
            run: 0,
            now,
            appending: None,
            keeping: None,
            keep_next: None,
            reconfig,
            designated: None,
            truncating: None,
            uncut: None,
            // Of what is left of a log that was damaged nothing is to stay.
            pretends: (start.right == VotingRight::OnceFilled).then_some(newcomer::SILENT),
            installing: false,
            has_met_others: false,
            promised_by_others: 0,
            is_failed: false,
            actions: VecDeque::new(),
        };
        own.follow_configs();
        let role = ZabRole::Looking { has_begun: false };
        let mut zab = Zab { own, election, role, final_vote: Vote::nobody(), waiting: BTreeMap::new(), ending: None };
        zab.look();
        zab
    }

    /// One thing that happened.
    pub fn handle(&mut self, now: Millis, event: ZabEvent) {
        assert!(now >= self.own.now, "time goes backwards");
        self.own.now = now;
        // What the actions of the last event needed has been taken.
        self.own.history.trim();
        if let Err(ending) = self.dispatch(event) {
            self.end_role(ending);
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<ZabAction> {
        self.own.actions.pop_front()
    }

    /// When to hand in [`ZabEvent::Timeout`] if nothing else comes first.
    pub fn poll_timeout(&self) -> Millis {
        let role = match &self.role {
            ZabRole::Looking { has_begun: true } => self.election.poll_timeout(),
            // The disk must answer first.
            ZabRole::Looking { has_begun: false } => Millis(u64::MAX),
            ZabRole::Leading(leader) => leader.poll_timeout(),
            ZabRole::Learning(learner) => learner.poll_timeout(&self.own),
        };
        let waited = self.waiting.values().map(|waiting| waiting.since.plus(self.own.settings.init_ms())).min();
        waited.map_or(role, |at| role.min(at))
    }

    /// Whether something is to be appended and no append is under way: then one begins, of what [`Zab::txns`] gives up to
    /// the zxid returned, to be reported with the run.
    pub fn begin_append(&mut self) -> Option<(u64, Zxid)> {
        let may_append = match &self.role {
            ZabRole::Looking { .. } => false,
            ZabRole::Leading(leader) => leader.phase() == leader::LeaderPhase::Broadcasting,
            ZabRole::Learning(learner) => learner.may_append(),
        };
        let is_free = self.own.appending.is_none() && self.own.truncating.is_none() && !self.own.is_failed;
        let last = self.own.history.last();
        if !may_append || !is_free || self.own.awaits_config() || last <= self.own.history.durable() {
            return None;
        }
        self.own.appending = Some(last);
        Some((self.own.run, last))
    }

    /// Transactions above `after` up to `upto`, for an append, a replay, a delivery.
    pub fn txns(&self, after: Zxid, upto: Zxid) -> impl Iterator<Item = &(Zxid, Payload)> {
        self.history().between(after, upto)
    }

    /// The end of the history: the own one, or the one that is being received.
    pub fn history(&self) -> &History {
        match &self.role {
            ZabRole::Learning(learner) => learner.history(&self.own),
            _ => &self.own.history,
        }
    }

    /// The epochs that are durable.
    pub fn record(&self) -> MemberRecord {
        self.own.record
    }

    /// Why the last role ended, once.
    pub fn take_ending(&mut self) -> Option<RoleEnd> {
        self.ending.take()
    }

    /// Whether this leader may go without a loss: all that was proposed is committed, and a voter that could follow it has all of
    /// that and knows it. A member that does not lead may always go.
    pub fn may_leave(&self) -> bool {
        match &self.role {
            ZabRole::Leading(leader) => leader.may_leave(&self.own),
            _ => true,
        }
    }

    /// The epoch that this member leads in, from the moment a quorum accepted it.
    pub fn leading(&self) -> Option<(u32, bool)> {
        match &self.role {
            ZabRole::Leading(leader) if leader.phase() >= leader::LeaderPhase::AwaitEpochAcks => {
                Some((leader.epoch(), leader.phase() == leader::LeaderPhase::Broadcasting))
            }
            _ => None,
        }
    }

    /// What a leader tells of its learners; `None` for a member that does not lead.
    pub fn learner_counts(&self) -> Option<LearnerCounts> {
        match &self.role {
            ZabRole::Leading(leader) => Some(leader.learner_counts(&self.own)),
            _ => None,
        }
    }

    /// Why it says nothing in elections, if it does.
    pub fn silence(&self) -> Option<Silence> {
        match self.own.right {
            VotingRight::Held => None,
            _ if !self.own.votes() => None,
            _ => self.election.silence(&self.own.settings.quorums),
        }
    }

    /// How many vote.
    pub fn voter_count(&self) -> usize {
        self.own.settings.quorums.voters().len()
    }

    fn dispatch(&mut self, event: ZabEvent) -> Result<(), RoleEnd> {
        let own = &mut self.own;
        match event {
            ZabEvent::Timeout => self.timeout(),
            ZabEvent::Ballot { from, notification } => {
                self.ballot(from, &notification);
                Ok(())
            }
            ZabEvent::BallotLink { peer, is_up } => {
                self.ballot_link(peer, is_up);
                Ok(())
            }
            ZabEvent::Opened { link, is_ours } => {
                self.opened(link, is_ours);
                Ok(())
            }
            ZabEvent::DialFailed => match &mut self.role {
                ZabRole::Learning(learner) => learner.dial_failed(own),
                _ => Ok(()),
            },
            ZabEvent::Packet { link, packet } => self.packet(link, packet),
            ZabEvent::Closed { link } => self.closed(link),
            ZabEvent::Decided(txns) => match &mut self.role {
                ZabRole::Leading(leader) => leader.decided(own, txns),
                // Decided before the engine was told that it decides no more.
                _ => Ok(()),
            },
            ZabEvent::Synced { run, upto } => {
                self.synced(run, upto);
                Ok(())
            }
            ZabEvent::AppendFailed => {
                own.is_failed = true;
                own.appending = None;
                Err(RoleEnd::DiskFailed)
            }
            ZabEvent::Kept { run } => self.kept(run),
            ZabEvent::Truncated { run, is_done } => {
                own.truncating = None;
                if let Some(uncut) = own.uncut.take()
                    && !is_done
                {
                    // The log is what it was.
                    own.history = *uncut;
                    own.asks_for_state(Zxid::ZERO);
                }
                own.unshelve(is_done);
                match &mut self.role {
                    ZabRole::Learning(learner) if run == own.run => learner.truncated(own, is_done),
                    _ => Ok(()),
                }
            }
            ZabEvent::Installed { run, is_done } => {
                own.installing = false;
                match &mut self.role {
                    ZabRole::Learning(learner) if run == own.run => learner.installed(own, is_done),
                    _ => Ok(()),
                }
            }
            ZabEvent::Heard { link, is_whole } => match &mut self.role {
                ZabRole::Learning(learner) if learner.is_link(link) => learner.heard(is_whole),
                _ => Ok(()),
            },
            ZabEvent::StateMoves { link } => {
                match &mut self.role {
                    ZabRole::Learning(learner) if learner.is_link(link) => learner.state_moves(own),
                    ZabRole::Leading(leader) => leader.state_moves(own, link),
                    _ => {}
                }
                Ok(())
            }
            ZabEvent::Records { link, before, txns } => {
                self.with_leader(|leader, own| leader.records(own, link, before, &txns));
                Ok(())
            }
            ZabEvent::SnapshotOpened { link, zxid } => {
                self.with_leader(|leader, own| leader.snapshot_opened(own, link, zxid));
                Ok(())
            }
            ZabEvent::SnapshotStreamed { link } => {
                self.with_leader(|leader, own| leader.snapshot_streamed(own, link));
                Ok(())
            }
            ZabEvent::ToLeader(packet) => {
                if let ZabRole::Learning(learner) = &self.role {
                    learner.to_leader(own, packet);
                }
                Ok(())
            }
            ZabEvent::ToLearner { link, packet } => {
                self.with_leader(|leader, own| leader.to_learner(own, link, packet));
                Ok(())
            }
            ZabEvent::Confirm { token } => {
                self.with_leader(|leader, own| leader.confirm(own, token));
                Ok(())
            }
        }
        .and_then(|()| self.leave_if_due())
        .and_then(|()| self.begin_if_settled())
    }

    /// Another configuration is in force, and by it the role ends.
    fn leave_if_due(&mut self) -> Result<(), RoleEnd> {
        match &mut self.role {
            ZabRole::Looking { .. } => Ok(()),
            ZabRole::Leading(leader) => leader.leave_if_due(&self.own),
            ZabRole::Learning(learner) => learner.leave_if_due(&self.own),
        }
    }

    fn with_leader(&mut self, deed: impl FnOnce(&mut Leader, &mut Own)) {
        if let ZabRole::Leading(leader) = &mut self.role {
            deed(leader, &mut self.own);
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Roles

    fn end_role(&mut self, ending: RoleEnd) {
        match &mut self.role {
            ZabRole::Looking { .. } => {}
            ZabRole::Leading(leader) => leader.end(&mut self.own),
            ZabRole::Learning(learner) => {
                let never_answered = learner.phase() <= learner::LearnerPhase::Greeting;
                if never_answered && ending == RoleEnd::LeaderLost(Leaving::Silent) {
                    self.election.shun(self.own.now, learner.leader());
                }
                learner.end(&mut self.own);
            }
        }
        if let RoleEnd::Reconfigured { leader } = ending {
            self.own.designated = leader;
        }
        self.ending = Some(ending);
        self.own.act(ZabAction::Stand(Standing::Looking));
        if failpoint::on(Failpoint::TailApplied) {
            self.own.history.commit(self.own.history.durable());
            self.own.replay();
        }
        self.look();
    }

    fn look(&mut self) {
        self.own.run += 1;
        self.own.keep_next = None;
        self.own.keep_on();
        self.role = ZabRole::Looking { has_begun: false };
        // Whether it succeeds or not cannot be told before the outcome of durable work under way is known.
        let _ = self.begin_if_settled();
    }

    fn begin_if_settled(&mut self) -> Result<(), RoleEnd> {
        if !matches!(self.role, ZabRole::Looking { has_begun: false }) || self.own.is_busy() || self.own.is_failed {
            return Ok(());
        }
        // Received and not appended: it is not ours.
        let durable = match failpoint::on(Failpoint::TailForgotten) {
            true => self.own.history.delivered(),
            false => self.own.history.durable(),
        };
        let last = self.own.history.last();
        self.own.history.cut(durable);
        self.own.shelve(durable);
        self.own.unshelve(true);
        self.own.history.forget_commits();
        self.role = ZabRole::Looking { has_begun: true };
        if let Some(leader) = self.own.designated {
            self.decided(Vote { leader, zxid: durable, peer_epoch: i64::from(self.own.record.current_epoch) });
            return Ok(());
        }
        let own_vote = match self.own.votes() {
            true => Vote {
                leader: self.own.settings.me,
                zxid: match () {
                    _ if failpoint::on(Failpoint::VoteWithUnsynced) => last,
                    _ if failpoint::on(Failpoint::VoteWithEpochStart) => Zxid::new(self.own.record.current_epoch, 0),
                    _ => durable,
                },
                peer_epoch: i64::from(self.own.record.current_epoch),
            },
            false => Vote::nobody(),
        };
        let right = if self.own.votes() { self.own.right } else { VotingRight::Held };
        let ask = self.election.begin(self.own.now, own_vote, right, &self.own.settings.quorums);
        self.carry_out(ask);
        Ok(())
    }

    fn carry_out(&mut self, ask: Ask) {
        let others = || {
            let voters = self.own.settings.quorums.voters();
            voters.into_iter().filter(|voter| *voter != self.own.settings.me).collect::<Vec<_>>()
        };
        match ask {
            Ask::Nothing => {}
            Ask::Tell(peer) => self.tell(peer),
            Ask::TellAll => others().into_iter().for_each(|peer| self.tell(peer)),
            Ask::TellAndDial => {
                let others = others();
                self.own.act(ZabAction::LinkBallots(others.clone()));
                others.into_iter().for_each(|peer| self.tell(peer));
            }
            Ask::Decided(vote) => self.decided(vote),
        }
    }

    /// Tells a server our vote: the proposal while we look, the final one after.
    fn tell(&mut self, to: ServerId) {
        let round = self.election.round();
        let (state, vote, round) = match &self.role {
            ZabRole::Looking { .. } => (PeerState::Looking, self.election.proposal(), self.election.told_round()),
            ZabRole::Leading(_) => (PeerState::Leading, self.final_vote, round),
            ZabRole::Learning(_) if self.own.settings.is_participant => (PeerState::Following, self.final_vote, round),
            ZabRole::Learning(_) => (PeerState::Observing, self.final_vote, round),
        };
        let notification = Notification {
            state,
            leader: vote.leader,
            zxid: vote.zxid,
            round,
            peer_epoch: vote.peer_epoch,
            version: 2,
            config: self.own.settings.config.clone(),
        };
        self.own.act(ZabAction::Ballot { to, notification });
    }

    fn decided(&mut self, vote: Vote) {
        let is_designated = self.own.designated.take().is_some();
        self.final_vote = vote;
        self.own.counts = self.own.right == VotingRight::Held
            || !self.own.settings.is_participant
            || (self.own.votes() && self.election.may_count_for(&vote, &self.own.settings.quorums));
        self.own.run += 1;
        if vote.leader == self.own.settings.me {
            match Leader::begin(&mut self.own) {
                Ok(leader) => {
                    self.role = ZabRole::Leading(Box::new(leader));
                    self.admit_the_waiting();
                }
                Err(ending) => self.end_role(ending),
            }
        } else {
            self.role = ZabRole::Learning(Box::new(Learner::begin(&mut self.own, vote.leader, is_designated)));
            for link in std::mem::take(&mut self.waiting).into_keys() {
                self.own.close(link, Leaving::NotLeading);
            }
        }
    }

    fn admit_the_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        // All of them first: a role that ends closes what it has.
        for &link in waiting.keys() {
            self.with_leader(|leader, own| leader.opened(own, link));
        }
        for (link, waiting) in waiting {
            if let Some(packet) = waiting.first
                && let Err(ending) = self.packet(link, packet)
            {
                return self.end_role(ending);
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // Events

    fn timeout(&mut self) -> Result<(), RoleEnd> {
        let limit = self.own.settings.init_ms();
        let late: Vec<LinkId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| self.own.now.since(waiting.since) >= limit)
            .map(|(link, _)| *link)
            .collect();
        for link in late {
            self.waiting.remove(&link);
            self.own.close(link, Leaving::NotLeading);
        }
        match &mut self.role {
            ZabRole::Looking { has_begun: false } => Ok(()),
            ZabRole::Looking { has_begun: true } => {
                let ask = self.election.timeout(self.own.now, &self.own.settings.quorums);
                self.carry_out(ask);
                Ok(())
            }
            ZabRole::Leading(leader) => leader.timeout(&mut self.own),
            ZabRole::Learning(learner) => learner.timeout(&mut self.own),
        }
    }

    fn ballot(&mut self, from: ServerId, notification: &Notification) {
        if matches!(self.role, ZabRole::Looking { .. }) && self.own.hear_config(&notification.config) {
            return self.look();
        }
        if !self.own.settings.quorums.is_voter(from) {
            // Observers and joiners find the leader by asking; their votes count nowhere (S-11). What we proposed in the last
            // election is no answer: we may say less or more in the next.
            let is_answered = match self.role {
                _ if notification.state != PeerState::Looking => false,
                ZabRole::Looking { has_begun } => {
                    let members_change = self.own.configs().is_some();
                    has_begun && self.election.answers(self.own.now, from, notification.round, members_change)
                }
                ZabRole::Leading(_) | ZabRole::Learning(_) => true,
            };
            if is_answered {
                self.tell(from);
            }
            return;
        }
        let is_told = !matches!(self.role, ZabRole::Looking { .. })
            && notification.state == PeerState::Looking
            && self.answers_voter(from, notification.round);
        match &self.role {
            ZabRole::Looking { has_begun: true } => {
                let ask = self.election.ballot(self.own.now, from, notification, &self.own.settings.quorums);
                self.carry_out(ask);
            }
            ZabRole::Looking { has_begun: false } => {}
            _ if is_told => self.tell(from),
            _ => {}
        }
    }

    /// Whether a voter that looks for a leader is answered. One of ZooKeeper's answers whatever a server without a vote says, so
    /// without one we say nothing: the two would tell each other the same as fast as the network takes it, until it has
    /// elected (L-08). Where members change, others may take us for a voter, and hear of the configuration from us: then the same
    /// is not said again at once.
    fn answers_voter(&mut self, from: ServerId, round: i64) -> bool {
        self.own.settings.is_participant
            || failpoint::on(Failpoint::ObserverAnswers)
            || (self.own.configs().is_some() && self.election.answers(self.own.now, from, round, true))
    }

    fn ballot_link(&mut self, peer: ServerId, is_up: bool) {
        if matches!(self.role, ZabRole::Looking { has_begun: true }) {
            let ask = self.election.link(self.own.now, peer, is_up, &self.own.settings.quorums);
            self.carry_out(ask);
        }
    }

    fn opened(&mut self, link: LinkId, is_ours: bool) {
        match &mut self.role {
            ZabRole::Learning(learner) if is_ours => learner.opened(&mut self.own, link),
            ZabRole::Leading(leader) if !is_ours => leader.opened(&mut self.own, link),
            // It may be us that it will follow, once we know ourselves.
            ZabRole::Looking { .. } if !is_ours && self.waiting.len() < WAITING_MAX => {
                self.waiting.insert(link, EarlyConnection { since: self.own.now, first: None });
            }
            _ => self.own.close(link, Leaving::NotLeading),
        }
    }

    fn packet(&mut self, link: LinkId, packet: QuorumPacket) -> Result<(), RoleEnd> {
        if let Some(waiting) = self.waiting.get_mut(&link) {
            // A learner says one thing and waits.
            if waiting.first.replace(packet).is_some() {
                self.waiting.remove(&link);
                self.own.close(link, Leaving::Protocol("more than an introduction before it was answered"));
            }
            return Ok(());
        }
        match &mut self.role {
            ZabRole::Leading(leader) => leader.packet(&mut self.own, link, packet),
            ZabRole::Learning(learner) if learner.is_link(link) => {
                learner.packet(&mut self.own, packet)?;
                self.raise_vote();
                Ok(())
            }
            _ => Ok(()),
        }
        .map(|()| self.raise_vote())
    }

    /// All members of a working ensemble report its epoch, or a member that joins would count two minorities
    /// (ZOOKEEPER-1732).
    fn raise_vote(&mut self) {
        let epoch = match &self.role {
            ZabRole::Leading(leader) if leader.phase() == leader::LeaderPhase::Broadcasting => leader.epoch(),
            ZabRole::Learning(learner) if learner.phase() == learner::LearnerPhase::Serving => learner.epoch(),
            _ => return,
        };
        self.final_vote.peer_epoch = i64::from(epoch);
    }

    fn closed(&mut self, link: LinkId) -> Result<(), RoleEnd> {
        self.waiting.remove(&link);
        match &mut self.role {
            ZabRole::Leading(leader) => {
                leader.closed(&mut self.own, link);
                Ok(())
            }
            ZabRole::Learning(learner) if learner.is_link(link) => learner.closed(&self.own),
            _ => Ok(()),
        }
    }

    fn synced(&mut self, run: u64, upto: Zxid) {
        assert!(
            self.own.appending.is_some_and(|appending| upto <= appending),
            "{upto} is durable and was not appended"
        );
        self.own.appending = None;
        // What is on disk is on disk, whoever asked for it.
        self.own.history.synced(upto);
        if run == self.own.run {
            match &mut self.role {
                ZabRole::Looking { .. } => {}
                ZabRole::Leading(leader) => leader.synced(&mut self.own),
                ZabRole::Learning(learner) => learner.synced(&mut self.own),
            }
            self.raise_vote();
        }
    }

    fn kept(&mut self, run: u64) -> Result<(), RoleEnd> {
        if let Some(record) = self.own.keeping.take() {
            self.own.record = record;
            self.own.configs_kept();
            // Behind the whole history of the leader of that epoch.
            if record.current_epoch > 0 && self.own.right == VotingRight::OnceAllAreHeard {
                self.own.right = VotingRight::Held;
            }
        }
        self.own.keep_on();
        if run != self.own.run {
            return Ok(());
        }
        let done = match &mut self.role {
            ZabRole::Looking { .. } => Ok(()),
            ZabRole::Leading(leader) => leader.kept(&mut self.own),
            ZabRole::Learning(learner) => {
                learner.kept(&mut self.own);
                Ok(())
            }
        };
        self.raise_vote();
        done
    }
}
