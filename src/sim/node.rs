//! The server in the simulator: what `peer` does, without sockets, clock and threads.

use std::sync::Arc;

use super::Wrong;
use super::model::{Model, Owner};
use super::who::{Rule, USERS};
use crate::engine::{CloseReason, Engine, Room, Settings};
use crate::ids::{Millis, ServerId, SessionId, WallMillis, Zxid};
use crate::records::txn::Proposal;
use crate::store::tests::sim_disk::{Rng, SimDisk};
use crate::store::{Record, Replay, SpaceLevel, Store, StoreError, StoreOptions};
use crate::zab::{Broadcast, Majority};

const ME: ServerId = ServerId(1);
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

/// What became of a batch.
pub(super) enum Appended {
    Durable,
    /// No room: none of it happened.
    Refused,
}

/// How the server of a run is set up.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub settings: Settings,
    pub options: StoreOptions,
}

impl Setup {
    /// Everything is one tick away.
    pub(super) fn draw(rng: &mut Rng) -> Setup {
        let mut settings = Settings {
            tick_ms: 500,
            session_timeout_min_ms: 1000,
            session_timeout_max_ms: 8000,
            enforce_quota: true,
            extended_types: true,
            super_digest: Some(USERS[2].1.to_owned()),
            container_check_interval_ms: 1000,
            container_never_used_max_ms: 5000,
            ..Settings::default()
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
            small_extents: true,
            ..StoreOptions::default()
        };
        Setup { settings, options }
    }
}

pub(super) struct Node {
    pub engine: Engine,
    broadcast: Broadcast,
    store: Store,
    /// A snapshot is being taken.
    walking: bool,
}

/// Feeds recovery to an engine and writes down what it gave.
struct Loading {
    engine: Engine,
    replayed: Vec<Proposal>,
}

impl Replay for Loading {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.replayed.clear();
        self.engine.load_begin(zxid);
    }
    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.engine.load_entry(entry).map_err(|damage| damage.0)
    }
    fn snapshot_end(&mut self) -> Result<(), String> {
        self.engine.load_end().map_err(|damage| damage.0)
    }
    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.replayed.push(Proposal { zxid, txn: txn.into() });
        self.engine.replay(zxid, txn).map_err(|damage| damage.0)
    }
}

impl Node {
    /// Opens what is on the disk. The second value is what was replayed from the log.
    pub(super) fn open(
        disk: &Arc<SimDisk>,
        setup: &Setup,
        seed: u64,
        now: Millis,
        wall: WallMillis,
    ) -> Result<(Node, Vec<Proposal>), StoreError> {
        let engine = Engine::new(setup.settings.clone(), [0; 32], [seed, !seed]);
        let mut loading = Loading { engine, replayed: Vec::new() };
        let (store, _) = Store::open_on(Arc::clone(disk) as Arc<_>, &setup.options, &mut loading)?;
        let Loading { mut engine, replayed } = loading;
        engine.set_secret(store.secret());
        engine.activate(now, wall);
        let broadcast = Broadcast::new(ME, Majority::new(vec![ME]), engine.applied());
        Ok((Node { engine, broadcast, store, walking: false }, replayed))
    }

    pub(super) fn begin_turn(&mut self, now: Millis, wall: WallMillis) {
        self.engine.set_time(now, wall);
        self.store.set_state_size(self.engine.snapshot_estimate());
        let budget = self.store.log_budget(self.engine.tree().snapshot_preimage_bytes() as u64);
        self.engine.set_room(self.room());
        self.engine.set_log_budget(budget);
    }

    /// Whether writes may be refused for want of room.
    pub(super) fn tight(&self) -> bool {
        self.room() != Room::Plenty
    }

    fn room(&self) -> Room {
        match self.store.space().level {
            SpaceLevel::Ample | SpaceLevel::Low | SpaceLevel::Slow => Room::Plenty,
            SpaceLevel::Reserve => Room::Reserve,
            SpaceLevel::Exhausted => Room::None,
        }
    }

    pub(super) fn applied(&self) -> Zxid {
        self.engine.applied()
    }

    /// What is due and what was decided since the last turn.
    pub(super) fn decided(&mut self) -> Vec<Proposal> {
        self.engine.go_on();
        self.engine.tick();
        self.engine.poll_proposals().collect()
    }

    /// Puts a batch on disk.
    pub(super) fn append(&mut self, batch: Vec<Proposal>) -> Result<Appended, Failed> {
        let Some(last) = batch.last().map(|proposal| proposal.zxid) else { return Ok(Appended::Durable) };
        batch.into_iter().for_each(|proposal| self.broadcast.propose(proposal));
        let records: Vec<Record<'_>> =
            self.broadcast.to_append().map(|proposal| Record { zxid: proposal.zxid, txn: &proposal.txn }).collect();
        match self.store.append(&records) {
            Ok(()) => {
                self.broadcast.ack(ME, last);
                Ok(Appended::Durable)
            }
            Err(StoreError::Full { .. } | StoreError::TooLarge { .. }) => {
                self.broadcast.abandon_unappended();
                self.engine.abandon_proposals();
                Ok(Appended::Refused)
            }
            Err(_) => Err(Failed::Disk),
        }
    }

    /// Delivers the next committed transaction, if there is one.
    pub(super) fn deliver_next(&mut self) -> Result<Option<Proposal>, Failed> {
        let Some(proposal) = self.broadcast.poll_commit() else { return Ok(None) };
        match self.engine.deliver(proposal.zxid, &proposal.txn) {
            Ok(()) => Ok(Some(proposal)),
            Err(damage) => Err(Failed::Wrong(format!("G-15: {damage}"))),
        }
    }

    /// What is left of a turn; returns how many snapshots were published in it.
    pub(super) fn finish(&mut self, now: Millis, rng: &mut Rng) -> Result<u64, Failed> {
        let before = self.store.stats().snapshots;
        if self.walking || (!self.store.snapshot_running() && self.store.wants_snapshot()) {
            let result = if self.walking { self.walk(rng) } else { self.begin_snapshot() };
            if let Err(error) = result {
                if self.store.stats().poisoned.is_some() {
                    return Err(Failed::Disk);
                }
                log::debug!("snapshot given up: {error}");
                self.engine.snapshot_abort();
                self.store.snapshot_abort();
                self.walking = false;
            }
        }
        match self.store.tick(now) {
            Ok(Some(done)) if done.outcome.is_err() => {
                self.engine.snapshot_abort();
                self.walking = false;
            }
            Ok(_) => {}
            Err(_) => return Err(Failed::Disk),
        }
        Ok(self.store.stats().snapshots - before)
    }

    fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        self.store.snapshot_begin(self.engine.applied(), self.engine.snapshot_estimate())?;
        self.walking = true;
        let mut entries: Vec<Vec<u8>> = Vec::new();
        self.engine.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
        entries.iter().try_for_each(|entry| self.store.snapshot_push(entry))
    }

    /// A few znodes at a time, writes in between, and no faster than the disk takes it.
    fn walk(&mut self, rng: &mut Rng) -> Result<(), StoreError> {
        if self.store.snapshot_backlog() >= BACKLOG_MAX {
            return Ok(());
        }
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let whole = self.engine.snapshot_slice(1 + rng.below(8) as usize, &mut |entry| entries.push(entry.to_vec()));
        entries.iter().try_for_each(|entry| self.store.snapshot_push(entry))?;
        if whole {
            self.walking = false;
            self.store.snapshot_finish()?;
        }
        Ok(())
    }

    /// Stops cleanly.
    pub(super) fn stop(mut self) -> Result<(), StoreError> {
        self.engine.close_all(&CloseReason::Stopping);
        self.store.close()
    }

    /// Nothing is left of a session (G-11).
    pub(super) fn owns_nothing(&self, session: i64) -> Result<(), Wrong> {
        match self.engine.tree().ephemerals(SessionId(session)).next() {
            None => Ok(()),
            Some(id) => Err(format!("G-11, S-25: {} outlives session 0x{session:x}", self.engine.tree().path(id))),
        }
    }

    /// The state is that of the model, by everything a client may see and by a recount (S-21, S-24, S-25).
    pub(super) fn check(&self, model: &Model) -> Result<(), Wrong> {
        let tree = self.engine.tree();
        tree.check().map_err(|why| format!("S-24: {why}"))?;
        for (path, node) in &model.nodes {
            let Some(id) = tree.lookup(path) else { return Err(format!("S-21, G-09: {path} is lost")) };
            let (stat, expected) = (tree.stat(id), model.stat(path).unwrap_or_default());
            let acl: Vec<Rule> = tree.acl(id).entries().iter().map(Rule::of).collect();
            let acl = if acl.is_empty() { vec![Rule::open()] } else { acl };
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
        let sessions: Vec<i64> = self.engine.expiry_buckets().flat_map(|(_, ids)| ids).map(|id| id.0).collect();
        if sessions.len() != model.sessions.len() || !sessions.iter().all(|id| model.sessions.contains_key(id)) {
            return Err(format!("S-25, SC-38: sessions {sessions:x?}, by the history {:x?}", model.sessions));
        }
        let orphan = |owner| matches!(owner, Owner::Session(session) if !model.sessions.contains_key(&session));
        match model.nodes.iter().find(|(_, node)| orphan(node.owner)) {
            Some((path, _)) => Err(format!("S-25: {path} outlives its session")),
            None => Ok(()),
        }
    }
}
