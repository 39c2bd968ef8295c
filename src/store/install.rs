//! The switch to a state that was received whole: it is written like a snapshot, into space that nothing needs, and one
//! superblock update makes it, a new and empty log, and what the member keeps with it all that counts.
//!
//! Before that update the file is the old one, whatever happens; after it the new one.

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::error::StoreError;
use crate::store::extents::{ExtentState, count};
use crate::store::file::Store;
use crate::store::layout::sb;
use crate::store::member::MemberState;
use crate::store::snapshot::{Build, SnapshotDone};
use crate::store::superblock::Extent;

/// So often may nothing be under way while a snapshot is waited for.
const IDLE_TURNS_MAX: u32 = 100;

impl Store {
    /// Sets out to replace everything in the file by a state at `zxid` that was received from a leader, and to keep `state`
    /// with it.
    ///
    /// Push its entries as those of a snapshot ([`snapshot_push`](Store::snapshot_push),
    /// [`snapshot_finish`](Store::snapshot_finish)); the end of it that [`tick`](Store::tick) or
    /// [`snapshot_wait`](Store::snapshot_wait) reports is the switch: the log then ends at `zxid` and has nothing in it, and
    /// whatever the file held is gone. When it is given up instead, or [`snapshot_abort`](Store::snapshot_abort) is called,
    /// everything is as it was. A snapshot that is being taken is given up, and so are the cursors that read the log.
    ///
    /// # Errors
    /// [`StoreError::Full`] when it cannot fit, even without the older of two snapshots; [`StoreError::TooLarge`] as
    /// [`keep`](Store::keep); [`StoreError::SyncFailed`], which is final.
    ///
    /// # Panics
    /// When an epoch would fall, or the current one pass the accepted one (S-08).
    pub fn install_begin(&mut self, zxid: Zxid, estimate_bytes: u64, state: &MemberState) -> Result<(), StoreError> {
        self.alive()?;
        self.check_member_state(state)?;
        self.snapshot_give_up()?;
        self.pins.drop_all();
        // One extent is for the log that begins.
        self.make_room_for(self.extents_for_snapshot(estimate_bytes) + 1)?;
        self.helper.set_snapshot_rate(0);
        self.begin_build(zxid, estimate_bytes, Some(state.clone()));
        Ok(())
    }

    /// Waits for the end of a snapshot or an installation of which all entries have been pushed.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when there is none; [`StoreError::SyncFailed`], which is final.
    pub fn snapshot_wait(&mut self) -> Result<SnapshotDone, StoreError> {
        let mut idle = 0;
        loop {
            if let Some(done) = self.tick(self.now)? {
                return Ok(done);
            }
            if self.build.is_none() {
                return Err(StoreError::NoSnapshot);
            }
            idle += 1;
            if idle > IDLE_TURNS_MAX {
                // It waits for space that nobody makes.
                self.snapshot_give_up()?;
                return Err(self.full());
            }
            if self.helper.active() {
                idle = 0;
                let done = self.helper.wait(&*self.disk);
                self.handle_done(done)?;
            }
        }
    }

    /// Gives up the snapshot that is being taken, and waits until nothing of it is being written.
    fn snapshot_give_up(&mut self) -> Result<(), StoreError> {
        self.snapshot_abort();
        while self.build.is_some() {
            let done = self.helper.wait(&*self.disk);
            self.handle_done(done)?;
            self.snapshot_abort();
        }
        Ok(())
    }

    /// Makes the state that has been written and checked the only one.
    pub(crate) fn publish_install(&mut self, build: Build, state: &MemberState) -> Result<SnapshotDone, StoreError> {
        let kept = build.slot();
        let log = match self.any_free() {
            Ok(index) => index,
            Err(error) => {
                self.pool.release_all();
                self.stats.snapshots_failed += 1;
                return if self.poison.is_some() {
                    Err(error)
                } else {
                    Ok(SnapshotDone { zxid: kept.zxid, outcome: Err(error) })
                };
            }
        };
        let mut next = self.sb.clone();
        next.retire_snapshot(0);
        next.retire_snapshot(1);
        for extent in next.map.iter_mut().filter(|extent| extent.state == ExtentState::Log) {
            *extent = Extent { state: ExtentState::Retired, order: 0 };
        }
        build.name_extents(&mut next, 0);
        next.snapshots[0] = Some(kept);
        next.log_head_lseq += 1;
        next.log_base_lseq = next.log_head_lseq;
        next.map[log as usize] = Extent { state: ExtentState::Log, order: next.log_head_lseq };
        next.end_zxid = kept.zxid;
        next.flags &= !(sb::FLAG_DAMAGED | sb::FLAG_RESYNC);
        if failpoint::on(Failpoint::EpochsBeforeState) {
            let mut early = self.sb.clone();
            early.member = state.clone();
            self.update_superblock(early)?;
        }
        next.member = state.clone();
        // The update says where the log ends: in an extent that has nothing yet. Should it fail, the store takes no more
        // writes anyway.
        self.is_hollow = false;
        self.log.begin_anew(next.log_head_lseq, log, next.extent_at(log), kept.zxid);
        self.pool.release_all();
        self.release(next)?;
        // So that the numbers of frames of the old log cannot come again even if nothing is ever logged.
        self.append_mark()?;
        self.snapshot_began = self.log_position();
        self.snapshot_largest = self.snapshot_largest.max(kept.bytes);
        self.stats.snapshots += 1;
        Ok(SnapshotDone { zxid: kept.zxid, outcome: Ok(kept.bytes) })
    }

    /// A FREE extent that the state does not use, by growing if need be.
    fn any_free(&mut self) -> Result<u32, StoreError> {
        loop {
            if let Some(index) = self.pool.first_free(&self.sb) {
                return Ok(index);
            }
            if count(&self.sb, ExtentState::Retired) > 0 {
                let next = self.sb.clone();
                self.update_superblock(next)?;
                continue;
            }
            while self.pool.growing > 0 && self.pool.grown == 0 {
                let done = self.helper.wait(&*self.disk);
                self.handle_done(done)?;
            }
            if self.pool.grown == 0 {
                self.grow_at_once()?;
            }
            self.adopt_grown()?;
        }
    }
}
