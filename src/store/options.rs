//! The store's settings, and what it tells about itself.

use crate::ids::Zxid;
use crate::store::cause::OptionRange;
use crate::store::error::StoreError;
use crate::store::layout;

/// Whether an append waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// Each append is durable when it returns.
    #[default]
    Always,
    /// Nothing waits: a power cut may lose or damage anything. For test suites only; shown in [`StoreStats`].
    Never,
}

/// How a file is made and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes of an extent, a power of two from 4 MiB to 64 MiB; fixed when the file is created. Default 4 MiB.
    pub extent_size: u64,
    /// Bytes the file grows to soon after its creation; a new one takes less than 1 MiB. Default 1 MiB, which is no growth.
    pub initial_size: u64,
    /// Bytes the file may grow to; may differ from one opening to the next. At most 1,536 extents and as many more as
    /// 1/32 of an extent's bytes, which is 518 GiB with extents of 4 MiB. Default 6 GiB.
    pub max_size: u64,
    /// Bytes of log after which a snapshot is wanted, when it exceeds the size of the last snapshot, or three times that size
    /// while there are fewer than 100,000 transactions in it: one and a half times where it leaves their data to the log. Default 64 MiB.
    pub log_window: u64,
    /// Bytes of log kept for followers beyond what recovery needs. Default 16 MiB.
    pub follower_window: u64,
    /// Snapshots kept, 1 or 2. Default 2.
    pub keep_snapshots: u32,
    /// Bytes per second at which snapshots are written and new space is zeroed; 0 = unpaced. Default 64 MiB.
    pub snapshot_rate: u64,
    /// Idle milliseconds after which the end of the log is marked as durable; 0 = never. Default 50.
    pub mark_after_ms: u64,
    /// Whether appends wait for the disk.
    pub sync: SyncMode,
    /// Bytes of the largest record. Default and most: half an extent.
    pub max_record: u64,
    /// Bytes of the smallest data that a snapshot may leave to the log, where the one before was of a state that is mostly data of
    /// that size and as large as the window of the log. Default 512; 0: any data, of any state, for tests.
    pub large_data: u32,
    /// The server the file belongs to: written at creation, compared at every open. `None` = do not compare.
    pub server_id: Option<u64>,
    /// Allows extents of 16 KiB and more, for tests that must fill files.
    pub small_extents: bool,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            extent_size: 4 << 20,
            initial_size: 1 << 20,
            max_size: 6 << 30,
            log_window: 64 << 20,
            follower_window: 16 << 20,
            keep_snapshots: 2,
            snapshot_rate: 64 << 20,
            mark_after_ms: 50,
            sync: SyncMode::Always,
            max_record: 2 << 20,
            large_data: 512,
            server_id: None,
            small_extents: false,
        }
    }
}

impl StoreOptions {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let refuse = |name, value, allowed: OptionRange| Err(StoreError::Option { name, value, allowed });
        let least = if self.small_extents { 1 << layout::EXTENT_LOG2_MIN } else { 4 << 20 };
        let most = 1 << layout::EXTENT_LOG2_MAX;
        if !self.extent_size.is_power_of_two() || self.extent_size < least || self.extent_size > most {
            return refuse("extent_size", self.extent_size, OptionRange::PowerOfTwo { least, most });
        }
        if self.max_size / self.extent_size < 8 {
            return refuse(
                "max_size",
                self.max_size,
                OptionRange::ExtentsAtLeast { extents: 8, bytes: 8 * self.extent_size },
            );
        }
        if self.max_record == 0 || self.max_record > self.extent_size / 2 {
            return refuse("max_record", self.max_record, OptionRange::HalfAnExtent { bytes: self.extent_size / 2 });
        }
        if !(1..=2).contains(&self.keep_snapshots) {
            return refuse("keep_snapshots", u64::from(self.keep_snapshots), OptionRange::OneOrTwo);
        }
        Ok(())
    }
}

/// How much room is left, and what that asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceLevel {
    /// Nothing to do.
    Ample,
    /// As much log as there is since the last snapshot would not fit again:
    /// [`Store::wants_snapshot`](crate::store::Store::wants_snapshot) says so if a snapshot helps.
    Low,
    /// Writes wait for the running snapshot, or for the file to grow:
    /// [`Store::log_budget`](crate::store::Store::log_budget).
    Slow,
    /// Only the reserve is left, and no snapshot would make room: refuse creates and growing sets, accept deletes,
    /// session ends and shrinking sets.
    Reserve,
    /// The reserve of the log is used up: accept no writes.
    Exhausted,
}

/// The store's room, in extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of an extent.
    pub extent_size: u64,
    /// Extents that may be written now.
    pub free: u32,
    /// Extents the file may still grow by: 0 when the disk refused the last growth.
    pub growable: u32,
    /// The disk refused the last growth.
    pub disk_full: bool,
    /// Extents kept for what must still be possible when the disk is full.
    pub reserve: u32,
    /// Extents the file may have in all.
    pub most: u32,
    /// What the above means.
    pub level: SpaceLevel,
}

/// What the store did and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Frames appended.
    pub frames: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes written to the log, headers and padding included.
    pub log_bytes: u64,
    /// Synced writes of the log.
    pub fsync_count: u64,
    /// Microseconds spent in them.
    pub fsync_total_us: u64,
    /// The longest of them, in microseconds.
    pub fsync_max_us: u64,
    /// Superblock updates.
    pub superblock_updates: u64,
    /// Appends that had to wait for a fresh extent: above 0 says the disk is nearly full or the loop never idles.
    pub waited_for_extent: u64,
    /// Snapshots published.
    pub snapshots: u64,
    /// Snapshots given up.
    pub snapshots_failed: u64,
    /// The zxid of the newest snapshot.
    pub snapshot_zxid: Zxid,
    /// The stream bytes of the newest snapshot.
    pub snapshot_bytes: u64,
    /// The log after this is kept for the newest snapshot: its own zxid, or less where it leaves data to the log.
    pub snapshot_log_after: Zxid,
    /// Snapshots published that leave data to the log.
    pub snapshots_leaving: u64,
    /// Bytes of log written since the newest snapshot began.
    pub log_since_snapshot: u64,
    /// Bytes of log after which the next snapshot is due.
    pub log_window: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes the file stays below (`docs/FORMAT.md`, "How large it gets").
    pub file_bound: u64,
    /// Bytes the file is allowed.
    pub file_max: u64,
    /// How appends reach the disk.
    pub writer: &'static str,
    /// False when [`SyncMode::Never`] is set: nothing acknowledged here survives a power cut.
    pub durable: bool,
    /// False when the file system refused direct writes for snapshots.
    pub direct: bool,
    /// Openings for writing in the file's life.
    pub incarnation: u32,
    /// Why no more writes are taken.
    pub poisoned: Option<StoreError>,
}
