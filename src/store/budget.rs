//! How much room there is and for what: the space kept for the next snapshot, what is left to the log, the bound.
//!
//! The log never takes what the running snapshot still needs, nor what the next one of the *live* state would need. So
//! there is always a snapshot that can be written, and what it releases lets the log go on.

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::extents::{Extents, GROW_STEP_MIN, Need, RESERVE};
use crate::store::layout::first_len;
use crate::store::log::{EarlierExtents, Log};
use crate::store::options::{Space, SpaceLevel, StoreOptions};
use crate::store::pace::LogLoad;
use crate::store::snapshot::Snapshots;
use crate::store::superblock::{ExtentState, SnapshotSlot, Superblock};

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

/// What the past and the caller ask of the room, beside what the file holds.
#[derive(Debug)]
pub(crate) struct Demand {
    /// Stream bytes of a snapshot of the state as it is now, at most; 0 = not told.
    pub(crate) state_size: u64,
    /// The most of these since the file was opened.
    pub(crate) snapshot_largest: u64,
    /// Stream bytes that the newest published snapshot would have had without the log; 0 = not known.
    pub(crate) newest_whole: u64,
    /// Of these, bytes of large data.
    pub(crate) newest_large: u64,
    /// Where the log ended when the newest published snapshot began.
    pub(crate) snapshot_began: u64,
    /// Extents when the file was opened: it does not shrink.
    extents_at_open: u64,
    /// The most extents that were kept for readers of the log alone since the file was opened.
    pub(crate) readers_most: u64,
    /// Writes were told to wait, when they last asked.
    pub(crate) log_waits: bool,
    /// The caller asks in every turn what may be logged.
    pub(crate) is_paced: bool,
    /// Spreads the snapshots of an ensemble: 0 to 255 parts of an eighth of the window.
    pub(crate) jitter: u8,
}

impl Demand {
    pub(crate) fn new(sb: &Superblock) -> Demand {
        Demand {
            state_size: 0,
            snapshot_largest: 0,
            newest_whole: 0,
            newest_large: 0,
            snapshot_began: 0,
            extents_at_open: sb.map.len() as u64,
            readers_most: 0,
            log_waits: false,
            is_paced: false,
            jitter: 0,
        }
    }

    /// A snapshot has, or would have, so many stream bytes.
    pub(crate) fn saw_snapshot(&mut self, bytes: u64) {
        self.snapshot_largest = self.snapshot_largest.max(bytes);
    }
}

/// The parts of an open file, as far as they say how much room there is.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    pub(crate) options: &'a StoreOptions,
    pub(crate) extents: &'a Extents,
    pub(crate) log: &'a Log,
    pub(crate) snapshots: &'a Snapshots,
    pub(crate) demand: &'a Demand,
}

impl Budget<'_> {
    pub(crate) fn largest_snapshot(&self) -> u64 {
        self.sb().snapshots.iter().flatten().map(|kept| kept.bytes).max().unwrap_or(0)
    }

    /// Most bytes of log between the beginnings of two snapshots.
    pub(crate) fn log_window(&self) -> u64 {
        let snapshot = self.largest_snapshot().max(self.demand.newest_whole);
        // While log is kept for data that was left to it, a longer window would be kept as well.
        let leaves = self.leaves_after().is_some() || self.sb().snapshots.iter().flatten().any(SnapshotSlot::leaves);
        self.window_of(snapshot, self.has_large_records(), leaves)
    }

    /// Bytes of log after which a snapshot is due. A snapshot that has to be written for each few large transactions takes
    /// a large part of what the disk can do, so those may wait for three times as much, or half of that where it leaves their
    /// data to the log, which a restart reads twice as far back then; small ones may not, because a restart would have so many of
    /// them to replay.
    fn window_of(&self, snapshot: u64, large_records: bool, leaves: bool) -> u64 {
        self.options.log_window.max(match (large_records, leaves) {
            (true, false) => 3 * snapshot,
            (true, true) => snapshot + snapshot / 2,
            (false, _) => snapshot,
        })
    }

    /// The zxid after which data may be left to the log by a snapshot that is taken now: that of the newest one, behind which all of
    /// the log is there. `None` where it would not be worth reading so much more of the log at a restart, as far as the newest
    /// published since the opening tells, or where the log is to go.
    pub(crate) fn leaves_after(&self) -> Option<Zxid> {
        let newest = self.newest_snapshot_zxid();
        let is_there = self.log.earlier != EarlierExtents::Damaged;
        let is_large = self.demand.newest_whole >= self.options.log_window
            && self.demand.newest_large >= self.demand.newest_whole / 2;
        let is_worth_it = is_large || self.options.large_data == 0;
        (newest > Zxid::ZERO && is_there && is_worth_it && !self.is_low(self.left())).then_some(newest)
    }

    /// Whether the log since the newest snapshot holds few transactions for its size.
    fn has_large_records(&self) -> bool {
        let (first, last) = (self.newest_snapshot_zxid(), self.log.last_zxid);
        first.epoch() == last.epoch() && last.counter().saturating_sub(first.counter()) < FEW_TXNS
    }

    /// What the newest snapshot holds.
    pub(crate) fn newest_snapshot_zxid(&self) -> Zxid {
        self.sb().snapshots.iter().flatten().map(|kept| kept.zxid).max().unwrap_or(Zxid::ZERO)
    }

    /// Log since the newest snapshot that was published began.
    pub(crate) fn log_since_snapshot(&self) -> u64 {
        self.log.position(self.sb()).saturating_sub(self.demand.snapshot_began)
    }

    /// Extents the file stays within.
    pub(crate) fn bound_extents(&self) -> u64 {
        let size = self.extents.size();
        // A file does not shrink when its snapshots do.
        let snapshot = self.demand.snapshot_largest.max(self.largest_snapshot());
        // Where snapshots leave data to the log, one window of half the size more is kept: less than this.
        let window = self.window_of(snapshot, true, false);
        let keep = u64::from(self.options.keep_snapshots) + 1;
        let snapshots = keep * u64::from(self.extents.for_snapshot(snapshot));
        let bound = snapshots
            + (keep * window).div_ceil(size)
            + self.options.follower_window.div_ceil(size)
            + self.demand.readers_most
            + if keep == 3 { 8 } else { 6 };
        bound
            .max(self.options.initial_size.div_ceil(size))
            .max(u64::from(GROW_STEP_MIN))
            .max(self.demand.extents_at_open)
    }

    /// Extents that a snapshot of the live state would take.
    fn next_snapshot_extents(&self) -> u32 {
        let by_last = self.demand.state_size == 0 || failpoint::on(Failpoint::ReserveByLastSnapshot);
        self.extents.for_snapshot(if by_last { self.largest_snapshot() } else { self.demand.state_size })
    }

    /// Extents that the log must leave to snapshots: the rest of the one that runs, and of the next what those do not
    /// release that it replaces.
    pub(crate) fn claimed(&self) -> u32 {
        match self.snapshots.extents_wanted(self.sb()) {
            None => self.next_snapshot_extents(),
            Some(rest) => {
                let released = self.extents.count(ExtentState::SnapA) + self.extents.count(ExtentState::SnapB);
                rest + self.next_snapshot_extents().saturating_sub(released)
            }
        }
    }

    /// Extents that giving up the older of two snapshots would release, with the log that only it needs.
    pub(crate) fn sheddable(&self) -> u32 {
        let [Some(a), Some(b)] = self.sb().snapshots else { return 0 };
        if self.snapshots.build.is_some() {
            return 0;
        }
        let older = usize::from(a.id > b.id);
        let needed_after = [b, a][older].log_after;
        let log = self.log.extents.iter().filter(|e| e.lseq < self.log.lseq && e.last_zxid <= needed_after).count();
        let earlier = self.log.earlier_extents(self.sb());
        self.extents.count(ExtentState::snapshot(older)) + log as u32 + earlier as u32
    }

    /// What the log can still have.
    pub(crate) fn left(&self) -> Left {
        // Retired ones become free with the next superblock update, and a linked one waits for the log.
        let ahead = self.log.ahead(self.sb()) as u32;
        let growable = self.extents.growable();
        // A snapshot is given up only where the file cannot grow.
        let shed = if growable == 0 { self.sheddable() } else { 0 };
        let free = self.extents.count_free() + self.extents.count(ExtentState::Retired) + shed;
        let claimed = self.claimed();
        Left {
            in_all: ahead + (free + growable).saturating_sub(claimed),
            present: ahead + free.saturating_sub(claimed),
        }
    }

    /// What the log can still have of the first extent as it is.
    fn first_rest(&self) -> u64 {
        self.sb().extent_end(self.log.index) - self.log.at
    }

    fn log_room(&self, extents: u32) -> u64 {
        let rest = self.sb().extent_end(self.log.index) - self.log.at;
        match extents.saturating_sub(RESERVE) {
            0 => 0,
            more => u64::from(more) * self.extents.size() + rest,
        }
    }

    /// Whether a snapshot taken now would make room, now or when the one after it replaces it.
    pub(crate) fn snapshot_makes_room(&self) -> bool {
        let newest = self.sb().snapshots.iter().flatten().max_by_key(|kept| kept.id);
        let zxid = newest.map_or(Zxid::ZERO, |kept| kept.zxid);
        if self.log.last_zxid <= zxid {
            return false;
        }
        let log = self.log.extents.iter().filter(|e| e.last_zxid > zxid).count();
        let shrunk = newest.is_some_and(|kept| self.next_snapshot_extents() < self.extents.for_snapshot(kept.bytes));
        (log > 1 && self.log_since_snapshot() >= self.extents.size()) || shrunk
    }

    /// Whether room runs low enough for a snapshot: as much log as there is since the last would not fit again.
    pub(crate) fn is_low(&self, left: Left) -> bool {
        self.log_room(left.in_all) < self.log_since_snapshot().max(4 * self.extents.size())
    }

    /// Whether those who wait for room will get some without anything being refused.
    fn relief_comes(&self) -> bool {
        // Who does not ask what may be logged does not wait either.
        let begins = self.demand.is_paced && self.may_begin_snapshot() && self.snapshot_makes_room();
        self.snapshots.extents_wanted(self.sb()).is_some() || begins
    }

    /// How much room is left, and what that asks of the caller.
    pub(crate) fn space(&self) -> Space {
        let left = self.left();
        let level = if left.in_all > RESERVE {
            match (self.demand.log_waits, self.is_low(left)) {
                (true, _) => SpaceLevel::Slow,
                (false, true) => SpaceLevel::Low,
                (false, false) => SpaceLevel::Ample,
            }
        } else if self.relief_comes() {
            SpaceLevel::Slow
        } else if left.in_all > 0 || (!self.sb().is_whole() && self.first_rest() > self.extents.size() / 32) {
            SpaceLevel::Reserve
        } else {
            SpaceLevel::Exhausted
        };
        Space {
            extent_size: self.extents.size(),
            free: self.extents.count_free(),
            growable: self.extents.growable(),
            disk_full: self.extents.pool.is_refused(),
            reserve: RESERVE + self.claimed(),
            most: self.extents.most(),
            level,
        }
    }

    /// What the rule of the pace looks at. `waiting`: bytes of the running snapshot that wait in memory. Besides, whether the
    /// log waits for the file to grow, or soon will.
    pub(crate) fn load(&self, waiting: u64) -> (LogLoad, bool) {
        let left = self.left();
        // A new file is written to while it grows to its first size.
        let begun = self.log.at - self.sb().extent_at(self.log.index);
        let new = self.log.lseq == 1 && begun < self.extents.size() / 2;
        let must_grow = self.extents.growable() > 0 && !new;
        let room = match (self.sb().is_whole(), must_grow) {
            (false, _) => self.first_rest(),
            (true, true) => self.log_room(left.present),
            (true, false) => self.log_room(left.in_all),
        };
        let running = self.snapshots.progress(self.extents.helper.checked());
        let total = running.map_or(0, |progress| progress.total);
        let load = LogLoad {
            since: self
                .log
                .position(self.sb())
                .saturating_sub(self.snapshots.build.as_ref().map_or(self.demand.snapshot_began, |b| b.began)),
            quantum: (self.extents.size() / 64).min(QUANTUM_MAX),
            window: self.snapshots.build.as_ref().map_or_else(|| self.log_window(), |build| build.window),
            room,
            running,
            begins: self.wants_snapshot(),
            waiting: waiting + self.snapshots.backlog() as u64,
            waiting_max: WAITING_MAX.max(total / 16),
        };
        let grows = self.extents.growable() > 0 && self.log_room(left.present) < self.extents.size() * 4;
        (load, grows)
    }

    /// Whether a snapshot is wanted: the log since the last one has reached its window, or room runs low and a snapshot would
    /// make some, or there is only one that the log which is whole leads on from.
    pub(crate) fn wants_snapshot(&self) -> bool {
        if !self.may_begin_snapshot() {
            return false;
        }
        let window = self.log_window();
        self.log_since_snapshot() >= window - window / 8 * u64::from(self.demand.jitter) / 256
            || (self.snapshot_makes_room() && self.is_low(self.left()))
            || self.log.earlier == EarlierExtents::Damaged
    }

    /// Whether a snapshot could begin now, and would not be the same as the last one.
    pub(crate) fn may_begin_snapshot(&self) -> bool {
        self.snapshots.build.is_none()
            && !self.extents.root.is_pending()
            && self.extents.root.poisoned().is_none()
            && self.extents.now >= self.snapshots.not_before
            && self.log.last_zxid > self.newest_snapshot_zxid()
    }

    /// Whether the log may have one of the extents there are: those that snapshots need are not for it.
    pub(crate) fn has_one_for_log(&self) -> bool {
        let shed = if self.extents.growable() == 0 { self.sheddable() } else { 0 };
        let free = self.extents.count_free();
        free > 0 && free + self.extents.count(ExtentState::Retired) + shed > self.claimed()
    }

    /// Whether there are `needed` extents for a snapshot, and one for the log, which goes on meanwhile.
    pub(crate) fn has_room_for(&self, needed: u32) -> bool {
        self.log.ahead(self.sb()) as u32 + self.for_all() > needed
    }

    /// Whether there are `needed` extents for a snapshot.
    pub(crate) fn has_kept(&self, needed: u32) -> bool {
        self.for_all() >= needed
    }

    /// Extents that nobody has.
    fn for_all(&self) -> u32 {
        self.extents.count_free() + self.extents.count(ExtentState::Retired) + self.extents.growable()
    }

    /// What the file is to grow ahead of.
    pub(crate) fn need(&self) -> Need {
        Need { claimed: self.claimed(), bound: self.bound_extents() as u32, is_small: self.is_small() }
    }

    /// Whether the file is new and nearly empty, and nobody waits: then it takes no space ahead of need.
    fn is_small(&self) -> bool {
        let used = self.log.at - self.sb().extent_at(self.log.index);
        let is_used = used >= first_len(self.sb().extent_log2) / 4;
        !self.sb().is_whole() && self.snapshots.build.is_none() && !is_used && !self.demand.log_waits
    }

    fn sb(&self) -> &Superblock {
        self.extents.sb()
    }
}
