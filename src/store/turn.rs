//! The clock's share of the work, turn by turn.

use crate::ids::Millis;
use crate::store::error::StoreError;
use crate::store::parts::Store;
use crate::store::snapshot::{SnapshotDone, Tended};

/// How often finished work of the helper is looked for.
const HELPER_POLL_MS: u64 = 10;
/// The same while writes wait for it.
const HELPER_POLL_SOON_MS: u64 = 1;
/// So often may nothing be under way while a snapshot is waited for.
const IDLE_TURNS_MAX: u32 = 100;

impl Store {
    /// Does what is due at `now`: marks the end of an idle log, links and grows ahead, moves a snapshot on.
    ///
    /// `Some` tells the end of a snapshot, good or bad.
    ///
    /// # Errors
    /// [`StoreError::SyncFailed`], which is final.
    pub fn tick(&mut self, now: Millis) -> Result<Option<SnapshotDone>, StoreError> {
        self.extents.root.alive()?;
        self.extents.now = self.extents.now.max(now);
        // Whatever updates the superblock waits for the disk, and it is at work.
        if self.is_writing() {
            return Ok(None);
        }
        self.extents.root.defers = self.has_writes_apart;
        let done = self.tend();
        self.extents.root.defers = false;
        done
    }

    /// What is due, as far as the first update of the superblock that is deferred: what follows is for the next tick.
    fn tend(&mut self) -> Result<Option<SnapshotDone>, StoreError> {
        while !self.is_rearranging()
            && let Some(done) = self.extents.helper.poll(&*self.extents.root.disk)
        {
            self.take_done(done)?;
        }
        self.tend_pins();
        if !self.is_rearranging() {
            self.extents.tend_grown(self.demand.log_waits, self.log.end())?;
        }
        if !self.is_rearranging() {
            let need = self.budget().need();
            self.extents.tend_growth(need);
        }
        if !self.is_rearranging() && self.log.wants_next(self.sb()) && self.budget().has_one_for_log() {
            self.tend_next()?;
        }
        if self.is_rearranging() {
            return Ok(None);
        }
        self.tend_mark()?;
        match self.snapshots.tend(&mut self.extents)? {
            Tended::Nothing => Ok(None),
            Tended::Ended(done) => Ok(Some(done)),
            Tended::Whole(build) => {
                // What was installed is acknowledged as soon as this is told.
                self.extents.root.defers &= build.install.is_none();
                self.publish_snapshot(*build).map(Some)
            }
        }
    }

    /// Links the next extent of the log ahead of need, if there is one without waiting for it.
    fn tend_next(&mut self) -> Result<(), StoreError> {
        let is_there = !self.extents.root.defers || self.extents.first_free().is_some();
        if is_there { self.link_next() } else { Ok(()) }
    }

    /// Marks the end of a log that has been idle for long enough.
    fn tend_mark(&mut self) -> Result<(), StoreError> {
        if self.log.last_txns_fseq > self.log.marked_fseq && self.options.mark_after_ms > 0 {
            let now = self.extents.now;
            match self.log.idle_since {
                None => self.log.idle_since = Some(now),
                Some(since) if now.since(since) < self.options.mark_after_ms => {}
                Some(_) if self.has_writes_apart => self.log.is_mark_due = true,
                Some(_) => {
                    self.log.marked_fseq = self.log.fseq;
                    self.log.append_mark(&mut self.extents.root)?;
                }
            }
        }
        Ok(())
    }

    /// Marks of the end of the log and updates of the superblock are begun by [`upkeep_begin`](Store::upkeep_begin) from now on, so
    /// that neither [`tick`](Store::tick) nor [`keep`](Store::keep) waits for the disk, but where a received state is switched to.
    pub fn set_writes_apart(&mut self) {
        self.has_writes_apart = true;
    }

    /// Milliseconds from `now` until [`tick`](Store::tick) has something to do; `None` while nothing is due.
    pub fn poll_timeout(&self, now: Millis) -> Option<u64> {
        if self.extents.root.poisoned().is_some() || self.log.is_writing {
            return None;
        }
        if self.is_rearranging() {
            return self.extents.root.wants_update().then_some(0);
        }
        let mark = (self.log.last_txns_fseq > self.log.marked_fseq && self.options.mark_after_ms > 0)
            .then(|| self.log.idle_since.map_or(0, |since| since.plus(self.options.mark_after_ms).since(now)));
        let grows = self.extents.counted() < self.extents.initial;
        let poll = if self.demand.log_waits { HELPER_POLL_SOON_MS } else { HELPER_POLL_MS };
        let helper = (self.extents.helper.active() || self.snapshots.build.is_some()).then_some(poll);
        let growth = (grows && !self.extents.helper.active()).then(|| self.extents.growth_pause(now));
        [mark, helper, growth].into_iter().flatten().min()
    }

    /// Waits until more of a snapshot or an installation that is being pushed has reached the disk.
    ///
    /// # Errors
    /// Why it was given up, if it was; [`StoreError::SyncFailed`], which is final.
    pub fn snapshot_await_room(&mut self) -> Result<(), StoreError> {
        if self.extents.helper.active() {
            self.wait_for_helper()?;
        }
        match self.tick(self.extents.now)? {
            None => Ok(()),
            Some(done) => done.outcome.map(drop),
        }
    }

    /// Waits for the end of a snapshot or an installation of which all entries have been pushed.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when there is none; [`StoreError::SyncFailed`], which is final.
    pub fn snapshot_wait(&mut self) -> Result<SnapshotDone, StoreError> {
        let mut idle = 0;
        loop {
            if let Some(done) = self.tick(self.extents.now)? {
                return Ok(done);
            }
            if self.snapshots.build.is_none() {
                return Err(StoreError::NoSnapshot);
            }
            idle += 1;
            if idle > IDLE_TURNS_MAX {
                // It waits for space that nobody makes.
                self.snapshot_give_up()?;
                return Err(self.extents.full());
            }
            if self.extents.helper.active() {
                idle = 0;
                self.wait_for_helper()?;
            }
        }
    }
}
