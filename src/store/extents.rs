//! Who owns which extent, how the file grows, and how much room is left.
//!
//! FREE → (reserved, in memory) → LOG | SNAP → RETIRED → FREE. Two-generation rule: only an extent that is FREE in the
//! current complete generation is ever written (P6, S-43). What a generation releases is RETIRED in it and FREE in the
//! next, so neither superblock slot ever names bytes that are being overwritten.

use crate::failpoint::{self, Failpoint};
use crate::ids::Millis;
use crate::store::error::StoreError;
use crate::store::helper::{Growth, Helper, HelperJob, JobError};
use crate::store::layout::{EXTENTS_AT, MAP_HERE, chunk, extents_max};
use crate::store::options::StoreOptions;
use crate::store::os_error::OsError;
use crate::store::root::{LogEnd, Root};
use crate::store::superblock::{Extent, ExtentState, Superblock};
use std::sync::Arc;

/// How long the disk's refusal to grow is believed before the next attempt from `tick`.
const GROW_RETRY_MS: u64 = 1000;
/// Extents kept free ahead of need, beside the linked one and the reserve.
const FREE_LOW: u32 = 1;
/// The same for a file that has not reached its bound yet: this part of its extents, as far as it grows at once.
const FREE_AHEAD: u32 = 8;
/// Extents by which a file grows at once, at least.
pub(crate) const GROW_STEP_MIN: u32 = 8;

/// What the superblock does not say about the extents.
#[derive(Debug, Default)]
pub(crate) struct ExtentPool {
    /// Taken for the snapshot in progress, though FREE in the superblock.
    reserved: Vec<bool>,
    /// Growth handed to the helper, in extents.
    pub(crate) growing: u32,
    /// Extents ready behind the counted ones.
    pub(crate) grown: u32,
    /// An extent of the batch under way could not be had: those behind it do not count, or there would be a hole.
    batch_failed: bool,
    /// The growth under way is that of the first extent to its whole size.
    pub(crate) widening: bool,
    /// When the disk last refused to grow, if it has not grown since.
    refused_at: Option<Millis>,
}

impl ExtentPool {
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

    /// Whether the disk refused the last growth.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused_at.is_some()
    }

    fn is_reserved(&self, index: usize) -> bool {
        self.reserved.get(index).copied().unwrap_or(false)
    }

    /// The lowest extent that may be written now.
    pub(crate) fn first_free(&self, sb: &Superblock) -> Option<u32> {
        let in_place = |e: &Extent| failpoint::on(Failpoint::BuildInPlace) && e.state == ExtentState::SnapA;
        let free = |(i, e): (usize, &Extent)| (e.state == ExtentState::Free || in_place(e)) && !self.is_reserved(i);
        sb.map.iter().enumerate().position(free).map(|i| i as u32)
    }

    pub(crate) fn count_free(&self, sb: &Superblock) -> u32 {
        let free = sb.map.iter().enumerate().filter(|(i, e)| e.state == ExtentState::Free && !self.is_reserved(*i));
        free.count() as u32
    }
}

pub(crate) fn count(sb: &Superblock, state: ExtentState) -> u32 {
    sb.map.iter().filter(|e| e.state == state).count() as u32
}

/// Log extents kept for deletes and the ends of sessions, when everything else is refused.
pub(crate) const RESERVE: u32 = 2;

/// Extents a file may have under `options`, given its extent size.
pub(crate) fn extents_most(options: &StoreOptions, extent_size: u64) -> u32 {
    let most = extents_max(extent_size.trailing_zeros()) as u64;
    ((options.max_size.saturating_sub(EXTENTS_AT)) / extent_size).clamp(1, most) as u32
}

/// Extents a file gets soon after its creation.
pub(crate) fn initial_extents(options: &StoreOptions, extent_size: u64) -> usize {
    let wanted = options.initial_size.div_ceil(extent_size).max(1);
    wanted.min(u64::from(extents_most(options, extent_size))) as usize
}

/// What those who need room say of it, for growing ahead of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Extents that the log leaves to snapshots.
    pub(crate) claimed: u32,
    /// Extents the file stays within, as far as need allows.
    pub(crate) bound: u32,
    /// The file is new and nearly empty: it takes no space ahead of need.
    pub(crate) is_small: bool,
}

/// The extents of the file: the root that names their owners, those that are free, those that are still to come.
pub(crate) struct Extents {
    pub(crate) root: Root,
    pub(crate) pool: ExtentPool,
    pub(crate) helper: Helper,
    /// Extents the file may have.
    most: u32,
    /// Extents it gets soon after its creation.
    pub(crate) initial: u32,
    /// The time, as far as it has been told.
    pub(crate) now: Millis,
}

impl Extents {
    pub(crate) fn new(root: Root, options: &StoreOptions) -> Extents {
        let size = root.sb.extent_size();
        Extents {
            most: extents_most(options, size),
            initial: initial_extents(options, size) as u32,
            root,
            pool: ExtentPool::default(),
            helper: Helper::new(options.snapshot_rate),
            now: Millis(0),
        }
    }

    pub(crate) fn sb(&self) -> &Superblock {
        &self.root.sb
    }

    pub(crate) fn size(&self) -> u64 {
        self.root.sb.extent_size()
    }

    /// Extents that the superblock counts.
    pub(crate) fn counted(&self) -> u32 {
        self.root.sb.map.len() as u32
    }

    pub(crate) fn count(&self, state: ExtentState) -> u32 {
        count(&self.root.sb, state)
    }

    /// The lowest extent that may be written now: none while a superblock is being written that may have another use for it.
    pub(crate) fn first_free(&self) -> Option<u32> {
        if self.root.is_pending() {
            return None;
        }
        self.pool.first_free(&self.root.sb)
    }

    pub(crate) fn count_free(&self) -> u32 {
        self.pool.count_free(&self.root.sb)
    }

    /// Extents the file may have: those it has, after the disk has refused more.
    pub(crate) fn most(&self) -> u32 {
        if self.pool.is_refused() { self.counted() } else { self.most }
    }

    /// Extents the file may have by its options.
    pub(crate) fn most_allowed(&self) -> u32 {
        self.most
    }

    /// Extents the file may still grow by.
    pub(crate) fn growable(&self) -> u32 {
        self.most().saturating_sub(self.counted())
    }

    /// Bytes a file of so many extents has.
    pub(crate) fn bytes_of(&self, extents: u64) -> u64 {
        EXTENTS_AT + extents * self.size()
    }

    pub(crate) fn full(&self) -> StoreError {
        StoreError::Full { capacity: self.bytes_of(u64::from(self.most())) }
    }

    /// Extents for which a snapshot of `bytes` stream bytes has room.
    pub(crate) fn for_snapshot(&self, bytes: u64) -> u32 {
        let chunk_len = self.root.sb.chunk_len();
        let payload = (chunk_len - chunk::HEADER_LEN) as u64;
        bytes.div_ceil(payload).div_ceil(self.size() / chunk_len as u64).max(1) as u32
    }

    /// Makes what the generation in force has retired FREE in the next.
    pub(crate) fn free_retired(&mut self, log: LogEnd) -> Result<(), StoreError> {
        if self.count(ExtentState::Retired) == 0 {
            return Ok(());
        }
        let next = self.root.sb.clone();
        self.root.update(next, log)
    }

    /// Gives the first extent its whole size, now. What grows beside the loop is zeroed there: nothing may be written to it
    /// before that is over.
    pub(crate) fn widen(&mut self, log: LogEnd) -> Result<(), StoreError> {
        assert!(!self.pool.widening, "the first extent is being zeroed");
        if self.root.sb.is_whole() {
            return Ok(());
        }
        self.grow_file(EXTENTS_AT + self.size())?;
        self.widened(log)
    }

    /// The first extent has its whole size, synced.
    fn widened(&mut self, log: LogEnd) -> Result<(), StoreError> {
        let mut next = self.root.sb.clone();
        next.first_len = next.extent_size();
        self.root.update(next, log)
    }

    fn grow_file(&mut self, len: u64) -> Result<(), StoreError> {
        if let Err(error) = self.root.disk.grow(len) {
            self.refused(&error);
            return Err(self.full());
        }
        self.root.disk.sync_all().map_err(|error| self.root.poison_sync(&error))
    }

    /// The disk has no more space, for now.
    fn refused(&mut self, error: &std::io::Error) {
        if self.pool.refused_at.replace(self.now).is_none() {
            log::warn!(
                "the file cannot grow: {}; creates and growing sets are refused when its reserve is reached, until the disk \
                 has space again",
                OsError::from(error)
            );
        }
    }

    /// Adds one extent without zeroing it: slower to write than a zeroed one, but there at once. The first extent has its
    /// whole size already.
    pub(crate) fn grow_by_one(&mut self) -> Result<(), StoreError> {
        self.grow_file(self.root.sb.file_len() + self.size())?;
        self.pool.refused_at = None;
        self.pool.grown = 1;
        Ok(())
    }

    /// Counts extents that are ready behind the counted ones.
    pub(crate) fn adopt_grown(&mut self, log: LogEnd) -> Result<(), StoreError> {
        if self.pool.grown == 0 {
            return Ok(());
        }
        let mut next = self.root.sb.clone();
        let before = next.map.len();
        next.map.extend(std::iter::repeat_n(Extent::FREE, self.pool.grown as usize));
        if next.map.len() > MAP_HERE && next.map_extent.is_none() {
            next.map_extent = Some(before as u32);
            next.map[before] = Extent { state: ExtentState::Map, order: 0 };
        }
        self.pool.grown = 0;
        self.root.update(next, log)
    }

    /// Takes the extent at `offset` out of use, because the device failed there. Only a FREE one: others hold something.
    pub(crate) fn mark_bad(&mut self, offset: u64, log: LogEnd) -> Result<(), StoreError> {
        let index = (offset.saturating_sub(EXTENTS_AT) / self.size()) as usize;
        let (bad, map) = (self.count(ExtentState::Bad) as usize, &self.root.sb.map);
        // A device that fails everywhere must not eat the whole file.
        if map.get(index).is_none_or(|e| e.state != ExtentState::Free) || bad >= map.len() / 8 {
            return Ok(());
        }
        log::error!("extent {index} at byte {offset} is taken out of use");
        let mut next = self.root.sb.clone();
        next.map[index] = Extent { state: ExtentState::Bad, order: 0 };
        self.root.update(next, log)
    }

    /// Starts growth when room runs low.
    pub(crate) fn tend_growth(&mut self, need: Need) {
        if self.pool.growing > 0 {
            return;
        }
        let size = self.size();
        let counted = self.counted();
        let wanted = FREE_LOW + RESERVE + need.claimed;
        let free = self.count_free() + self.count(ExtentState::Retired);
        // A busy log would use up what is ahead of it before more is zeroed. Within its bound the file grows earlier.
        let is_ahead = free >= wanted + (counted / FREE_AHEAD).min(GROW_STEP_MIN) || counted >= need.bound;
        if ((free >= wanted && is_ahead) || need.is_small) && counted >= self.initial {
            return;
        }
        // Small files in small steps, large ones in few.
        let step = counted + (counted / 2).clamp(1, GROW_STEP_MIN.max(counted / 8));
        let step = step.min(need.bound);
        // What is needed is taken whatever the bound says.
        let needed = counted + wanted.saturating_sub(free);
        let mut target =
            if counted < self.initial { self.initial.max(needed) } else { step.max(needed) }.min(self.most);
        if let Some(refused) = self.pool.refused_at {
            if self.now.since(refused) < GROW_RETRY_MS {
                return;
            }
            // One is enough to know that there is space again.
            target = target.min(counted + 1);
        }
        let disk = Arc::clone(&self.root.disk);
        if !self.root.sb.is_whole() {
            let at = self.root.sb.file_len();
            self.helper.submit(&disk, HelperJob::Grow(Growth::new(at, EXTENTS_AT + size - at)));
            (self.pool.growing, self.pool.widening) = (1, true);
            return;
        }
        for index in counted..target {
            let at = EXTENTS_AT + u64::from(index) * size;
            self.helper.submit(&disk, HelperJob::Grow(Growth::new(at, size)));
            self.pool.growing += 1;
        }
    }

    /// Counts what has been grown, and frees what an opening has retired that dropped a damaged snapshot.
    pub(crate) fn tend_grown(&mut self, is_urgent: bool, log: LogEnd) -> Result<(), StoreError> {
        // Half-grown batches are counted as they come only when someone waits; else in one update.
        if self.pool.growing == 0 || self.count_free() == 0 || is_urgent {
            self.adopt_grown(log)?;
        }
        if self.root.is_pending() {
            return Ok(());
        }
        self.free_retired(log)
    }

    /// Whether the disk refused to grow the file long enough ago to be asked again, and is not being asked.
    pub(crate) fn may_ask_disk_again(&self) -> bool {
        let is_idle = self.pool.growing == 0 && self.pool.grown == 0;
        is_idle && self.pool.refused_at.is_some_and(|refused| self.now.since(refused) >= GROW_RETRY_MS)
    }

    /// Milliseconds until growth that was refused is tried again.
    pub(crate) fn growth_pause(&self, now: Millis) -> u64 {
        self.pool.refused_at.map_or(0, |refused| refused.plus(GROW_RETRY_MS).since(now))
    }

    /// Takes in that the helper has grown the file by one extent, or could not.
    pub(crate) fn take_grown(&mut self, result: Result<(), JobError>, log: LogEnd) -> Result<(), StoreError> {
        self.pool.growing -= 1;
        let widening = std::mem::take(&mut self.pool.widening);
        match result {
            Ok(()) if widening => {
                self.pool.refused_at = None;
                self.widened(log)?;
            }
            Ok(()) if !self.pool.batch_failed => {
                self.pool.grown += 1;
                if self.pool.refused_at.take().is_some() {
                    log::info!("the file grows again");
                }
            }
            Ok(()) => {}
            Err(error) if error.sync_failed => return Err(self.root.poison_sync(&error.error)),
            Err(error) => {
                self.refused(&error.error);
                self.pool.batch_failed = true;
            }
        }
        if self.pool.growing == 0 {
            self.pool.batch_failed = false;
        }
        Ok(())
    }
}
