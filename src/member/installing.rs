//! A state that was received becomes this member's own on disk.

use crate::engine::Heard;
use crate::store::{MemberState, Store, StoreError};

/// Znodes written between two looks at what failed.
const SLICE_NODES: usize = 1024;

/// Writes the state and switches to it, with `state` kept beside it. The old one stays until then (S-21, F-21).
pub(super) fn install(heard: &mut Heard, store: &mut Store, state: &MemberState) -> Result<(), StoreError> {
    store.install_begin(heard.applied(), heard.snapshot_estimate(), state)?;
    let written = write(heard, store);
    if written.is_err() {
        store.snapshot_abort();
        return written;
    }
    store.snapshot_wait()?.outcome.map(drop)
}

fn write(heard: &mut Heard, store: &mut Store) -> Result<(), StoreError> {
    let mut failed = None;
    let mut push = |store: &mut Store, entry: &[u8]| {
        if failed.is_none() {
            failed = store.snapshot_push(entry).err();
        }
    };
    heard.snapshot_begin(&mut |entry| push(store, entry));
    while !heard.snapshot_slice(SLICE_NODES, &mut |entry| push(store, entry)) {}
    failed.map_or(Ok(()), Err)?;
    store.snapshot_finish()
}
