//! The server in the simulator: what `peer` does, without sockets, clock and threads.

use std::sync::Arc;

use super::model::Model;
use super::{Bug, Wrong};
use crate::engine::{CloseReason, ConnId, Engine, Settings};
use crate::ids::{Millis, ServerId, WallMillis, Zxid};
use crate::store::tests::sim_disk::{Rng, SimDisk};
use crate::store::{Record, Replay, Store, StoreError, StoreOptions};
use crate::zab::{Broadcast, Majority};

const ME: ServerId = ServerId(1);

/// Why a turn did not end well.
pub(super) enum Failed {
    /// The disk: the process is over.
    Disk,
    /// An invariant.
    Wrong(Wrong),
}

pub(super) struct Node {
    pub engine: Engine,
    broadcast: Broadcast,
    store: Store,
    /// A snapshot is being taken.
    walking: bool,
    /// Its first entries were written.
    begun: bool,
}

/// A transaction as the log has it.
pub(super) type LoggedTxn = (Zxid, Vec<u8>);

/// Feeds recovery to an engine and writes down what it gave.
struct Loading {
    engine: Engine,
    replayed: Vec<(Zxid, Vec<u8>)>,
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
        self.replayed.push((zxid, txn.to_vec()));
        self.engine.replay(zxid, txn).map_err(|damage| damage.0)
    }
}

fn options() -> StoreOptions {
    StoreOptions {
        extent_size: 16 << 10,
        initial_size: 128 << 10,
        max_size: (128 << 10) + 60 * (16 << 10),
        max_record: 8 << 10,
        log_window: 24 << 10,
        follower_window: 0,
        snapshot_rate: 0,
        small_extents: true,
        ..StoreOptions::default()
    }
}

/// Everything is one tick away.
pub(super) fn settings() -> Settings {
    Settings { tick_ms: 500, session_timeout_min_ms: 1000, session_timeout_max_ms: 8000, ..Settings::default() }
}

impl Node {
    pub(super) fn open(
        disk: Arc<SimDisk>,
        seed: u64,
        now: Millis,
        wall: WallMillis,
        bug: Bug,
    ) -> Result<(Node, Vec<LoggedTxn>), Failed> {
        let engine = Engine::new(settings(), [0; 32], [seed, !seed]);
        let mut loading = Loading { engine, replayed: Vec::new() };
        let store = match Store::open_on(Arc::clone(&disk) as Arc<_>, &options(), &mut loading) {
            Ok((store, _)) => store,
            Err(_) if disk.dead() => return Err(Failed::Disk),
            Err(error) => return Err(Failed::Wrong(format!("S-40: a crash was taken for damage: {error}"))),
        };
        let Loading { mut engine, replayed } = loading;
        engine.set_secret(store.secret());
        engine.activate(now, wall);
        let mut last = engine.applied();
        if bug == Bug::ReuseZxid && last.0 > 3 {
            last = Zxid(last.0 - 1);
            engine.rewind_proposed(last);
        }
        let broadcast = Broadcast::new(ME, Majority::new(vec![ME]), last);
        Ok((Node { engine, broadcast, store, walking: false, begun: false }, replayed))
    }

    pub(super) fn set_time(&mut self, now: Millis, wall: WallMillis) {
        self.engine.set_time(now, wall);
    }

    pub(super) fn applied(&self) -> Zxid {
        self.engine.applied()
    }

    /// What was decided is proposed.
    pub(super) fn propose(&mut self, tried: &mut Vec<(Zxid, Vec<u8>)>) {
        self.engine.go_on();
        self.engine.tick();
        for proposal in self.engine.poll_proposals() {
            tried.push((proposal.zxid, proposal.txn.clone()));
            self.broadcast.propose(proposal.zxid, proposal.txn);
        }
    }

    /// Claims to have on disk what it has not: a planted bug.
    pub(super) fn lie(&mut self) {
        let last = self.broadcast.to_append().last().map(|proposal| proposal.zxid);
        last.into_iter().for_each(|last| self.broadcast.ack(ME, last));
    }

    /// Puts on disk what `batch` names, which is what is not there yet, and says so.
    pub(super) fn append(&mut self, bug: Bug, lied: &[(Zxid, Vec<u8>)]) -> Result<(), Failed> {
        let mut batch: Vec<(Zxid, Vec<u8>)> = lied.to_vec();
        batch.extend(self.broadcast.to_append().map(|proposal| (proposal.zxid, proposal.txn.clone())));
        let Some(last) = batch.last().map(|(zxid, _)| *zxid) else { return Ok(()) };
        if bug == Bug::DropLast && batch.len() > 1 {
            batch.pop();
        }
        let records: Vec<Record<'_>> = batch.iter().map(|(zxid, txn)| Record { zxid: *zxid, txn }).collect();
        match self.store.append(&records) {
            Ok(()) => self.broadcast.ack(ME, last),
            Err(StoreError::Full { .. }) => {
                self.broadcast.abandon_unappended();
                self.engine.abandon_proposals();
            }
            Err(_) => return Err(Failed::Disk),
        }
        Ok(())
    }

    /// Delivers the next committed transaction, if there is one.
    pub(super) fn deliver_next(&mut self) -> Result<Option<(Zxid, Vec<u8>)>, Failed> {
        let Some(proposal) = self.broadcast.poll_commit() else { return Ok(None) };
        match self.engine.deliver(proposal.zxid, &proposal.txn) {
            Ok(()) => Ok(Some((proposal.zxid, proposal.txn))),
            Err(damage) => Err(Failed::Wrong(format!("G-15: {damage}"))),
        }
    }

    /// What is left of a turn; returns how many snapshots were published in it.
    pub(super) fn finish(&mut self, rng: &mut Rng, bug: Bug) -> Result<u64, Failed> {
        let before = self.store.stats().snapshots;
        self.snapshot(rng, bug).map_err(|_| Failed::Disk)?;
        match self.store.tick(Millis(rng.next() % 1_000_000)) {
            Ok(Some(done)) if done.outcome.is_err() => {
                self.engine.snapshot_abort();
                (self.walking, self.begun) = (false, false);
            }
            Ok(_) => {}
            Err(_) => return Err(Failed::Disk),
        }
        Ok(self.store.stats().snapshots - before)
    }

    /// Begins one when the log is long, and goes on with it a few znodes at a time, writes in between.
    fn snapshot(&mut self, rng: &mut Rng, bug: Bug) -> Result<(), StoreError> {
        if !self.walking {
            if !self.store.wants_snapshot() || self.store.snapshot_running() {
                return Ok(());
            }
            match self.store.snapshot_begin(self.engine.applied(), self.engine.snapshot_estimate()) {
                Ok(()) => {}
                Err(StoreError::Full { .. } | StoreError::SnapshotRunning) => return Ok(()),
                Err(error) => return Err(error),
            }
            self.walking = true;
        }
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let mut whole = false;
        if !self.store.snapshot_running() {
            self.engine.snapshot_abort();
            (self.walking, self.begun) = (false, false);
            return Ok(());
        }
        if self.begun {
            whole = self.engine.snapshot_slice(1 + rng.below(8) as usize, &mut |entry| entries.push(entry.to_vec()));
        } else {
            self.begun = true;
            self.engine.snapshot_begin(&mut |entry| entries.push(entry.to_vec()));
        }
        for entry in entries {
            if bug == Bug::ForgetSessions && entry.first() == Some(&16) {
                continue;
            }
            self.store.snapshot_push(&entry)?;
        }
        if whole {
            self.walking = false;
            self.begun = false;
            self.store.snapshot_finish()?;
        }
        Ok(())
    }

    /// The recovered state is that of the model (S-21, S-24, S-25).
    pub(super) fn check(&self, model: &Model) -> Result<(), Wrong> {
        let tree = self.engine.tree();
        tree.check().map_err(|why| format!("S-24: {why}"))?;
        // The root and the three system znodes are in no history.
        if tree.node_count() != model.nodes.len() + 4 {
            return Err(format!("S-21: {} znodes, {} by the history", tree.node_count(), model.nodes.len() + 4));
        }
        for (path, node) in &model.nodes {
            let Some(id) = tree.lookup(path) else { return Err(format!("G-09: {path} is lost")) };
            let stat = tree.stat(id);
            let owner = node.owner.map_or(0, |session| session.0);
            let same = tree.data(id).as_deref() == node.data.as_deref()
                && (stat.version, stat.czxid, stat.mzxid, stat.ephemeral_owner)
                    == (node.version, node.czxid, node.mzxid, owner);
            if !same {
                return Err(format!("S-21: {path} is {stat:?} {:?}, by the history {node:?}", tree.data(id)));
            }
        }
        let sessions: Vec<_> = self.engine.expiry_buckets().flat_map(|(_, ids)| ids).collect();
        if sessions.len() != model.sessions.len() || !sessions.iter().all(|id| model.sessions.contains(id)) {
            return Err(format!("S-25, SC-38: sessions {sessions:?}, by the history {:?}", model.sessions));
        }
        Ok(())
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.engine.close(conn, CloseReason::Stopping);
        self.engine.closed(conn);
    }
}
