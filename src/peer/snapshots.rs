//! Taking a snapshot while transactions run: a slice in each turn, no faster than the disk takes it.

use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::store::{SnapshotDone, Store, StoreError};
use crate::words::{Latency, Summary};

/// Znodes looked at before the clock is: even with large data they take no longer than a slice should.
const SLICE_NODES: usize = 16;
/// Time for a slice in one turn.
const SLICE_TIME: Duration = Duration::from_micros(200);
/// The same while writes wait, most likely for this very snapshot.
const SLICE_TIME_HELD: Duration = Duration::from_millis(2);
/// Bytes handed to the store and not written yet, above which the walk waits.
const BACKLOG_MAX: usize = 4 << 20;
/// Turns while a snapshot is being taken come at least this often, ms.
const PACE_MS: u64 = 1;

/// The snapshot being taken, if any.
pub(super) struct Snapshots {
    walking: bool,
    begun: Option<Instant>,
    /// How long those took that were published.
    took: Latency,
}

impl Snapshots {
    pub(super) fn new() -> Snapshots {
        Snapshots { walking: false, begun: None, took: Latency::default() }
    }

    /// Begins, continues or finishes, whatever is due.
    pub(super) fn turn(&mut self, engine: &mut Engine, store: &mut Store) -> Result<(), StoreError> {
        if !self.walking && (engine.is_applying() || store.snapshot_running() || !store.wants_snapshot()) {
            return Ok(());
        }
        let result = if self.walking { self.walk(engine, store) } else { self.begin(engine, store) };
        match result {
            Ok(()) => Ok(()),
            // A failed sync is final; anything else costs no more than this snapshot, and the store says when to try again.
            Err(error) if store.stats().poisoned.is_some() => Err(error),
            Err(error) => {
                log::error!("snapshot given up: {error}");
                engine.snapshot_abort();
                store.snapshot_abort();
                self.walking = false;
                Ok(())
            }
        }
    }

    fn begin(&mut self, engine: &mut Engine, store: &mut Store) -> Result<(), StoreError> {
        log::info!("taking a snapshot at zxid {}", engine.applied());
        store.snapshot_begin(engine.applied(), engine.snapshot_estimate())?;
        self.walking = true;
        self.begun = Some(Instant::now());
        let mut failed = None;
        engine.snapshot_begin(&mut |entry| push(store, entry, &mut failed));
        failed.map_or(Ok(()), Err)
    }

    fn walk(&mut self, engine: &mut Engine, store: &mut Store) -> Result<(), StoreError> {
        let begun = Instant::now();
        let time = if engine.held_count() > 0 { SLICE_TIME_HELD } else { SLICE_TIME };
        while store.snapshot_backlog() < BACKLOG_MAX {
            let mut failed = None;
            let whole = engine.snapshot_slice(SLICE_NODES, &mut |entry| push(store, entry, &mut failed));
            if let Some(error) = failed {
                return Err(error);
            }
            if whole {
                self.walking = false;
                return store.snapshot_finish();
            }
            if begun.elapsed() >= time {
                break;
            }
        }
        Ok(())
    }

    /// The store has published one, or given up.
    pub(super) fn done(&mut self, engine: &mut Engine, done: &SnapshotDone) {
        let ms = self.begun.take().map_or(0, |begun| u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
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
    pub(super) fn summary(&self) -> Summary {
        Summary {
            name: "snapshottime",
            count: self.took.count(),
            sum: self.took.sum_ms(),
            min: self.took.min_ms(),
            max: self.took.max_ms(),
            percentiles: None,
        }
    }

    /// Whether one is being taken or written.
    pub(super) fn is_running(&self, store: &Store) -> bool {
        self.walking || store.snapshot_running()
    }

    /// Forgets how long snapshots took.
    pub(super) fn reset_times(&mut self) {
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
