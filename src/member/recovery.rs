//! From the file to a state: what was durable when the last process ended.

use crate::engine::ReplicatedState;
use crate::ids::Zxid;
use crate::store::{MemberState, Replay, Soundness, Store, StoreError};

/// Keeps in a new file that its operator says it is no loss that there is nothing in it, so that the word need not be said again after a
/// crash. A file that has something needs no such word. Whether it did.
///
/// # Errors
/// As [`Store::keep`].
pub fn trust_new_file(store: &mut Store) -> Result<bool, StoreError> {
    let state = store.member_state();
    let is_new = store.last_zxid() == Zxid::ZERO && state.current_epoch == 0 && !store.is_to_be_filled();
    if is_new && state.soundness == Soundness::Sound {
        let state = MemberState { soundness: Soundness::NewAndTrusted, ..state.clone() };
        store.keep(&state)?;
    }
    Ok(is_new)
}

/// Takes what the store reads back into a state.
pub struct Loading<'s> {
    state: &'s mut ReplicatedState,
}

impl Loading<'_> {
    /// Loads into `state`, which is as new.
    pub fn into(state: &mut ReplicatedState) -> Loading<'_> {
        Loading { state }
    }
}

impl Replay for Loading<'_> {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.state.load_begin(zxid);
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.state.load_entry(entry).map_err(|damage| damage.0)
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        self.state.load_end().map_err(|damage| damage.0)
    }

    fn snapshot_value(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.state.fill(zxid, txn).map_err(|damage| damage.0)
    }

    fn snapshot_filled(&mut self) -> Result<(), String> {
        self.state.load_filled().map_err(|damage| damage.0)
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.state.replay(zxid, txn).map_err(|damage| damage.0)
    }
}
