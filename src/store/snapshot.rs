//! Snapshots: a stream of opaque entries cut into self-checking chunks, written beside the loop.
//!
//! Chunks go to FREE extents that nothing names, so a crash forgets them. Only when all are synced and have been read
//! back does a superblock update name them, and release what they replace (P8, D-09).

use crate::store::access::AlignedBuf;
use crate::store::chunks::{Verification, plan_of};
use crate::store::error::StoreError;
use crate::store::extents::{Extents, RESERVE};
use crate::store::helper::{HelperJob, SnapshotPiece, VerifyError};
use crate::store::layout::{PAGE, chunk};
use crate::store::le;
use crate::store::member::MemberState;
use crate::store::os_error::OsError;
use crate::store::pace::SnapshotProgress;
use crate::store::root::LogEnd;
use crate::store::superblock::{Extent, ExtentState, SnapshotSlot, Superblock};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, Zxid};

/// Milliseconds after a snapshot was given up before the next is wanted.
const RETRY_MS: u64 = 2000;

/// The end of a snapshot, as [`Store::tick`](crate::store::Store::tick) reports it.
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
    /// The log after this is kept with it.
    log_after: Zxid,
    /// Bytes of large data, and of these what is left to the log.
    large: LargeBytes,
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
    pub(crate) install: Option<MemberState>,
}

/// Bytes of data that is large enough to be left to the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LargeBytes {
    /// In the state.
    pub(crate) all: u64,
    /// Left to the log.
    pub(crate) left: u64,
}

/// What came of a snapshot when it was looked after.
#[derive(Debug)]
pub(crate) enum Tended {
    Nothing,
    /// It was given up.
    Ended(SnapshotDone),
    /// It has been written and read back: it can be named.
    Whole(Box<Build>),
}

/// The snapshot that is being written, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    pub(crate) build: Option<Build>,
    /// It has been read back as it was written.
    verified: bool,
    /// The number of the last that was begun since the file was opened.
    last_id: u64,
    /// None is wanted before.
    pub(crate) not_before: Millis,
    pub(crate) published: u64,
    /// Those of them that leave data to the log.
    pub(crate) leaving: u64,
    pub(crate) given_up: u64,
}

impl Snapshots {
    /// Begins to write one of the state at `zxid`, with the log at `began` and `window` bytes of log until it is published, which
    /// may leave data to the log after `log_after`; `install`, if it is given, becomes all that counts with it.
    pub(crate) fn begin(
        &mut self,
        extents: &Extents,
        (zxid, log_after): (Zxid, Zxid),
        (began, window): (u64, u64),
        estimate_bytes: u64,
        install: Option<MemberState>,
    ) {
        let kept = extents.sb().snapshots.iter().flatten().map(|kept| kept.id).max().unwrap_or(0);
        self.last_id = kept.max(self.last_id) + 1;
        self.build = Some(Build {
            id: self.last_id,
            zxid,
            began,
            window,
            estimate: estimate_bytes,
            estimate_extents: extents.for_snapshot(estimate_bytes),
            log_after,
            large: LargeBytes::default(),
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
    pub(crate) fn extents_wanted(&self, sb: &Superblock) -> Option<u32> {
        let build = self.build.as_ref().filter(|build| build.failed.is_none())?;
        if build.verifying {
            return Some(0);
        }
        let per_extent = sb.extent_size() as usize / sb.chunk_len();
        let waiting = build.waiting.len().div_ceil(per_extent) as u32;
        let taken = build.extents.len() as u32;
        Some(if build.finished { waiting } else { build.estimate_extents.saturating_sub(taken).max(waiting) })
    }

    /// Says how much large data it has so far.
    pub(crate) fn has_large(&mut self, large: LargeBytes) {
        if let Some(build) = &mut self.build {
            build.large = large;
        }
    }

    /// How far it is; the check has read back `checked` stream bytes.
    pub(crate) fn progress(&self, checked: u64) -> Option<SnapshotProgress> {
        let build = self.build.as_ref().filter(|build| build.failed.is_none())?;
        // What is left to the log is done with as soon as it is walked.
        let left = build.large.left;
        let total =
            left + if build.finished { build.bytes } else { build.estimate.saturating_sub(left).max(build.bytes) };
        let checked = if build.verifying { checked + left } else { 0 };
        Some(SnapshotProgress { written: build.written.min(build.bytes) + left, checked, total })
    }

    /// Adds one entry.
    pub(crate) fn push(&mut self, extents: &mut Extents, entry: &[u8]) -> Result<(), StoreError> {
        let len = u32::try_from(entry.len())
            .map_err(|_| StoreError::TooLarge { size: entry.len() as u64, limit: u64::from(u32::MAX) })?;
        let chunk_len = extents.sb().chunk_len();
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
        self.hand_over(extents, false)
    }

    /// Bytes pushed that have not reached the disk.
    pub(crate) fn backlog(&self) -> usize {
        self.build.as_ref().map_or(0, |build| {
            let waiting: usize = build.waiting.iter().map(|(_, used)| used).sum();
            waiting + build.in_flight_bytes + build.filling.as_ref().map_or(0, |_| build.fill)
        })
    }

    /// Says that every entry has been pushed.
    pub(crate) fn finish(&mut self, extents: &mut Extents) -> Result<(), StoreError> {
        let chunk_len = extents.sb().chunk_len();
        let build = self.build.as_mut().filter(|build| !build.finished).ok_or(StoreError::NoSnapshot)?;
        if let Some(error) = &build.failed {
            return Err(error.clone());
        }
        build.finished = true;
        let fill = if build.filling.is_some() { build.fill } else { chunk::HEADER_LEN };
        let last = build.filling.take().unwrap_or_else(|| AlignedBuf::new(chunk_len));
        build.waiting.push_back((last, fill - chunk::HEADER_LEN));
        self.hand_over(extents, false)
    }

    /// Gives it up. The older ones stay; nothing is reported.
    pub(crate) fn abort(&mut self, extents: &mut Extents) {
        if let Some(build) = &mut self.build {
            build.silent = true;
        }
        self.fail(extents, StoreError::NoSnapshot);
        self.bury(extents);
    }

    /// Puts the next one off.
    pub(crate) fn put_off(&mut self, now: Millis) {
        self.not_before = now.plus(RETRY_MS);
    }

    fn fail(&mut self, extents: &mut Extents, error: StoreError) {
        self.verified = false;
        let forgotten = extents.helper.forget_snapshot_jobs();
        if let Some(build) = self.build.as_mut().filter(|build| build.failed.is_none()) {
            build.in_flight -= forgotten;
            build.waiting.clear();
            build.filling = None;
            build.failed = Some(error);
            self.given_up += 1;
            self.put_off(extents.now);
        }
    }

    /// Lets go of a failed snapshot's extents once nothing writes to them any more.
    fn bury(&mut self, extents: &mut Extents) -> Option<SnapshotDone> {
        let ended = |build: &mut Build| build.failed.is_some() && build.in_flight == 0;
        let build = self.build.take_if(ended)?;
        extents.pool.release_all();
        let error = build.failed.expect("only failed snapshots are buried");
        (!build.silent).then_some(SnapshotDone { zxid: build.zxid, outcome: Err(error) })
    }

    /// Gives full chunks a place and hands them to the helper. From `tick` it may also wait for growth.
    fn hand_over(&mut self, extents: &mut Extents, from_tick: bool) -> Result<(), StoreError> {
        let chunk_len = extents.sb().chunk_len();
        let per_extent = (extents.size() / chunk_len as u64) as u32;
        loop {
            let Some(build) = self.build.as_mut().filter(|b| b.failed.is_none() && !b.waiting.is_empty()) else {
                return Ok(());
            };
            if build.chunks / per_extent == build.extents.len() as u32 {
                // Beyond what was set aside for it, the log comes first.
                let spare = if (build.extents.len() as u32) < build.estimate_extents { 0 } else { RESERVE };
                let free = extents.count_free();
                let Some(index) = extents.first_free().filter(|_| free > spare) else {
                    let coming = extents.pool.growing + extents.pool.grown + extents.count(ExtentState::Retired);
                    if from_tick && coming == 0 && extents.growable() == 0 {
                        let error = extents.full();
                        self.fail(extents, error);
                    }
                    return Ok(());
                };
                extents.pool.reserve(index);
                build.extents.push(index);
            }
            let Some((buf, used)) = build.waiting.pop_front() else { return Ok(()) };
            let index = build.extents[(build.chunks / per_extent) as usize];
            let at = extents.sb().extent_at(index) + u64::from(build.chunks % per_extent) * chunk_len as u64;
            let (buf, len) = build.encode_chunk(extents.root.seed, at, buf, used);
            let disk = Arc::clone(&extents.root.disk);
            extents.helper.submit(&disk, HelperJob::Chunk { at, buf, len });
        }
    }

    /// Takes in what the helper has written or checked.
    pub(crate) fn take_done(
        &mut self,
        extents: &mut Extents,
        log: LogEnd,
        done: SnapshotPiece,
    ) -> Result<(), StoreError> {
        let Some(build) = self.build.as_mut() else { return Ok(()) };
        build.in_flight -= 1;
        match done {
            SnapshotPiece::Chunk { at, len, buf, result } => {
                build.in_flight_bytes -= len;
                build.written += (len - chunk::HEADER_LEN) as u64;
                if build.spare.len() < 4 {
                    build.spare.push(buf);
                }
                if let Err(error) = result {
                    let error = StoreError::Io { what: "write a snapshot", error: OsError::from(&error) };
                    self.fail(extents, error);
                    extents.mark_bad(at, log)?;
                }
            }
            SnapshotPiece::Verified(Err(VerifyError::Sync(error))) => {
                let error = extents.root.poison_sync(&error);
                self.fail(extents, error.clone());
                return Err(error);
            }
            SnapshotPiece::Verified(Err(VerifyError::Bad { offset, fault })) => {
                log::error!("the new snapshot cannot be read back at byte {offset}: {fault}");
                self.fail(extents, StoreError::SnapshotUnreadable { offset, cause: fault });
                extents.mark_bad(offset, log)?;
            }
            SnapshotPiece::Verified(Ok(())) if build.failed.is_none() => self.verified = true,
            SnapshotPiece::Verified(Ok(())) => {}
        }
        Ok(())
    }

    /// Moves the snapshot in progress on: places for waiting chunks, the check.
    pub(crate) fn tend(&mut self, extents: &mut Extents) -> Result<Tended, StoreError> {
        self.hand_over(extents, true)?;
        if let Some(done) = self.bury(extents) {
            return Ok(Tended::Ended(done));
        }
        if std::mem::take(&mut self.verified) {
            let build = self.build.take().expect("only a snapshot that is there is verified");
            return Ok(Tended::Whole(Box::new(build)));
        }
        let Some(build) = self.build.as_mut() else { return Ok(Tended::Nothing) };
        if build.finished
            && build.failed.is_none()
            && build.waiting.is_empty()
            && build.in_flight == 0
            && !build.verifying
        {
            build.verifying = true;
            build.in_flight = 1;
            let check = Verification::new(plan_of(extents.sb(), &build.extents, build.slot()));
            let disk = Arc::clone(&extents.root.disk);
            extents.helper.submit(&disk, HelperJob::Verify(Box::new(check)));
        }
        Ok(Tended::Nothing)
    }
}

impl Build {
    /// What the state would have taken without the log.
    pub(crate) fn whole_bytes(&self) -> u64 {
        self.bytes + self.large.left
    }

    /// Bytes of large data in the state.
    pub(crate) fn large_bytes(&self) -> u64 {
        self.large.all
    }

    /// Puts the header of the next chunk, which goes to `at`, before its payload. The buffer, and the bytes of it to write.
    fn encode_chunk(&mut self, seed: u32, at: u64, mut buf: AlignedBuf, used: usize) -> (AlignedBuf, usize) {
        let last = self.finished && self.waiting.is_empty();
        let len = (chunk::HEADER_LEN + used).next_multiple_of(PAGE);
        let out = buf.bytes_mut();
        out[..chunk::HEADER_LEN].fill(0);
        out[chunk::HEADER_LEN + used..len].fill(0);
        le::put_u32(out, chunk::MAGIC, chunk::MAGIC_VALUE);
        le::put_u64(out, chunk::OWN_OFFSET, at);
        le::put_u64(out, chunk::SNAPSHOT_ID, self.id);
        le::put_u64(out, chunk::ZXID, self.zxid.0 as u64);
        le::put_u32(out, chunk::NUMBER, self.chunks);
        le::put_u32(out, chunk::USED, used as u32);
        le::put_u32(out, chunk::PREV_CRC, self.prev_crc);
        le::put_u32(out, chunk::FLAGS, if last { chunk::FLAG_LAST } else { 0 });
        let crc = crc32c::crc32c_append(seed, &out[chunk::OWN_OFFSET..chunk::HEADER_LEN + used]);
        le::put_u32(out, chunk::CRC, crc);
        self.prev_crc = crc;
        self.chunks += 1;
        self.in_flight += 1;
        self.in_flight_bytes += len;
        (buf, len)
    }

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
            log_after: if self.large.left > 0 { self.log_after } else { self.zxid },
        }
    }
}
