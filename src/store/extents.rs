//! Who owns which extent, how the file grows, and how much room is left.
//!
//! FREE → (reserved, in memory) → LOG | SNAP → RETIRED → FREE. Two-generation rule: only an extent that is FREE in the
//! current complete generation is ever written (P6, S-43). What a generation releases is RETIRED in it and FREE in the
//! next, so neither superblock slot ever names bytes that are being overwritten.

use crate::ids::Millis;
use crate::plant::{self, Plant};
use crate::store::error::StoreError;
use crate::store::file::Store;
use crate::store::helper::{Done, Job};
use crate::store::layout::{EXTENTS_AT, EXTENTS_MAX};
use crate::store::options::{Space, SpaceLevel, StoreOptions};
use crate::store::os_error::OsError;
use crate::store::superblock::{Extent, Superblock};

/// How long the disk's refusal to grow is believed before the next attempt from `tick`.
const GROW_RETRY_MS: u64 = 1000;
/// Extents kept free ahead of need, beside the linked one.
const FREE_LOW: u32 = 2;
/// Extents by which a file grows at once, at least.
const GROW_STEP_MIN: u32 = 8;

/// What an extent is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExtentState {
    Free,
    Log,
    SnapA,
    SnapB,
    Retired,
    Bad,
}

impl ExtentState {
    pub(crate) fn code(self) -> u16 {
        match self {
            ExtentState::Free => 0,
            ExtentState::Log => 1,
            ExtentState::SnapA => 2,
            ExtentState::SnapB => 3,
            ExtentState::Retired => 4,
            ExtentState::Bad => 15,
        }
    }

    pub(crate) fn of_code(code: u16) -> Option<ExtentState> {
        match code {
            0 => Some(ExtentState::Free),
            1 => Some(ExtentState::Log),
            2 => Some(ExtentState::SnapA),
            3 => Some(ExtentState::SnapB),
            4 => Some(ExtentState::Retired),
            15 => Some(ExtentState::Bad),
            _ => None,
        }
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ExtentState::Free => "FREE",
            ExtentState::Log => "LOG",
            ExtentState::SnapA => "SNAP_A",
            ExtentState::SnapB => "SNAP_B",
            ExtentState::Retired => "RETIRED",
            ExtentState::Bad => "BAD",
        }
    }

    pub(crate) fn snapshot(slot: usize) -> ExtentState {
        if slot == 0 { ExtentState::SnapA } else { ExtentState::SnapB }
    }
}

/// What the superblock does not say about the extents.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Taken for the snapshot in progress, though FREE in the superblock.
    reserved: Vec<bool>,
    /// Growth handed to the helper, in extents.
    pub(crate) growing: u32,
    /// Extents ready behind the counted ones.
    pub(crate) grown: u32,
    /// An extent of the batch under way could not be had: those behind it do not count, or there would be a hole.
    batch_failed: bool,
    /// When the disk last refused to grow.
    refused_at: Option<Millis>,
}

impl Pool {
    pub(crate) fn reserve(&mut self, index: u32) {
        let index = index as usize;
        if self.reserved.len() <= index {
            self.reserved.resize(index + 1, false);
        }
        assert!(!self.reserved[index], "extent {index} reserved twice");
        self.reserved[index] = true;
    }

    pub(crate) fn release_all(&mut self) {
        self.reserved.clear();
    }

    fn is_reserved(&self, index: usize) -> bool {
        self.reserved.get(index).copied().unwrap_or(false)
    }

    /// The lowest extent that may be written now.
    pub(crate) fn first_free(&self, sb: &Superblock) -> Option<u32> {
        let in_place = |e: &Extent| plant::on(Plant::BuildInPlace) && e.state == ExtentState::SnapA;
        let free = |(i, e): (usize, &Extent)| (e.state == ExtentState::Free || in_place(e)) && !self.is_reserved(i);
        sb.map.iter().enumerate().position(free).map(|i| i as u32)
    }

    pub(crate) fn count_free(&self, sb: &Superblock) -> u32 {
        let free = sb.map.iter().enumerate().filter(|(i, e)| e.state == ExtentState::Free && !self.is_reserved(*i));
        free.count() as u32
    }
}

fn count(sb: &Superblock, state: ExtentState) -> u32 {
    sb.map.iter().filter(|e| e.state == state).count() as u32
}

/// Extents a file may have under `options`, given its extent size.
pub(crate) fn extents_most(options: &StoreOptions, extent_size: u64) -> u32 {
    ((options.max_size.saturating_sub(EXTENTS_AT)) / extent_size).clamp(1, EXTENTS_MAX as u64) as u32
}

/// Extents a file gets soon after its creation.
pub(crate) fn initial_extents(options: &StoreOptions, extent_size: u64) -> usize {
    let wanted = options.initial_size.div_ceil(extent_size).max(u64::from(GROW_STEP_MIN));
    wanted.min(u64::from(extents_most(options, extent_size))) as usize
}

impl Store {
    /// Extents for which a snapshot of `bytes` stream bytes has room.
    pub(crate) fn extents_for_snapshot(&self, bytes: u64) -> u32 {
        let payload = (self.sb.chunk_len() - crate::store::layout::chunk::HEADER_LEN) as u64;
        let per_extent = self.sb.extent_size() / self.sb.chunk_len() as u64;
        bytes.div_ceil(payload).div_ceil(per_extent).max(1) as u32
    }

    fn largest_snapshot(&self) -> u64 {
        self.sb.snapshots.iter().flatten().map(|kept| kept.bytes).max().unwrap_or(0)
    }

    /// Bytes of log between snapshots.
    pub(crate) fn log_window(&self) -> u64 {
        self.options.log_window.max(self.largest_snapshot())
    }

    /// §4.4: extents the file stays within as long as snapshots are taken when wanted.
    pub(crate) fn bound_extents(&self) -> u64 {
        let size = self.sb.extent_size();
        // A file does not shrink when its snapshots do.
        let snapshot = self.snapshot_largest.max(self.largest_snapshot());
        let window = self.options.log_window.max(snapshot);
        let keep = u64::from(self.options.keep_snapshots) + 1;
        let snapshots = keep * u64::from(self.extents_for_snapshot(snapshot));
        let bound = snapshots
            + (keep * window).div_ceil(size)
            + self.options.follower_window.div_ceil(size)
            + if keep == 3 { 8 } else { 6 };
        bound.max(self.options.initial_size.div_ceil(size)).max(u64::from(GROW_STEP_MIN))
    }

    pub(crate) fn reserve_extents(&self) -> u32 {
        2 + self.extents_for_snapshot(self.largest_snapshot())
    }

    fn growable(&self) -> u32 {
        if self.pool.refused_at.is_some() {
            return 0;
        }
        extents_most(&self.options, self.sb.extent_size()).saturating_sub(self.sb.map.len() as u32)
    }

    /// How much room is left, and what that asks of the caller.
    pub fn space(&self) -> Space {
        // Retired ones become free with the next superblock update, and a linked one waits for the log.
        let ahead = (self.sb.log_head_lseq - self.log.lseq) as u32;
        let free = self.pool.count_free(&self.sb) + count(&self.sb, ExtentState::Retired) + ahead;
        let (growable, reserve) = (self.growable(), self.reserve_extents());
        let most = match self.pool.refused_at {
            Some(_) => self.sb.map.len() as u32,
            None => extents_most(&self.options, self.sb.extent_size()),
        };
        let left = free + growable;
        let level = if left == 0 {
            SpaceLevel::Exhausted
        } else if left <= reserve {
            SpaceLevel::Reserve
        } else if left < most / 8 {
            SpaceLevel::Slow
        } else if left < most / 4 {
            SpaceLevel::Low
        } else {
            SpaceLevel::Ample
        };
        Space { extent_size: self.sb.extent_size(), free, growable, reserve, most, level }
    }

    pub(crate) fn full(&self) -> StoreError {
        let most = match self.pool.refused_at {
            Some(_) => self.sb.map.len() as u32,
            None => extents_most(&self.options, self.sb.extent_size()),
        };
        StoreError::Full { capacity: EXTENTS_AT + u64::from(most) * self.sb.extent_size() }
    }

    /// Takes a FREE extent now, by whatever it takes short of giving up something needed.
    pub(crate) fn take_free(&mut self) -> Result<u32, StoreError> {
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

    /// Adds one extent without zeroing it: slower to write than a zeroed one, but there at once.
    fn grow_at_once(&mut self) -> Result<(), StoreError> {
        let counted = self.sb.map.len() as u32;
        if counted >= extents_most(&self.options, self.sb.extent_size()) {
            return Err(self.full());
        }
        let len = self.sb.file_len() + self.sb.extent_size();
        if let Err(error) = self.disk.grow(len) {
            log::warn!("the file cannot grow to {len} bytes: {}", OsError::from(&error));
            self.pool.refused_at = Some(self.now);
            return Err(self.full());
        }
        if let Err(error) = self.disk.sync_all() {
            return Err(self.poison_sync(&error));
        }
        self.pool.refused_at = None;
        self.pool.grown = 1;
        Ok(())
    }

    /// Counts extents that are ready behind the counted ones.
    pub(crate) fn adopt_grown(&mut self) -> Result<(), StoreError> {
        if self.pool.grown == 0 {
            return Ok(());
        }
        let mut next = self.sb.clone();
        next.map.extend(std::iter::repeat_n(Extent::FREE, self.pool.grown as usize));
        self.pool.grown = 0;
        self.update_superblock(next)
    }

    /// Takes the extent at `offset` out of use, because the device failed there. Only a FREE one: others hold something.
    pub(crate) fn mark_bad(&mut self, offset: u64) -> Result<(), StoreError> {
        let index = (offset.saturating_sub(EXTENTS_AT) / self.sb.extent_size()) as usize;
        let bad = count(&self.sb, ExtentState::Bad) as usize;
        // A device that fails everywhere must not eat the whole file.
        if self.sb.map.get(index).is_none_or(|e| e.state != ExtentState::Free) || bad >= self.sb.map.len() / 8 {
            return Ok(());
        }
        log::error!("extent {index} at byte {offset} is taken out of use");
        let mut next = self.sb.clone();
        next.map[index] = Extent { state: ExtentState::Bad, order: 0 };
        self.update_superblock(next)
    }

    /// Starts growth when room runs low, and counts what has been grown.
    pub(crate) fn tend_growth(&mut self) -> Result<(), StoreError> {
        // Half-grown batches are counted as they come only when someone waits; else in one update.
        if self.pool.growing == 0 || self.pool.count_free(&self.sb) == 0 {
            self.adopt_grown()?;
        }
        if count(&self.sb, ExtentState::Retired) > 0 {
            // Left by an opening that dropped a damaged snapshot.
            let next = self.sb.clone();
            self.update_superblock(next)?;
        }
        if self.pool.growing > 0 {
            return Ok(());
        }
        let size = self.sb.extent_size();
        let counted = self.sb.map.len() as u32;
        let wanted = FREE_LOW + self.snapshot_extents_wanted();
        let free = self.pool.count_free(&self.sb) + count(&self.sb, ExtentState::Retired);
        let initial = initial_extents(&self.options, size) as u32;
        if free >= wanted && counted >= initial {
            return Ok(());
        }
        if let Some(refused) = self.pool.refused_at {
            if self.now.since(refused) < GROW_RETRY_MS {
                return Ok(());
            }
            self.pool.refused_at = None;
        }
        let most = extents_most(&self.options, size);
        let step = counted.saturating_add(GROW_STEP_MIN.max(counted / 8)).min(self.bound_extents() as u32);
        // What is needed is taken whatever the bound says: it is a promise about snapshots taken in time.
        let needed = counted + wanted.saturating_sub(free);
        let target = if counted < initial { initial.max(needed) } else { step.max(needed) }.min(most);
        for index in counted..target {
            let at = EXTENTS_AT + u64::from(index) * size;
            self.helper.submit(&self.disk, Job::Grow { at, len: size });
            self.pool.growing += 1;
        }
        Ok(())
    }

    /// Milliseconds until growth that was refused is tried again.
    pub(crate) fn growth_pause(&self, now: Millis) -> u64 {
        self.pool.refused_at.map_or(0, |refused| refused.plus(GROW_RETRY_MS).since(now))
    }

    /// Takes in one thing the helper has finished.
    pub(crate) fn handle_done(&mut self, done: Done) -> Result<(), StoreError> {
        match done {
            Done::Grown(result) => {
                self.pool.growing -= 1;
                match result {
                    Ok(()) if !self.pool.batch_failed => self.pool.grown += 1,
                    Ok(()) => {}
                    Err(error) if error.sync_failed => return Err(self.poison_sync(&error.error)),
                    Err(error) => {
                        log::warn!("the file cannot grow: {}", OsError::from(&error.error));
                        self.pool.refused_at = Some(self.now);
                        self.pool.batch_failed = true;
                    }
                }
                if self.pool.growing == 0 {
                    self.pool.batch_failed = false;
                }
                Ok(())
            }
            Done::Chunk { .. } | Done::Verified(_) => self.handle_snapshot_done(done),
        }
    }
}
