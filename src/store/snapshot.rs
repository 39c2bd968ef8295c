//! Snapshots: a stream of opaque entries cut into self-checking chunks, written beside the loop.
//!
//! Chunks go to FREE extents that nothing names, so a crash forgets them. Only when all are synced and have been read
//! back does a superblock update name them, and release what they replace (P8, D-09).

use std::collections::VecDeque;
use std::io;

use crate::ids::Zxid;
use crate::plant::{self, Plant};
use crate::store::error::StoreError;
use crate::store::extents::ExtentState;
use crate::store::file::Store;
use crate::store::helper::{Done, Job};
use crate::store::layout::{PAGE, chunk};
use crate::store::le;
use crate::store::map::{AlignedBuf, Disk, ReadAt};
use crate::store::os_error::OsError;
use crate::store::recover::Replay;
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
    /// `log_since_snapshot` when it began.
    log_before: u64,
    extents: Vec<u32>,
    chunks: u32,
    prev_crc: u32,
    bytes: u64,
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
    finished: bool,
    /// The check is under way.
    verifying: bool,
    /// Given up: its extents are let go when the helper no longer writes to them.
    failed: Option<StoreError>,
    /// The caller gave it up and wants to hear no more.
    silent: bool,
}

/// Where the chunks of a snapshot are, for reading them back.
#[derive(Debug, Clone)]
pub(crate) struct ChunkPlan {
    seed: u32,
    chunk_len: usize,
    extent_size: u64,
    /// The places of the extents.
    extents: Vec<u64>,
    kept: SnapshotSlot,
}

/// What went wrong when a snapshot was read back.
#[derive(Debug)]
pub(crate) enum VerifyError {
    Sync(io::Error),
    Stopped,
    Bad { offset: u64, what: String },
}

fn chunk_at(extents: &[u64], extent_size: u64, chunk_len: usize, number: u32) -> Option<u64> {
    let per_extent = extent_size / chunk_len as u64;
    let place = extents.get((u64::from(number) / per_extent) as usize)?;
    Some(place + u64::from(number) % per_extent * chunk_len as u64)
}

/// Checks one chunk and gives its payload and its checksum.
fn check_chunk(bytes: &[u8], plan: &ChunkPlan, at: u64, number: u32, prev_crc: u32) -> Result<(usize, u32), String> {
    let used = le::u32_at(bytes, chunk::USED) as usize;
    if le::u32_at(bytes, chunk::MAGIC) != chunk::MAGIC_VALUE || used > plan.chunk_len - chunk::HEADER_LEN {
        return Err("no chunk header".to_owned());
    }
    let stored = le::u32_at(bytes, chunk::CRC);
    let computed =
        crc32c::crc32c_append(plan.seed, bytes.get(chunk::OWN_OFFSET..chunk::HEADER_LEN + used).unwrap_or_default());
    if stored != computed {
        return Err(format!("checksum {stored:#010x} stored, {computed:#010x} computed"));
    }
    let last = number + 1 == plan.kept.chunks;
    let expected =
        (at, plan.kept.id, plan.kept.zxid.0 as u64, number, prev_crc, if last { chunk::FLAG_LAST } else { 0 });
    let found = (
        le::u64_at(bytes, chunk::OWN_OFFSET),
        le::u64_at(bytes, chunk::SNAPSHOT_ID),
        le::u64_at(bytes, chunk::ZXID),
        le::u32_at(bytes, chunk::NUMBER),
        le::u32_at(bytes, chunk::PREV_CRC),
        le::u32_at(bytes, chunk::FLAGS),
    );
    if expected != found {
        return Err(format!("a chunk that belongs elsewhere: expected {expected:?}, found {found:?}"));
    }
    Ok((used, stored))
}

/// A snapshot being read back from the device, after a sync.
#[derive(Debug)]
pub(crate) struct Verifying {
    plan: ChunkPlan,
    buf: AlignedBuf,
    synced: bool,
    number: u32,
    crc: u32,
    bytes: u64,
}

impl Verifying {
    pub(crate) fn new(plan: ChunkPlan) -> Verifying {
        let buf = AlignedBuf::new(plan.chunk_len);
        Verifying { plan, buf, synced: false, number: 0, crc: 0, bytes: 0 }
    }

    /// Syncs, or checks one more chunk, which is to be paced by so many bytes. `None` when all are good.
    pub(crate) fn go_on(&mut self, disk: &dyn Disk) -> Result<Option<usize>, VerifyError> {
        let plan = &self.plan;
        if !self.synced {
            if !plant::on(Plant::PublishUnsynced) {
                disk.sync_all().map_err(VerifyError::Sync)?;
            }
            self.synced = true;
            return Ok(Some(0));
        }
        if self.number == plan.kept.chunks {
            if (self.crc, self.bytes) != (plan.kept.chain_crc, plan.kept.bytes) {
                let what = format!("{} bytes in place of {}", self.bytes, plan.kept.bytes);
                return Err(VerifyError::Bad { offset: 0, what });
            }
            return Ok(None);
        }
        let at = chunk_at(&plan.extents, plan.extent_size, plan.chunk_len, self.number).unwrap_or(0);
        let bad = |what: String| VerifyError::Bad { offset: at, what };
        disk.read_at_direct(self.buf.bytes_mut(), at).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let (used, found) = check_chunk(self.buf.bytes(), plan, at, self.number, self.crc).map_err(bad)?;
        self.crc = found;
        self.bytes += used as u64;
        self.number += 1;
        Ok(Some(plan.chunk_len / 4))
    }
}

/// Cuts the stream back into entries.
#[derive(Default)]
struct Entries {
    /// The beginning of an entry that goes on in the next chunk, its length included.
    partial: Vec<u8>,
    count: u64,
}

impl Entries {
    fn feed(&mut self, mut payload: &[u8], each: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        while !payload.is_empty() {
            if self.partial.is_empty() {
                let len = le::u32_at(payload, 0) as usize;
                if payload.len() >= 4 && payload.len() - 4 >= len {
                    each(&payload[4..4 + len])?;
                    self.count += 1;
                    payload = &payload[4 + len..];
                    continue;
                }
            }
            // Grows by bytes that are present, never by a length that is claimed.
            let wanted = match self.partial.len() {
                known @ 0..4 => 4 - known,
                known => (4 + le::u32_at(&self.partial, 0) as usize).saturating_sub(known),
            };
            let (now, later) = payload.split_at(wanted.min(payload.len()));
            self.partial.extend_from_slice(now);
            payload = later;
            if self.partial.len() >= 4 && self.partial.len() - 4 == le::u32_at(&self.partial, 0) as usize {
                each(&self.partial[4..])?;
                self.count += 1;
                self.partial.clear();
            }
        }
        Ok(())
    }
}

/// Releases the snapshot in `slot`, if there is one.
fn retire_snapshot(next: &mut Superblock, slot: usize) {
    for extent in next.map.iter_mut().filter(|extent| extent.state == ExtentState::snapshot(slot)) {
        *extent = Extent { state: ExtentState::Retired, order: 0 };
    }
    next.snapshots[slot] = None;
}

fn plan_of(sb: &Superblock, extents: &[u32], kept: SnapshotSlot) -> ChunkPlan {
    ChunkPlan {
        seed: sb.seed(),
        chunk_len: sb.chunk_len(),
        extent_size: sb.extent_size(),
        extents: extents.iter().map(|index| sb.extent_at(*index)).collect(),
        kept,
    }
}

/// Takes the place and the payload of a chunk.
pub(crate) type ChunkVisitor<'v> = dyn FnMut(u64, &[u8]) -> Result<(), String> + 'v;

/// Reads the chunks of a kept snapshot in order; `each` gets the payloads.
pub(crate) fn read_chunks(
    source: &dyn ReadAt,
    sb: &Superblock,
    slot: usize,
    kept: &SnapshotSlot,
    each: &mut ChunkVisitor<'_>,
) -> Result<(), (u64, String)> {
    let plan = plan_of(sb, &sb.snapshot_extents(slot), *kept);
    let mut buf = vec![0u8; plan.chunk_len];
    let (mut crc, mut bytes) = (0, 0);
    for number in 0..kept.chunks {
        let Some(at) = chunk_at(&plan.extents, plan.extent_size, plan.chunk_len, number) else {
            return Err((0, "the snapshot has more chunks than extents".to_owned()));
        };
        let read = source.read_at(&mut buf, at);
        read.map_err(|error| (at, format!("cannot be read: {error}")))?;
        let (used, found) = check_chunk(&buf, &plan, at, number, crc).map_err(|what| (at, what))?;
        crc = found;
        bytes += used as u64;
        each(at, &buf[chunk::HEADER_LEN..chunk::HEADER_LEN + used]).map_err(|what| (at, what))?;
    }
    let end = plan.extents.first().copied().unwrap_or(0);
    if (crc, bytes) != (kept.chain_crc, kept.bytes) {
        return Err((end, format!("{bytes} bytes with checksum {crc:#010x} are not what the superblock names")));
    }
    Ok(())
}

/// Feeds a kept snapshot to `replay`.
pub(crate) fn load(
    source: &dyn ReadAt,
    sb: &Superblock,
    slot: usize,
    kept: &SnapshotSlot,
    replay: &mut dyn Replay,
) -> Result<(), (u64, String)> {
    replay.snapshot_begin(kept.zxid);
    let mut entries = Entries::default();
    read_chunks(source, sb, slot, kept, &mut |_, payload| {
        entries.feed(payload, &mut |entry| replay.snapshot_entry(entry))
    })?;
    let at = sb.snapshot_extents(slot).first().map_or(0, |index| sb.extent_at(*index));
    if !entries.partial.is_empty() || entries.count != kept.entries {
        return Err((at, format!("{} entries in place of {}", entries.count, kept.entries)));
    }
    replay.snapshot_end().map_err(|what| (at, what))
}

impl Store {
    /// Whether it is time for a snapshot: the log since the last one has reached its window, or room runs low and a
    /// snapshot would make some.
    pub fn wants_snapshot(&self) -> bool {
        if self.build.is_some() || self.poison.is_some() || self.now < self.snapshot_not_before {
            return false;
        }
        if self.log.last_zxid <= self.newest_snapshot_zxid() {
            return false;
        }
        let size = self.sb.extent_size();
        // Counted in extents as they are used up, so that what is lost at their ends counts as well.
        let extents = self.log.extents.iter().filter(|e| e.last_zxid > self.newest_snapshot_zxid()).count() as u64;
        let used = self.log_since_snapshot.max(extents.saturating_sub(1) * size);
        let window = self.log_window();
        if used >= window - window / 8 * u64::from(self.jitter) / 256 {
            return true;
        }
        let space = self.space();
        let frees = extents > 1 && self.log_since_snapshot >= size;
        frees && space.free + space.growable < space.most / 4
    }

    fn newest_snapshot_zxid(&self) -> Zxid {
        self.sb.snapshots.iter().flatten().map(|kept| kept.zxid).max().unwrap_or(Zxid::ZERO)
    }

    /// Begins a snapshot of the state at `zxid`, which is [`last_zxid`](Store::last_zxid).
    ///
    /// `estimate_bytes` is how large the stream may become; more is taken as needed. Push every entry, then call
    /// [`snapshot_finish`](Store::snapshot_finish), and [`tick`](Store::tick) until it reports the end.
    ///
    /// # Errors
    /// [`StoreError::SnapshotRunning`]; [`StoreError::Full`] when it cannot fit beside the reserve of the log.
    ///
    /// # Panics
    /// When `zxid` is not the last one appended.
    pub fn snapshot_begin(&mut self, zxid: Zxid, estimate_bytes: u64) -> Result<(), StoreError> {
        self.alive()?;
        if self.build.is_some() {
            return Err(StoreError::SnapshotRunning);
        }
        assert!(zxid <= self.log.last_zxid, "a snapshot at {zxid:?}, the log ends at {:?}", self.log.last_zxid);
        // One extent is left to the log, which goes on meanwhile.
        let needed = self.extents_for_snapshot(estimate_bytes + estimate_bytes / 8) + 1;
        let room = |store: &Store| store.space().free + store.space().growable;
        if room(self) < needed {
            // Better one snapshot than two and a server that can never take another.
            self.shed_older_snapshot()?;
        }
        if room(self) < needed {
            self.snapshot_not_before = self.now.plus(RETRY_MS);
            return Err(self.full());
        }
        // Never so slow that a snapshot takes longer than half a minute.
        let rate = self.options.snapshot_rate;
        self.helper.set_rate(if rate == 0 { 0 } else { rate.max(estimate_bytes / 30) });
        let id = self.sb.snapshots.iter().flatten().map(|kept| kept.id).max().unwrap_or(0).max(self.snapshot_id) + 1;
        self.snapshot_id = id;
        self.snapshot_estimate = needed;
        self.build = Some(Build {
            id,
            zxid,
            log_before: self.log_since_snapshot,
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
        });
        Ok(())
    }

    /// Extents the snapshot in progress still needs.
    pub(crate) fn snapshot_extents_wanted(&self) -> u32 {
        self.build.as_ref().filter(|b| !b.verifying && b.failed.is_none()).map_or(0, |build| {
            let per_extent = self.sb.extent_size() as usize / self.sb.chunk_len();
            let waiting = build.waiting.len().div_ceil(per_extent) as u32;
            self.snapshot_estimate.saturating_sub(build.extents.len() as u32).max(waiting)
        })
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
                // The log comes first: it keeps two extents, or one when the other is linked already.
                let ahead = (self.sb.log_head_lseq - self.log.lseq) as u32;
                let spare = self.pool.count_free(&self.sb) + ahead;
                let Some(index) = self.pool.first_free(&self.sb).filter(|_| spare > 2) else {
                    let space = self.space();
                    if from_tick
                        && self.pool.growing == 0
                        && self.pool.grown == 0
                        && space.growable == 0
                        && space.free <= 2
                    {
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
            self.helper.submit(&self.disk, Job::Chunk { at, buf, len });
        }
    }

    pub(crate) fn handle_snapshot_done(&mut self, done: Done) -> Result<(), StoreError> {
        let Some(build) = self.build.as_mut() else { return Ok(()) };
        build.in_flight -= 1;
        match done {
            Done::Chunk { at, len, buf, result } => {
                build.in_flight_bytes -= len;
                if build.spare.len() < 4 {
                    build.spare.push(buf);
                }
                if let Err(error) = result {
                    self.fail_snapshot(StoreError::Io { what: "write a snapshot", error: OsError::from(&error) });
                    self.mark_bad(at)?;
                }
            }
            Done::Verified(Err(VerifyError::Sync(error))) => {
                let error = self.poison_sync(&error);
                self.fail_snapshot(error.clone());
                return Err(error);
            }
            Done::Verified(Err(VerifyError::Bad { offset, what })) => {
                log::error!("the new snapshot cannot be read back at byte {offset}: {what}");
                self.fail_snapshot(StoreError::SnapshotUnreadable { offset, what });
                self.mark_bad(offset)?;
            }
            Done::Verified(Err(VerifyError::Stopped)) => self.fail_snapshot(StoreError::NoSnapshot),
            Done::Verified(Ok(())) if build.failed.is_none() => self.verified = true,
            Done::Verified(Ok(())) | Done::Grown(_) => {}
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
            self.helper.submit(&self.disk, Job::Verify(plan));
        }
        Ok(None)
    }

    /// Names the snapshot in the superblock and releases what it replaces.
    fn publish_snapshot(&mut self) -> Result<SnapshotDone, StoreError> {
        let build = self.build.take().expect("only a snapshot that is there is verified");
        let kept = build.slot();
        // The place of the older one: an empty place is older than any.
        let slot = usize::from(self.sb.snapshots[0].map_or(0, |k| k.id) > self.sb.snapshots[1].map_or(0, |k| k.id));
        let mut next = self.sb.clone();
        retire_snapshot(&mut next, slot);
        if self.options.keep_snapshots == 1 {
            retire_snapshot(&mut next, 1 - slot);
        }
        for (order, index) in build.extents.iter().enumerate() {
            let free = next.map[*index as usize].state == ExtentState::Free || plant::on(Plant::BuildInPlace);
            assert!(free, "a snapshot in an extent that is not free");
            next.map[*index as usize] = Extent { state: ExtentState::snapshot(slot), order: order as u64 };
        }
        next.snapshots[slot] = Some(kept);
        self.retire_log(&mut next);
        self.pool.release_all();
        self.release(next)?;
        self.log_since_snapshot = self.log_since_snapshot.saturating_sub(build.log_before);
        self.snapshot_largest = self.snapshot_largest.max(kept.bytes);
        self.stats.snapshots += 1;
        self.draw_jitter();
        Ok(SnapshotDone { zxid: kept.zxid, outcome: Ok(kept.bytes) })
    }

    /// Gives up the older of two kept snapshots, and the log that only it needs.
    fn shed_older_snapshot(&mut self) -> Result<(), StoreError> {
        let [Some(a), Some(b)] = self.sb.snapshots else { return Ok(()) };
        log::warn!("room for a new snapshot is made by giving up the one at zxid {}", a.zxid.min(b.zxid));
        let mut next = self.sb.clone();
        retire_snapshot(&mut next, usize::from(a.id > b.id));
        self.retire_log(&mut next);
        self.release(next)
    }

    /// Makes `next` count, and what it retires FREE in the generation after.
    fn release(&mut self, next: Superblock) -> Result<(), StoreError> {
        self.update_superblock(next)?;
        self.log.extents.retain(|extent| extent.lseq >= self.sb.log_base_lseq);
        let next = self.sb.clone();
        self.update_superblock(next)
    }

    /// Releases log extents that neither the older kept snapshot nor a follower needs.
    fn retire_log(&self, next: &mut Superblock) {
        let kept = next.snapshots.iter().flatten().map(|kept| kept.zxid);
        let bound = if plant::on(Plant::RetireByNewest) { kept.max() } else { kept.min() };
        let Some(needed_after) = bound else { return };
        // The extent that holds the end stays, whatever a snapshot covers: the chain goes on from there.
        let covered =
            self.log.extents.iter().take_while(|e| e.lseq < self.log.lseq && e.last_zxid <= needed_after).count();
        let window =
            if self.space().level >= crate::store::SpaceLevel::Slow { 0 } else { self.options.follower_window };
        let followers = window.div_ceil(self.sb.extent_size()) as usize;
        let Some(first) = self.log.extents.get(covered.saturating_sub(followers)) else { return };
        for extent in &self.log.extents {
            if extent.lseq < first.lseq {
                next.map[extent.index as usize] = Extent { state: ExtentState::Retired, order: 0 };
            }
        }
        (next.log_base_lseq, next.base_fseq) = (first.lseq, first.first_fseq);
    }
}

impl Build {
    fn slot(&self) -> SnapshotSlot {
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
