//! Reading a snapshot back: its chunks, one by one, and the entries that they were cut from.

use std::ops::Range;

use crate::store::access::{AlignedBuf, Disk, ReadAt};
use crate::store::cause::{ChunkAt, SnapshotFault};
use crate::store::helper::{Check, VerifyError};
use crate::store::layout::chunk;
use crate::store::le;
use crate::store::os_error::OsError;
use crate::store::replay::Replay;
use crate::store::superblock::{SnapshotSlot, Superblock};
use crate::store::window::Window;

use crate::failpoint::{self, Failpoint};

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

impl ChunkPlan {
    /// Chunks of an extent.
    fn per_extent(&self) -> u64 {
        self.extent_size / self.chunk_len as u64
    }

    fn chunk_at(&self, number: u32) -> Option<u64> {
        let place = self.extents.get((u64::from(number) / self.per_extent()) as usize)?;
        Some(place + u64::from(number) % self.per_extent() * self.chunk_len as u64)
    }

    /// Bytes that a chunk and those behind it take of its extent.
    fn left_of_extent(&self, number: u32) -> u64 {
        let in_extent = self.per_extent() - u64::from(number) % self.per_extent();
        u64::from(self.kept.chunks).saturating_sub(u64::from(number)).min(in_extent) * self.chunk_len as u64
    }
}

/// Checks one chunk and gives its payload and its checksum.
fn check_chunk(
    bytes: &[u8],
    plan: &ChunkPlan,
    at: u64,
    number: u32,
    prev_crc: u32,
) -> Result<(usize, u32), SnapshotFault> {
    let used = le::u32_at(bytes, chunk::USED) as usize;
    if le::u32_at(bytes, chunk::MAGIC) != chunk::MAGIC_VALUE || used > plan.chunk_len - chunk::HEADER_LEN {
        return Err(SnapshotFault::NoHeader);
    }
    let stored = le::u32_at(bytes, chunk::CRC);
    let computed =
        crc32c::crc32c_append(plan.seed, bytes.get(chunk::OWN_OFFSET..chunk::HEADER_LEN + used).unwrap_or_default());
    if stored != computed {
        return Err(SnapshotFault::Checksum { stored, computed });
    }
    let last = number + 1 == plan.kept.chunks;
    let expected = ChunkAt {
        offset: at,
        snapshot: plan.kept.id,
        zxid: plan.kept.zxid.0 as u64,
        number,
        prev_crc,
        flags: if last { chunk::FLAG_LAST } else { 0 },
    };
    let found = ChunkAt {
        offset: le::u64_at(bytes, chunk::OWN_OFFSET),
        snapshot: le::u64_at(bytes, chunk::SNAPSHOT_ID),
        zxid: le::u64_at(bytes, chunk::ZXID),
        number: le::u32_at(bytes, chunk::NUMBER),
        prev_crc: le::u32_at(bytes, chunk::PREV_CRC),
        flags: le::u32_at(bytes, chunk::FLAGS),
    };
    if expected != found {
        return Err(SnapshotFault::OtherPlace { expected: expected.into(), found: found.into() });
    }
    Ok((used, stored))
}

/// Syncs, then reads every chunk back from the device, one in each step.
#[derive(Debug)]
pub(crate) struct Verification {
    plan: ChunkPlan,
    buf: AlignedBuf,
    synced: bool,
    number: u32,
    crc: u32,
    bytes: u64,
}

impl Verification {
    pub(crate) fn new(plan: ChunkPlan) -> Verification {
        Verification { buf: AlignedBuf::new(plan.chunk_len), plan, synced: false, number: 0, crc: 0, bytes: 0 }
    }
}

impl Check for Verification {
    fn checked(&self) -> u64 {
        self.bytes
    }

    fn step(&mut self, disk: &dyn Disk) -> (usize, Option<Result<(), VerifyError>>) {
        if !self.synced {
            self.synced = true;
            let synced = if failpoint::on(Failpoint::PublishUnsynced) { Ok(()) } else { disk.sync_all() };
            return (0, synced.err().map(|error| Err(VerifyError::Sync(error))));
        }
        let plan = &self.plan;
        let at = plan.chunk_at(self.number).unwrap_or(0);
        let bad = |fault| Some(Err(VerifyError::Bad { offset: at, fault }));
        if let Err(error) = disk.read_at_direct(self.buf.bytes_mut(), at) {
            return (0, bad(SnapshotFault::Unreadable(OsError::from(&error))));
        }
        match check_chunk(self.buf.bytes(), plan, at, self.number, self.crc) {
            Err(fault) => return (0, bad(fault)),
            Ok((used, crc)) => (self.bytes, self.crc) = (self.bytes + used as u64, crc),
        }
        self.number += 1;
        let ended = (self.number >= plan.kept.chunks).then(|| {
            match (self.crc, self.bytes) == (plan.kept.chain_crc, plan.kept.bytes) {
                true => Ok(()),
                false => Err(VerifyError::Bad {
                    offset: 0,
                    fault: SnapshotFault::Length { found: self.bytes, expected: plan.kept.bytes },
                }),
            }
        });
        (plan.chunk_len, ended)
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

pub(crate) fn plan_of(sb: &Superblock, extents: &[u32], kept: SnapshotSlot) -> ChunkPlan {
    ChunkPlan {
        seed: sb.seed(),
        chunk_len: sb.chunk_len(),
        extent_size: sb.extent_size(),
        extents: extents.iter().map(|index| sb.extent_at(*index)).collect(),
        kept,
    }
}

/// Takes the place and the payload of a chunk.
pub(crate) type ChunkVisitor<'v> = dyn FnMut(u64, &[u8]) -> Result<(), SnapshotFault> + 'v;

/// Where a chunk is, and its payload.
pub(crate) type ReadChunk<'w> = (u64, &'w [u8]);

/// The chunks of a kept snapshot, in order, each read and checked when it is asked for.
pub(crate) struct Chunks {
    plan: ChunkPlan,
    number: u32,
    crc: u32,
    bytes: u64,
}

impl Chunks {
    pub(crate) fn new(sb: &Superblock, slot: usize, kept: SnapshotSlot) -> Chunks {
        Chunks { plan: plan_of(sb, &sb.snapshot_extents(slot), kept), number: 0, crc: 0, bytes: 0 }
    }

    /// Where they are, in order: the part of each extent that they take.
    pub(crate) fn places(&self) -> Vec<Range<u64>> {
        let firsts = (0..self.plan.kept.chunks).step_by(self.plan.per_extent() as usize);
        let place = |(at, first): (&u64, u32)| *at..at + self.plan.left_of_extent(first);
        self.plan.extents.iter().zip(firsts).map(place).collect()
    }

    /// Reads the next one: its place and its payload. `None` when all were read and are together what the superblock names.
    pub(crate) fn next<'w>(
        &mut self,
        window: &'w mut Window<'_>,
    ) -> Result<Option<ReadChunk<'w>>, (u64, SnapshotFault)> {
        let plan = &self.plan;
        if self.number >= plan.kept.chunks {
            if (self.crc, self.bytes) != (plan.kept.chain_crc, plan.kept.bytes) {
                let at = plan.extents.first().copied().unwrap_or(0);
                let (bytes, crc) = (self.bytes, self.crc);
                return Err((at, SnapshotFault::NotNamed { bytes, crc }));
            }
            return Ok(None);
        }
        let Some(at) = plan.chunk_at(self.number) else { return Err((0, SnapshotFault::TooManyChunks)) };
        let read = window.bytes(at, plan.chunk_len, at + plan.left_of_extent(self.number));
        let chunk = read.map_err(|error| (at, SnapshotFault::Unreadable(OsError::from(&error))))?;
        let (used, crc) = check_chunk(chunk, plan, at, self.number, self.crc).map_err(|fault| (at, fault))?;
        self.number += 1;
        self.crc = crc;
        self.bytes += used as u64;
        Ok(Some((at, &chunk[chunk::HEADER_LEN..chunk::HEADER_LEN + used])))
    }
}

/// Reads the chunks of a kept snapshot in order; `each` gets the payloads.
pub(crate) fn read_chunks(
    source: &dyn ReadAt,
    sb: &Superblock,
    slot: usize,
    kept: &SnapshotSlot,
    each: &mut ChunkVisitor<'_>,
) -> Result<(), (u64, SnapshotFault)> {
    let mut chunks = Chunks::new(sb, slot, *kept);
    let mut window = Window::new(source);
    while let Some((at, payload)) = chunks.next(&mut window)? {
        each(at, payload).map_err(|fault| (at, fault))?;
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
) -> Result<(), (u64, SnapshotFault)> {
    let mut stream = Stream::begin(kept, replay);
    read_chunks(source, sb, slot, kept, &mut |_, payload| stream.feed(payload, replay))?;
    let at = sb.snapshot_extents(slot).first().map_or(0, |index| sb.extent_at(*index));
    stream.end(replay).map_err(|fault| (at, fault))
}

/// A kept snapshot on its way into a state.
pub(crate) struct Stream {
    entries: Entries,
    expected: u64,
}

impl Stream {
    pub(crate) fn begin(kept: &SnapshotSlot, replay: &mut dyn Replay) -> Stream {
        replay.snapshot_begin(kept.zxid);
        Stream { entries: Entries::default(), expected: kept.entries }
    }

    pub(crate) fn feed(&mut self, payload: &[u8], replay: &mut dyn Replay) -> Result<(), SnapshotFault> {
        self.entries.feed(payload, &mut |entry| replay.snapshot_entry(entry)).map_err(SnapshotFault::Refused)
    }

    pub(crate) fn end(self, replay: &mut dyn Replay) -> Result<(), SnapshotFault> {
        if !self.entries.partial.is_empty() || self.entries.count != self.expected {
            return Err(SnapshotFault::Entries { found: self.entries.count, expected: self.expected });
        }
        replay.snapshot_end().map_err(SnapshotFault::Refused)
    }
}
