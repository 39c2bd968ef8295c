//! The server in the simulator: it drives the very member that `peer` drives, without sockets, clock and threads.

use std::sync::Arc;

use super::Wrong;
use super::model::{Model, ModelOwner};
use super::who::{ModelAcl, USERS};
use crate::engine::{CloseReason, Engine, EngineSettings, LogSpace, ReplicatedState};
use crate::ids::{Millis, SessionId, WallMillis, Zxid};
use crate::member::{Appended, Host, Loading, Member, MemberFailure, Slices};
use crate::records::txn::Proposal;
use crate::store::tests::sim_disk::{Rng, SimDisk};
use crate::store::{Replay, Store, StoreError, StoreOptions};

/// Bytes of a snapshot that wait to be written, above which the walk waits.
const BACKLOG_MAX: usize = 8 << 10;

/// Why a turn did not end well.
pub(super) enum Failed {
    /// The disk: the process is over.
    Disk,
    /// An invariant.
    Wrong(Wrong),
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Failed {
        Failed::Wrong(wrong)
    }
}

/// How the server of a run is set up.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub settings: EngineSettings,
    pub options: StoreOptions,
}

impl Setup {
    /// Everything is one tick away.
    pub(super) fn draw(rng: &mut Rng) -> Setup {
        let mut settings = EngineSettings {
            tick_ms: 500,
            session_timeout_min_ms: 1000,
            session_timeout_max_ms: 8000,
            enforce_quota: true,
            extended_types: true,
            super_digest: Some(USERS[2].1.to_owned()),
            container_check_interval_ms: 1000,
            container_never_used_max_ms: 5000,
            ..EngineSettings::default()
        };
        settings.limits.in_flight_per_connection_max = 10;
        settings.limits.output_soft_max = 1 << (9 + rng.below(6));
        settings.limits.output_hard_max = 256 << 10;
        let options = StoreOptions {
            extent_size: 16 << 10,
            initial_size: 128 << 10,
            max_size: (128 << 10) + [0, 1, 6, 60][rng.below(4) as usize] * (16 << 10),
            max_record: 8 << 10,
            log_window: (8 + rng.below(40)) << 10,
            follower_window: 0,
            keep_snapshots: 1 + rng.below(2) as u32,
            snapshot_rate: [0, 8 << 10, 32 << 10, 256 << 10][rng.below(4) as usize],
            large_data: 64,
            small_extents: true,
            ..StoreOptions::default()
        };
        Setup { settings, options }
    }
}

/// The server of a run: the member that ships, a turn at a time.
pub(super) struct SimNode {
    pub member: Member<Box<Engine>>,
    /// A transaction that is half applied.
    half: Option<Proposal>,
}

/// What the member asks while it works: the time stands still within a step.
struct Moment(Millis, WallMillis);

impl Host for Moment {
    fn time(&self) -> (Millis, WallMillis) {
        (self.0, self.1)
    }

    fn now_us(&self) -> u64 {
        self.0.0 * 1000
    }

    /// Clients read between turns.
    fn tell(&mut self, _engine: &mut Engine) {}
}

/// Feeds recovery to an engine and writes down what it gave.
pub(super) struct Noting<'e> {
    pub loading: Loading<'e>,
    pub replayed: Vec<Proposal>,
}

impl Replay for Noting<'_> {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.replayed.clear();
        self.loading.snapshot_begin(zxid);
    }
    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.loading.snapshot_entry(entry)
    }
    fn snapshot_end(&mut self) -> Result<(), String> {
        self.loading.snapshot_end()
    }
    fn snapshot_value(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.loading.snapshot_value(zxid, txn)
    }
    fn snapshot_filled(&mut self) -> Result<(), String> {
        self.loading.snapshot_filled()
    }
    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.replayed.push(Proposal { zxid, txn: txn.into() });
        self.loading.txn(zxid, txn)
    }
}

impl From<MemberFailure> for Failed {
    fn from(failure: MemberFailure) -> Failed {
        match failure {
            MemberFailure::Store(_) => Failed::Disk,
            MemberFailure::Damage(damage) => Failed::Wrong(format!("G-15: {damage}")),
        }
    }
}

impl SimNode {
    /// Opens what is on the disk. The second value is what was replayed from the log.
    pub(super) fn open(
        disk: &Arc<SimDisk>,
        setup: &Setup,
        seed: u64,
        now: Millis,
        wall: WallMillis,
    ) -> Result<(SimNode, Vec<Proposal>), StoreError> {
        let mut state = ReplicatedState::new(&setup.settings, [seed, !seed]);
        let mut noting = Noting { loading: Loading::into(&mut state), replayed: Vec::new() };
        let (store, _) = Store::open_on(Arc::clone(disk) as Arc<_>, &setup.options, &mut noting)?;
        let replayed = noting.replayed;
        let mut member = Member::new(setup.settings.clone(), state, store, Box::new);
        // One slice in a turn, however small.
        member.snapshots.slices = Slices { nodes: 1, us: 0, us_held: 0, backlog_max: BACKLOG_MAX };
        member.start(now, wall);
        Ok((SimNode { member, half: None }, replayed))
    }

    pub(super) fn begin_turn(&mut self, now: Millis, wall: WallMillis) {
        self.member.engine.set_time(now, wall);
        self.member.pace();
    }

    /// Whether writes may be refused for want of room.
    pub(super) fn tight(&self) -> bool {
        self.member.log_space() != LogSpace::Plenty
    }

    pub(super) fn applied(&self) -> Zxid {
        self.member.applied()
    }

    /// What is due and what was decided since the last turn.
    pub(super) fn decided(&mut self) -> Vec<Proposal> {
        self.member.engine.go_on();
        self.member.engine.tick();
        match self.member.may_propose() {
            true => self.member.engine.proposals().to_vec(),
            false => Vec::new(),
        }
    }

    /// Puts what was decided on disk.
    pub(super) fn append(&mut self) -> Result<Appended, Failed> {
        match self.member.propose() {
            true => Ok(self.member.append()?),
            false => Ok(Appended::Durable),
        }
    }

    /// Delivers the next committed transaction, if there is one and the server is free for it.
    pub(super) fn deliver_next(&mut self) -> Result<Option<Proposal>, Failed> {
        let next = match self.half.take() {
            None => self.member.deliver_next()?,
            half => {
                self.member.go_on_applying()?;
                half
            }
        };
        if self.member.engine.is_applying() {
            self.half = next;
            return Ok(None);
        }
        Ok(next)
    }

    /// Whether everything that was proposed is delivered.
    pub(super) fn is_idle(&self) -> bool {
        !self.member.has_undelivered()
    }

    /// What is left of a turn; returns how many snapshots were published in it.
    pub(super) fn finish(&mut self, now: Millis, wall: WallMillis, rng: &mut Rng) -> Result<u64, Failed> {
        let before = self.member.store.stats().snapshots;
        if self.member.snapshots.is_walking() && self.member.store.snapshot_backlog() < BACKLOG_MAX {
            self.member.snapshots.slices.nodes = 1 + rng.below(8) as usize;
        }
        let mut moment = Moment(now, wall);
        self.member.told_all();
        self.member.take_snapshot(&mut moment)?;
        self.member.tick(&mut moment)?;
        Ok(self.member.store.stats().snapshots - before)
    }

    /// Stops cleanly.
    pub(super) fn stop(mut self) -> Result<(), StoreError> {
        self.member.engine.close_all(&CloseReason::Stopping);
        self.member.store.close()
    }

    /// Nothing is left of a session (G-11).
    pub(super) fn owns_nothing(&self, session: i64) -> Result<(), Wrong> {
        match self.member.engine.tree().ephemerals(SessionId(session)).next() {
            None => Ok(()),
            Some(id) => {
                Err(format!("G-11, S-25: {} outlives session 0x{session:x}", self.member.engine.tree().path(id)))
            }
        }
    }

    /// The state is that of the model.
    pub(super) fn check(&self, model: &Model) -> Result<(), Wrong> {
        check_state(&self.member.engine, model, false)
    }
}

/// The state is that of the model, by everything a client may see and by a recount (S-21, S-24, S-25).
/// Where members change, each server has its own moment in which the znode that tells them became what it is.
pub(super) fn check_state(engine: &Engine, model: &Model, members_change: bool) -> Result<(), Wrong> {
    let tree = engine.tree();
    tree.check().map_err(|why| format!("S-24: {why}"))?;
    for (path, node) in &model.nodes {
        if members_change && path == crate::path::CONFIG {
            continue;
        }
        let Some(id) = tree.lookup(path) else { return Err(format!("S-21, G-09: {path} is lost")) };
        let (stat, expected) = (tree.stat(id), model.stat(path).unwrap_or_default());
        let acl: Vec<ModelAcl> = tree.acl(id).entries().iter().map(ModelAcl::of).collect();
        let acl = if acl.is_empty() { vec![ModelAcl::open()] } else { acl };
        if stat != expected || tree.data(id).as_deref() != node.data.as_deref() || acl != node.acl {
            let data = tree.data(id);
            return Err(format!(
                "S-21, S-26: {path} is {stat:?} {data:?} {acl:?}, by the history {expected:?} {node:?}"
            ));
        }
    }
    if tree.node_count() != model.nodes.len() {
        return Err(format!("S-21: {} znodes, {} by the history", tree.node_count(), model.nodes.len()));
    }
    let sessions: Vec<i64> = engine.expiry_buckets().flat_map(|(_, ids)| ids).map(|id| id.0).collect();
    if sessions.len() != model.sessions.len() || !sessions.iter().all(|id| model.sessions.contains_key(id)) {
        return Err(format!("S-25, SC-38: sessions {sessions:x?}, by the history {:x?}", model.sessions));
    }
    let orphan = |owner| matches!(owner, ModelOwner::Session(session) if !model.sessions.contains_key(&session));
    match model.nodes.iter().find(|(_, node)| orphan(node.owner)) {
        Some((path, _)) => Err(format!("S-25: {path} outlives its session")),
        None => Ok(()),
    }
}
