//! Room for those who need it: what is released, what grows, which extent is taken.

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::error::StoreError;
use crate::store::frame::Record;
use crate::store::options::SpaceLevel;
use crate::store::parts::Store;
use crate::store::superblock::{Extent, ExtentState, SnapshotSlot, Superblock};

impl Store {
    /// Lets go of readers that have been reading for too long, or stand in the way of what the file needs.
    pub(crate) fn tend_pins(&mut self) {
        self.pins.drop_old(self.extents.now);
        if self.pins.first().is_some() && self.space().level >= SpaceLevel::Slow {
            log::warn!("members that read the log are given up, because its space is needed");
            self.pins.drop_all();
        }
    }

    /// Gives up the older of two kept snapshots, and the log that only it needs.
    pub(crate) fn shed_older_snapshot(&mut self) -> Result<(), StoreError> {
        let [Some(a), Some(b)] = self.sb().snapshots else { return Ok(()) };
        log::warn!("room for a new snapshot is made by giving up the one at zxid {}", a.zxid.min(b.zxid));
        let mut next = self.sb().clone();
        next.retire_snapshot(usize::from(a.id > b.id));
        self.retire_log(&mut next);
        self.release(next)
    }

    /// Makes `next` count, and what it retires FREE in the generation after.
    pub(crate) fn release(&mut self, next: Superblock) -> Result<(), StoreError> {
        let base = next.log_base_lseq;
        self.update(next)?;
        self.log.forget_before(base);
        if self.is_rearranging() {
            // A later tick sees to that.
            return Ok(());
        }
        let next = self.sb().clone();
        self.update(next)
    }

    /// Releases log extents that neither the older kept snapshot nor a follower needs.
    pub(crate) fn retire_log(&mut self, next: &mut Superblock) {
        self.tend_pins();
        let after = |kept: &SnapshotSlot| match failpoint::on(Failpoint::LeftDataReleased) {
            true => kept.zxid,
            false => kept.log_after,
        };
        let kept = next.snapshots.iter().flatten().map(after);
        let bound = if failpoint::on(Failpoint::RetireByNewest) { kept.max() } else { kept.min() };
        let Some(needed_after) = bound else { return };
        // The extent that holds the end stays, whatever a snapshot covers: the chain goes on from there.
        let covered =
            self.log.extents.iter().take_while(|e| e.lseq < self.log.lseq && e.last_zxid <= needed_after).count();
        let window = if self.space().level >= SpaceLevel::Slow { 0 } else { self.options.follower_window };
        let followers = window.div_ceil(self.extents.size()) as usize;
        let earlier = self.log.earlier_extents(self.sb()) as usize;
        let unread = (earlier + covered).saturating_sub(followers).saturating_sub(earlier);
        let released = self.pinned_before(unread);
        let Some(first) = self.log.extents.get(released) else { return };
        // Of what the log does not know of itself a snapshot that was loaded is proof that nothing needs it.
        if needed_after < self.log.extents.first().map_or(Zxid::ZERO, |known| known.base_zxid) {
            return;
        }
        for extent in next.map.iter_mut().filter(|e| e.state == ExtentState::Log && e.order < first.lseq) {
            *extent = Extent { state: ExtentState::Retired, order: 0 };
        }
        (next.log_base_lseq, next.base_fseq) = (first.lseq, first.first_fseq);
    }

    /// Of the first `unread` log extents, which nothing needs but readers of the log, so many are released.
    fn pinned_before(&mut self, unread: usize) -> usize {
        let Some(pinned) = self.pins.first() else { return unread };
        let kept = self.log.extents.iter().take(unread).filter(|extent| extent.lseq >= pinned).count();
        // A reader that is further behind than that would rather get a snapshot.
        if kept as u64 > self.budget().log_window().div_ceil(self.extents.size()) {
            log::warn!("a member that reads the log is too far behind: what it reads is released");
            self.pins.drop_all();
            return unread;
        }
        self.demand.readers_most = self.demand.readers_most.max(kept as u64);
        unread - kept
    }

    /// Gives the first extent its whole size, now.
    pub(crate) fn widen_at_once(&mut self) -> Result<(), StoreError> {
        while self.extents.pool.widening {
            self.wait_for_helper()?;
        }
        self.extents.widen(self.log.end())
    }

    /// Adds one extent without zeroing it.
    fn grow_at_once(&mut self) -> Result<(), StoreError> {
        if self.extents.counted() >= self.extents.most_allowed() {
            return Err(self.extents.full());
        }
        self.widen_at_once()?;
        self.extents.grow_by_one()
    }

    /// Takes a FREE extent for the log now, by whatever it takes short of giving up something needed.
    fn take_free(&mut self) -> Result<u32, StoreError> {
        loop {
            if let Some(index) = self.extents.first_free().filter(|_| self.budget().has_one_for_log()) {
                return Ok(index);
            }
            if self.extents.count(ExtentState::Retired) > 0 {
                self.extents.free_retired(self.log.end())?;
                continue;
            }
            self.await_growth()?;
            if self.extents.pool.grown == 0
                && let Err(error) = self.grow_at_once()
            {
                // Better one snapshot than two and a server that takes no more writes.
                if self.extents.root.poisoned().is_some() || self.budget().sheddable() == 0 {
                    return Err(error);
                }
                self.shed_older_snapshot()?;
                continue;
            }
            self.extents.adopt_grown(self.log.end())?;
        }
    }

    /// A FREE extent that nothing uses, by growing if need be. What was retired is FREE again: a turn sees to that first.
    pub(crate) fn any_free(&mut self) -> Result<u32, StoreError> {
        loop {
            if let Some(index) = self.extents.first_free() {
                return Ok(index);
            }
            self.await_growth()?;
            if self.extents.pool.grown == 0 {
                self.grow_at_once()?;
            }
            self.extents.adopt_grown(self.log.end())?;
        }
    }

    /// Waits for an extent that is being zeroed, if there is one and none is ready.
    fn await_growth(&mut self) -> Result<(), StoreError> {
        while self.extents.pool.growing > 0 && self.extents.pool.grown == 0 {
            self.wait_for_helper()?;
        }
        Ok(())
    }

    /// Sees to it that there are `needed` extents for a snapshot, if it takes giving up the older of two.
    pub(crate) fn make_room_for(&mut self, needed: u32) -> Result<(), StoreError> {
        if !self.budget().has_room_for(needed) && self.extents.may_ask_disk_again() {
            // Nothing else asks while what there is suffices for what goes on.
            if self.grow_at_once().is_ok() {
                self.extents.adopt_grown(self.log.end())?;
            }
            self.extents.root.alive()?;
        }
        if !self.budget().has_room_for(needed) {
            // Better one snapshot than two and a server that can never take another.
            self.shed_older_snapshot()?;
        }
        // What was kept for a snapshot is there for it, also where the log has nothing more and waits for the end of it.
        let fits = self.budget().has_room_for(needed) || self.budget().has_kept(needed);
        if fits { Ok(()) } else { Err(self.extents.full()) }
    }

    /// Makes one more FREE extent part of the log.
    pub(crate) fn link_next(&mut self) -> Result<(), StoreError> {
        let index = self.take_free()?;
        let mut next = self.sb().clone();
        next.log_head_lseq += 1;
        next.map[index as usize] = Extent { state: ExtentState::Log, order: next.log_head_lseq };
        self.update(next)?;
        // Later appends change pages by halves; having them in memory saves a read in each.
        self.extents.root.disk.prefetch(self.sb().extent_at(index), self.extents.size());
        Ok(())
    }

    /// Links as many extents as `records` will need, so that no write is begun that cannot be finished (F-09).
    pub(crate) fn link_for(&mut self, records: &[Record<'_>]) -> Result<(), StoreError> {
        let moves = self.log.moves_for(self.sb(), records);
        if moves > 0 && !self.sb().is_whole() {
            self.widen_at_once()?;
            return self.link_for(records);
        }
        self.link_at_least(moves)
    }

    /// Links extents until so many wait for the log.
    pub(crate) fn link_at_least(&mut self, moves: u64) -> Result<(), StoreError> {
        while self.log.ahead(self.sb()) < moves {
            self.log.counts.waited_for_extent += 1;
            self.link_next()?;
        }
        Ok(())
    }
}
