//! One member: its engine, its share in the agreement and its store, tied together without sockets, clock or threads.
//!
//! `peer` drives it with mio, `sim` with a simulated disk and clients: what happens between a decision and its reply is
//! written once. A turn: [`Member::pace`]; bytes of clients into the engine; [`Member::commit`]; [`Member::take_snapshot`];
//! the engine's output to the clients; [`Member::tick`]. A member of an ensemble is also told what its network brings, by
//! [`Member::handle`], before its clients' bytes.

use std::fmt;
use std::ops::DerefMut;

use crate::engine::{Damage, Duty, Engine, EngineSettings, LogSpace, ReplicatedState};
use crate::failpoint::{self, Failpoint};
use crate::ids::{LinkId, Millis, ServerId, WallMillis, Zxid};
use crate::records::peer::{Notification, QuorumPacket};
use crate::records::txn::Proposal;
use crate::session::{SessionPasswords, SessionSecret};
use crate::store::{LogWrite, LogWritten, Record, SpaceLevel, Store, StoreError};
use crate::zab::{self, Broadcast, ConfigChange, Configs, Majority, Standing, ZabEvent};

mod carry;
mod configs;
mod feeding;
mod installing;
mod numbers;
mod recovery;
mod snapshots;
#[cfg(test)]
mod tests;

use carry::EnsemblePart;
pub use configs::configs_at_start;
pub use numbers::{EnsembleStatus, Numbers};
pub use recovery::{Loading, trust_new_file};
pub use snapshots::{Slices, SnapshotTaking};

/// Transactions applied before clients are told of them, while others are still to be applied.
const TOLD_TOGETHER: usize = 32;

/// Where the engine is kept: others may read it while the member does not work with it.
pub trait EngineSeat: DerefMut<Target = Engine> {
    /// Lets others read until [`EngineSeat::take_back`].
    fn lend(&mut self) {}
    /// Waits for them to finish.
    fn take_back(&mut self) {}
}

impl EngineSeat for Box<Engine> {}

/// What only the driver of a [`Member`] can do.
pub trait Host {
    /// The time: since the start, and on the wall clock.
    fn time(&self) -> (Millis, WallMillis);

    /// A clock for slices of work, µs.
    fn now_us(&self) -> u64;

    /// Transactions have been applied and others are still to be: clients that answer at once may be told already.
    fn tell(&mut self, engine: &mut Engine);

    // A member that is alone asks for none of these.

    /// Tells a server this, if it can be reached; a newer one replaces it while it waits.
    fn ballot(&mut self, _to: ServerId, _notification: &Notification) {}

    /// Connects with the election ports of these.
    fn link_ballots(&mut self, _peers: &[ServerId]) {}

    /// Connects with the quorum port of the leader.
    fn dial(&mut self, _to: ServerId) {}

    /// Queues a packet.
    fn send(&mut self, _link: LinkId, _packet: &QuorumPacket) {}

    /// Queues bytes of a state's stream.
    fn send_raw(&mut self, _link: LinkId, _bytes: Vec<u8>) {}

    /// Bytes queued that the connection has not taken yet.
    fn output_len(&self, _link: LinkId) -> usize {
        0
    }

    /// Closes a connection.
    fn close(&mut self, _link: LinkId) {}

    /// What comes on it is the stream of a state from now on, for [`Member::raw`].
    fn hear(&mut self, _link: LinkId) {}

    /// The stream has ended; these bytes are behind its end, and packets again.
    fn heard(&mut self, _link: LinkId, _rest: &[u8]) {}

    /// The ensemble's configuration is another one, or is about to be: where the others are reached from now on, and what is to be
    /// written into files that people read. What must be durable of it is in the store.
    fn configured(&mut self, _configs: &Configs, _change: ConfigChange) {}

    /// Hands to the system what is queued, before a sync.
    fn flush(&mut self) {}
}

/// How a member joins its ensemble.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinSettings {
    /// It answers reads when there is no leader for a while, for clients that put up with that.
    pub is_read_only: bool,
    /// Whether it votes though its file is new: `None` once every other voter was heard.
    pub trusts_new_file: Option<bool>,
}

/// Why a member cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberFailure {
    /// The file failed; nothing is acknowledged from then on (S-42).
    Store(StoreError),
    /// A transaction is damaged, though its checksum is right.
    Damage(Damage),
}

impl fmt::Display for MemberFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemberFailure::Store(error) => error.fmt(f),
            MemberFailure::Damage(damage) => damage.fmt(f),
        }
    }
}

impl std::error::Error for MemberFailure {}

impl From<StoreError> for MemberFailure {
    fn from(error: StoreError) -> MemberFailure {
        MemberFailure::Store(error)
    }
}

impl From<Damage> for MemberFailure {
    fn from(damage: Damage) -> MemberFailure {
        MemberFailure::Damage(damage)
    }
}

/// What became of the transactions that were decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are on disk, if there were any.
    Durable,
    /// There was no room: none of them happened, and the clients that wait for one are disconnected.
    Refused,
}

/// The log has more or less room than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSpaceChanged {
    /// How much.
    pub log_space: LogSpace,
    /// Whether the disk is what has no space, not the file's own limit.
    pub is_disk_full: bool,
}

/// With whom it is agreed what is committed.
enum Agreement {
    /// With itself.
    Alone { broadcast: Broadcast, me: ServerId },
    /// With the others.
    Ensemble(Box<EnsemblePart>),
}

/// What an ensemble's member works on, beside its part in the agreement.
struct MemberParts<'m, S> {
    engine: &'m mut S,
    store: &'m mut Store,
    snapshots: &'m mut SnapshotTaking,
}

/// One member of an ensemble, or a server that is alone and a quorum by itself.
pub struct Member<S> {
    /// What it decides and has applied.
    pub engine: S,
    /// What it has on disk.
    pub store: Store,
    /// The snapshot that is being taken, if any.
    pub snapshots: SnapshotTaking,
    agreement: Agreement,
    /// What the engine was last told of the space for the log.
    log_space: LogSpace,
    /// Something was applied whose events have not left yet.
    untold: bool,
}

impl<S: EngineSeat> Member<S> {
    /// A member that is alone, with the state that was read from `store` when it was opened (see [`Loading`]). `seat` says where its
    /// engine sits.
    pub fn new(
        settings: EngineSettings,
        state: ReplicatedState,
        store: Store,
        seat: impl FnOnce(Engine) -> S,
    ) -> Member<S> {
        let me = settings.server_id;
        let engine = seat(Engine::new(settings, store.secret(), state));
        let broadcast = Broadcast::new(me, Majority::new(vec![me]), engine.applied());
        let snapshots = SnapshotTaking::default();
        let agreement = Agreement::Alone { broadcast, me };
        Member { engine, store, snapshots, agreement, log_space: LogSpace::Plenty, untold: false }
    }

    /// Begins to serve alone.
    pub fn start(&mut self, now: Millis, wall: WallMillis) {
        let (_, current) = self.store.epochs();
        let epoch = self.engine.applied().epoch().max(u32::try_from(current).unwrap_or(0));
        // A server that was a member of an ensemble goes on with what its sessions have. Where that was never said, they may have either
        // kind: the ensemble was one of an earlier version, or ZooKeeper's.
        let mode = SessionPasswords::of_code(self.store.member_state().passwords)
            .or_else(|| (current > 0).then_some(SessionPasswords::Moving));
        self.engine.set_passwords(mode, SessionSecret(self.store.secret()));
        self.engine.serve(Duty::Alone { epoch }, now, wall);
    }

    /// Begins to look for a leader, and serves once there is one.
    ///
    /// # Errors
    /// [`MemberFailure`], which is final.
    pub fn join(
        &mut self,
        host: &mut impl Host,
        settings: zab::ZabSettings,
        joining: JoinSettings,
    ) -> Result<(), MemberFailure> {
        let ensemble = EnsemblePart::new(host.time().0, settings, joining, &self.store, self.engine.applied());
        self.agreement = Agreement::Ensemble(Box::new(ensemble));
        self.handle(host, ZabEvent::Timeout)
    }

    fn ensemble(&mut self) -> Option<(&mut EnsemblePart, MemberParts<'_, S>)> {
        let Member { engine, store, snapshots, agreement, .. } = self;
        match agreement {
            Agreement::Alone { .. } => None,
            Agreement::Ensemble(ensemble) => Some((ensemble, MemberParts { engine, store, snapshots })),
        }
    }

    /// What this member of an ensemble is to its clients; `None` for a server that is alone.
    pub fn standing(&self) -> Option<Standing> {
        match &self.agreement {
            Agreement::Alone { .. } => None,
            Agreement::Ensemble(ensemble) => Some(ensemble.standing()),
        }
    }

    /// Tells the engine what must be known before this member may propose another configuration, unless it knows.
    fn tell_reconfig_view(&mut self) {
        if let Agreement::Ensemble(ensemble) = &self.agreement
            && !ensemble.is_reconfig_view(self.engine.reconfig_view())
        {
            self.engine.set_reconfig_view(ensemble.reconfig_view());
        }
    }

    /// The configurations of the ensemble, where they may change.
    pub fn configs(&self) -> Option<&Configs> {
        match &self.agreement {
            Agreement::Alone { .. } => None,
            Agreement::Ensemble(ensemble) => ensemble.configs(),
        }
    }

    /// What this member of an ensemble tells about itself; `None` for a server that is alone.
    pub fn ensemble_status(&self, now: Millis) -> Option<EnsembleStatus> {
        match &self.agreement {
            Agreement::Alone { .. } => None,
            Agreement::Ensemble(ensemble) => Some(ensemble.status(now)),
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // What the network of an ensemble brings

    /// One thing that happened among members.
    ///
    /// # Errors
    /// [`MemberFailure`], which is final.
    pub fn handle(&mut self, host: &mut impl Host, event: ZabEvent) -> Result<(), MemberFailure> {
        self.ensemble().map_or(Ok(()), |(ensemble, mut parts)| ensemble.handle(&mut parts, host, event))
    }

    /// Bytes that came on a connection since [`Host::hear`].
    ///
    /// # Errors
    /// [`MemberFailure`], which is final.
    pub fn raw(&mut self, host: &mut impl Host, link: LinkId, bytes: &[u8]) -> Result<(), MemberFailure> {
        self.ensemble().map_or(Ok(()), |(ensemble, mut parts)| ensemble.raw(&mut parts, host, link, bytes))
    }

    /// Looks at the clock: to be called first in a turn, before any client's bytes, so that a leader that was stopped for a
    /// while finds out before it answers anybody.
    ///
    /// # Errors
    /// [`MemberFailure`], which is final.
    pub fn wake(&mut self, host: &mut impl Host) -> Result<(), MemberFailure> {
        self.ensemble().map_or(Ok(()), |(ensemble, mut parts)| ensemble.wake(&mut parts, host))
    }

    /// It is about to stop: a leader decides nothing more from now on. Whether it leads, and so whether that may take until
    /// [`Member::may_leave`].
    pub fn begin_leaving(&mut self) -> bool {
        let leads = matches!(self.standing(), Some(Standing::Leading { .. }));
        if let Some((ensemble, _)) = self.ensemble() {
            ensemble.begin_leaving();
        }
        leads
    }

    /// It is not about to stop any more: what it decides goes out again.
    pub fn stay(&mut self) {
        if let Some((ensemble, _)) = self.ensemble() {
            ensemble.stay();
        }
    }

    /// Whether a leader may stop: what it proposed is committed and applied, and another voter has all of it and knows that, so
    /// that the others only have to elect it.
    pub fn may_leave(&self) -> bool {
        match &self.agreement {
            Agreement::Alone { .. } => true,
            Agreement::Ensemble(ensemble) => {
                ensemble.may_leave() && !ensemble.has_deliveries() && !self.engine.is_applying()
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // One turn

    /// Tells the store what a snapshot would take now, and the engine how much it may decide in this turn. `Some` when the
    /// room for the log is another than it was.
    pub fn pace(&mut self) -> Option<LogSpaceChanged> {
        self.store.set_state_size(self.engine.snapshot_estimate());
        self.tell_reconfig_view();
        let budget = self.store.log_budget(self.engine.tree().snapshot_preimage_bytes() as u64);
        // What was decided in earlier turns, while a write was under way or a long transaction was applied, is not in
        // the log yet and has had its part of the room.
        let unlogged = self.unlogged_bytes();
        self.engine.set_log_budget(budget.saturating_sub(unlogged));
        let space = self.store.space();
        let log_space = match space.level {
            SpaceLevel::Ample | SpaceLevel::Low | SpaceLevel::Slow => LogSpace::Plenty,
            SpaceLevel::Reserve => LogSpace::Reserve,
            SpaceLevel::Exhausted => LogSpace::None,
        };
        self.engine.set_log_space(log_space);
        let has_changed = std::mem::replace(&mut self.log_space, log_space) != log_space;
        has_changed.then_some(LogSpaceChanged { log_space, is_disk_full: space.disk_full })
    }

    /// Bytes of the transactions that are decided and not in the log.
    fn unlogged_bytes(&self) -> u64 {
        let decided: usize = self.engine.proposals().iter().map(|proposal| proposal.txn.len()).sum();
        let proposed: usize = match &self.agreement {
            Agreement::Alone { broadcast, .. } => broadcast.to_append().map(|proposal| proposal.txn.len()).sum(),
            Agreement::Ensemble(ensemble) => ensemble.unlogged_bytes(&self.store),
        };
        (decided + proposed) as u64
    }

    /// How much room the log had at the last [`Member::pace`].
    pub fn log_space(&self) -> LogSpace {
        self.log_space
    }

    /// Whatever was decided goes to disk as one frame with one sync; what is committed by that is applied.
    ///
    /// # Errors
    /// [`MemberFailure`], which is final.
    pub fn commit(&mut self, host: &mut impl Host) -> Result<(), MemberFailure> {
        loop {
            let written = self.commit_begin(host)?.map(LogWrite::carry_out);
            let is_over = written.is_none();
            self.commit_end(host, written)?;
            if is_over {
                return Ok(());
            }
        }
    }

    /// The first half of a commit: what was decided is on its way to the others, and what is to be on our own disk is
    /// returned. While a write is under way there is no other.
    ///
    /// The caller carries it out, here or on another thread, and gives what became of it to [`Member::commit_end`]. It may go
    /// on meanwhile, as if nothing had been written: with a call of `commit_end` without it, and further turns. Until it is
    /// given back nothing of it is acknowledged, committed by this member's vote, or applied.
    ///
    /// # Errors
    /// [`MemberFailure`], which is final.
    pub fn commit_begin(&mut self, host: &mut impl Host) -> Result<Option<LogWrite>, MemberFailure> {
        // What is durable is applied before more becomes so: nothing that is will ever be abandoned.
        self.deliver(host)?;
        let write = match self.agreement {
            Agreement::Ensemble(_) => self.begin_with_others(host)?,
            Agreement::Alone { .. } => {
                if !self.store.is_writing() {
                    self.propose();
                }
                self.begin_append()?
            }
        };
        let write = match write {
            None => self.store.upkeep_begin()?,
            write => write,
        };
        // Others may read meanwhile, unless they would see what its watchers in this process have not been told.
        if write.is_some()
            && !self.untold
            && self.engine.duty() != Duty::None
            && !failpoint::on(Failpoint::AckBeforeSync)
        {
            self.engine.lend();
        }
        Ok(write)
    }

    /// The second half of a commit, with what became of the write if it is over.
    ///
    /// # Errors
    /// [`MemberFailure`], which is final.
    pub fn commit_end(&mut self, host: &mut impl Host, written: Option<LogWritten>) -> Result<(), MemberFailure> {
        self.engine.take_back();
        if let Some(written) = written {
            self.store.append_end(written)?;
            // Replies tell how long their requests took, the sync included.
            let (now, wall) = host.time();
            self.engine.set_time(now, wall);
            if let Agreement::Alone { broadcast, me } = &mut self.agreement {
                broadcast.ack(*me, self.store.last_zxid());
            }
            if let Some((ensemble, mut parts)) = self.ensemble() {
                ensemble.look_at_clock(host);
                ensemble.appended(&mut parts, host)?;
            }
            self.deliver(host)?;
        }
        let Some((ensemble, mut parts)) = self.ensemble() else { return Ok(()) };
        ensemble.send_packets(&mut parts, host)?;
        ensemble.go_on_installing(&mut parts, host)?;
        ensemble.feed(&mut parts, host)?;
        host.flush();
        Ok(())
    }

    fn begin_with_others(&mut self, host: &mut impl Host) -> Result<Option<LogWrite>, MemberFailure> {
        let Some((ensemble, mut parts)) = self.ensemble() else { return Ok(None) };
        ensemble.send_packets(&mut parts, host)?;
        ensemble.propose(&mut parts, host)?;
        // Others sync while we do.
        host.flush();
        ensemble.begin_append(&mut parts, host)
    }

    /// Begins to append what is proposed and not durable yet.
    fn begin_append(&mut self) -> Result<Option<LogWrite>, MemberFailure> {
        let Agreement::Alone { broadcast, .. } = &mut self.agreement else { return Ok(None) };
        if self.store.is_writing() {
            return Ok(None);
        }
        let records: Vec<Record<'_>> =
            broadcast.to_append().map(|proposal| Record { zxid: proposal.zxid, txn: &proposal.txn }).collect();
        match self.store.append_begin(&records) {
            Ok(write) => Ok(write),
            Err(error @ (StoreError::Full { .. } | StoreError::TooLarge { .. })) => {
                log::error!("{error}: {} writes were refused", records.len());
                broadcast.abandon_unappended();
                self.engine.abandon_proposals();
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// First step of [`Member::commit`] once everything earlier is applied: takes what the engine has decided. Whether
    /// there is something to append.
    pub fn propose(&mut self) -> bool {
        if !self.may_propose() {
            return false;
        }
        let Agreement::Alone { broadcast, .. } = &mut self.agreement else { return false };
        self.engine.poll_proposals().for_each(|proposal| broadcast.propose(proposal));
        true
    }

    /// Whether the engine has decided something, and everything before it is applied.
    pub fn may_propose(&self) -> bool {
        self.engine.has_proposals() && !self.has_undelivered() && !self.engine.is_busy()
    }

    /// Second step: makes it durable.
    ///
    /// # Errors
    /// [`MemberFailure::Store`], which is final.
    pub fn append(&mut self) -> Result<Appended, MemberFailure> {
        let Agreement::Alone { broadcast, me } = &mut self.agreement else { return Ok(Appended::Durable) };
        let records: Vec<Record<'_>> =
            broadcast.to_append().map(|proposal| Record { zxid: proposal.zxid, txn: &proposal.txn }).collect();
        let Some(last) = records.last().map(|record| record.zxid) else { return Ok(Appended::Durable) };
        match self.store.append(&records) {
            Ok(()) => {
                broadcast.ack(*me, last);
                Ok(Appended::Durable)
            }
            Err(error @ (StoreError::Full { .. } | StoreError::TooLarge { .. })) => {
                log::error!("{error}: {} writes were refused", records.len());
                broadcast.abandon_unappended();
                self.engine.abandon_proposals();
                Ok(Appended::Refused)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Last step: applies what is committed, until there is no more of it or what is left is for the next turn.
    fn deliver(&mut self, host: &mut impl Host) -> Result<(), MemberFailure> {
        self.go_on_applying()?;
        let mut delivered = 0;
        while self.deliver_next()?.is_some() {
            delivered += 1;
            if delivered % TOLD_TOGETHER == 0 {
                host.tell(&mut self.engine);
            }
        }
        Ok(())
    }

    /// Goes on with a transaction that is half applied. Whether none is any more.
    ///
    /// # Errors
    /// [`MemberFailure::Damage`], which is final.
    pub fn go_on_applying(&mut self) -> Result<bool, MemberFailure> {
        self.untold |= self.engine.is_applying();
        Ok(self.engine.apply_slice()?)
    }

    /// Applies the next transaction that is committed, or begins to, if the engine is free for it.
    ///
    /// # Errors
    /// [`MemberFailure::Damage`], which is final.
    pub fn deliver_next(&mut self) -> Result<Option<Proposal>, MemberFailure> {
        if self.engine.is_busy() {
            return Ok(None);
        }
        let next = match &mut self.agreement {
            Agreement::Alone { broadcast, .. } => broadcast.poll_commit(),
            Agreement::Ensemble(ensemble) => ensemble.poll_commit(),
        };
        let Some(proposal) = next else { return Ok(None) };
        self.untold = true;
        self.engine.deliver_begin(proposal.zxid, &proposal.txn)?;
        Ok(Some(proposal))
    }

    /// Every event of what was applied has left.
    pub fn told_all(&mut self) {
        self.untold = false;
    }

    /// A slice of the snapshot that is being taken, or the beginning of one that is due.
    ///
    /// # Errors
    /// [`MemberFailure::Store`], which is final.
    pub fn take_snapshot(&mut self, host: &mut impl Host) -> Result<(), MemberFailure> {
        // What is applied by a member that serves is committed. Recovered, it may be what a leader wants dropped: that one has to send
        // its state then, so this is done only where the log has no room for what a leader has sent, and a snapshot would make some.
        let makes_room = match &self.agreement {
            Agreement::Ensemble(ensemble) => {
                ensemble.makes_room() && self.engine.applied() > self.store.snapshot_zxid()
            }
            Agreement::Alone { .. } => false,
        };
        let may_begin = self.standing() != Some(Standing::Looking) || makes_room;
        Ok(self.snapshots.turn(&mut self.engine, &mut self.store, host, may_begin)?)
    }

    /// What the store has to do by the clock.
    ///
    /// # Errors
    /// [`MemberFailure::Store`], which is final.
    pub fn tick(&mut self, host: &mut impl Host) -> Result<(), MemberFailure> {
        let Some(done) = self.store.tick(host.time().0)? else { return Ok(()) };
        let done = match self.ensemble() {
            Some((ensemble, mut parts)) => ensemble.snapshot_done(&mut parts, host, done)?,
            None => Some(done),
        };
        if let Some(done) = done {
            self.snapshots.done(&mut self.engine, host, &done);
        }
        Ok(())
    }

    /// Whether the next turn has work without anything coming from outside.
    pub fn goes_on(&self) -> bool {
        let waits = self.store.is_writing();
        match &self.agreement {
            // What was decided meanwhile shares the next write.
            Agreement::Alone { broadcast, .. } => {
                self.engine.has_work() || (!waits && (self.engine.has_proposals() || !broadcast.is_empty()))
            }
            Agreement::Ensemble(ensemble) => {
                self.engine.has_work()
                    || ensemble.has_deliveries()
                    || ensemble.goes_on(&self.store)
                    || (!waits && self.engine.has_proposals())
            }
        }
    }

    /// Whether something that was proposed is not applied yet.
    pub fn has_undelivered(&self) -> bool {
        self.engine.is_applying()
            || match &self.agreement {
                Agreement::Alone { broadcast, .. } => !broadcast.is_empty(),
                Agreement::Ensemble(ensemble) => ensemble.has_deliveries() || ensemble.has_outstanding(),
            }
    }

    /// How soon from `now` a turn is wanted though nothing comes from outside, ms.
    pub fn poll_timeout(&self, now: Millis) -> Option<u64> {
        let engine = self.engine.poll_timeout().map(|at| at.since(now));
        let ensemble = match &self.agreement {
            Agreement::Alone { .. } => None,
            Agreement::Ensemble(ensemble) => Some(ensemble.poll_timeout().since(now)),
        };
        let snapshots = self.snapshots.poll_timeout(&self.store);
        [engine, self.store.poll_timeout(now), snapshots, ensemble].into_iter().flatten().min()
    }

    /// The last transaction applied.
    pub fn applied(&self) -> Zxid {
        self.engine.applied()
    }
}
