//! Where everything lies in the file: sizes, offsets and marks, and nothing else. `docs/FORMAT.md` explains them.
//!
//! All integers are little-endian. Checksums are CRC-32C.

/// The first eight bytes of each superblock copy.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"ZOARIUM1");
/// The format this code writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const SLOT_LEN: usize = 16 * 1024;
/// `[slot][mirror]`; slot = generation mod 2.
pub(crate) const SLOT_AT: [[u64; 2]; 2] = [[0, 64 * 1024], [32 * 1024, 96 * 1024]];
pub(crate) const EXTENTS_AT: u64 = 128 * 1024;
/// Entries of the extent map that fit a superblock copy; those behind them lie in an extent of their own.
pub(crate) const MAP_HERE: usize = 1536;
/// Below 2^22 only tests go; the options refuse it for real files unless asked.
pub(crate) const EXTENT_LOG2_MIN: u32 = 14;
pub(crate) const EXTENT_LOG2_MAX: u32 = 26;

pub(crate) const SECTOR: u64 = 512;
pub(crate) const PAGE: usize = 4096;

/// Offsets inside a superblock copy.
pub(crate) mod sb {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const CRC: usize = 8;
    pub(crate) const SLOT_LEN: usize = 12;
    pub(crate) const OWN_OFFSET: usize = 16;
    pub(crate) const GENERATION: usize = 24;
    pub(crate) const FILE_UUID: usize = 32;
    pub(crate) const FORMAT: usize = 48;
    pub(crate) const COMPAT: usize = 52;
    pub(crate) const RO_COMPAT: usize = 56;
    pub(crate) const INCOMPAT: usize = 60;
    pub(crate) const EXTENT_LOG2: usize = 64;
    pub(crate) const EXTENT_COUNT: usize = 68;
    pub(crate) const INCARNATION: usize = 72;
    pub(crate) const FLAGS: usize = 76;
    pub(crate) const ACCEPTED_EPOCH: usize = 80;
    pub(crate) const CURRENT_EPOCH: usize = 88;
    pub(crate) const SERVER_ID: usize = 96;
    pub(crate) const LOG_BASE_LSEQ: usize = 104;
    pub(crate) const LOG_HEAD_LSEQ: usize = 112;
    pub(crate) const END_FSEQ: usize = 120;
    pub(crate) const END_ZXID: usize = 128;
    pub(crate) const END_OFFSET: usize = 136;
    pub(crate) const SNAPSHOT_A: usize = 144;
    pub(crate) const SNAPSHOT_B: usize = 208;
    pub(crate) const SECRET: usize = 272;
    pub(crate) const BASE_FSEQ: usize = 304;
    /// Bytes that the file has of its only extent; 0 = all, as always when there are several.
    pub(crate) const FIRST_LEN: usize = 312;
    /// One more than the index of the extent that holds the rest of the map; 0 = there is none.
    pub(crate) const MAP_EXTENT: usize = 320;
    /// Over the rest of the map.
    pub(crate) const MAP_CRC: usize = 324;
    /// What a member of an ensemble keeps beside its epochs: [`mem`](super::mem).
    pub(crate) const MEMBER: usize = 328;
    pub(crate) const EXTENT_MAP: usize = 4096;

    /// What begins at `MEMBER` counts. A version that does not know it writes zeros there.
    pub(crate) const COMPAT_MEMBER: u32 = 1;
    /// `FIRST_LEN` counts.
    pub(crate) const INCOMPAT_FIRST_LEN: u32 = 1;
    /// `MAP_EXTENT` counts.
    pub(crate) const INCOMPAT_MAP_EXTENT: u32 = 2;
    /// A kept snapshot leaves data to the log: its `LOG_AFTER` counts.
    pub(crate) const INCOMPAT_LEFT_TO_LOG: u32 = 4;

    /// Stopped cleanly: `END_*` are exact.
    pub(crate) const FLAG_CLEAN: u32 = 1;
    /// Damaged: must be filled from peers before it may vote.
    pub(crate) const FLAG_DAMAGED: u32 = 2;
    /// A full resync is being installed.
    pub(crate) const FLAG_RESYNC: u32 = 4;
}

/// Offsets, inside a superblock copy too, of what a member of an ensemble keeps.
pub(crate) mod mem {
    pub(crate) const ENSEMBLE_ID: usize = 328;
    pub(crate) const SOUNDNESS: usize = 344;
    pub(crate) const PASSWORDS: usize = 348;
    pub(crate) const KEYED_SINCE: usize = 352;
    pub(crate) const CONFIG_VERSION: usize = 360;
    pub(crate) const SEEN_VERSION: usize = 368;
    pub(crate) const CONFIG_LEN: usize = 376;
    pub(crate) const SEEN_LEN: usize = 378;
    /// The text of the committed configuration, then that of the one seen last.
    pub(crate) const TEXTS: usize = 384;
}

/// Offsets inside the 64 bytes that describe one kept snapshot.
pub(crate) mod snap {
    pub(crate) const STATE: usize = 0;
    pub(crate) const ID: usize = 8;
    pub(crate) const ZXID: usize = 16;
    pub(crate) const BYTES: usize = 24;
    pub(crate) const CHUNKS: usize = 32;
    pub(crate) const ENTRIES: usize = 40;
    pub(crate) const LOG_AFTER: usize = 48;
    pub(crate) const CHAIN_CRC: usize = 56;
    pub(crate) const LEN: usize = 64;
}

/// Offsets inside a frame header, and the frames' sizes.
pub(crate) mod frame {
    pub(crate) const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"ZLF1");
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const HEADER_CRC: usize = 4;
    pub(crate) const OWN_OFFSET: usize = 8;
    pub(crate) const FSEQ: usize = 16;
    pub(crate) const INCARNATION: usize = 24;
    pub(crate) const KIND: usize = 28;
    pub(crate) const FLAGS: usize = 30;
    pub(crate) const BODY_LEN: usize = 32;
    pub(crate) const BODY_CRC: usize = 36;
    pub(crate) const SYNCED_FSEQ: usize = 40;
    pub(crate) const LAST_ZXID: usize = 48;
    pub(crate) const PREV_CRC: usize = 56;
    pub(crate) const RECORDS: usize = 60;
    pub(crate) const HEADER_LEN: usize = 64;
    /// Frames start at multiples of this.
    pub(crate) const ALIGN: usize = 64;
    /// A frame takes no further record past this many body bytes.
    pub(crate) const BODY_SOFT_MAX: usize = 1 << 20;
}

/// Offsets inside the body of an OPEN frame.
pub(crate) mod open {
    pub(crate) const LSEQ: usize = 0;
    pub(crate) const EXTENT: usize = 8;
    pub(crate) const PREV_EXTENT: usize = 12;
    pub(crate) const PREV_END_OFFSET: usize = 16;
    pub(crate) const PREV_LSEQ: usize = 24;
    pub(crate) const BASE_ZXID: usize = 32;
    pub(crate) const BODY_LEN: usize = 40;
    /// Header, body and padding.
    pub(crate) const FRAME_LEN: usize = 128;
}

/// Offsets inside the header of one record.
pub(crate) mod record {
    pub(crate) const LENGTH: usize = 0;
    pub(crate) const KIND: usize = 4;
    pub(crate) const FLAGS: usize = 6;
    pub(crate) const ZXID: usize = 8;
    pub(crate) const HEADER_LEN: usize = 16;
    pub(crate) const ALIGN: usize = 8;
    pub(crate) const KIND_TXN: u16 = 1;
}

/// Offsets inside the header of a snapshot chunk.
pub(crate) mod chunk {
    pub(crate) const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"ZSN1");
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const CRC: usize = 4;
    pub(crate) const OWN_OFFSET: usize = 8;
    pub(crate) const SNAPSHOT_ID: usize = 16;
    pub(crate) const ZXID: usize = 24;
    pub(crate) const NUMBER: usize = 32;
    pub(crate) const USED: usize = 36;
    pub(crate) const PREV_CRC: usize = 40;
    pub(crate) const FLAGS: usize = 44;
    #[cfg_attr(not(test), expect(dead_code, reason = "written as zeros"))]
    pub(crate) const RESERVED: usize = 48;
    pub(crate) const HEADER_LEN: usize = 64;
    /// The stream ends in this chunk.
    pub(crate) const FLAG_LAST: u32 = 1;
    pub(crate) const LEN_MAX: usize = 256 * 1024;
}

/// Extents a file may have, given their size: the rest of the map has a quarter of an extent for each copy.
pub(crate) const fn extents_max(extent_log2: u32) -> usize {
    MAP_HERE + (1 << extent_log2) / 4 / 8
}

/// Bytes of its first extent that a new file has; the rest comes with the first writes.
pub(crate) const fn first_len(extent_log2: u32) -> u64 {
    let eighth = 1u64 << (extent_log2 - 3);
    if eighth < PAGE as u64 {
        1 << extent_log2
    } else if eighth > FIRST_LEN_MAX {
        FIRST_LEN_MAX
    } else {
        eighth
    }
}

/// The most of it: with the superblocks, a new file takes well below 1 MiB.
const FIRST_LEN_MAX: u64 = 512 * 1024;

/// Bytes of one snapshot chunk in a file with extents of `1 << extent_log2` bytes.
pub(crate) const fn chunk_len(extent_log2: u32) -> usize {
    let sixteenth = 1usize << (extent_log2 - 4);
    if sixteenth < PAGE {
        PAGE
    } else if sixteenth > chunk::LEN_MAX {
        chunk::LEN_MAX
    } else {
        sixteenth
    }
}

const _: () = assert!(sb::EXTENT_MAP + MAP_HERE * 8 <= SLOT_LEN);
const _: () = assert!(sb::SNAPSHOT_B + snap::LEN == sb::SECRET && sb::SECRET + 32 == sb::BASE_FSEQ);
const _: () = assert!(sb::MEMBER == mem::ENSEMBLE_ID && mem::SEEN_LEN + 2 <= mem::TEXTS && mem::TEXTS < sb::EXTENT_MAP);
const _: () = assert!(SLOT_AT[1][1] + SLOT_LEN as u64 <= EXTENTS_AT);
const _: () = assert!(frame::HEADER_LEN == frame::ALIGN && frame::ALIGN as u64 * 8 == SECTOR);
const _: () =
    assert!(frame::HEADER_LEN + open::BODY_LEN <= open::FRAME_LEN && open::FRAME_LEN.is_multiple_of(frame::ALIGN));
const _: () = assert!(chunk_len(EXTENT_LOG2_MIN) == PAGE && chunk_len(22) == chunk::LEN_MAX);
