//! A follower or an observer: it promises an epoch, takes the leader's history, acknowledges it, and serves.

use super::event::{EpochPasswords, Leaving, MemberRecord, Standing, ZabAction};
use super::history::History;
use super::newcomer::VotingRight;
use super::own::{Own, RoleEnd};
use super::{LinkId, Payload};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::membership::Membership;
use crate::records::peer::{LearnerInfo, PacketType, QuorumPacket, decode_leader_info, epoch_ack};
use crate::session::{SessionPasswords, SessionSecret};

/// How often the leader's port is dialled: it may open a moment after the election.
const DIALS_MAX: u32 = 5;
/// The pause between two dials, ms.
const DIAL_PAUSE_MS: u64 = 100;

/// How long a member whose role ends by another configuration stays, so that whoever asked for that hears of it, ms.
pub(super) const LEAVE_AFTER_MS: u64 = 20;

/// How far a learner has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LearnerPhase {
    /// The leader's port is being dialled.
    Dialing,
    /// Waits for the epoch.
    Greeting,
    /// The epoch is being kept as accepted.
    Promising,
    /// Waits to be told how it is brought up to date.
    Promised,
    /// Our log is being cut.
    Truncating,
    /// A whole state is being received.
    Hearing,
    /// Transactions are being received.
    Syncing,
    /// Everything came; it is being made durable.
    Settling,
    /// The epoch is being kept as current.
    Entering,
    /// The history was acknowledged.
    Acked,
    /// Told to serve, before everything committed is in our own log.
    Catching,
    /// Serves clients.
    Serving,
}

/// A learner.
///
/// 1. History, then epoch, then acknowledgement: each is durable before the next begins (D-02, D-03).
/// 2. No proposal is acknowledged before the history (ZOOKEEPER-4685), none before it is durable, and each by itself, in
///    order: ZooKeeper's leader looks at a proposal only when that very zxid is acknowledged.
/// 3. A state that is received touches neither state nor file before it is whole, acknowledged and installed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Learner {
    leader: ServerId,
    /// What it is in this role, whatever a configuration to come says.
    is_observer: bool,
    phase: LearnerPhase,
    link: Option<LinkId>,
    dials: u32,
    dial_at: Option<Millis>,
    epoch: u32,
    /// How session passwords are made in that epoch, as its leader says.
    passwords: EpochPasswords,
    heard_at: Millis,
    /// When dialling must be over.
    deadline: Millis,
    /// A received state and what follows it, until it is installed.
    received: Option<History>,
    /// What the state holds that is being installed.
    installs: Zxid,
    /// The last transaction of the history that NEWLEADER ended.
    end: Zxid,
    /// Up to where this leader's proposals were acknowledged.
    acked: Zxid,
    /// It did not win an election, so it may take a moment to know that it leads.
    is_designated: bool,
    /// The configuration that NEWLEADER had, until we are told to serve.
    told: Option<Membership>,
    /// Another configuration ends the role once this is applied; who leads then, if that was said.
    leaving: Option<(Zxid, Option<ServerId>)>,
    /// When it does.
    leave_at: Option<Millis>,
}

impl Learner {
    /// Turns to the elected leader.
    pub(super) fn begin(own: &mut Own, leader: ServerId, is_designated: bool) -> Learner {
        own.act(ZabAction::Dial { to: leader });
        Learner {
            leader,
            is_observer: !own.settings.is_participant,
            phase: LearnerPhase::Dialing,
            link: None,
            dials: 1,
            dial_at: None,
            epoch: 0,
            passwords: EpochPasswords::default(),
            heard_at: own.now,
            deadline: own.now.plus(own.settings.init_ms()),
            received: None,
            installs: Zxid::ZERO,
            end: Zxid::ZERO,
            acked: Zxid::ZERO,
            is_designated,
            told: None,
            leaving: None,
            leave_at: None,
        }
    }

    /// Whom it follows.
    pub(super) fn leader(&self) -> ServerId {
        self.leader
    }

    /// How far it has come.
    pub(super) fn phase(&self) -> LearnerPhase {
        self.phase
    }

    /// The leader's epoch, once it was told.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether appends may begin: what is received before NEWLEADER is only remembered.
    pub(super) fn may_append(&self) -> bool {
        self.phase >= LearnerPhase::Settling && self.received.is_none()
    }

    /// The history that transactions are added to.
    pub(super) fn history<'a>(&'a self, own: &'a Own) -> &'a History {
        self.received.as_ref().unwrap_or(&own.history)
    }

    fn history_mut<'a>(&'a mut self, own: &'a mut Own) -> &'a mut History {
        self.received.as_mut().unwrap_or(&mut own.history)
    }

    /// When to call [`Learner::timeout`].
    pub(super) fn poll_timeout(&self, own: &Own) -> Millis {
        let role_ends = match (self.link, self.dial_at) {
            (None, Some(at)) => at.min(self.deadline),
            (None, None) => self.deadline,
            _ => self.heard_at.plus(self.silence_max_ms(own) + 1),
        };
        self.leave_at.map_or(role_ends, |at| role_ends.min(at))
    }

    fn silence_max_ms(&self, own: &Own) -> u64 {
        if self.phase < LearnerPhase::Settling { own.settings.init_ms() } else { own.settings.sync_ms() }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// Why the role ends.
    pub(super) fn timeout(&mut self, own: &mut Own) -> Result<(), RoleEnd> {
        if self.link.is_none() {
            if own.now >= self.deadline {
                return Err(RoleEnd::LeaderLost(Leaving::Silent));
            }
            if self.dial_at.is_some_and(|at| own.now >= at) {
                self.dial_at = None;
                self.dials += 1;
                own.act(ZabAction::Dial { to: self.leader });
            }
            return Ok(());
        }
        // Our own disk is no reason to leave a leader: it may be what we wait for.
        if own.now.since(self.heard_at) > self.silence_max_ms(own) {
            return Err(RoleEnd::LeaderLost(Leaving::Silent));
        }
        Ok(())
    }

    /// The leader could not be dialled.
    ///
    /// # Errors
    /// Why the role ends: it was tried often enough.
    pub(super) fn dial_failed(&mut self, own: &mut Own) -> Result<(), RoleEnd> {
        if self.phase != LearnerPhase::Dialing || self.link.is_some() {
            return Ok(());
        }
        if self.dials >= DIALS_MAX && !self.is_designated {
            return Err(RoleEnd::LeaderLost(Leaving::Silent));
        }
        self.dial_at = Some(own.now.plus(DIAL_PAUSE_MS));
        Ok(())
    }

    /// The connection to the leader is gone.
    ///
    /// # Errors
    /// Why the role ends, unless the leader may not know yet that it is one.
    pub(super) fn closed(&mut self, own: &Own) -> Result<(), RoleEnd> {
        if !self.is_designated || self.phase > LearnerPhase::Greeting {
            return Err(RoleEnd::LeaderLost(Leaving::RoleEnded));
        }
        self.link = None;
        self.phase = LearnerPhase::Dialing;
        self.dial_at = Some(own.now.plus(DIAL_PAUSE_MS));
        Ok(())
    }

    /// The connection to the leader is there.
    pub(super) fn opened(&mut self, own: &mut Own, link: LinkId) {
        if self.phase != LearnerPhase::Dialing || self.link.is_some() {
            own.close(link, Leaving::RoleEnded);
            return;
        }
        self.link = Some(link);
        self.phase = LearnerPhase::Greeting;
        self.heard_at = own.now;
        let kind = if self.is_observer { PacketType::OBSERVERINFO } else { PacketType::FOLLOWERINFO };
        let info =
            LearnerInfo { server: own.settings.me, config_version: own.config_version().0, takes_passwords: true };
        own.send(link, kind, Zxid::new(own.record.accepted_epoch, 0), info.encoded());
    }

    /// Whether this is the connection to the leader.
    pub(super) fn is_link(&self, link: LinkId) -> bool {
        self.link == Some(link)
    }

    /// The role ends: nothing of a history that was not acknowledged stays.
    pub(super) fn end(&mut self, own: &mut Own) {
        if let Some(link) = self.link.take() {
            own.close(link, Leaving::RoleEnded);
        }
        if self.phase == LearnerPhase::Hearing || self.received.take().is_some() {
            own.unshelve(false);
            own.act(ZabAction::Unhear);
        }
    }

    /// The leader's packet.
    ///
    /// # Errors
    /// Why the role ends.
    pub(super) fn packet(&mut self, own: &mut Own, packet: QuorumPacket) -> Result<(), RoleEnd> {
        let Some(link) = self.link else { return Ok(()) };
        self.heard_at = own.now;
        let zxid = packet.zxid;
        let is_observer = self.is_observer;
        let is_syncing = self.phase >= LearnerPhase::Truncating;
        match (packet.kind, self.phase) {
            (PacketType::LEADERINFO, LearnerPhase::Greeting) => {
                self.hear_of_passwords(own, packet.data())?;
                self.promise(own, link, zxid.epoch())?;
            }
            (PacketType::DIFF, LearnerPhase::Promised) if own.pretends.is_some() => {
                // Its log has nothing, and ours cannot be made to have nothing. To this there is only one answer, which does not
                // count for a quorum where others do.
                own.asks_for_state(Zxid(-1));
                return Err(RoleEnd::CannotTruncate);
            }
            (PacketType::DIFF, LearnerPhase::Promised) => {
                self.phase = LearnerPhase::Syncing;
                // All of it counts as committed, once this leader is established and tells us to serve.
                own.history.commit(own.history.last());
            }
            (PacketType::TRUNC, LearnerPhase::Promised) => self.truncate(own, zxid)?,
            (PacketType::SNAP, LearnerPhase::Promised) if zxid.epoch() <= self.epoch => {
                self.phase = LearnerPhase::Hearing;
                self.received = Some(History::at(zxid));
                // What our own log proposes is nothing that the leader has.
                own.shelve(Zxid(-1));
                own.act(ZabAction::Hear { link });
            }
            (PacketType::PROPOSAL, _) if is_syncing => self.take(own, zxid, packet.data)?,
            (PacketType::COMMIT, _) if is_syncing => {
                self.commit(own, zxid)?;
                // What is committed before we are told to serve comes into force by what NEWLEADER had.
                if self.phase >= LearnerPhase::Catching {
                    self.activated(own, zxid, None);
                }
                self.apply(own);
            }
            (PacketType::COMMITANDACTIVATE, _) if is_syncing => {
                self.commit(own, zxid)?;
                self.activated(own, zxid, designated(packet.data()));
                self.apply(own);
            }
            (PacketType::INFORM, _) if is_observer && is_syncing => {
                self.take(own, zxid, packet.data)?;
                self.commit(own, zxid)?;
                self.apply(own);
            }
            (PacketType::INFORMANDACTIVATE, _) if is_observer && is_syncing => {
                // The designated leader is in front of the transaction.
                self.take(own, zxid, packet.data().get(8..).map(Payload::from))?;
                self.commit(own, zxid)?;
                self.activated(own, zxid, designated(packet.data()));
                self.apply(own);
            }
            (PacketType::NEWLEADER, LearnerPhase::Truncating | LearnerPhase::Hearing | LearnerPhase::Syncing) => {
                self.hear_config(own, packet.data())?;
                self.end_of_history(own, zxid)?;
            }
            (PacketType::UPTODATE, LearnerPhase::Acked) => {
                self.phase = LearnerPhase::Catching;
                self.activate_told(own);
                self.serve(own, link);
            }
            (PacketType::PING, LearnerPhase::Catching | LearnerPhase::Serving) => {
                own.act(ZabAction::AnswerPing { link, zxid });
            }
            // Read, and not answered: ZooKeeper's leader takes the first packet for the history's acknowledgement, and
            // ours counts answers from UPTODATE on.
            (PacketType::PING, _) if self.phase >= LearnerPhase::Promised => {}
            (PacketType::SYNC | PacketType::REVALIDATE, LearnerPhase::Serving) => {
                own.act(ZabAction::FromLeader { link, packet })
            }
            (PacketType(1..=19), _) => return Err(RoleEnd::LeaderBroke("a packet out of turn")),
            _ => {}
        }
        Ok(())
    }

    fn hear_of_passwords(&mut self, own: &mut Own, data: &[u8]) -> Result<(), RoleEnd> {
        self.passwords = match decode_leader_info(data) {
            Some(handed) => EpochPasswords {
                mode: Some(
                    SessionPasswords::of_code(handed.passwords)
                        .ok_or(RoleEnd::LeaderBroke("session passwords of a kind that is not known here"))?,
                ),
                secret: match failpoint::on(Failpoint::SecretNotTaken) {
                    true => own.record.passwords.secret,
                    false => SessionSecret(handed.secret),
                },
            },
            None => {
                own.has_met_others = true;
                EpochPasswords { mode: Some(SessionPasswords::Compatible), ..own.record.passwords }
            }
        };
        Ok(())
    }

    /// What is kept when the epoch is entered.
    fn entered(&self, own: &Own) -> MemberRecord {
        MemberRecord { current_epoch: self.epoch, passwords: self.passwords, ..own.record }
    }

    fn promise(&mut self, own: &mut Own, link: LinkId, epoch: u32) -> Result<(), RoleEnd> {
        self.epoch = epoch;
        let accepted = own.record.accepted_epoch;
        if epoch < accepted || epoch > i32::MAX as u32 {
            return Err(RoleEnd::LeaderBroke("an epoch below the one that was accepted"));
        }
        if epoch == accepted {
            // Not to be counted: we may have promised it to somebody else.
            self.acknowledge_epoch(own, link, -1);
        } else {
            self.phase = LearnerPhase::Promising;
            own.keep(MemberRecord { accepted_epoch: epoch, ..own.record });
            if failpoint::on(Failpoint::PromiseNotKept) {
                own.actions.pop_back();
                own.keeping = None;
                self.acknowledge_epoch(own, link, own.record.current_epoch as i32);
            }
        }
        Ok(())
    }

    fn acknowledge_epoch(&mut self, own: &mut Own, link: LinkId, current: i32) {
        self.phase = LearnerPhase::Promised;
        assert!(own.history.last() == own.history.durable(), "a last zxid is reported that is not durable");
        own.send(link, PacketType::ACKEPOCH, own.end_for_leader(), epoch_ack(current));
    }

    /// Our record is on disk.
    pub(super) fn kept(&mut self, own: &mut Own) {
        let Some(link) = self.link else { return };
        match self.phase {
            LearnerPhase::Promising if own.record.accepted_epoch == self.epoch => {
                let current = own.record.current_epoch as i32;
                self.acknowledge_epoch(own, link, current);
            }
            LearnerPhase::Entering if self.received.is_none() && own.record.current_epoch == self.epoch => {
                self.acknowledge_history(own, link);
            }
            LearnerPhase::Catching => self.serve(own, link),
            LearnerPhase::Serving => own.deliver(),
            _ => {}
        }
    }

    /// The configuration that NEWLEADER has; with reconfiguration switched off it means nothing.
    fn hear_config(&mut self, own: &mut Own, text: &[u8]) -> Result<(), RoleEnd> {
        if own.configs().is_none() || text.is_empty() {
            return Ok(());
        }
        let told = std::str::from_utf8(text).ok().and_then(|text| Membership::parse(text).ok());
        let Some(told) = told else { return Err(RoleEnd::LeaderBroke("a configuration that cannot be read")) };
        own.told(&told);
        self.told = Some(told);
        Ok(())
    }

    /// We are told to serve: what the leader began with is committed, unless it was proposed since and waits for that.
    fn activate_told(&mut self, own: &mut Own) {
        let Some(told) = self.told.take() else { return };
        let history = self.history(own);
        let is_proposed =
            told.version.counter() > 0 && told.version > history.committed() && told.version <= history.last();
        if !is_proposed {
            self.switch(own, told, None, Zxid::ZERO);
        }
    }

    /// A reconfiguration is committed, and who leads by it, if that was said.
    fn activated(&mut self, own: &mut Own, zxid: Zxid, leader: Option<ServerId>) {
        if let Some(new) = own.proposed_at(zxid) {
            self.switch(own, new, leader, zxid);
        }
    }

    /// Another configuration is in force. By it our role may be another one, or our leader.
    fn switch(&mut self, own: &mut Own, new: Membership, leader: Option<ServerId>, at: Zxid) {
        let Some(configs) = own.configs() else { return };
        if new.version <= configs.committed.version {
            return;
        }
        let stays = match leader {
            Some(leader) => leader == self.leader,
            None => configs.committed.votes_at_same_place(&new, self.leader),
        };
        own.activate(new);
        if !stays || own.settings.is_participant == self.is_observer {
            self.leaving = Some((at, leader));
        }
    }

    /// Ends the role once another configuration says so, that is durable, and what made it is applied.
    ///
    /// # Errors
    /// The end of the role.
    pub(super) fn leave_if_due(&mut self, own: &Own) -> Result<(), RoleEnd> {
        let Some((after, leader)) = self.leaving else { return Ok(()) };
        let is_applied = self.phase != LearnerPhase::Serving || own.history.delivered() >= after;
        if !is_applied || !own.are_configs_kept() {
            return Ok(());
        }
        let at = *self.leave_at.get_or_insert(own.now.plus(LEAVE_AFTER_MS));
        if own.now >= at { Err(RoleEnd::Reconfigured { leader }) } else { Ok(()) }
    }

    fn truncate(&mut self, own: &mut Own, to: Zxid) -> Result<(), RoleEnd> {
        let is_ours = own.history.last_upto(to).is_none_or(|at| at == to);
        if to > own.history.last() || !is_ours {
            own.asks_for_state(Zxid::ZERO);
            return Err(RoleEnd::CannotTruncate);
        }
        self.phase = LearnerPhase::Truncating;
        own.shelve(to);
        own.truncating = Some(to);
        let run = own.run;
        own.act(ZabAction::Truncate { run, to });
        // What follows is received while the disk works, as if it were done.
        own.uncut = Some(Box::new(own.history.clone()));
        if !failpoint::on(Failpoint::TruncatedOnDiskOnly) {
            own.history.cut(to);
        }
        own.history.commit(own.history.last());
        Ok(())
    }

    /// Our log was cut, or could not be.
    ///
    /// # Errors
    /// Why the role ends.
    pub(super) fn truncated(&mut self, own: &mut Own, is_done: bool) -> Result<(), RoleEnd> {
        if !is_done {
            return Err(RoleEnd::CannotTruncate);
        }
        if self.phase == LearnerPhase::Truncating {
            self.phase = LearnerPhase::Syncing;
        }
        self.settle(own);
        Ok(())
    }

    /// More of the stream of a state has come.
    pub(super) fn state_moves(&mut self, own: &Own) {
        if self.phase == LearnerPhase::Hearing {
            self.heard_at = own.now;
        }
    }

    /// The stream of a state has ended.
    ///
    /// # Errors
    /// Why the role ends: it was broken, and nothing of it is remembered.
    pub(super) fn heard(&mut self, is_whole: bool) -> Result<(), RoleEnd> {
        if self.phase != LearnerPhase::Hearing {
            return Ok(());
        }
        if !is_whole && !failpoint::on(Failpoint::BrokenStateTaken) {
            return Err(RoleEnd::LeaderBroke("the state it sent was not whole"));
        }
        self.phase = LearnerPhase::Syncing;
        Ok(())
    }

    fn take(&mut self, own: &mut Own, zxid: Zxid, txn: Option<Payload>) -> Result<(), RoleEnd> {
        if self.phase == LearnerPhase::Hearing {
            return Err(RoleEnd::LeaderBroke("a proposal within a state"));
        }
        let Some(txn) = txn else { return Err(RoleEnd::LeaderBroke("a proposal without a transaction")) };
        if zxid.epoch() > self.epoch {
            return Err(RoleEnd::LeaderBroke("a proposal of an epoch to come"));
        }
        let history = self.history_mut(own);
        // Sent twice, by a leader that does not tell exactly what we have (SC-16).
        if zxid <= history.last() {
            return Ok(());
        }
        history.push(zxid, txn.clone()).map_err(|_| RoleEnd::LeaderBroke("a hole in the history"))?;
        own.note_txn(zxid, &txn)
    }

    fn commit(&mut self, own: &mut Own, zxid: Zxid) -> Result<(), RoleEnd> {
        let is_serving = self.phase == LearnerPhase::Serving;
        let history = self.history_mut(own);
        if zxid <= history.committed() && !is_serving {
            return Ok(());
        }
        if history.next_after(history.committed()) != Some(zxid) {
            return Err(RoleEnd::LeaderBroke("a commit of what is not the oldest proposal"));
        }
        history.commit(zxid);
        Ok(())
    }

    /// Applies what is committed, once it may be.
    fn apply(&mut self, own: &mut Own) {
        match (self.phase, self.link) {
            (LearnerPhase::Serving, _) => own.deliver(),
            (LearnerPhase::Catching, Some(link)) => self.serve(own, link),
            _ => {}
        }
    }

    fn end_of_history(&mut self, own: &mut Own, zxid: Zxid) -> Result<(), RoleEnd> {
        if self.phase == LearnerPhase::Hearing || zxid != Zxid::new(self.epoch, 0) {
            return Err(RoleEnd::LeaderBroke("an end of the history that is not its own"));
        }
        self.end = self.history(own).last();
        let received_to = self.received.as_ref().map(History::committed);
        match received_to {
            Some(at) => {
                // Into the state received, so that it is installed as of the last transaction known to be committed.
                own.act(ZabAction::Replay { upto: at });
                own.installing = true;
                self.installs = at;
                let record = self.entered(own);
                let run = own.run;
                let configs = own.configs_to_install();
                own.act(ZabAction::Install { run, at, record, configs });
                self.phase = LearnerPhase::Entering;
            }
            None if self.phase == LearnerPhase::Truncating => self.phase = LearnerPhase::Settling,
            None => {
                self.phase = LearnerPhase::Settling;
                self.settle(own);
            }
        }
        Ok(())
    }

    /// The state received is ours, or could not be installed.
    ///
    /// # Errors
    /// Why the role ends.
    pub(super) fn installed(&mut self, own: &mut Own, is_done: bool) -> Result<(), RoleEnd> {
        let Some(mut received) = self.received.take() else { return Ok(()) };
        if !is_done {
            own.act(ZabAction::Unhear);
            return Err(RoleEnd::DiskFailed);
        }
        // More may have been committed since it was begun.
        received.installed(self.installs);
        own.history = received;
        own.pretends = None;
        own.right = VotingRight::Held;
        own.record = self.entered(own);
        own.configs_installed();
        if let Some(link) = self.link {
            self.acknowledge_history(own, link);
        }
        Ok(())
    }

    /// Keeps the epoch once the whole history is durable.
    fn settle(&mut self, own: &mut Own) {
        let is_durable = own.history.durable() >= self.end || failpoint::on(Failpoint::EpochBeforeHistory);
        if self.phase != LearnerPhase::Settling || own.truncating.is_some() || !is_durable {
            return;
        }
        if failpoint::on(Failpoint::HistoryAckedBeforeEpoch)
            && let Some(link) = self.link
        {
            own.send_bare(link, PacketType::ACK, Zxid::new(self.epoch, 0));
        }
        self.phase = LearnerPhase::Entering;
        let record = self.entered(own);
        own.keep(record);
    }

    fn acknowledge_history(&mut self, own: &mut Own, link: LinkId) {
        assert!(own.record.current_epoch == self.epoch, "a history is acknowledged whose epoch is not on our disk");
        self.phase = LearnerPhase::Acked;
        own.send_bare(link, PacketType::ACK, Zxid::new(self.epoch, 0));
        self.acked = own.history.committed();
        self.acknowledge(own, link);
    }

    fn acknowledge(&mut self, own: &mut Own, link: LinkId) {
        let early = failpoint::on(Failpoint::AckedBeforeHistory) && self.phase >= LearnerPhase::Settling;
        if (self.phase < LearnerPhase::Acked && !early) || self.is_observer {
            return;
        }
        let upto = match failpoint::on(Failpoint::FollowerAcksBeforeSync) {
            true => own.history.last(),
            false => own.history.durable(),
        };
        let mut durable: Vec<Zxid> = own.history.between(self.acked, upto).map(|(zxid, _)| *zxid).collect();
        if failpoint::on(Failpoint::AcksTogether) {
            durable.drain(..durable.len().saturating_sub(1));
        }
        for zxid in durable {
            own.send_bare(link, PacketType::ACK, zxid);
            self.acked = zxid;
        }
    }

    /// Our own log is on disk further than it was.
    pub(super) fn synced(&mut self, own: &mut Own) {
        self.settle(own);
        let Some(link) = self.link else { return };
        self.acknowledge(own, link);
        if failpoint::on(Failpoint::UncommittedApplied) {
            own.history.commit(own.history.durable());
        }
        match self.phase {
            LearnerPhase::Serving => own.deliver(),
            LearnerPhase::Catching => self.serve(own, link),
            _ => {}
        }
    }

    /// Serves once everything that was committed when we were told to is applied.
    fn serve(&mut self, own: &mut Own, link: LinkId) {
        if own.history.durable() < own.history.committed() || !own.are_configs_kept() {
            return;
        }
        own.replay();
        self.phase = LearnerPhase::Serving;
        // ZooKeeper sends it again, and its leader ignores it.
        own.send_bare(link, PacketType::ACK, Zxid::new(self.epoch, 0));
        let votes = !self.is_observer;
        own.act(ZabAction::Stand(Standing::Following { leader: self.leader, epoch: self.epoch, votes }));
    }

    /// A packet of the engine's for the leader.
    pub(super) fn to_leader(&self, own: &mut Own, packet: QuorumPacket) {
        if let (Some(link), LearnerPhase::Serving) = (self.link, self.phase) {
            own.act(ZabAction::Send { link, packet });
        }
    }
}

/// Who leads from a reconfiguration on, as its commit says.
fn designated(data: &[u8]) -> Option<ServerId> {
    data.get(..8).and_then(|leader| leader.try_into().ok()).map(|leader| ServerId(u64::from_be_bytes(leader)))
}

#[cfg(test)]
impl Learner {
    /// Moves every moment back by so many ms, so that equal situations are equal values.
    pub(super) fn rebase(&mut self, ms: u64) {
        let back = |at: Millis| Millis(at.0.saturating_sub(ms));
        self.heard_at = back(self.heard_at);
        self.deadline = if self.link.is_none() { back(self.deadline) } else { Millis(0) };
        self.dial_at = self.dial_at.map(back);
    }
}
