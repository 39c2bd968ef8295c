//! A state that was received becomes this member's own on disk, a slice in each turn.

use super::{EngineSeat, Host, MemberParts};
use crate::engine::ReplicatedState;
use crate::ids::Zxid;
use crate::store::{MemberState, SnapshotDone, Store, StoreError};

/// Znodes written between two looks at the clock.
const SLICE_NODES: usize = 64;
/// Time for a slice in one turn, µs.
const SLICE_US: u64 = 2000;
/// Bytes handed to the store and not written yet, above which the walk waits.
const BACKLOG_MAX: usize = 4 << 20;

/// An installation under way: the state is written into space that nothing needs, and the file switched to it at the end. The
/// old one stays until then (S-21, F-21).
pub(super) struct Installing {
    heard: Box<ReplicatedState>,
    /// Of the action that asked for it.
    pub(super) run: u64,
    is_walking: bool,
}

impl Installing {
    /// Begins; `state` is kept beside it.
    pub(super) fn begin(
        mut heard: Box<ReplicatedState>,
        store: &mut Store,
        run: u64,
        state: &MemberState,
    ) -> Result<Installing, StoreError> {
        store.install_begin(heard.applied(), heard.snapshot_estimate(), state)?;
        let mut failed = None;
        heard.snapshot_begin(&mut |entry| push(store, entry, &mut failed));
        match failed {
            None => Ok(Installing { heard, run, is_walking: true }),
            Some(error) => {
                store.snapshot_abort();
                Err(error)
            }
        }
    }

    /// The last transaction in the state.
    pub(super) fn at(&self) -> Zxid {
        self.heard.applied()
    }

    /// Whether a turn would write more.
    pub(super) fn goes_on(&self, store: &Store) -> bool {
        self.is_walking && store.snapshot_backlog() < BACKLOG_MAX
    }

    /// Writes a slice of it.
    pub(super) fn go_on<S: EngineSeat>(
        &mut self,
        parts: &mut MemberParts<'_, S>,
        host: &impl Host,
    ) -> Result<(), StoreError> {
        let begun_us = host.now_us();
        while self.goes_on(parts.store) {
            let mut failed = None;
            let is_whole = self.heard.snapshot_slice(SLICE_NODES, &mut |entry| push(parts.store, entry, &mut failed));
            failed.map_or(Ok(()), Err)?;
            if is_whole {
                self.is_walking = false;
                return parts.store.snapshot_finish();
            }
            if host.now_us().saturating_sub(begun_us) >= SLICE_US {
                break;
            }
        }
        Ok(())
    }

    /// The state, once the store says that it is the file's own.
    pub(super) fn finish(self, done: SnapshotDone) -> Result<ReplicatedState, StoreError> {
        done.outcome.map(|_| *self.heard)
    }
}

fn push(store: &mut Store, entry: &[u8], failed: &mut Option<StoreError>) {
    if failed.is_none() {
        *failed = store.snapshot_push(entry).err();
    }
}
