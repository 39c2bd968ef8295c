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

    /// Every entry of the snapshot has come. What it leaves to the log follows.
    ///
    /// # Errors
    /// The text says what is missing; the snapshot then counts as damaged.
    fn snapshot_end(&mut self) -> Result<(), String>;

    /// One transaction that the snapshot covers, in order, of those to which it leaves data: that is to be taken, and nothing else
    /// of the transaction is to be applied. Who keeps no data takes none.
    ///
    /// # Errors
    /// The text says why it cannot be the one; the snapshot then counts as damaged.
    fn snapshot_value(&mut self, _zxid: Zxid, _txn: &[u8]) -> Result<(), String> {
        Ok(())
    }

    /// The snapshot is whole, with what it left to the log.
    ///
    /// # Errors
    /// The text says what is missing; the snapshot then counts as damaged.
    fn snapshot_filled(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// One transaction after the snapshot, in order.
    ///
    /// # Errors
    /// The text says why it cannot be applied; the file then counts as damaged.
    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String>;
}
