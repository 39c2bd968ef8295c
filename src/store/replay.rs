//! What a state is rebuilt from.

use crate::ids::Zxid;

/// What recovery feeds: a state that is rebuilt from a snapshot and the transactions after it.
pub trait Replay {
    /// Start over from an empty state: a snapshot taken at `zxid` follows. Called again when that one is damaged.
    fn snapshot_begin(&mut self, zxid: Zxid);

    /// One entry of the snapshot, as it was pushed.
    ///
    /// # Errors
    /// The text says why the entry cannot be; the snapshot then counts as damaged.
    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String>;

    /// The snapshot is whole.
    ///
    /// # Errors
    /// The text says what is missing; the snapshot then counts as damaged.
    fn snapshot_end(&mut self) -> Result<(), String>;

    /// One transaction after the snapshot, in order.
    ///
    /// # Errors
    /// The text says why it cannot be applied; the file then counts as damaged.
    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String>;
}
