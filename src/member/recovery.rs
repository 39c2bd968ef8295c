//! From the file to an engine: what was durable when the last process ended.

use crate::engine::Engine;
use crate::ids::Zxid;
use crate::store::Replay;

/// Takes what the store reads back into an engine.
pub struct Loading<'e> {
    engine: &'e mut Engine,
}

impl Loading<'_> {
    /// Loads into `engine`, which is as new.
    pub fn into(engine: &mut Engine) -> Loading<'_> {
        Loading { engine }
    }
}

impl Replay for Loading<'_> {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.engine.load_begin(zxid);
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.engine.load_entry(entry).map_err(|damage| damage.0)
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        self.engine.load_end().map_err(|damage| damage.0)
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        self.engine.replay(zxid, txn).map_err(|damage| damage.0)
    }
}
