//! The snapshot of an open store: begun, pushed, and named when it is whole; the switch to a state that was received.
//!
//! A received state is written like a snapshot, into space that nothing needs, and one superblock update makes it, a new and
//! empty log, and what the member keeps with it all that counts. Before that update the file is the old one, whatever happens;
//! after it the new one.

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::error::StoreError;
use crate::store::layout::sb;
use crate::store::member::MemberState;
use crate::store::parts::Store;
use crate::store::snapshot::{Build, LargeBytes, SnapshotDone};
use crate::store::superblock::{Extent, ExtentState};

impl Store {
    /// Begins a snapshot of the state at `zxid`, which is [`last_zxid`](Store::last_zxid).
    ///
    /// `estimate_bytes` is how large the stream becomes at most; space for that is kept from the log. Push every entry, then call
    /// [`snapshot_finish`](Store::snapshot_finish), and [`tick`](Store::tick) until it reports the end.
    ///
    /// The snapshot may leave large data to transactions after the zxid that is returned, because the log from there on is kept with
    /// it: [`snapshot_has_large`](Store::snapshot_has_large). `None`: it may not.
    ///
    /// # Errors
    /// [`StoreError::SnapshotRunning`]; [`StoreError::Full`] when it cannot fit beside the reserve of the log.
    ///
    /// # Panics
    /// When `zxid` is above the last one appended.
    pub fn snapshot_begin(&mut self, zxid: Zxid, estimate_bytes: u64) -> Result<Option<Zxid>, StoreError> {
        self.extents.root.has_history()?;
        self.extents.root.settle()?;
        if self.snapshots.build.is_some() {
            return Err(StoreError::SnapshotRunning);
        }
        assert!(zxid <= self.log.last_zxid, "a snapshot at {zxid:?}, the log ends at {:?}", self.log.last_zxid);
        if let Err(error) = self.make_room_for(self.extents.for_snapshot(estimate_bytes)) {
            self.snapshots.put_off(self.extents.now);
            return Err(error);
        }
        // Never so slow that a snapshot takes longer than half a minute.
        let rate = self.options.snapshot_rate;
        self.extents.helper.set_snapshot_rate(if rate == 0 { 0 } else { rate.max(estimate_bytes / 30) });
        self.demand.saw_snapshot(estimate_bytes);
        let leaves_after = self.budget().leaves_after();
        self.begin_build((zxid, leaves_after.unwrap_or(zxid)), estimate_bytes, None);
        Ok(leaves_after)
    }

    fn begin_build(&mut self, zxids: (Zxid, Zxid), estimate_bytes: u64, install: Option<MemberState>) {
        let log = (self.log.position(self.sb()), self.budget().log_window());
        self.snapshots.begin(&self.extents, zxids, log, estimate_bytes, install);
    }

    /// The least size of data that a snapshot may leave to the log; smaller data is not worth the looking up.
    pub fn large_data(&self) -> usize {
        self.options.large_data as usize
    }

    /// Says of the snapshot that is being taken how many bytes of data the state has in pieces of [`large_data`](Store::large_data) and
    /// more, as far as it was walked, and how many of these were left to the log and not pushed.
    pub fn snapshot_has_large(&mut self, all: u64, left: u64) {
        self.snapshots.has_large(LargeBytes { all, left });
    }

    /// Adds one entry, of any bytes, to the snapshot.
    ///
    /// Never waits for the disk; look at [`snapshot_backlog`](Store::snapshot_backlog) between calls.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when none is being taken; the reason when it has been given up since.
    pub fn snapshot_push(&mut self, entry: &[u8]) -> Result<(), StoreError> {
        self.snapshots.push(&mut self.extents, entry)
    }

    /// Bytes pushed that have not reached the disk.
    pub fn snapshot_backlog(&self) -> usize {
        self.snapshots.backlog()
    }

    /// Says that every entry has been pushed. [`tick`](Store::tick) reports when the snapshot counts.
    ///
    /// # Errors
    /// As [`snapshot_push`](Store::snapshot_push).
    pub fn snapshot_finish(&mut self) -> Result<(), StoreError> {
        self.snapshots.finish(&mut self.extents)
    }

    /// Gives the snapshot up. The older ones stay; nothing is reported.
    pub fn snapshot_abort(&mut self) {
        self.snapshots.abort(&mut self.extents);
    }

    /// Whether a snapshot is being written, checked, or given up.
    pub fn snapshot_running(&self) -> bool {
        self.snapshots.build.is_some()
    }

    /// Names the snapshot in the superblock and releases what it replaces.
    pub(crate) fn publish_snapshot(&mut self, mut build: Build) -> Result<SnapshotDone, StoreError> {
        if let Some(state) = build.install.take() {
            return self.publish_install(build, &state);
        }
        let kept = build.slot();
        // The place of the older one: an empty place is older than any.
        let slot = usize::from(self.sb().snapshots[0].map_or(0, |k| k.id) > self.sb().snapshots[1].map_or(0, |k| k.id));
        let mut next = self.sb().clone();
        next.retire_snapshot(slot);
        if self.options.keep_snapshots == 1 {
            next.retire_snapshot(1 - slot);
        }
        build.name_extents(&mut next, slot);
        next.snapshots[slot] = Some(kept);
        self.retire_log(&mut next);
        self.extents.pool.release_all();
        self.release(next)?;
        self.demand.snapshot_began = build.began;
        self.demand.newest_whole = build.whole_bytes();
        self.demand.newest_large = build.large_bytes();
        self.demand.saw_snapshot(build.whole_bytes());
        self.snapshots.published += 1;
        self.snapshots.leaving += u64::from(kept.leaves());
        self.draw_jitter();
        Ok(SnapshotDone { zxid: kept.zxid, outcome: Ok(kept.bytes) })
    }

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
        self.extents.root.alive()?;
        self.extents.root.settle()?;
        self.check_member_state(state)?;
        self.snapshot_give_up()?;
        self.pins.drop_all();
        // One extent is for the log that begins.
        self.make_room_for(self.extents.for_snapshot(estimate_bytes) + 1)?;
        self.extents.helper.set_snapshot_rate(0);
        self.begin_build((zxid, zxid), estimate_bytes, Some(state.clone()));
        Ok(())
    }

    /// Gives up the snapshot that is being taken, and waits until nothing of it is being written.
    pub(crate) fn snapshot_give_up(&mut self) -> Result<(), StoreError> {
        self.snapshot_abort();
        while self.snapshots.build.is_some() {
            self.wait_for_helper()?;
            self.snapshot_abort();
        }
        Ok(())
    }

    /// Makes the state that has been written and checked the only one.
    fn publish_install(&mut self, build: Build, state: &MemberState) -> Result<SnapshotDone, StoreError> {
        let kept = build.slot();
        let log = match self.any_free() {
            Ok(index) => index,
            Err(error) => {
                self.extents.pool.release_all();
                self.snapshots.given_up += 1;
                return if self.extents.root.poisoned().is_some() {
                    Err(error)
                } else {
                    Ok(SnapshotDone { zxid: kept.zxid, outcome: Err(error) })
                };
            }
        };
        let mut next = self.sb().clone();
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
            let mut early = self.sb().clone();
            early.member = state.clone();
            self.update(early)?;
        }
        next.member = state.clone();
        // The update says where the log ends: in an extent that has nothing yet. Should it fail, the store takes no more
        // writes anyway.
        self.extents.root.is_hollow = false;
        self.log.begin_anew(next.log_head_lseq, log, next.extent_at(log), kept.zxid);
        self.extents.pool.release_all();
        self.release(next)?;
        // So that the numbers of frames of the old log cannot come again even if nothing is ever logged.
        self.log.append_mark(&mut self.extents.root)?;
        self.demand.snapshot_began = self.log.position(self.extents.sb());
        (self.demand.newest_whole, self.demand.newest_large) = (kept.bytes, 0);
        self.demand.saw_snapshot(kept.bytes);
        self.snapshots.published += 1;
        Ok(SnapshotDone { zxid: kept.zxid, outcome: Ok(kept.bytes) })
    }
}
