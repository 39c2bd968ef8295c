//! The history in the log: going on with it, reading it, cutting it, reading back the state it leads to.

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::error::StoreError;
use crate::store::frame::Record;
use crate::store::parts::Store;
use crate::store::read::{LogCursor, LogReader, Logged};
use crate::store::recover;
use crate::store::replay::Replay;
use crate::store::writing::{LogWork, LogWrite, LogWritten};
use std::sync::Arc;

impl Store {
    /// Appends `records` and makes them durable.
    ///
    /// One frame, one write, one sync; more only where the records exceed 1 MiB or cross the end of an extent. After a
    /// crash in the middle a prefix of `records` may be found again.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] and [`StoreError::Full`] before anything is written: the store stays usable.
    /// [`StoreError::SyncFailed`] is final (S-42).
    ///
    /// # Panics
    /// When the zxids do not grow: the log would go backwards.
    pub fn append(&mut self, records: &[Record<'_>]) -> Result<(), StoreError> {
        let forgets = failpoint::on(Failpoint::LastRecordForgotten) && records.len() > 1;
        let mut rest = if forgets { &records[..records.len() - 1] } else { records };
        while let Some(write) = self.append_begin(rest)? {
            let count = write.records();
            self.append_end(write.carry_out())?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// First step of an append: builds the frame of as many of `records` as go into one, in order; there is room for all of
    /// them then. `None` when there are none. To be carried out and handed back by [`append_end`](Store::append_end) before the
    /// next begins; until then nothing of it counts.
    ///
    /// # Errors
    /// As [`append`](Store::append).
    ///
    /// # Panics
    /// As [`append`](Store::append), and while a write is under way.
    pub fn append_begin(&mut self, records: &[Record<'_>]) -> Result<Option<LogWrite>, StoreError> {
        self.extents.root.has_history()?;
        self.extents.root.settle()?;
        let mut last = self.log.last_zxid;
        for one in records {
            assert!(one.zxid > last, "log goes backwards: {:?} after {last:?}", one.zxid);
            last = one.zxid;
            let size = one.txn.len() as u64;
            if size > self.max_record() {
                return Err(StoreError::TooLarge { size, limit: self.max_record() });
            }
        }
        if records.is_empty() {
            return Ok(None);
        }
        self.link_for(records)?;
        Ok(Some(self.log.begin_append(&self.extents.root, records)))
    }

    /// Last step of an append, or of [`upkeep_begin`](Store::upkeep_begin): takes note that what was written is durable.
    ///
    /// # Errors
    /// [`StoreError::SyncFailed`], which is final (S-42).
    pub fn append_end(&mut self, written: LogWritten) -> Result<(), StoreError> {
        self.log.end_frame(&mut self.extents.root, written)
    }

    /// Begins to write what [`tick`](Store::tick) and [`keep`](Store::keep) were told to leave: the superblock, or in the log that
    /// all of it is durable. Carried out and handed back as an append is.
    ///
    /// # Errors
    /// As every write.
    pub fn upkeep_begin(&mut self) -> Result<Option<LogWrite>, StoreError> {
        if self.log.is_writing {
            return Ok(None);
        }
        if self.extents.root.is_pending() {
            self.extents.root.alive()?;
            let disk = Arc::clone(&self.extents.root.disk);
            let steps = self.extents.root.begin_update();
            return Ok(steps.map(|steps| LogWrite { disk, work: LogWork::Root(steps) }));
        }
        if !std::mem::take(&mut self.log.is_mark_due) {
            return Ok(None);
        }
        self.extents.root.alive()?;
        self.log.marked_fseq = self.log.fseq;
        Ok(self.log.begin_mark(&self.extents.root))
    }

    /// Makes sure that transactions of these sizes find room behind the end of the log, whichever of them come to share a
    /// frame, for who tells others of them before they are appended: no [`append`](Store::append) of just these comes to
    /// [`StoreError::Full`]. What was reserved and not appended yet is to be told again.
    ///
    /// # Errors
    /// As [`append`](Store::append).
    pub fn reserve(&mut self, sizes: &[usize]) -> Result<(), StoreError> {
        self.extents.root.alive()?;
        if let Some(size) = sizes.iter().map(|size| *size as u64).find(|size| *size > self.max_record()) {
            return Err(StoreError::TooLarge { size, limit: self.max_record() });
        }
        if self.log.moves_apart(self.sb(), sizes) > self.log.ahead(self.sb()) && !self.sb().is_whole() {
            self.extents.root.settle()?;
            self.widen_at_once()?;
        }
        let moves = self.log.moves_apart(self.sb(), sizes);
        if moves > self.log.ahead(self.sb()) {
            self.extents.root.settle()?;
        }
        self.link_at_least(moves)
    }

    /// Whether the extents that are linked have room for these, so that [`reserve`](Store::reserve) waits for nothing.
    pub fn has_room_linked(&self, sizes: &[usize]) -> bool {
        self.log.moves_apart(self.sb(), sizes) <= self.log.ahead(self.sb())
    }

    fn reader(&self) -> LogReader<'_> {
        LogReader { source: &*self.extents.root.disk, sb: self.sb(), log: &self.log }
    }

    /// Sets out to read what follows `after`; `None` when the log does not reach back so far.
    ///
    /// The reader keeps its part of the file from being used for something else, for ten minutes at most and while there is
    /// room: [`read_close`](Store::read_close) when it is done.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when what was written reads back wrong.
    pub fn read_open(&mut self, after: Zxid) -> Result<Option<LogCursor>, StoreError> {
        self.extents.root.has_history()?;
        let found = self.reader().find(after)?;
        Ok(found.map(|mut cursor| {
            self.pins.hold(&mut cursor, self.extents.now);
            cursor
        }))
    }

    /// Reads on: transactions in order, of `bytes_max` bytes in all, or one that is larger. None when there are no more
    /// yet.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when what was written reads back wrong; [`StoreError::LogReleased`] when the reader was given
    /// up.
    pub fn read(&mut self, cursor: &mut LogCursor, bytes_max: usize) -> Result<Vec<Logged>, StoreError> {
        let released = self.log.extents.first().is_some_and(|first| cursor.lseq() < first.lseq);
        if released || !self.pins.holds(cursor) {
            return Err(StoreError::LogReleased);
        }
        let found = self.reader().read(cursor, bytes_max)?;
        self.pins.follow(cursor);
        Ok(found)
    }

    /// Ends the reading.
    pub fn read_close(&mut self, cursor: LogCursor) {
        self.pins.release(&cursor);
    }

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
        self.extents.root.has_history()?;
        self.extents.root.settle()?;
        if to == self.log.last_zxid {
            return Ok(true);
        }
        if to > self.log.last_zxid || !self.reader().leads_to(to)? {
            return Ok(false);
        }
        self.snapshot_abort();
        self.pins.drop_all();
        // Before the log is cut: a snapshot that holds what was cut off must never be loaded again (S-15). Until then the log
        // has everything that is given up here.
        if self.sb().snapshots.iter().flatten().any(|kept| kept.zxid > to)
            && !failpoint::on(Failpoint::TruncKeepsSnapshot)
        {
            let mut next = self.sb().clone();
            for slot in [0, 1] {
                if next.snapshots[slot].is_some_and(|kept| kept.zxid > to) {
                    next.retire_snapshot(slot);
                }
            }
            self.update(next)?;
        }
        if failpoint::on(Failpoint::TruncInMemoryOnly) {
            self.log.last_zxid = to;
            return Ok(true);
        }
        self.append_trunc(to)?;
        Ok(true)
    }

    /// Makes everything past `to` void, durably (D-08). Nothing is written when there is no room for it.
    fn append_trunc(&mut self, to: Zxid) -> Result<(), StoreError> {
        if self.log.moves_for_trunc(self.sb()) && !self.sb().is_whole() {
            self.widen_at_once()?;
        }
        if self.log.moves_for_trunc(self.sb()) && self.log.ahead(self.sb()) == 0 {
            self.link_next()?;
        }
        self.log.append_trunc(&mut self.extents.root, to)
    }

    /// Reads the state back as an opening would: the newest snapshot, then the log. What it read is told by the zxid of the
    /// snapshot, if there is one; nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when what was written reads back wrong. What `replay` holds is of no use then.
    pub fn reload(&self, replay: &mut dyn Replay) -> Result<Option<Zxid>, StoreError> {
        self.extents.root.has_history()?;
        recover::read_state(&*self.extents.root.disk, self.sb(), &self.log, replay)
    }
}
