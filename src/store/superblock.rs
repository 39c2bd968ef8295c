//! The superblock: two slots of two mirrors, the root of everything else in the file.
//!
//! Generation g lives in slot g mod 2. Its two mirrors are synced one after the other, so a crash leaves at least one
//! valid copy in each slot; a slot without one is damage (P7). Only when both are synced is a generation *complete*.

use std::fmt;
use std::io;

use crate::ids::Zxid;
use crate::store::access::{AlignedBuf, ReadAt, read_present};
use crate::store::cause::{DamageCause, ForeignCause, SuperblockFault};
use crate::store::error::StoreError;
use crate::store::layout::{self, EXTENTS_AT, MAP_HERE, PAGE, SLOT_AT, SLOT_LEN, sb, snap};
use crate::store::le;
use crate::store::member::MemberState;
use crate::store::os_error::OsError;

/// One kept snapshot, as the superblock names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotSlot {
    pub(crate) id: u64,
    pub(crate) zxid: Zxid,
    /// Stream bytes, chunk headers not counted.
    pub(crate) bytes: u64,
    pub(crate) chunks: u32,
    pub(crate) entries: u64,
    /// The CRC of the last chunk, which covers all before it.
    pub(crate) chain_crc: u32,
    /// The log after this belongs to it: where that is below `zxid`, the snapshot leaves data to it.
    pub(crate) log_after: Zxid,
}

impl SnapshotSlot {
    /// Whether it leaves data to the log.
    pub(crate) fn leaves(&self) -> bool {
        self.log_after < self.zxid
    }
}

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

/// One extent's entry in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) state: ExtentState,
    /// The lseq of a log extent, the position of a snapshot's.
    pub(crate) order: u64,
}

impl Extent {
    pub(crate) const FREE: Extent = Extent { state: ExtentState::Free, order: 0 };

    fn word(self) -> u64 {
        self.order << 16 | u64::from(self.state.code())
    }

    fn of_word(word: u64) -> Option<Extent> {
        Some(Extent { state: ExtentState::of_code((word & 0xffff) as u16)?, order: word >> 16 })
    }
}

/// One generation of the superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) generation: u64,
    pub(crate) file_uuid: [u8; 16],
    pub(crate) extent_log2: u32,
    pub(crate) incarnation: u32,
    pub(crate) flags: u32,
    pub(crate) member: MemberState,
    pub(crate) server_id: u64,
    pub(crate) log_base_lseq: u64,
    pub(crate) log_head_lseq: u64,
    /// The number of the first frame of the extent `log_base_lseq`.
    pub(crate) base_fseq: u64,
    pub(crate) end_fseq: u64,
    pub(crate) end_zxid: Zxid,
    pub(crate) end_offset: u64,
    pub(crate) snapshots: [Option<SnapshotSlot>; 2],
    /// Bytes that the file has of its first extent: less than a whole one only while it is new.
    pub(crate) first_len: u64,
    /// The extent that holds the entries of the map from `MAP_HERE` on.
    pub(crate) map_extent: Option<u32>,
    /// One entry per counted extent.
    pub(crate) map: Vec<Extent>,
}

/// Why a copy is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CopyFault {
    /// Nothing but zeros.
    Empty,
    /// No magic.
    Foreign,
    /// Ours, but torn or rotten.
    Bad(SuperblockFault),
    /// Sound, but made by a newer version.
    Newer { found: u32, known: u32 },
}

impl fmt::Display for CopyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyFault::Empty => f.write_str("empty"),
            CopyFault::Foreign => f.write_str("no superblock"),
            CopyFault::Bad(fault) => fault.fmt(f),
            CopyFault::Newer { found, .. } => write!(f, "format or feature {found:#x} is not known"),
        }
    }
}

impl Superblock {
    pub(crate) fn extent_size(&self) -> u64 {
        1 << self.extent_log2
    }

    pub(crate) fn extent_at(&self, index: u32) -> u64 {
        EXTENTS_AT + u64::from(index) * self.extent_size()
    }

    pub(crate) fn extent_end(&self, index: u32) -> u64 {
        self.extent_at(index) + if index == 0 { self.first_len } else { self.extent_size() }
    }

    /// Whether the file has all of its first extent.
    pub(crate) fn is_whole(&self) -> bool {
        self.first_len == self.extent_size()
    }

    /// Where the rest of the map lies that belongs to the copy at `own_offset`.
    pub(crate) fn map_rest_at(&self, own_offset: u64) -> Option<u64> {
        let copy = SLOT_AT.iter().flatten().position(|at| *at == own_offset)? as u64;
        Some(self.extent_at(self.map_extent?) + copy * (self.extent_size() / 4))
    }

    /// The rest of the map as it lies in its extent: whole pages.
    pub(crate) fn map_rest(&self) -> AlignedBuf {
        let rest = self.map.get(MAP_HERE..).unwrap_or_default();
        let mut out = AlignedBuf::new((8 * rest.len()).next_multiple_of(PAGE));
        for (i, extent) in rest.iter().enumerate() {
            le::put_u64(out.bytes_mut(), 8 * i, extent.word());
        }
        out
    }

    /// Bytes a file with these extents has.
    pub(crate) fn file_len(&self) -> u64 {
        EXTENTS_AT + (self.map.len() as u64 - 1) * self.extent_size() + self.first_len
    }

    pub(crate) fn clean(&self) -> bool {
        self.flags & sb::FLAG_CLEAN != 0
    }

    /// The initial value of all checksums of frames and chunks, so that bytes of another file never pass.
    pub(crate) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.file_uuid)
    }

    /// The extent that is number `lseq` of the log.
    pub(crate) fn log_extent(&self, lseq: u64) -> Option<u32> {
        self.map.iter().position(|e| e.state == ExtentState::Log && e.order == lseq).map(|i| i as u32)
    }

    /// The extents of the snapshot in `slot`, in stream order.
    pub(crate) fn snapshot_extents(&self, slot: usize) -> Vec<u32> {
        let state = ExtentState::snapshot(slot);
        let mut found: Vec<(u64, u32)> =
            self.map.iter().enumerate().filter(|(_, e)| e.state == state).map(|(i, e)| (e.order, i as u32)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, index)| index).collect()
    }

    /// Releases the snapshot in `slot`, if there is one.
    pub(crate) fn retire_snapshot(&mut self, slot: usize) {
        for extent in self.map.iter_mut().filter(|extent| extent.state == ExtentState::snapshot(slot)) {
            *extent = Extent { state: ExtentState::Retired, order: 0 };
        }
        self.snapshots[slot] = None;
    }

    /// Bytes of one chunk.
    pub(crate) fn chunk_len(&self) -> usize {
        layout::chunk_len(self.extent_log2)
    }

    /// Writes the copy that belongs at `own_offset`. `out` has `SLOT_LEN` bytes.
    pub(crate) fn encode(&self, own_offset: u64, out: &mut [u8]) {
        out.fill(0);
        le::put_u64(out, sb::MAGIC, layout::MAGIC);
        le::put_u32(out, sb::SLOT_LEN, SLOT_LEN as u32);
        le::put_u64(out, sb::OWN_OFFSET, own_offset);
        le::put_u64(out, sb::GENERATION, self.generation);
        le::put(out, sb::FILE_UUID, self.file_uuid);
        le::put_u32(out, sb::FORMAT, layout::FORMAT);
        le::put_u32(out, sb::EXTENT_LOG2, self.extent_log2);
        le::put_u32(out, sb::EXTENT_COUNT, self.map.len() as u32);
        le::put_u32(out, sb::INCARNATION, self.incarnation);
        le::put_u32(out, sb::FLAGS, self.flags);
        self.member.encode(out);
        le::put_u32(out, sb::COMPAT, if self.member.is_plain() { 0 } else { sb::COMPAT_MEMBER });
        le::put_u64(out, sb::SERVER_ID, self.server_id);
        le::put_u64(out, sb::LOG_BASE_LSEQ, self.log_base_lseq);
        le::put_u64(out, sb::LOG_HEAD_LSEQ, self.log_head_lseq);
        le::put_u64(out, sb::END_FSEQ, self.end_fseq);
        le::put_u64(out, sb::END_ZXID, self.end_zxid.0 as u64);
        le::put_u64(out, sb::END_OFFSET, self.end_offset);
        le::put_u64(out, sb::BASE_FSEQ, self.base_fseq);
        for (slot, at) in [(0, sb::SNAPSHOT_A), (1, sb::SNAPSHOT_B)] {
            if let Some(kept) = &self.snapshots[slot] {
                out[at + snap::STATE] = 1;
                le::put_u64(out, at + snap::ID, kept.id);
                le::put_u64(out, at + snap::ZXID, kept.zxid.0 as u64);
                le::put_u64(out, at + snap::BYTES, kept.bytes);
                le::put_u32(out, at + snap::CHUNKS, kept.chunks);
                le::put_u64(out, at + snap::ENTRIES, kept.entries);
                le::put_u32(out, at + snap::CHAIN_CRC, kept.chain_crc);
                if kept.leaves() {
                    le::put_u64(out, at + snap::LOG_AFTER, kept.log_after.0 as u64);
                }
            }
        }
        for (i, extent) in self.map.iter().take(MAP_HERE).enumerate() {
            le::put_u64(out, sb::EXTENT_MAP + 8 * i, extent.word());
        }
        let mut incompat = 0;
        if !self.is_whole() {
            incompat |= sb::INCOMPAT_FIRST_LEN;
            le::put_u64(out, sb::FIRST_LEN, self.first_len);
        }
        if let Some(index) = self.map_extent {
            incompat |= sb::INCOMPAT_MAP_EXTENT;
            le::put_u32(out, sb::MAP_EXTENT, index + 1);
            le::put_u32(out, sb::MAP_CRC, crc32c::crc32c(self.map_rest().bytes()));
        }
        if self.snapshots.iter().flatten().any(SnapshotSlot::leaves) {
            incompat |= sb::INCOMPAT_LEFT_TO_LOG;
        }
        le::put_u32(out, sb::INCOMPAT, incompat);
        let crc = crc32c::crc32c(&out[sb::SLOT_LEN..]);
        le::put_u32(out, sb::CRC, crc);
    }

    /// Reads the copy found at `own_offset` and checks it against itself. `read` gets bytes of the rest of the map.
    pub(crate) fn decode(
        bytes: &[u8],
        own_offset: u64,
        read: &dyn Fn(u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<Superblock, CopyFault> {
        let bad = |fault| Err(CopyFault::Bad(fault));
        if bytes.iter().all(|b| *b == 0) {
            return Err(CopyFault::Empty);
        }
        if le::u64_at(bytes, sb::MAGIC) != layout::MAGIC {
            return Err(CopyFault::Foreign);
        }
        let covered = bytes.get(sb::SLOT_LEN..SLOT_LEN).unwrap_or_default();
        let (stored, computed) = (le::u32_at(bytes, sb::CRC), crc32c::crc32c(covered));
        if bytes.len() != SLOT_LEN || stored != computed {
            return bad(SuperblockFault::Checksum { stored, computed });
        }
        if le::u32_at(bytes, sb::SLOT_LEN) != SLOT_LEN as u32 {
            return bad(SuperblockFault::SlotLength);
        }
        let claimed = le::u64_at(bytes, sb::OWN_OFFSET);
        if claimed != own_offset {
            return bad(SuperblockFault::OtherPlace { claimed });
        }
        let (format, incompat) = (le::u32_at(bytes, sb::FORMAT), le::u32_at(bytes, sb::INCOMPAT));
        if format != layout::FORMAT {
            return Err(CopyFault::Newer { found: format, known: layout::FORMAT });
        }
        // No read-only mode is offered, so an unknown bit of either kind ends here.
        let known = sb::INCOMPAT_FIRST_LEN | sb::INCOMPAT_MAP_EXTENT | sb::INCOMPAT_LEFT_TO_LOG;
        let unknown = (incompat & !known) | le::u32_at(bytes, sb::RO_COMPAT);
        if unknown != 0 {
            return Err(CopyFault::Newer { found: unknown, known: 0 });
        }
        let extent_log2 = le::u32_at(bytes, sb::EXTENT_LOG2);
        if !(layout::EXTENT_LOG2_MIN..=layout::EXTENT_LOG2_MAX).contains(&extent_log2) {
            return bad(SuperblockFault::ExtentSize);
        }
        let count = le::u32_at(bytes, sb::EXTENT_COUNT) as usize;
        if count == 0 || count > layout::extents_max(extent_log2) {
            return bad(SuperblockFault::ExtentCount);
        }
        let extent_size = 1u64 << extent_log2;
        let first_len = match incompat & sb::INCOMPAT_FIRST_LEN {
            0 => extent_size,
            _ => le::u64_at(bytes, sb::FIRST_LEN),
        };
        if first_len == 0 || first_len > extent_size || (first_len < extent_size && count > 1) {
            return bad(SuperblockFault::FirstLength);
        }
        let map_extent = match incompat & sb::INCOMPAT_MAP_EXTENT {
            0 => None,
            _ => le::u32_at(bytes, sb::MAP_EXTENT).checked_sub(1),
        };
        let mut map = Vec::with_capacity(count.min(MAP_HERE));
        for i in 0..count.min(MAP_HERE) {
            match Extent::of_word(le::u64_at(bytes, sb::EXTENT_MAP + 8 * i)) {
                Some(extent) => map.push(extent),
                None => return bad(SuperblockFault::ExtentState),
            }
        }
        let leaving = incompat & sb::INCOMPAT_LEFT_TO_LOG != 0;
        let slot = |at: usize| {
            let zxid = Zxid(le::u64_at(bytes, at + snap::ZXID) as i64);
            let log_after = Zxid(le::u64_at(bytes, at + snap::LOG_AFTER) as i64);
            (bytes.get(at + snap::STATE) == Some(&1)).then(|| SnapshotSlot {
                id: le::u64_at(bytes, at + snap::ID),
                zxid,
                log_after: if leaving && log_after > Zxid::ZERO { log_after.min(zxid) } else { zxid },
                bytes: le::u64_at(bytes, at + snap::BYTES),
                chunks: le::u32_at(bytes, at + snap::CHUNKS),
                entries: le::u64_at(bytes, at + snap::ENTRIES),
                chain_crc: le::u32_at(bytes, at + snap::CHAIN_CRC),
            })
        };
        let has_member = le::u32_at(bytes, sb::COMPAT) & sb::COMPAT_MEMBER != 0;
        let member = MemberState::decode(bytes, has_member).map_err(CopyFault::Bad)?;
        let mut found = Superblock {
            generation: le::u64_at(bytes, sb::GENERATION),
            file_uuid: le::array_at(bytes, sb::FILE_UUID),
            extent_log2,
            incarnation: le::u32_at(bytes, sb::INCARNATION),
            flags: le::u32_at(bytes, sb::FLAGS),
            member,
            server_id: le::u64_at(bytes, sb::SERVER_ID),
            log_base_lseq: le::u64_at(bytes, sb::LOG_BASE_LSEQ),
            log_head_lseq: le::u64_at(bytes, sb::LOG_HEAD_LSEQ),
            base_fseq: le::u64_at(bytes, sb::BASE_FSEQ),
            end_fseq: le::u64_at(bytes, sb::END_FSEQ),
            end_zxid: Zxid(le::u64_at(bytes, sb::END_ZXID) as i64),
            end_offset: le::u64_at(bytes, sb::END_OFFSET),
            snapshots: [slot(sb::SNAPSHOT_A), slot(sb::SNAPSHOT_B)],
            first_len,
            map_extent,
            map,
        };
        if count > MAP_HERE {
            found.read_map_rest(count - MAP_HERE, own_offset, le::u32_at(bytes, sb::MAP_CRC), read)?;
        }
        found.check_itself().map_err(CopyFault::Bad)?;
        Ok(found)
    }

    fn read_map_rest(
        &mut self,
        count: usize,
        own_offset: u64,
        crc: u32,
        read: &dyn Fn(u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<(), CopyFault> {
        let at = self.map_rest_at(own_offset).ok_or(CopyFault::Bad(SuperblockFault::MapNowhere))?;
        let len = (8 * count).next_multiple_of(PAGE);
        let bytes =
            read(at, len).map_err(|error| CopyFault::Bad(SuperblockFault::MapUnreadable(OsError::from(&error))))?;
        let found = crc32c::crc32c(&bytes);
        if bytes.len() != len || found != crc {
            return Err(CopyFault::Bad(SuperblockFault::MapChecksum { stored: crc, computed: found }));
        }
        for i in 0..count {
            let extent = Extent::of_word(le::u64_at(&bytes, 8 * i));
            self.map.push(extent.ok_or(CopyFault::Bad(SuperblockFault::ExtentState))?);
        }
        Ok(())
    }

    /// Every lseq once, orders without holes, snapshots whole.
    pub(crate) fn check_itself(&self) -> Result<(), SuperblockFault> {
        let (base, head) = (self.log_base_lseq, self.log_head_lseq);
        if base == 0 || head < base || head - base >= self.map.len() as u64 {
            return Err(SuperblockFault::LogExtents { base, head, extents: self.map.len() });
        }
        if head >= 1 << 47 || self.end_fseq >= 1 << 62 || self.base_fseq >= 1 << 62 || self.generation >= 1 << 62 {
            return Err(SuperblockFault::NearItsEnd);
        }
        let maps = self.map.iter().enumerate().filter(|(_, e)| e.state == ExtentState::Map).map(|(i, _)| i as u32);
        if maps.ne(self.map_extent) || (self.map_extent.is_some() != (self.map.len() > MAP_HERE)) {
            return Err(SuperblockFault::MapExtent);
        }
        let mut seen = vec![false; (head - base + 1) as usize];
        let mut orders = [Vec::new(), Vec::new()];
        for extent in &self.map {
            match extent.state {
                ExtentState::Log => {
                    let place = extent.order.checked_sub(base).and_then(|i| seen.get_mut(usize::try_from(i).ok()?));
                    match place {
                        Some(seen) if !*seen => *seen = true,
                        _ => return Err(SuperblockFault::LogExtentTwice { order: extent.order }),
                    }
                }
                ExtentState::SnapA => orders[0].push(extent.order),
                ExtentState::SnapB => orders[1].push(extent.order),
                ExtentState::Free | ExtentState::Retired | ExtentState::Map | ExtentState::Bad => {}
            }
        }
        if seen.contains(&false) {
            return Err(SuperblockFault::LogExtentMissing { base, head });
        }
        let per_extent = self.extent_size() / self.chunk_len() as u64;
        for (slot, orders) in orders.iter_mut().enumerate() {
            orders.sort_unstable();
            let needed = self.snapshots[slot].map_or(0, |kept| u64::from(kept.chunks).div_ceil(per_extent));
            if orders.len() as u64 != needed || orders.iter().enumerate().any(|(i, order)| *order != i as u64) {
                return Err(SuperblockFault::SnapshotExtents { slot, found: orders.len(), needed });
            }
        }
        if self.snapshots == [None, None] && base != 1 {
            return Err(SuperblockFault::NoBeginning);
        }
        Ok(())
    }
}

/// The four copies as they lie in the file.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    /// `[slot][mirror]`
    pub(crate) found: [[Result<Superblock, CopyFault>; 2]; 2],
}

impl Copies {
    pub(crate) fn read(source: &(impl ReadAt + ?Sized)) -> io::Result<Copies> {
        source.len()?;
        let read = |slot: usize, mirror: usize| {
            let at = SLOT_AT[slot][mirror];
            // One unreadable copy is what the mirror is for.
            let mut buf = read_present(source, at, SLOT_LEN)
                .map_err(|error| CopyFault::Bad(SuperblockFault::Unreadable(OsError::from(&error))))?;
            buf.resize(SLOT_LEN, 0);
            Superblock::decode(&buf, at, &|at, len| read_present(source, at, len))
        };
        Ok(Copies { found: [[read(0, 0), read(0, 1)], [read(1, 0), read(1, 1)]] })
    }

    /// The newest valid copy of `slot`.
    pub(crate) fn of_slot(&self, slot: usize) -> Option<&Superblock> {
        self.found[slot].iter().flatten().max_by_key(|copy| copy.generation)
    }

    /// The newest valid copy of all.
    pub(crate) fn newest(&self) -> Option<&Superblock> {
        [0, 1].into_iter().filter_map(|slot| self.of_slot(slot)).max_by_key(|copy| copy.generation)
    }

    /// Copies that differ from the best of their slot, and so have to be written anew.
    pub(crate) fn repairs(&self) -> Vec<(usize, usize)> {
        let mut list = Vec::new();
        for slot in [0, 1] {
            for mirror in [0, 1] {
                if self.of_slot(slot).is_some() && self.found[slot][mirror].as_ref().ok() != self.of_slot(slot) {
                    list.push((slot, mirror));
                }
            }
        }
        list
    }

    /// Picks the generation to go on from.
    ///
    /// # Errors
    /// Damage, a foreign file, or a newer format.
    pub(crate) fn choose(&self) -> Result<&Superblock, StoreError> {
        for fault in self.found.iter().flatten().filter_map(|copy| copy.as_ref().err()) {
            if let CopyFault::Newer { found, known } = fault {
                return Err(StoreError::Newer { found: *found, known: *known });
            }
        }
        let Some(newest) = self.newest() else {
            let any = |wanted: fn(&CopyFault) -> bool| {
                self.found.iter().flatten().any(|copy| copy.as_ref().err().is_some_and(wanted))
            };
            let ours = any(|fault| matches!(fault, CopyFault::Bad(_)));
            let foreign = any(|fault| matches!(fault, CopyFault::Foreign));
            return Err(match (ours, foreign) {
                (true, _) => StoreError::corrupt(0, DamageCause::NoSuperblock),
                // Ours come into their place when they are whole.
                (false, false) => StoreError::corrupt(0, DamageCause::SuperblocksGone),
                (false, true) => StoreError::Foreign { found: ForeignCause::NoSuperblock },
            });
        };
        for slot in [0, 1] {
            match self.of_slot(slot) {
                // A crash spares one mirror of each slot, so this is no crash.
                None => {
                    let mut error = StoreError::corrupt(SLOT_AT[slot][0], DamageCause::SlotBad);
                    if let StoreError::Corrupt { good_to, .. } = &mut error {
                        *good_to = newest.end_zxid;
                    }
                    return Err(error);
                }
                Some(copy) if copy.file_uuid != newest.file_uuid => {
                    return Err(StoreError::corrupt(SLOT_AT[slot][0], DamageCause::SlotForeign));
                }
                Some(copy) if copy.generation != newest.generation && copy.generation + 1 != newest.generation => {
                    return Err(StoreError::corrupt(
                        SLOT_AT[slot][0],
                        DamageCause::Generations { found: copy.generation, newest: newest.generation },
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(newest)
    }
}
