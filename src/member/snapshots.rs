//! Taking a snapshot while transactions run: a slice in each turn, no faster than the disk takes it.

use super::Host;
use crate::engine::Engine;
use crate::four_letter::{Latency, Summary};
use crate::store::{SnapshotDone, Store, StoreError};

/// Turns while a snapshot is being taken come at least this often, ms.
const PACE_MS: u64 = 1;

/// How much of a snapshot is taken in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Slices {
    /// Znodes looked at before the clock is: even with large data they take no longer than a slice should.
    pub nodes: usize,
    /// Time for a slice in one turn, µs.
    pub us: u64,
    /// The same while writes wait, most likely for this very snapshot.
    pub us_held: u64,
    /// Bytes handed to the store and not written yet, above which the walk waits.
    pub backlog_max: usize,
}

impl Default for Slices {
    fn default() -> Slices {
        Slices { nodes: 16, us: 200, us_held: 2000, backlog_max: 4 << 20 }
    }
}

/// The snapshot being taken, if any.
#[derive(Default)]
pub struct SnapshotTaking {
    /// What a turn takes.
    pub slices: Slices,
    walking: bool,
    /// On the clock of [`Host::now_us`].
    begun_us: Option<u64>,
    /// How long those took that were published.
    took: Latency,
}

impl SnapshotTaking {
    /// Begins, continues or finishes, whatever is due. `may_begin`: what is applied now is committed for good.
    pub(super) fn turn(
        &mut self,
        engine: &mut Engine,
        store: &mut Store,
        host: &mut impl Host,
        may_begin: bool,
    ) -> Result<(), StoreError> {
        let is_due = may_begin && !engine.is_applying() && !store.snapshot_running() && store.wants_snapshot();
        if !self.walking && !is_due {
            return Ok(());
        }
        let result = if self.walking { self.walk(engine, store, host) } else { self.begin(engine, store, host) };
        match result {
            Ok(()) => Ok(()),
            // A failed sync is final; anything else costs no more than this snapshot, and the store says when to try again.
            Err(error) if store.stats().poisoned.is_some() => Err(error),
            Err(error) => {
                log::error!("snapshot given up: {error}");
                self.abort(engine, store);
                Ok(())
            }
        }
    }

    fn begin(&mut self, engine: &mut Engine, store: &mut Store, host: &mut impl Host) -> Result<(), StoreError> {
        log::info!("taking a snapshot at zxid {}", engine.applied());
        let applied = engine.applied();
        let after = store.snapshot_begin(applied, engine.snapshot_estimate())?.unwrap_or(applied);
        self.walking = true;
        self.begun_us = Some(host.now_us());
        let mut failed = None;
        engine.snapshot_begin_leaving(after, store.large_data(), &mut |entry| push(store, entry, &mut failed));
        failed.map_or(Ok(()), Err)
    }

    fn walk(&mut self, engine: &mut Engine, store: &mut Store, host: &mut impl Host) -> Result<(), StoreError> {
        let begun_us = host.now_us();
        let most_us = if engine.held_count() > 0 { self.slices.us_held } else { self.slices.us };
        while store.snapshot_backlog() < self.slices.backlog_max {
            let mut failed = None;
            let whole = engine.snapshot_slice(self.slices.nodes, &mut |entry| push(store, entry, &mut failed));
            if let Some(error) = failed {
                return Err(error);
            }
            let large = engine.snapshot_large();
            store.snapshot_has_large(large.bytes, large.left);
            if whole {
                self.walking = false;
                return store.snapshot_finish();
            }
            if host.now_us().saturating_sub(begun_us) >= most_us {
                break;
            }
        }
        Ok(())
    }

    /// Gives up what is being taken.
    pub(super) fn abort(&mut self, engine: &mut Engine, store: &mut Store) {
        engine.snapshot_abort();
        store.snapshot_abort();
        self.walking = false;
    }

    /// The store has published one, or given up.
    pub(super) fn done(&mut self, engine: &mut Engine, host: &impl Host, done: &SnapshotDone) {
        let ms = self.begun_us.take().map_or(0, |begun| host.now_us().saturating_sub(begun) / 1000);
        match &done.outcome {
            Ok(bytes) => {
                self.took.record(ms);
                log::info!("snapshot of zxid {} published: {bytes} bytes in {ms} ms", done.zxid);
            }
            Err(error) => {
                // Whatever has been walked is of no use any more.
                log::error!("snapshot of zxid {} given up: {error}", done.zxid);
                engine.snapshot_abort();
                self.walking = false;
            }
        }
    }

    /// What `mntr` tells.
    pub fn summary(&self) -> Summary {
        Summary {
            name: "snapshottime",
            count: self.took.count(),
            sum: self.took.sum_ms(),
            min: self.took.min_ms(),
            max: self.took.max_ms(),
            percentiles: None,
        }
    }

    /// Whether the state is being walked for one.
    pub fn is_walking(&self) -> bool {
        self.walking
    }

    /// Whether one is being taken or written.
    pub fn is_running(&self, store: &Store) -> bool {
        self.walking || store.snapshot_running()
    }

    /// Forgets how long snapshots took.
    pub fn reset_times(&mut self) {
        self.took = Latency::default();
    }

    /// How soon another turn is wanted, ms.
    pub(super) fn poll_timeout(&self, store: &Store) -> Option<u64> {
        (self.walking || (store.wants_snapshot() && !store.snapshot_running())).then_some(PACE_MS)
    }
}

fn push(store: &mut Store, entry: &[u8], failed: &mut Option<StoreError>) {
    if failed.is_none()
        && let Err(error) = store.snapshot_push(entry)
    {
        *failed = Some(error);
    }
}

#[cfg(test)]
mod tests;
