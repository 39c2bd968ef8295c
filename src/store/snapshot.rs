//! Snapshots: a stream of opaque entries cut into self-checking chunks, written beside the loop.
//!
//! Chunks go to FREE extents that nothing names, so a crash forgets them. Only when all are synced and have been read
//! back does a superblock update name them, and release what they replace (P8, D-09).

use std::collections::VecDeque;

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::chunks::{Verification, VerifyError, plan_of};
use crate::store::disk::AlignedBuf;
use crate::store::error::StoreError;
use crate::store::extents::{ExtentState, count};
use crate::store::file::Store;
use crate::store::helper::{HelperJob, JobDone};
use crate::store::layout::{PAGE, chunk};
use crate::store::le;
use crate::store::member::MemberState;
use crate::store::os_error::OsError;
use crate::store::space::RESERVE;
use crate::store::superblock::{Extent, SnapshotSlot, Superblock};

/// Milliseconds after a snapshot was given up before the next is wanted.
const RETRY_MS: u64 = 2000;

/// The end of a snapshot, as [`Store::tick`] reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDone {
    /// The zxid it was taken at.
    pub zxid: Zxid,
    /// Its stream bytes; or why it was given up, with the older ones still in place.
    pub outcome: Result<u64, StoreError>,
}

/// A snapshot being written.
#[derive(Debug)]
pub(crate) struct Build {
    id: u64,
    zxid: Zxid,
    /// Where the log ended when it began.
    pub(crate) began: u64,
    /// Bytes of log that may be written until it is published.
    pub(crate) window: u64,
    /// Stream bytes it was said to have at most, and the extents that were set aside for them.
    pub(crate) estimate: u64,
    estimate_extents: u32,
    extents: Vec<u32>,
    chunks: u32,
    prev_crc: u32,
    pub(crate) bytes: u64,
    /// Stream bytes that have reached the disk.
    pub(crate) written: u64,
    entries: u64,
    filling: Option<AlignedBuf>,
    fill: usize,
    /// Full chunks that wait for an extent, with their payload lengths.
    waiting: VecDeque<(AlignedBuf, usize)>,
    spare: Vec<AlignedBuf>,
    /// Bytes handed to the helper and not yet written.
    in_flight_bytes: usize,
    in_flight: u32,
    /// The last entry has been pushed.
    pub(crate) finished: bool,
    /// The check is under way.
    pub(crate) verifying: bool,
    /// Given up: its extents are let go when the helper no longer writes to them.
    pub(crate) failed: Option<StoreError>,
    /// The caller gave it up and wants to hear no more.
    silent: bool,
    /// It is a state that was received, and becomes all that counts, with this.
    install: Option<MemberState>,
}

impl Store {
    /// Whether it is time for a snapshot: the log since the last one has reached its window, or room runs low and a
    /// snapshot would make some.
    pub fn wants_snapshot(&self) -> bool {
        if !self.may_begin_snapshot() {
            return false;
        }
        let window = self.log_window();
        self.log_since_snapshot() >= window - window / 8 * u64::from(self.jitter) / 256
            || (self.snapshot_makes_room() && self.is_low(self.left()))
    }

    /// Whether a snapshot could begin now, and would not be the same as the last one.
    pub(crate) fn may_begin_snapshot(&self) -> bool {
        self.build.is_none()
            && self.poison.is_none()
            && self.now >= self.snapshot_not_before
            && self.log.last_zxid > self.newest_snapshot_zxid()
    }

    pub(crate) fn newest_snapshot_zxid(&self) -> Zxid {
        self.sb.snapshots.iter().flatten().map(|kept| kept.zxid).max().unwrap_or(Zxid::ZERO)
    }

    /// Begins a snapshot of the state at `zxid`, which is [`last_zxid`](Store::last_zxid).
    ///
    /// `estimate_bytes` is how large the stream becomes at most; space for that is kept from the log. Push every entry, then call
    /// [`snapshot_finish`](Store::snapshot_finish), and [`tick`](Store::tick) until it reports the end.
    ///
    /// # Errors
    /// [`StoreError::SnapshotRunning`]; [`StoreError::Full`] when it cannot fit beside the reserve of the log.
    ///
    /// # Panics
    /// When `zxid` is not the last one appended.
    pub fn snapshot_begin(&mut self, zxid: Zxid, estimate_bytes: u64) -> Result<(), StoreError> {
        self.has_history()?;
        if self.build.is_some() {
            return Err(StoreError::SnapshotRunning);
        }
        assert!(zxid <= self.log.last_zxid, "a snapshot at {zxid:?}, the log ends at {:?}", self.log.last_zxid);
        if let Err(error) = self.make_room_for(self.extents_for_snapshot(estimate_bytes)) {
            self.snapshot_not_before = self.now.plus(RETRY_MS);
            return Err(error);
        }
        // Never so slow that a snapshot takes longer than half a minute.
        let rate = self.options.snapshot_rate;
        self.helper.set_snapshot_rate(if rate == 0 { 0 } else { rate.max(estimate_bytes / 30) });
        self.snapshot_largest = self.snapshot_largest.max(estimate_bytes);
        self.begin_build(zxid, estimate_bytes, None);
        Ok(())
    }

    /// Sees to it that there are `needed` extents for a snapshot, if it takes giving up the older of two.
    pub(crate) fn make_room_for(&mut self, needed: u32) -> Result<(), StoreError> {
        // The log goes on meanwhile, if only with what it has.
        let has_room = |store: &Store| {
            let ahead = (store.sb.log_head_lseq - store.log.lseq) as u32;
            let free = store.pool.count_free(&store.sb) + count(&store.sb, ExtentState::Retired);
            ahead + free + store.growable() > needed
        };
        if !has_room(self) {
            // Better one snapshot than two and a server that can never take another.
            self.shed_older_snapshot()?;
        }
        if has_room(self) { Ok(()) } else { Err(self.full()) }
    }

    /// Begins to write what `install`, if it is given, makes all that counts.
    pub(crate) fn begin_build(&mut self, zxid: Zxid, estimate_bytes: u64, install: Option<MemberState>) {
        let id = self.sb.snapshots.iter().flatten().map(|kept| kept.id).max().unwrap_or(0).max(self.snapshot_id) + 1;
        self.snapshot_id = id;
        self.build = Some(Build {
            id,
            zxid,
            began: self.log_position(),
            window: self.log_window(),
            estimate: estimate_bytes,
            estimate_extents: self.extents_for_snapshot(estimate_bytes),
            written: 0,
            extents: Vec::new(),
            chunks: 0,
            prev_crc: 0,
            bytes: 0,
            entries: 0,
            filling: None,
            fill: 0,
            waiting: VecDeque::new(),
            spare: Vec::new(),
            in_flight_bytes: 0,
            in_flight: 0,
            finished: false,
            verifying: false,
            failed: None,
            silent: false,
            install,
        });
    }

    /// Extents the snapshot in progress still needs; `None` when none is.
    pub(crate) fn snapshot_extents_wanted(&self) -> Option<u32> {
        let build = self.build.as_ref().filter(|build| build.failed.is_none())?;
        if build.verifying {
            return Some(0);
        }
        let per_extent = self.sb.extent_size() as usize / self.sb.chunk_len();
        let waiting = build.waiting.len().div_ceil(per_extent) as u32;
        let taken = build.extents.len() as u32;
        Some(if build.finished { waiting } else { build.estimate_extents.saturating_sub(taken).max(waiting) })
    }

    /// Adds one entry, of any bytes, to the snapshot.
    ///
    /// Never waits for the disk; look at [`snapshot_backlog`](Store::snapshot_backlog) between calls.
    ///
    /// # Errors
    /// [`StoreError::NoSnapshot`] when none is being taken; the reason when it has been given up since.
    pub fn snapshot_push(&mut self, entry: &[u8]) -> Result<(), StoreError> {
        let len = u32::try_from(entry.len())
            .map_err(|_| StoreError::TooLarge { size: entry.len() as u64, limit: u64::from(u32::MAX) })?;
        let chunk_len = self.sb.chunk_len();
        let build = self.build.as_mut().filter(|build| !build.finished).ok_or(StoreError::NoSnapshot)?;
        if let Some(error) = &build.failed {
            return Err(error.clone());
        }
        build.entries += 1;
        let prefix = len.to_le_bytes();
        for mut part in [&prefix[..], entry] {
            build.bytes += part.len() as u64;
            while !part.is_empty() {
                if build.fill == chunk_len {
                    let full = build.filling.take().expect("a full chunk has a buffer");
                    build.waiting.push_back((full, build.fill - chunk::HEADER_LEN));
                }
                let spare = &mut build.spare;
                if build.filling.is_none() {
                    build.fill = chunk::HEADER_LEN;
                }
                let buf =
                    build.filling.get_or_insert_with(|| spare.pop().unwrap_or_else(|| AlignedBuf::new(chunk_len)));
                let count = part.len().min(chunk_len - build.fill);
                buf.bytes_mut()[build.fill..build.fill + count].copy_from_slice(&part[..count]);
                build.fill += count;
                part = &part[count..];
            }
        }
        self.hand_over(false)
    }

    /// Bytes pushed that have not reached the disk.
    pub fn snapshot_backlog(&self) -> usize {
        self.build.as_ref().map_or(0, |build| {
            let waiting: usize = build.waiting.iter().map(|(_, used)| used).sum();
            waiting + build.in_flight_bytes + build.filling.as_ref().map_or(0, |_| build.fill)
        })
    }

    /// Says that every entry has been pushed. [`tick`](Store::tick) reports when the snapshot counts.
    ///
    /// # Errors
    /// As [`snapshot_push`](Store::snapshot_push).
    pub fn snapshot_finish(&mut self) -> Result<(), StoreError> {
        let chunk_len = self.sb.chunk_len();
        let build = self.build.as_mut().filter(|build| !build.finished).ok_or(StoreError::NoSnapshot)?;
        if let Some(error) = &build.failed {
            return Err(error.clone());
        }
        build.finished = true;
        let fill = if build.filling.is_some() { build.fill } else { chunk::HEADER_LEN };
        let last = build.filling.take().unwrap_or_else(|| AlignedBuf::new(chunk_len));
        build.waiting.push_back((last, fill - chunk::HEADER_LEN));
        self.hand_over(false)
    }

    /// Gives the snapshot up. The older ones stay; nothing is reported.
    pub fn snapshot_abort(&mut self) {
        if let Some(build) = &mut self.build {
            build.silent = true;
        }
        self.fail_snapshot(StoreError::NoSnapshot);
        self.bury_snapshot();
    }

    /// Whether a snapshot is being written, checked, or given up.
    pub fn snapshot_running(&self) -> bool {
        self.build.is_some()
    }

    fn fail_snapshot(&mut self, error: StoreError) {
        self.verified = false;
        let forgotten = self.helper.forget_snapshot_jobs();
        if let Some(build) = self.build.as_mut().filter(|build| build.failed.is_none()) {
            build.in_flight -= forgotten;
            build.waiting.clear();
            build.filling = None;
            build.failed = Some(error);
            self.stats.snapshots_failed += 1;
            self.snapshot_not_before = self.now.plus(RETRY_MS);
        }
    }

    /// Lets go of a failed snapshot's extents once nothing writes to them any more.
    fn bury_snapshot(&mut self) -> Option<SnapshotDone> {
        let ended = |build: &mut Build| build.failed.is_some() && build.in_flight == 0;
        let build = self.build.take_if(ended)?;
        self.pool.release_all();
        let error = build.failed.expect("only failed snapshots are buried");
        (!build.silent).then_some(SnapshotDone { zxid: build.zxid, outcome: Err(error) })
    }

    /// Gives full chunks a place and hands them to the helper. From `tick` it may also wait for growth.
    fn hand_over(&mut self, from_tick: bool) -> Result<(), StoreError> {
        let chunk_len = self.sb.chunk_len();
        let per_extent = (self.sb.extent_size() / chunk_len as u64) as u32;
        loop {
            let Some(build) = self.build.as_mut().filter(|b| b.failed.is_none() && !b.waiting.is_empty()) else {
                return Ok(());
            };
            if build.chunks / per_extent == build.extents.len() as u32 {
                // Beyond what was set aside for it, the log comes first.
                let spare = if (build.extents.len() as u32) < build.estimate_extents { 0 } else { RESERVE };
                let free = self.pool.count_free(&self.sb);
                let Some(index) = self.pool.first_free(&self.sb).filter(|_| free > spare) else {
                    let coming = self.pool.growing + self.pool.grown + count(&self.sb, ExtentState::Retired);
                    if from_tick && coming == 0 && self.growable() == 0 {
                        let error = self.full();
                        self.fail_snapshot(error);
                    }
                    return Ok(());
                };
                self.pool.reserve(index);
                build.extents.push(index);
            }
            let Some((mut buf, used)) = build.waiting.pop_front() else { return Ok(()) };
            let index = build.extents[(build.chunks / per_extent) as usize];
            let at = self.sb.extent_at(index) + u64::from(build.chunks % per_extent) * chunk_len as u64;
            let last = build.finished && build.waiting.is_empty();
            let len = (chunk::HEADER_LEN + used).next_multiple_of(PAGE);
            let out = buf.bytes_mut();
            out[..chunk::HEADER_LEN].fill(0);
            out[chunk::HEADER_LEN + used..len].fill(0);
            le::put_u32(out, chunk::MAGIC, chunk::MAGIC_VALUE);
            le::put_u64(out, chunk::OWN_OFFSET, at);
            le::put_u64(out, chunk::SNAPSHOT_ID, build.id);
            le::put_u64(out, chunk::ZXID, build.zxid.0 as u64);
            le::put_u32(out, chunk::NUMBER, build.chunks);
            le::put_u32(out, chunk::USED, used as u32);
            le::put_u32(out, chunk::PREV_CRC, build.prev_crc);
            le::put_u32(out, chunk::FLAGS, if last { chunk::FLAG_LAST } else { 0 });
            let crc = crc32c::crc32c_append(self.seed, &out[chunk::OWN_OFFSET..chunk::HEADER_LEN + used]);
            le::put_u32(out, chunk::CRC, crc);
            build.prev_crc = crc;
            build.chunks += 1;
            build.in_flight += 1;
            build.in_flight_bytes += len;
            self.helper.submit(&self.disk, HelperJob::Chunk { at, buf, len });
        }
    }

    pub(crate) fn handle_snapshot_done(&mut self, done: JobDone) -> Result<(), StoreError> {
        let Some(build) = self.build.as_mut() else { return Ok(()) };
        build.in_flight -= 1;
        match done {
            JobDone::Chunk { at, len, buf, result } => {
                build.in_flight_bytes -= len;
                build.written += (len - chunk::HEADER_LEN) as u64;
                if build.spare.len() < 4 {
                    build.spare.push(buf);
                }
                if let Err(error) = result {
                    self.fail_snapshot(StoreError::Io { what: "write a snapshot", error: OsError::from(&error) });
                    self.mark_bad(at)?;
                }
            }
            JobDone::Verified(Err(VerifyError::Sync(error))) => {
                let error = self.poison_sync(&error);
                self.fail_snapshot(error.clone());
                return Err(error);
            }
            JobDone::Verified(Err(VerifyError::Bad { offset, what })) => {
                log::error!("the new snapshot cannot be read back at byte {offset}: {what}");
                self.fail_snapshot(StoreError::SnapshotUnreadable { offset, what });
                self.mark_bad(offset)?;
            }
            JobDone::Verified(Ok(())) if build.failed.is_none() => self.verified = true,
            JobDone::Verified(Ok(())) | JobDone::Grown(_) => {}
        }
        Ok(())
    }

    /// Moves the snapshot in progress on: places for waiting chunks, the check, publication.
    pub(crate) fn tend_snapshot(&mut self) -> Result<Option<SnapshotDone>, StoreError> {
        self.hand_over(true)?;
        if let Some(done) = self.bury_snapshot() {
            return Ok(Some(done));
        }
        if std::mem::take(&mut self.verified) {
            return self.publish_snapshot().map(Some);
        }
        let Some(build) = self.build.as_mut() else { return Ok(None) };
        if build.finished
            && build.failed.is_none()
            && build.waiting.is_empty()
            && build.in_flight == 0
            && !build.verifying
        {
            build.verifying = true;
            build.in_flight = 1;
            let plan = plan_of(&self.sb, &build.extents, build.slot());
            self.helper.submit(&self.disk, HelperJob::Verify(Verification::new(plan)));
        }
        Ok(None)
    }

    /// Names the snapshot in the superblock and releases what it replaces.
    fn publish_snapshot(&mut self) -> Result<SnapshotDone, StoreError> {
        let mut build = self.build.take().expect("only a snapshot that is there is verified");
        if let Some(state) = build.install.take() {
            return self.publish_install(build, &state);
        }
        let kept = build.slot();
        // The place of the older one: an empty place is older than any.
        let slot = usize::from(self.sb.snapshots[0].map_or(0, |k| k.id) > self.sb.snapshots[1].map_or(0, |k| k.id));
        let mut next = self.sb.clone();
        next.retire_snapshot(slot);
        if self.options.keep_snapshots == 1 {
            next.retire_snapshot(1 - slot);
        }
        build.name_extents(&mut next, slot);
        next.snapshots[slot] = Some(kept);
        self.retire_log(&mut next);
        self.pool.release_all();
        self.release(next)?;
        self.snapshot_began = build.began;
        self.snapshot_largest = self.snapshot_largest.max(kept.bytes);
        self.stats.snapshots += 1;
        self.draw_jitter();
        Ok(SnapshotDone { zxid: kept.zxid, outcome: Ok(kept.bytes) })
    }

    /// Gives up the older of two kept snapshots, and the log that only it needs.
    pub(crate) fn shed_older_snapshot(&mut self) -> Result<(), StoreError> {
        let [Some(a), Some(b)] = self.sb.snapshots else { return Ok(()) };
        log::warn!("room for a new snapshot is made by giving up the one at zxid {}", a.zxid.min(b.zxid));
        let mut next = self.sb.clone();
        next.retire_snapshot(usize::from(a.id > b.id));
        self.retire_log(&mut next);
        self.release(next)
    }

    /// Makes `next` count, and what it retires FREE in the generation after.
    pub(crate) fn release(&mut self, next: Superblock) -> Result<(), StoreError> {
        self.update_superblock(next)?;
        self.log.forget_before(self.sb.log_base_lseq);
        let next = self.sb.clone();
        self.update_superblock(next)
    }

    /// Releases log extents that neither the older kept snapshot nor a follower needs.
    fn retire_log(&mut self, next: &mut Superblock) {
        self.tend_pins();
        let kept = next.snapshots.iter().flatten().map(|kept| kept.zxid);
        let bound = if failpoint::on(Failpoint::RetireByNewest) { kept.max() } else { kept.min() };
        let Some(needed_after) = bound else { return };
        // The extent that holds the end stays, whatever a snapshot covers: the chain goes on from there.
        let covered =
            self.log.extents.iter().take_while(|e| e.lseq < self.log.lseq && e.last_zxid <= needed_after).count();
        let window =
            if self.space().level >= crate::store::SpaceLevel::Slow { 0 } else { self.options.follower_window };
        let followers = window.div_ceil(self.sb.extent_size()) as usize;
        let unread = covered.saturating_sub(followers);
        let released = self.pinned_before(unread);
        let Some(first) = self.log.extents.get(released) else { return };
        for extent in &self.log.extents {
            if extent.lseq < first.lseq {
                next.map[extent.index as usize] = Extent { state: ExtentState::Retired, order: 0 };
            }
        }
        (next.log_base_lseq, next.base_fseq) = (first.lseq, first.first_fseq);
    }
}

impl Store {
    /// Of the first `unread` log extents, which nothing needs but readers of the log, so many are released.
    fn pinned_before(&mut self, unread: usize) -> usize {
        let Some(pinned) = self.pins.first() else { return unread };
        let kept = self.log.extents.iter().take(unread).filter(|extent| extent.lseq >= pinned).count();
        // A reader that is further behind than that would rather get a snapshot.
        if kept as u64 > self.log_window().div_ceil(self.sb.extent_size()) {
            log::warn!("a member that reads the log is too far behind: what it reads is released");
            self.pins.drop_all();
            return unread;
        }
        self.pins.most = self.pins.most.max(kept as u64);
        unread - kept
    }
}

impl Build {
    /// Says in the map where it lies.
    pub(crate) fn name_extents(&self, next: &mut Superblock, slot: usize) {
        for (order, index) in self.extents.iter().enumerate() {
            let free = next.map[*index as usize].state == ExtentState::Free || failpoint::on(Failpoint::BuildInPlace);
            assert!(free, "a snapshot in an extent that is not free");
            next.map[*index as usize] = Extent { state: ExtentState::snapshot(slot), order: order as u64 };
        }
    }

    pub(crate) fn slot(&self) -> SnapshotSlot {
        SnapshotSlot {
            id: self.id,
            zxid: self.zxid,
            bytes: self.bytes,
            chunks: self.chunks,
            entries: self.entries,
            chain_crc: self.prev_crc,
        }
    }
}
