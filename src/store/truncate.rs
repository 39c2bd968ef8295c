//! Dropping the end of the history, as a leader asks that does not have it (TRUNC), and reading back what is left.

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::error::StoreError;
use crate::store::file::Store;
use crate::store::recover::{self, Replay};

impl Store {
    /// Drops everything above `to` from the log and the snapshots above it; durable on return. `Ok(false)`, and nothing
    /// changed, when no state at exactly `to` is known here or what is kept does not lead to it.
    ///
    /// A snapshot that is being taken is given up, and so are the cursors that read the log. The caller mends what is in memory:
    /// [`reload`](Store::reload) reads the state at `to`.
    ///
    /// After a crash in the middle the truncation has happened or not.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the log reads back wrong; [`StoreError::Full`], with the log as it was;
    /// [`StoreError::SyncFailed`], which is final.
    pub fn truncate(&mut self, to: Zxid) -> Result<bool, StoreError> {
        self.has_history()?;
        if to == self.log.last_zxid {
            return Ok(true);
        }
        if to > self.log.last_zxid || !self.leads_to(to)? {
            return Ok(false);
        }
        self.snapshot_abort();
        self.pins.drop_all();
        // Before the log is cut: a snapshot that holds what was cut off must never be loaded again (S-15). Until then the log
        // has everything that is given up here.
        if self.sb.snapshots.iter().flatten().any(|kept| kept.zxid > to)
            && !failpoint::on(Failpoint::TruncKeepsSnapshot)
        {
            let mut next = self.sb.clone();
            for slot in [0, 1] {
                if next.snapshots[slot].is_some_and(|kept| kept.zxid > to) {
                    next.retire_snapshot(slot);
                }
            }
            self.update_superblock(next)?;
        }
        if failpoint::on(Failpoint::TruncInMemoryOnly) {
            self.log.last_zxid = to;
            return Ok(true);
        }
        self.append_trunc(to)?;
        Ok(true)
    }

    /// Whether the state at `to` can be read back: it is one of the history's, and begins with a snapshot or with nothing.
    fn leads_to(&self, to: Zxid) -> Result<bool, StoreError> {
        let first = self.log.extents.first().map_or(self.log.last_zxid, |first| first.base_zxid);
        let has_snapshot = self.sb.snapshots.iter().flatten().any(|kept| kept.zxid <= to && kept.zxid >= first);
        let from_nothing = self.sb.log_base_lseq == 1 && self.sb.snapshots.iter().flatten().all(|kept| kept.zxid > to);
        Ok((has_snapshot || (from_nothing && first == Zxid::ZERO)) && self.knows(to)?)
    }

    /// Reads the state back as an opening would: the newest snapshot, then the log. What it read is told by the zxid of the
    /// snapshot, if there is one; nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when what was written reads back wrong. What `replay` holds is of no use then.
    pub fn reload(&self, replay: &mut dyn Replay) -> Result<Option<Zxid>, StoreError> {
        self.has_history()?;
        recover::read_state(&*self.disk, &self.sb, &self.log, replay)
    }
}
