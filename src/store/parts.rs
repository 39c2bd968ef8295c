//! The open store: its parts, and what is asked of them.

use crate::ids::Zxid;
use crate::store::budget::{Budget, Demand};
use crate::store::error::StoreError;
use crate::store::extents::Extents;
use crate::store::helper::JobDone;
use crate::store::layout::frame;
use crate::store::log::Log;
use crate::store::member::MemberState;
use crate::store::options::{Space, SpaceLevel, StoreOptions, StoreStats, SyncMode};
use crate::store::pace;
use crate::store::read::Pins;
use crate::store::root::Root;
use crate::store::snapshot::Snapshots;
use crate::store::superblock::{SnapshotSlot, Superblock};

/// One open file: a log of transactions and snapshots of what they made.
///
/// Owned by one thread. [`append`](Store::append) returns when its records are durable; [`tick`](Store::tick) does what
/// is due by the clock and wants to be called when [`poll_timeout`](Store::poll_timeout) says so. What may be slow
/// (snapshots, growth) goes on beside, on a thread that exists only while there is such work.
///
/// Invariants: 1. nothing is acknowledged before its sync has returned; 2. after a failed write or sync nothing is
/// written any more (S-42); 3. only extents that are FREE in the complete superblock generation are written, or the
/// log's own behind its end (S-43); 4. superblock updates are made one at a time, each after everything it names.
pub struct Store {
    pub(crate) options: StoreOptions,
    pub(crate) extents: Extents,
    pub(crate) log: Log,
    pub(crate) snapshots: Snapshots,
    pub(crate) demand: Demand,
    /// The cursors that read the log.
    pub(crate) pins: Pins,
    /// Whoever calls carries out all writes but those of the helper: see [`set_writes_apart`](Store::set_writes_apart).
    pub(crate) has_writes_apart: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("last_zxid", &self.log.last_zxid)
            .field("generation", &self.sb().generation)
            .field("extents", &self.extents.counted())
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn with(options: &StoreOptions, root: Root, log: Log) -> Store {
        Store {
            options: options.clone(),
            demand: Demand::new(&root.sb),
            extents: Extents::new(root, options),
            log,
            snapshots: Snapshots::default(),
            pins: Pins::default(),
            has_writes_apart: false,
        }
    }

    pub(crate) fn sb(&self) -> &Superblock {
        self.extents.sb()
    }

    /// Makes `next` the following generation of the superblock.
    pub(crate) fn update(&mut self, next: Superblock) -> Result<(), StoreError> {
        self.extents.root.update(next, self.log.end())
    }

    /// Whether a write is under way, or one of the superblock waits for [`upkeep_begin`](Store::upkeep_begin): no append begins
    /// before that is over.
    pub fn is_writing(&self) -> bool {
        self.log.is_writing || self.extents.root.is_pending()
    }

    /// Whether the superblock is being written, or waits for that: nothing is rearranged or kept before it is over.
    pub fn is_rearranging(&self) -> bool {
        self.extents.root.is_pending()
    }

    pub(crate) fn draw_jitter(&mut self) {
        let mut one = [0];
        if self.extents.root.disk.random(&mut one).is_ok() {
            self.demand.jitter = one[0];
        }
    }

    /// How much room there is.
    pub(crate) fn budget(&self) -> Budget<'_> {
        let Store { options, extents, log, snapshots, demand, .. } = self;
        Budget { options, extents, log, snapshots, demand }
    }

    pub(crate) fn max_record(&self) -> u64 {
        self.options.max_record.min(self.extents.size() / 2)
    }

    /// Bytes of transactions that fill a frame: who appends more than that at once only needs more room at once.
    pub(crate) fn frame_fill(&self) -> usize {
        usize::try_from(self.extents.size()).map_or(frame::BODY_SOFT_MAX, |size| size.min(frame::BODY_SOFT_MAX))
    }

    /// What the newest snapshot holds; [`Zxid::ZERO`] where there is none.
    pub(crate) fn snapshot_zxid(&self) -> Zxid {
        self.budget().newest_snapshot_zxid()
    }

    /// Waits for the helper to finish one thing, and takes it in. There must be one.
    pub(crate) fn wait_for_helper(&mut self) -> Result<(), StoreError> {
        let done = self.extents.helper.wait(&*self.extents.root.disk);
        self.take_done(done)
    }

    /// Takes in one thing the helper has finished.
    pub(crate) fn take_done(&mut self, done: JobDone) -> Result<(), StoreError> {
        match done {
            JobDone::Grown(result) => self.extents.take_grown(result, self.log.end()),
            JobDone::Snapshot(piece) => self.snapshots.take_done(&mut self.extents, self.log.end(), piece),
            JobDone::LogChecked(found) => {
                self.log.take_earlier(self.extents.sb(), found);
                Ok(())
            }
        }
    }

    /// Says how many bytes a snapshot of the state as it is now would have at most. To be called as the state changes:
    /// room for that snapshot is kept free.
    pub fn set_state_size(&mut self, bytes: u64) {
        let leaves = |sb: &Superblock| sb.snapshots.iter().flatten().any(SnapshotSlot::leaves);
        if self.demand.newest_whole == 0 && leaves(self.sb()) {
            // What is kept does not say how large the state is.
            self.demand.newest_whole = bytes;
        }
        self.demand.state_size = bytes;
        self.demand.saw_snapshot(bytes);
    }

    /// How much room is left, and what that asks of the caller.
    pub fn space(&self) -> Space {
        self.budget().space()
    }

    /// Bytes that may be logged now, and 0 when writes are to wait for a while: for the running snapshot, which must
    /// keep up with the log, or for the file to grow. To be asked in every turn. `waiting` is what the caller holds in
    /// memory for the running snapshot beyond [`snapshot_backlog`](Store::snapshot_backlog).
    ///
    /// [`append`](Store::append) takes more than this as well; the bound of the file is then not kept, and at the end it
    /// refuses.
    pub fn log_budget(&mut self, waiting: u64) -> u64 {
        self.demand.is_paced = true;
        let level = self.space().level;
        if self.extents.root.poisoned().is_some() || level >= SpaceLevel::Reserve {
            // There is nothing to wait for.
            self.demand.log_waits = false;
            return u64::MAX;
        }
        let (load, grows) = self.budget().load(waiting);
        let budget = pace::budget(&load);
        self.extents.helper.rush(pace::is_behind(&load), grows);
        self.demand.log_waits = budget == 0;
        budget
    }

    /// Whether it is time for a snapshot: the log since the last one has reached its window, or room runs low and a
    /// snapshot would make some.
    pub fn wants_snapshot(&self) -> bool {
        self.budget().wants_snapshot()
    }

    /// The last transaction appended or recovered.
    pub fn last_zxid(&self) -> Zxid {
        self.log.last_zxid
    }

    /// The file's identity, random at its creation.
    pub fn file_uuid(&self) -> [u8; 16] {
        self.sb().file_uuid
    }

    /// 32 random bytes kept in the file since its creation, for the keys of whoever owns it. Not for logs.
    pub fn secret(&self) -> [u8; 32] {
        self.sb().member.secret
    }

    /// The accepted and the current epoch.
    pub fn epochs(&self) -> (u64, u64) {
        (self.sb().member.accepted_epoch, self.sb().member.current_epoch)
    }

    /// What is kept beside the log, as [`keep`](Store::keep) left it.
    pub fn member_state(&self) -> &MemberState {
        &self.sb().member
    }

    /// Keeps the epochs and what else a member of an ensemble must not forget, in one superblock update; durable on
    /// return (D-01, D-03), or, where [`set_writes_apart`](Store::set_writes_apart) was called, once what
    /// [`upkeep_begin`](Store::upkeep_begin) gives is written: [`is_rearranging`](Store::is_rearranging) says until when.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when the texts do not fit, and nothing was changed; [`StoreError::SyncFailed`], which is
    /// final.
    ///
    /// # Panics
    /// When an epoch would fall, or the current one pass the accepted one (S-08); while the superblock is being written.
    pub fn keep(&mut self, state: &MemberState) -> Result<(), StoreError> {
        self.check_member_state(state)?;
        self.extents.root.settle()?;
        let mut next = self.sb().clone();
        next.member = state.clone();
        self.extents.root.defers = self.has_writes_apart;
        let kept = self.update(next);
        self.extents.root.defers = false;
        kept
    }

    /// Whether `state` may be kept after what is kept now.
    pub(crate) fn check_member_state(&self, state: &MemberState) -> Result<(), StoreError> {
        let (accepted, current) = (state.accepted_epoch, state.current_epoch);
        let kept = &self.sb().member;
        assert!(accepted >= kept.accepted_epoch && current >= kept.current_epoch, "an epoch would fall");
        assert!(current <= accepted, "current epoch {current} above accepted epoch {accepted}");
        let (size, limit) = (state.texts_len(), MemberState::TEXTS_MAX);
        if size > limit {
            return Err(StoreError::TooLarge { size: size as u64, limit: limit as u64 });
        }
        Ok(())
    }

    /// Stores the epochs and leaves what else is kept; durable on return.
    ///
    /// # Errors
    /// As [`keep`](Store::keep), and it panics as that does.
    pub fn set_epochs(&mut self, accepted: u64, current: u64) -> Result<(), StoreError> {
        let state = MemberState { accepted_epoch: accepted, current_epoch: current, ..self.sb().member.clone() };
        self.keep(&state)
    }

    /// Counts syncs of the log, and their times, from zero.
    pub fn reset_sync_times(&mut self) {
        let counts = &mut self.log.counts;
        (counts.syncs, counts.syncs_us, counts.sync_max_us) = (0, 0, 0);
    }

    /// What the store did and how it is.
    pub fn stats(&self) -> StoreStats {
        let (sb, budget, counts) = (self.sb(), self.budget(), &self.log.counts);
        let root = &self.extents.root;
        let newest = sb.snapshots.iter().flatten().max_by_key(|kept| kept.id);
        StoreStats {
            frames: counts.frames,
            records: counts.records,
            log_bytes: counts.bytes,
            fsync_count: counts.syncs,
            fsync_total_us: counts.syncs_us,
            fsync_max_us: counts.sync_max_us,
            superblock_updates: root.updates,
            waited_for_extent: counts.waited_for_extent,
            snapshots: self.snapshots.published,
            snapshots_failed: self.snapshots.given_up,
            snapshot_zxid: newest.map_or(Zxid::ZERO, |kept| kept.zxid),
            snapshot_bytes: newest.map_or(0, |kept| kept.bytes),
            snapshot_log_after: newest.map_or(Zxid::ZERO, |kept| kept.log_after),
            snapshots_leaving: self.snapshots.leaving,
            log_since_snapshot: budget.log_since_snapshot(),
            log_window: budget.log_window(),
            file_bytes: sb.file_len(),
            file_bound: self.extents.bytes_of(budget.bound_extents()),
            file_max: self.extents.bytes_of(u64::from(self.extents.most_allowed())),
            writer: root.disk.writer(),
            durable: root.sync == SyncMode::Always,
            direct: root.disk.direct(),
            incarnation: sb.incarnation,
            poisoned: root.poisoned().cloned(),
        }
    }
}
