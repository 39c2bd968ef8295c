//! The log behind a snapshot on its way into a state: first what the snapshot leaves to it, then what came after the snapshot.

use crate::ids::Zxid;
use crate::store::replay::Replay;
use crate::store::superblock::SnapshotSlot;

/// A state that has the entries of a snapshot, and takes in the log behind it.
pub(crate) struct LogTaking<'r> {
    replay: &'r mut dyn Replay,
    log_after: Zxid,
    snapshot: Zxid,
    filled: bool,
    replayed: u64,
}

impl LogTaking<'_> {
    pub(crate) fn behind<'r>(kept: &SnapshotSlot, replay: &'r mut dyn Replay) -> LogTaking<'r> {
        LogTaking { replay, log_after: kept.log_after, snapshot: kept.zxid, filled: false, replayed: 0 }
    }

    /// One transaction of the log, in order.
    pub(crate) fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        if zxid <= self.log_after {
            return Ok(());
        }
        if zxid <= self.snapshot {
            return self.replay.snapshot_value(zxid, txn);
        }
        self.fill()?;
        self.replay.txn(zxid, txn)?;
        self.replayed += 1;
        Ok(())
    }

    fn fill(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.filled, true) { Ok(()) } else { self.replay.snapshot_filled() }
    }

    /// That was all of it. How many transactions came after the snapshot.
    pub(crate) fn end(mut self) -> Result<u64, String> {
        self.fill()?;
        Ok(self.replayed)
    }
}
