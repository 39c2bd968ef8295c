//! How much room there is and for what: the space kept for the next snapshot, what is left to the log, the bound.
//!
//! The log never takes what the running snapshot still needs, nor what the next one of the *live* state would need. So
//! there is always a snapshot that can be written, and what it releases lets the log go on.

use crate::failpoint::{self, Failpoint};
use crate::store::extents::{ExtentState, GROW_STEP_MIN, count, extents_most};
use crate::store::file::Store;
use crate::store::layout::{EXTENTS_AT, chunk};
use crate::store::options::{Space, SpaceLevel};
use crate::store::pace::{self, LogLoad, SnapshotProgress};

/// Log extents kept for deletes and the ends of sessions, when everything else is refused.
pub(crate) const RESERVE: u32 = 2;
/// Bytes of a running snapshot that may wait in memory, at least; else a sixteenth of it.
const WAITING_MAX: u64 = 20 << 20;
/// Fewer transactions than this between two snapshots are few: ZooKeeper's `snapCount`.
const FEW_TXNS: u32 = 100_000;
/// Writes never wait for more than this: a new file with large extents begins with little.
const QUANTUM_MAX: u64 = 64 << 10;

/// Extents that the log can still have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// In all, by growing as far as that is allowed.
    pub(crate) in_all: u32,
    /// With the blocks that the file has now.
    pub(crate) present: u32,
}

impl Store {
    /// Says how many bytes a snapshot of the state as it is now would have at most. To be called as the state changes:
    /// room for that snapshot is kept free.
    pub fn set_state_size(&mut self, bytes: u64) {
        self.state_size = bytes;
        self.snapshot_largest = self.snapshot_largest.max(bytes);
    }

    /// Extents for which a snapshot of `bytes` stream bytes has room.
    pub(crate) fn extents_for_snapshot(&self, bytes: u64) -> u32 {
        let payload = (self.sb.chunk_len() - chunk::HEADER_LEN) as u64;
        let per_extent = self.sb.extent_size() / self.sb.chunk_len() as u64;
        bytes.div_ceil(payload).div_ceil(per_extent).max(1) as u32
    }

    pub(crate) fn largest_snapshot(&self) -> u64 {
        self.sb.snapshots.iter().flatten().map(|kept| kept.bytes).max().unwrap_or(0)
    }

    /// Most bytes of log between the beginnings of two snapshots.
    pub(crate) fn log_window(&self) -> u64 {
        self.window_of(self.largest_snapshot(), self.has_large_records())
    }

    /// Bytes of log after which a snapshot is due. A snapshot that has to be written for each few large transactions takes
    /// a large part of what the disk can do, so those may wait for twice as much; small ones may not, because a restart
    /// would have so many of them to replay.
    fn window_of(&self, snapshot: u64, large_records: bool) -> u64 {
        self.options.log_window.max(if large_records { 2 * snapshot } else { snapshot })
    }

    /// Whether the log since the newest snapshot holds few transactions for its size.
    fn has_large_records(&self) -> bool {
        let (first, last) = (self.newest_snapshot_zxid(), self.log.last_zxid);
        first.epoch() == last.epoch() && last.counter().saturating_sub(first.counter()) < FEW_TXNS
    }

    /// Where the log ends, counted in whole extents since the file's beginning: what is lost at their ends counts.
    pub(crate) fn log_position(&self) -> u64 {
        self.log.lseq * self.sb.extent_size() + (self.log.at - self.sb.extent_at(self.log.index))
    }

    /// Log since the newest snapshot that was published began.
    pub(crate) fn log_since_snapshot(&self) -> u64 {
        self.log_position().saturating_sub(self.snapshot_began)
    }

    /// Extents the file stays within.
    pub(crate) fn bound_extents(&self) -> u64 {
        let size = self.sb.extent_size();
        // A file does not shrink when its snapshots do.
        let snapshot = self.snapshot_largest.max(self.largest_snapshot());
        let window = self.window_of(snapshot, true);
        let keep = u64::from(self.options.keep_snapshots) + 1;
        let snapshots = keep * u64::from(self.extents_for_snapshot(snapshot));
        let bound = snapshots
            + (keep * window).div_ceil(size)
            + self.options.follower_window.div_ceil(size)
            + self.pins.most
            + if keep == 3 { 8 } else { 6 };
        bound.max(self.options.initial_size.div_ceil(size)).max(u64::from(GROW_STEP_MIN)).max(self.extents_at_open)
    }

    /// Extents that a snapshot of the live state would take.
    fn next_snapshot_extents(&self) -> u32 {
        let by_last = self.state_size == 0 || failpoint::on(Failpoint::ReserveByLastSnapshot);
        self.extents_for_snapshot(if by_last { self.largest_snapshot() } else { self.state_size })
    }

    /// Extents that the log must leave to snapshots: the rest of the one that runs, and of the next what those do not
    /// release that it replaces.
    pub(crate) fn claimed(&self) -> u32 {
        match self.snapshot_extents_wanted() {
            None => self.next_snapshot_extents(),
            Some(rest) => {
                let released = count(&self.sb, ExtentState::SnapA) + count(&self.sb, ExtentState::SnapB);
                rest + self.next_snapshot_extents().saturating_sub(released)
            }
        }
    }

    /// Extents the file may still grow by.
    pub(crate) fn growable(&self) -> u32 {
        if self.pool.is_refused() {
            return 0;
        }
        extents_most(&self.options, self.sb.extent_size()).saturating_sub(self.sb.map.len() as u32)
    }

    /// Extents that giving up the older of two snapshots would release, with the log that only it needs.
    pub(crate) fn sheddable(&self) -> u32 {
        let [Some(a), Some(b)] = self.sb.snapshots else { return 0 };
        if self.build.is_some() {
            return 0;
        }
        let (older, newest) = (usize::from(a.id > b.id), a.zxid.max(b.zxid));
        let log = self.log.extents.iter().filter(|e| e.lseq < self.log.lseq && e.last_zxid <= newest).count();
        count(&self.sb, ExtentState::snapshot(older)) + log as u32
    }

    /// What the log can still have.
    pub(crate) fn left(&self) -> Left {
        // Retired ones become free with the next superblock update, and a linked one waits for the log.
        let ahead = (self.sb.log_head_lseq - self.log.lseq) as u32;
        let growable = self.growable();
        // A snapshot is given up only where the file cannot grow.
        let shed = if growable == 0 { self.sheddable() } else { 0 };
        let free = self.pool.count_free(&self.sb) + count(&self.sb, ExtentState::Retired) + shed;
        let claimed = self.claimed();
        Left {
            in_all: ahead + (free + growable).saturating_sub(claimed),
            present: ahead + free.saturating_sub(claimed),
        }
    }

    /// What the log can still have of the first extent as it is.
    fn first_rest(&self) -> u64 {
        self.sb.extent_end(self.log.index) - self.log.at
    }

    fn log_room(&self, extents: u32) -> u64 {
        let rest = self.sb.extent_end(self.log.index) - self.log.at;
        match extents.saturating_sub(RESERVE) {
            0 => 0,
            more => u64::from(more) * self.sb.extent_size() + rest,
        }
    }

    /// Whether a snapshot taken now would make room, now or when the one after it replaces it.
    pub(crate) fn snapshot_makes_room(&self) -> bool {
        let newest = self.sb.snapshots.iter().flatten().max_by_key(|kept| kept.id);
        let zxid = newest.map_or(crate::ids::Zxid::ZERO, |kept| kept.zxid);
        if self.log.last_zxid <= zxid {
            return false;
        }
        let log = self.log.extents.iter().filter(|e| e.last_zxid > zxid).count();
        let shrunk = newest.is_some_and(|kept| self.next_snapshot_extents() < self.extents_for_snapshot(kept.bytes));
        (log > 1 && self.log_since_snapshot() >= self.sb.extent_size()) || shrunk
    }

    /// Whether room runs low enough for a snapshot: as much log as there is since the last would not fit again.
    pub(crate) fn is_low(&self, left: Left) -> bool {
        self.log_room(left.in_all) < self.log_since_snapshot().max(4 * self.sb.extent_size())
    }

    /// Whether those who wait for room will get some without anything being refused.
    fn relief_comes(&self) -> bool {
        // Who does not ask what may be logged does not wait either.
        let begins = self.is_paced && self.may_begin_snapshot() && self.snapshot_makes_room();
        self.snapshot_extents_wanted().is_some() || begins
    }

    /// How much room is left, and what that asks of the caller.
    pub fn space(&self) -> Space {
        let left = self.left();
        let level = if left.in_all > RESERVE {
            match (self.log_waits, self.is_low(left)) {
                (true, _) => SpaceLevel::Slow,
                (false, true) => SpaceLevel::Low,
                (false, false) => SpaceLevel::Ample,
            }
        } else if self.relief_comes() {
            SpaceLevel::Slow
        } else if left.in_all > 0 || (!self.sb.is_whole() && self.first_rest() > self.sb.extent_size() / 32) {
            SpaceLevel::Reserve
        } else {
            SpaceLevel::Exhausted
        };
        let most = match self.pool.is_refused() {
            true => self.sb.map.len() as u32,
            false => extents_most(&self.options, self.sb.extent_size()),
        };
        Space {
            extent_size: self.sb.extent_size(),
            free: self.pool.count_free(&self.sb),
            growable: self.growable(),
            disk_full: self.pool.is_refused(),
            reserve: RESERVE + self.claimed(),
            most,
            level,
        }
    }

    /// Bytes that may be logged now, and 0 when writes are to wait for a while: for the running snapshot, which must
    /// keep up with the log, or for the file to grow. To be asked in every turn. `waiting` is what the caller holds in
    /// memory for the running snapshot beyond [`snapshot_backlog`](Store::snapshot_backlog).
    ///
    /// [`append`](Store::append) takes more than this as well; the bound of the file is then not kept, and at the end it
    /// refuses.
    pub fn log_budget(&mut self, waiting: u64) -> u64 {
        self.is_paced = true;
        let space = self.space();
        if self.poison.is_some() || space.level >= SpaceLevel::Reserve {
            // There is nothing to wait for.
            self.log_waits = false;
            return u64::MAX;
        }
        let left = self.left();
        // A new file is written to while it grows to its first size.
        let begun = self.log.at - self.sb.extent_at(self.log.index);
        let new = self.log.lseq == 1 && begun < self.sb.extent_size() / 2;
        let must_grow = self.growable() > 0 && !new;
        let room = match (self.sb.is_whole(), must_grow) {
            (false, _) => self.first_rest(),
            (true, true) => self.log_room(left.present),
            (true, false) => self.log_room(left.in_all),
        };
        let running = self.snapshot_progress(self.helper.checked());
        let total = running.map_or(0, |progress| progress.total);
        let load = LogLoad {
            since: self.log_position().saturating_sub(self.build.as_ref().map_or(self.snapshot_began, |b| b.began)),
            quantum: (self.sb.extent_size() / 64).min(QUANTUM_MAX),
            window: self.build.as_ref().map_or_else(|| self.log_window(), |build| build.window),
            room,
            running,
            begins: self.wants_snapshot(),
            waiting: waiting + self.snapshot_backlog() as u64,
            waiting_max: WAITING_MAX.max(total / 16),
        };
        let budget = pace::budget(&load);
        let grows = self.growable() > 0 && self.log_room(left.present) < self.sb.extent_size() * 4;
        self.helper.rush(pace::is_behind(&load), grows);
        self.log_waits = budget == 0;
        budget
    }

    fn snapshot_progress(&self, checked: u64) -> Option<SnapshotProgress> {
        let build = self.build.as_ref().filter(|build| build.failed.is_none())?;
        let total = if build.finished { build.bytes } else { build.estimate.max(build.bytes) };
        let checked = if build.verifying { checked } else { 0 };
        Some(SnapshotProgress { written: build.written.min(build.bytes), checked, total })
    }

    /// Bytes a file of so many extents has.
    pub(crate) fn bytes_of(&self, extents: u64) -> u64 {
        EXTENTS_AT + extents * self.sb.extent_size()
    }
}
