//! A member of an ensemble: what its [`Zab`] asks for is carried out on engine, store and host, in order.
//!
//! | asked for | carried out by |
//! |---|---|
//! | keep, append | the host of the member, on whichever thread: [`EnsemblePart::begin_append`], [`EnsemblePart::appended`] |
//! | truncate | the store, at once or behind the write that is under way; the answer is the next event |
//! | install | [`Installing`], a slice in each turn |
//! | replay, deliver | the engine; what is delivered may wait there for a long transaction to be applied |
//! | read, open and stream a snapshot | [`Feeding`], a piece at a time and as the connection takes it |
//! | hear, unhear | [`StateHearing`], apart from the state that is served |
//! | dial, send, close, ballots | the host |

mod logging;
mod pace;
mod words;

use std::collections::VecDeque;

use super::feeding::Feeding;
use super::installing::Installing;
use super::numbers::{EnsembleStatus, Numbers};
use super::{EngineSeat, Host, JoinSettings, Loading, MemberFailure, MemberParts};
use crate::engine::{Duty, Outgoing, ReplicatedState, StateHearing};
use crate::ids::{LinkId, Millis, Zxid};
use crate::records::membership::ReconfigView;
use crate::records::peer::{PacketType, QuorumPacket};
use crate::records::txn::Proposal;
use crate::session::SessionPasswords;
use crate::store::{MemberState, SnapshotDone, Soundness, Store, StoreError};
use crate::zab::{
    ConfigChange, Configs, EpochPasswords, History, Standing, Start, VotingRight, Zab, ZabAction, ZabEvent, ZabSettings,
};
use logging::{Keeping, kept, record_of};
use pace::DialPace;
use words::{SilenceTelling, tell_right, why_silent, words};

/// A member without a leader answers reads, where that is allowed, after so long, ms; a tick where that is longer.
const READ_ONLY_AFTER_MS: u64 = 2000;
/// Time for feeding learners in one turn, µs.
const FEED_US: u64 = 1000;
/// How long the end of an installation that found no room is kept back, ms. The role ends with it, and the next begins with the
/// whole state being sent again.
const NO_ROOM_PAUSE_MS: u64 = 2000;

/// A state that is received in place of ours.
enum Receiving {
    /// The stream is under way.
    Stream { link: LinkId, hearing: Box<StateHearing> },
    /// It is whole.
    State(Box<ReplicatedState>),
}

/// A member's part in its ensemble.
pub(super) struct EnsemblePart {
    zab: Zab,
    standing: Standing,
    /// Committed and not handed to the engine yet.
    deliveries: VecDeque<Proposal>,
    /// Up to where transactions were taken from the history to be applied.
    taken: Zxid,
    receiving: Option<Receiving>,
    pub(super) feeding: Feeding,
    /// Somebody can be fed more at once.
    is_feeding: bool,
    installing: Option<Installing>,
    /// An installation that found no room: its run, and when its end is told.
    no_room: Option<(u64, Millis)>,
    /// Decided, but there was no room for it while others were outstanding.
    held: Vec<Proposal>,
    /// It waits for the superblock, by which more of the file becomes log.
    awaits_link: bool,
    /// Sizes of what needs room in the log, while that is looked for.
    sizes: Vec<usize>,
    /// An append that was begun and is not over: its run, and where it ends.
    appending: Option<(u64, Zxid)>,
    /// When it is tried again, having found no room.
    retry_at: Option<Millis>,
    /// A truncation that waits until the write under way is over: its run, and where the log is to end.
    truncating: Option<(u64, Zxid)>,
    /// A record that is to be kept, or is being kept.
    keeping: Option<Keeping>,
    /// An installation that waits until the write under way is over: its run, where the state ends, and what is kept with it.
    to_install: Option<(u64, Zxid, Box<MemberState>)>,
    /// When reads are answered without a leader, while there is none and that is allowed.
    read_only_at: Option<Millis>,
    /// How long there must be none for that; `None` where it is not allowed.
    read_only_after_ms: Option<u64>,
    /// When the leader is dialled.
    pace: DialPace,
    /// It is about to stop: nothing more is decided.
    is_leaving: bool,
    /// What the operator is told of elections in which it says nothing.
    silence: SilenceTelling,
    /// The kind of session passwords that the log told of last.
    passwords_told: Option<SessionPasswords>,
    /// The time when the clock was last looked at, which is not done for each packet.
    now: Millis,
    /// Events that follow from what was carried out.
    follow_ups: VecDeque<ZabEvent>,
    numbers: Numbers,
}

impl EnsemblePart {
    /// Begins to look for a leader. `applied`: the end of what was recovered, all of it applied.
    pub(super) fn new(
        now: Millis,
        settings: ZabSettings,
        joining: JoinSettings,
        store: &Store,
        applied: Zxid,
    ) -> EnsemblePart {
        let read_only_after_ms = joining.is_read_only.then_some(READ_ONLY_AFTER_MS.max(settings.tick_ms));
        let record = record_of(store);
        let (me, voters) = (settings.me, settings.quorums.voters().len());
        log::info!(
            "server {me} looks for a leader, at zxid {applied}: of {voters} voters a quorum must be there, clients are refused until then"
        );
        let is_new = applied == Zxid::ZERO && record.current_epoch == 0;
        let right = match joining.trusts_new_file {
            _ if store.is_to_be_filled() => VotingRight::OnceFilled,
            _ if store.member_state().soundness == Soundness::NewAndTrusted => VotingRight::Held,
            None if is_new => VotingRight::OnceAllAreHeard,
            Some(false) if is_new => VotingRight::OnceFilled,
            _ => VotingRight::Held,
        };
        if settings.is_participant {
            tell_right(right);
        }
        EnsemblePart {
            pace: DialPace::new(settings.init_ms()),
            silence: SilenceTelling::new(now),
            zab: Zab::new(now, settings, Start { history: History::at(applied), record, right }),
            standing: Standing::Looking,
            deliveries: VecDeque::new(),
            taken: applied,
            receiving: None,
            feeding: Feeding::default(),
            is_feeding: false,
            installing: None,
            held: Vec::new(),
            awaits_link: false,
            sizes: Vec::new(),
            appending: None,
            retry_at: None,
            no_room: None,
            truncating: None,
            keeping: None,
            to_install: None,
            read_only_at: read_only_after_ms.map(|ms| now.plus(ms)),
            read_only_after_ms,
            passwords_told: record.passwords.mode,
            is_leaving: false,
            now,
            follow_ups: VecDeque::new(),
            numbers: Numbers::new(now),
        }
    }

    /// What it tells about itself.
    pub(super) fn status(&self, now: Millis) -> EnsembleStatus {
        let counts = match self.standing {
            Standing::Leading { .. } => self.zab.learner_counts(),
            _ => None,
        };
        EnsembleStatus {
            numbers: self.numbers,
            voters: self.zab.voter_count(),
            leading: counts.map(|counts| (counts, self.numbers.age_ms(now))),
        }
    }

    /// What must be known before another configuration may be proposed here.
    pub(super) fn reconfig_view(&self) -> Option<ReconfigView> {
        self.zab.reconfig_view()
    }

    /// Whether that is what it was.
    pub(super) fn is_reconfig_view(&self, known: Option<&ReconfigView>) -> bool {
        self.zab.is_reconfig_view(known)
    }

    /// The configurations of the ensemble, where they may change.
    pub(super) fn configs(&self) -> Option<&Configs> {
        self.zab.configs()
    }

    /// What this member is to its clients.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// The next transaction for the engine.
    pub(super) fn poll_commit(&mut self) -> Option<Proposal> {
        self.deliveries.pop_front()
    }

    /// Whether something is committed that the engine does not have yet.
    pub(super) fn has_deliveries(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Decides nothing more: it is about to stop.
    pub(super) fn begin_leaving(&mut self) {
        self.is_leaving = true;
    }

    /// It does not stop after all, or leads no more.
    pub(super) fn stay(&mut self) {
        self.is_leaving = false;
    }

    /// Whether nothing is lost when it stops now, and no other member has to wait for what only this one has.
    pub(super) fn may_leave(&self) -> bool {
        self.zab.may_leave()
    }

    /// Whether something that was decided here is not committed yet.
    pub(super) fn has_outstanding(&self) -> bool {
        !self.held.is_empty() || self.zab.history().committed() < self.zab.history().last()
    }

    /// When a turn is wanted though nothing comes from outside.
    pub(super) fn poll_timeout(&self) -> Millis {
        let no_room_told = self.no_room.map(|(_, at)| at);
        [Some(self.zab.poll_timeout()), self.retry_at, no_room_told, self.pace.poll_timeout(), self.read_only_at]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Millis(u64::MAX))
    }

    /// Looks at the clock, after something that may have taken long.
    pub(super) fn look_at_clock(&mut self, host: &impl Host) {
        self.now = self.now.max(host.time().0);
    }

    /// Looks at the clock.
    pub(super) fn wake<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<(), MemberFailure> {
        let (now, wall) = host.time();
        self.now = self.now.max(now);
        if self.zab.poll_timeout() <= now {
            self.handle(parts, host, ZabEvent::Timeout)?;
        }
        if let Some((run, _)) = self.no_room.take_if(|(_, at)| *at <= now) {
            self.handle(parts, host, ZabEvent::Installed { run, is_done: false })?;
        }
        if let Some(leader) = self.pace.take_due(now) {
            host.dial(leader);
        }
        if self.standing == Standing::Looking && self.silence.is_due(now) {
            self.zab.silence().inspect(|why| log::warn!("this member does not vote yet: {}", why_silent(why)));
        }
        if self.read_only_at.is_some_and(|at| at <= now) {
            self.read_only_at = None;
            log::info!("there is no leader: reads are answered for clients that put up with that");
            parts.engine.serve(Duty::ReadOnly, now, wall);
        }
        Ok(())
    }

    /// The state is about to be another one: clients that read it without a leader are closed.
    fn end_read_only<S: EngineSeat>(&mut self, parts: &mut MemberParts<'_, S>) -> Result<(), MemberFailure> {
        self.read_only_at = None;
        if parts.engine.duty() == Duty::ReadOnly {
            parts.engine.retire()?;
        }
        Ok(())
    }

    /// One thing that happened, and all that follows from it.
    pub(super) fn handle<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
        event: ZabEvent,
    ) -> Result<(), MemberFailure> {
        self.follow_ups.push_back(event);
        while let Some(event) = self.follow_ups.pop_front() {
            self.numbers.note_event(&event);
            self.zab.handle(self.now, event);
            if let Some(ending) = self.zab.take_ending() {
                self.pace.ended(self.now, &ending);
                self.forget_what_lacks_room(parts.store);
                log::warn!("{}", words(&ending));
            }
            while let Some(action) = self.zab.poll_action() {
                self.carry_out(parts, host, action)?;
            }
        }
        if self.silence.ends(self.zab.silence().is_some()) {
            log::info!("this member votes from now on");
        }
        Ok(())
    }

    fn carry_out<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
        action: ZabAction,
    ) -> Result<(), MemberFailure> {
        self.numbers.note_action(&action);
        match action {
            ZabAction::Ballot { to, notification } => host.ballot(to, &notification),
            ZabAction::LinkBallots(peers) => host.link_ballots(&peers),
            ZabAction::Dial { to } => {
                if self.pace.dial(self.now, to) {
                    host.dial(to);
                }
            }
            ZabAction::Send { link, packet } => host.send(link, &packet),
            ZabAction::Close { link, why } => {
                log::info!("closing a connection of the quorum port: {why:?}");
                host.close(link);
            }
            ZabAction::Keep { run, record, configs } => {
                self.keeping = Some(Keeping::new(run, record, configs));
                let kept = self.go_on_keeping(parts)?;
                self.follow_ups.extend(kept);
            }
            // Asked for by `begin_append`, so that all that came in a turn shares one sync.
            ZabAction::Append { .. } => {}
            // The mark of an idle log may be under way.
            ZabAction::Truncate { run, to } if parts.store.is_writing() => self.truncating = Some((run, to)),
            ZabAction::Truncate { run, to } => {
                let is_done = self.truncate(parts, to)?;
                self.follow_ups.push_back(ZabEvent::Truncated { run, is_done });
            }
            ZabAction::Hear { link } => {
                let hearing = Box::new(parts.engine.hear(self.zab.history().last()));
                self.receiving = Some(Receiving::Stream { link, hearing });
                host.hear(link);
            }
            ZabAction::Unhear => {
                self.receiving = None;
                if let Some((run, ..)) = self.to_install.take() {
                    self.follow_ups.push_back(ZabEvent::Installed { run, is_done: false });
                }
                if let Some(installing) = self.installing.take() {
                    parts.store.snapshot_abort();
                    self.follow_ups.push_back(ZabEvent::Installed { run: installing.run, is_done: false });
                }
                if let Some((run, _)) = self.no_room.take() {
                    self.follow_ups.push_back(ZabEvent::Installed { run, is_done: false });
                }
            }
            ZabAction::Install { run, at, record, configs } => {
                let state = kept(parts.store, record, configs.as_deref());
                match parts.store.is_rearranging() {
                    true => self.to_install = Some((run, at, Box::new(state))),
                    false => self.install(parts, run, at, state)?,
                }
            }
            ZabAction::Replay { upto } => self.replay(parts, upto)?,
            ZabAction::Deliver { upto } => {
                let txns = self.zab.txns(self.taken, upto);
                self.deliveries.extend(txns.map(|(zxid, txn)| Proposal { zxid: *zxid, txn: txn.clone() }));
                self.taken = upto;
            }
            ZabAction::Read { link, after } => self.feeding.read(link, after),
            ZabAction::OpenSnapshot { link } => self.feeding.open_snapshot(link),
            ZabAction::StreamSnapshot { link } => self.feeding.stream_snapshot(link),
            ZabAction::FromLearner { from, link, packet } => {
                if let Err(violation) = parts.engine.from_learner(from, link, &packet) {
                    log::warn!("server {from} is disconnected: {violation}");
                    self.hang_up(host, link);
                }
            }
            ZabAction::FromLeader { link, packet } => {
                let committed = self.zab.history().committed();
                if let Err(violation) = parts.engine.from_leader(&packet, committed) {
                    log::warn!("the leader is left: {violation}");
                    self.hang_up(host, link);
                }
            }
            ZabAction::LearnerGone { link } => {
                self.feeding.forget(parts, link);
                parts.engine.learner_gone(link);
            }
            ZabAction::AnswerPing { link, zxid } => {
                let touches = parts.engine.ping_answer();
                host.send(link, &QuorumPacket::with_data(PacketType::PING, zxid, touches.into()));
            }
            ZabAction::Confirmed { token } => parts.engine.confirmed(token),
            ZabAction::Stand(standing) => self.stand(parts, host, standing)?,
            ZabAction::Configured { configs, change } => {
                if let ConfigChange::Activated { is_in_log: false } = change {
                    parts.engine.configured(&configs.committed);
                }
                host.configured(&configs, change);
            }
        }
        Ok(())
    }

    /// Closes a connection whose other end broke the protocol.
    fn hang_up(&mut self, host: &mut impl Host, link: LinkId) {
        host.close(link);
        self.follow_ups.push_back(ZabEvent::Closed { link });
    }

    fn stand<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
        standing: Standing,
    ) -> Result<(), MemberFailure> {
        // What is committed and in our log is applied, whether or not somebody is still there to be answered.
        parts.engine.retire()?;
        for Proposal { zxid, txn } in self.deliveries.drain(..) {
            parts.engine.replay(zxid, &txn)?;
        }
        self.held.clear();
        self.feeding.clear(parts);
        self.numbers.stands(host.time().0, std::mem::replace(&mut self.standing, standing), standing);
        let duty = match standing {
            Standing::Looking => {
                self.read_only_at = self.read_only_after_ms.map(|ms| host.time().0.plus(ms));
                log::info!("looking for a leader, at zxid {}", parts.engine.applied());
                return Ok(());
            }
            Standing::Leading { epoch } => {
                log::info!("leading in epoch {epoch}, from zxid {}", parts.engine.applied());
                Duty::Decide { epoch }
            }
            Standing::Following { leader, epoch, votes } => {
                let what = if votes { "following" } else { "observing" };
                self.pace.follows(self.now);
                log::info!("{what} server {leader} in epoch {epoch}, from zxid {}", parts.engine.applied());
                Duty::Forward { epoch, votes }
            }
        };
        self.read_only_at = None;
        let (now, wall) = host.time();
        let EpochPasswords { mode, secret } = self.zab.record().passwords;
        if let Some(mode) = mode.filter(|mode| self.passwords_told != Some(*mode)) {
            log::info!("session passwords: {} from this epoch on", mode.name());
            self.passwords_told = Some(mode);
        }
        parts.engine.set_passwords(mode, secret);
        parts.engine.serve(duty, now, wall);
        Ok(())
    }

    // -----------------------------------------------------------------------------------------------------------
    // What others are given

    /// What the engine has for other servers goes to them.
    pub(super) fn send_packets<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<(), MemberFailure> {
        parts.engine.committed(self.zab.history().committed());
        while let Some(outgoing) = parts.engine.poll_packet() {
            let event = match outgoing {
                Outgoing::ToLeader(packet) => ZabEvent::ToLeader(packet),
                Outgoing::ToLearner { link, packet } => ZabEvent::ToLearner { link, packet },
                Outgoing::Confirm { token } => ZabEvent::Confirm { token },
                Outgoing::Close { link, why } => {
                    log::warn!("a learner is disconnected: {why}");
                    host.close(link);
                    ZabEvent::Closed { link }
                }
            };
            self.handle(parts, host, event)?;
        }
        Ok(())
    }

    /// Pieces of the log and of the state for learners, as far as their connections take them and for no longer than a slice
    /// should take.
    pub(super) fn feed<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<(), MemberFailure> {
        let until_us = host.now_us().saturating_add(FEED_US);
        loop {
            let events = self.feeding.turn(parts, host, until_us)?;
            if events.is_empty() {
                break;
            }
            for event in events {
                self.handle(parts, host, event)?;
            }
        }
        self.is_feeding = self.feeding.goes_on(host);
        Ok(())
    }

    // -----------------------------------------------------------------------------------------------------------
    // What is received

    fn truncate<S: EngineSeat>(&mut self, parts: &mut MemberParts<'_, S>, to: Zxid) -> Result<bool, MemberFailure> {
        log::warn!("the leader does not have what is behind zxid {to}: it is dropped from the log");
        self.end_read_only(parts)?;
        parts.snapshots.abort(parts.engine, parts.store);
        match parts.store.truncate(to) {
            Ok(true) => {}
            Ok(false) | Err(StoreError::Full { .. }) => {
                log::error!("the log cannot be made to end at zxid {to}");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        if parts.engine.applied() > to {
            let store = &mut *parts.store;
            parts.engine.reload(|state| store.reload(&mut Loading::into(state)).map(drop))?;
            self.taken = parts.engine.applied();
        }
        Ok(true)
    }

    fn replay<S: EngineSeat>(&mut self, parts: &mut MemberParts<'_, S>, upto: Zxid) -> Result<(), MemberFailure> {
        if let Some(Receiving::State(heard)) = &mut self.receiving {
            for (zxid, txn) in self.zab.txns(heard.applied(), upto) {
                heard.replay(*zxid, txn)?;
            }
            return Ok(());
        }
        self.end_read_only(parts)?;
        for (zxid, txn) in self.zab.txns(self.taken, upto) {
            parts.engine.replay(*zxid, txn)?;
        }
        self.taken = upto;
        Ok(())
    }

    /// Bytes of a state that is being received.
    pub(super) fn raw<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
        link: LinkId,
        bytes: &[u8],
    ) -> Result<(), MemberFailure> {
        let is_from = |one: &mut Receiving| matches!(one, Receiving::Stream { link: from, .. } if *from == link);
        let Some(Receiving::Stream { mut hearing, .. }) = self.receiving.take_if(is_from) else { return Ok(()) };
        let heard = match hearing.feed(bytes) {
            Ok(fed) if !fed.is_whole => {
                self.receiving = Some(Receiving::Stream { link, hearing });
                return self.handle(parts, host, ZabEvent::StateMoves { link });
            }
            Ok(fed) => {
                host.heard(link, bytes.get(fed.consumed..).unwrap_or_default());
                hearing.finish()
            }
            Err(damage) => Err(damage),
        };
        let is_whole = match heard {
            Ok(heard) => {
                self.receiving = Some(Receiving::State(Box::new(heard)));
                true
            }
            Err(damage) => {
                log::error!("the leader's state cannot be read: {damage}");
                false
            }
        };
        self.handle(parts, host, ZabEvent::Heard { link, is_whole })
    }

    /// Begins to make the state that was received our own.
    fn install<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        run: u64,
        at: Zxid,
        state: MemberState,
    ) -> Result<(), MemberFailure> {
        let Some(Receiving::State(heard)) = self.receiving.take() else {
            self.follow_ups.push_back(ZabEvent::Installed { run, is_done: false });
            return Ok(());
        };
        self.end_read_only(parts)?;
        assert!(heard.applied() == at, "a state of {} is installed as that of {at}", heard.applied());
        parts.snapshots.abort(parts.engine, parts.store);
        // It has a leader's whole history then, whatever it had before.
        let state = MemberState { soundness: Soundness::Sound, ..state };
        match Installing::begin(heard, parts.store, run, &state) {
            Ok(installing) => {
                self.installing = Some(installing);
                Ok(())
            }
            Err(error) => self.found_no_room(parts.store, run, error),
        }
    }

    /// An installation has failed: for want of room, unless the file has.
    fn found_no_room(&mut self, store: &Store, run: u64, error: StoreError) -> Result<(), MemberFailure> {
        if store.stats().poisoned.is_some() {
            return Err(error.into());
        }
        log::error!("{error}: the leader's state has no room here");
        self.no_room = Some((run, self.now.plus(NO_ROOM_PAUSE_MS)));
        Ok(())
    }

    /// Goes on with an installation.
    pub(super) fn go_on_installing<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
    ) -> Result<(), MemberFailure> {
        let Some(installing) = &mut self.installing else { return Ok(()) };
        let run = installing.run;
        if let Err(error) = installing.go_on(parts, host) {
            self.installing = None;
            parts.store.snapshot_abort();
            self.found_no_room(parts.store, run, error)?;
        }
        Ok(())
    }

    /// The store has ended what it was writing: an installation, if one is under way.
    pub(super) fn snapshot_done<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &mut impl Host,
        done: SnapshotDone,
    ) -> Result<Option<SnapshotDone>, MemberFailure> {
        let Some(installing) = self.installing.take_if(|installing| installing.at() == done.zxid) else {
            return Ok(Some(done));
        };
        let (run, at) = (installing.run, installing.at());
        match installing.finish(done) {
            Ok(heard) => {
                log::info!("the leader's state at zxid {at} is this member's own now");
                parts.engine.take_over(heard);
                self.taken = at;
                self.handle(parts, host, ZabEvent::Installed { run, is_done: true })?;
            }
            Err(error) => self.found_no_room(parts.store, run, error)?,
        }
        Ok(None)
    }

    /// Whether a turn has more to do for the learners that are fed, for the state that is installed, or for what was decided
    /// while the superblock was written.
    pub(super) fn goes_on(&self, store: &Store) -> bool {
        (self.awaits_link && !store.is_rearranging())
            || self.is_feeding
            || self.installing.as_ref().is_some_and(|installing| installing.goes_on(store))
    }
}
