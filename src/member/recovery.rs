//! From the file to a state: what was durable when the last process ended.

use crate::engine::ReplicatedState;
use crate::ids::Zxid;
use crate::store::Replay;

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

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.state.replay(zxid, txn).map_err(|damage| damage.0)
    }
}
