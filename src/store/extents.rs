//! Who owns which extent, how the file grows, and how much room is left.
//!
//! FREE → (reserved, in memory) → LOG | SNAP → RETIRED → FREE. Two-generation rule: only an extent that is FREE in the
//! current complete generation is ever written (P6, S-43). What a generation releases is RETIRED in it and FREE in the
//! next, so neither superblock slot ever names bytes that are being overwritten.

use crate::failpoint::{self, Failpoint};
use crate::ids::Millis;
use crate::store::error::StoreError;
use crate::store::file::Store;
use crate::store::helper::{HelperJob, JobDone};
use crate::store::layout::{EXTENTS_AT, MAP_HERE, extents_max, first_len};
use crate::store::options::StoreOptions;
use crate::store::os_error::OsError;
use crate::store::space::RESERVE;
use crate::store::superblock::{Extent, Superblock};

/// How long the disk's refusal to grow is believed before the next attempt from `tick`.
const GROW_RETRY_MS: u64 = 1000;
/// Extents kept free ahead of need, beside the linked one and the reserve.
const FREE_LOW: u32 = 1;
/// The same for a file that has not reached its bound yet: this part of its extents, as far as it grows at once.
const FREE_AHEAD: u32 = 8;
/// Extents by which a file grows at once, at least.
pub(crate) const GROW_STEP_MIN: u32 = 8;

/// What an extent is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExtentState {
    Free,
    Log,
    SnapA,
    SnapB,
    Retired,
    /// It holds the rest of this map.
    Map,
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
            ExtentState::Map => 5,
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
            5 => Some(ExtentState::Map),
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
            ExtentState::Map => "MAP",
            ExtentState::Bad => "BAD",
        }
    }

    pub(crate) fn snapshot(slot: usize) -> ExtentState {
        if slot == 0 { ExtentState::SnapA } else { ExtentState::SnapB }
    }
}

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

impl Store {
    pub(crate) fn full(&self) -> StoreError {
        let most = match self.pool.refused_at {
            Some(_) => self.sb.map.len() as u32,
            None => extents_most(&self.options, self.sb.extent_size()),
        };
        StoreError::Full { capacity: EXTENTS_AT + u64::from(most) * self.sb.extent_size() }
    }

    /// Whether the log may have one of the extents there are: those that snapshots need are not for it.
    pub(crate) fn has_one_for_log(&self) -> bool {
        let shed = if self.growable() == 0 { self.sheddable() } else { 0 };
        let free = self.pool.count_free(&self.sb);
        free > 0 && free + count(&self.sb, ExtentState::Retired) + shed > self.claimed()
    }

    /// Takes a FREE extent for the log now, by whatever it takes short of giving up something needed.
    pub(crate) fn take_free(&mut self) -> Result<u32, StoreError> {
        loop {
            if let Some(index) = self.pool.first_free(&self.sb).filter(|_| self.has_one_for_log()) {
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
            if self.pool.grown == 0
                && let Err(error) = self.grow_at_once()
            {
                // Better one snapshot than two and a server that takes no more writes.
                if self.poison.is_some() || self.sheddable() == 0 {
                    return Err(error);
                }
                self.shed_older_snapshot()?;
                continue;
            }
            self.adopt_grown()?;
        }
    }

    /// Gives the first extent its whole size, now.
    pub(crate) fn widen_at_once(&mut self) -> Result<(), StoreError> {
        // What grows beside the loop is zeroed there: nothing may be written to it before that is over.
        while self.pool.widening {
            let done = self.helper.wait(&*self.disk);
            self.handle_done(done)?;
        }
        if self.sb.is_whole() {
            return Ok(());
        }
        let len = EXTENTS_AT + self.sb.extent_size();
        if let Err(error) = self.disk.grow(len) {
            self.refused(&error);
            return Err(self.full());
        }
        if let Err(error) = self.disk.sync_all() {
            return Err(self.poison_sync(&error));
        }
        self.widened()
    }

    /// The first extent has its whole size, synced.
    fn widened(&mut self) -> Result<(), StoreError> {
        let mut next = self.sb.clone();
        next.first_len = next.extent_size();
        self.update_superblock(next)
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

    /// Adds one extent without zeroing it: slower to write than a zeroed one, but there at once.
    pub(crate) fn grow_at_once(&mut self) -> Result<(), StoreError> {
        let counted = self.sb.map.len() as u32;
        if counted >= extents_most(&self.options, self.sb.extent_size()) {
            return Err(self.full());
        }
        self.widen_at_once()?;
        let len = self.sb.file_len() + self.sb.extent_size();
        if let Err(error) = self.disk.grow(len) {
            self.refused(&error);
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
        let before = next.map.len();
        next.map.extend(std::iter::repeat_n(Extent::FREE, self.pool.grown as usize));
        if next.map.len() > MAP_HERE && next.map_extent.is_none() {
            next.map_extent = Some(before as u32);
            next.map[before] = Extent { state: ExtentState::Map, order: 0 };
        }
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
        if self.pool.growing == 0 || self.pool.count_free(&self.sb) == 0 || self.log_waits {
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
        let wanted = FREE_LOW + RESERVE + self.claimed();
        let free = self.pool.count_free(&self.sb) + count(&self.sb, ExtentState::Retired);
        let initial = initial_extents(&self.options, size) as u32;
        let bound = self.bound_extents() as u32;
        // A busy log would use up what is ahead of it before more is zeroed. Within its bound the file grows earlier.
        let is_ahead = free >= wanted + (counted / FREE_AHEAD).min(GROW_STEP_MIN) || counted >= bound;
        if ((free >= wanted && is_ahead) || self.is_small()) && counted >= initial {
            return Ok(());
        }
        let most = extents_most(&self.options, size);
        // Small files in small steps, large ones in few.
        let step = counted + (counted / 2).clamp(1, GROW_STEP_MIN.max(counted / 8));
        let step = step.min(bound);
        // What is needed is taken whatever the bound says.
        let needed = counted + wanted.saturating_sub(free);
        let mut target = if counted < initial { initial.max(needed) } else { step.max(needed) }.min(most);
        if let Some(refused) = self.pool.refused_at {
            if self.now.since(refused) < GROW_RETRY_MS {
                return Ok(());
            }
            // One is enough to know that there is space again.
            target = target.min(counted + 1);
        }
        if !self.sb.is_whole() {
            let at = self.sb.file_len();
            self.helper.submit(&self.disk, HelperJob::Grow { at, len: EXTENTS_AT + size - at, done: 0 });
            (self.pool.growing, self.pool.widening) = (1, true);
            return Ok(());
        }
        for index in counted..target {
            let at = EXTENTS_AT + u64::from(index) * size;
            self.helper.submit(&self.disk, HelperJob::Grow { at, len: size, done: 0 });
            self.pool.growing += 1;
        }
        Ok(())
    }

    /// Whether the file is new and nearly empty, and nobody waits: then it takes no space ahead of need.
    pub(crate) fn is_small(&self) -> bool {
        let used = self.log.at - self.sb.extent_at(self.log.index);
        let is_used = used >= first_len(self.sb.extent_log2) / 4;
        !self.sb.is_whole() && self.build.is_none() && !is_used && !self.log_waits
    }

    /// Milliseconds until growth that was refused is tried again.
    pub(crate) fn growth_pause(&self, now: Millis) -> u64 {
        self.pool.refused_at.map_or(0, |refused| refused.plus(GROW_RETRY_MS).since(now))
    }

    /// Takes in one thing the helper has finished.
    pub(crate) fn handle_done(&mut self, done: JobDone) -> Result<(), StoreError> {
        match done {
            JobDone::Grown(result) => {
                self.pool.growing -= 1;
                let widening = std::mem::take(&mut self.pool.widening);
                match result {
                    Ok(()) if widening => {
                        self.pool.refused_at = None;
                        self.widened()?;
                    }
                    Ok(()) if !self.pool.batch_failed => {
                        self.pool.grown += 1;
                        if self.pool.refused_at.take().is_some() {
                            log::info!("the file grows again");
                        }
                    }
                    Ok(()) => {}
                    Err(error) if error.sync_failed => return Err(self.poison_sync(&error.error)),
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
            JobDone::Chunk { .. } | JobDone::Verified(_) => self.handle_snapshot_done(done),
        }
    }
}
