//! What is wrong with bytes that were read: causes with the numbers in them, and the one sentence for each.

use std::fmt;

use crate::ids::Zxid;
use crate::store::os_error::OsError;

/// Why a file counts as damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageCause {
    /// None of the four superblock copies is valid.
    NoSuperblock,
    /// Zeros, or nothing, are where the superblock copies should be.
    SuperblocksGone,
    /// Both mirrors of a superblock slot are bad.
    SlotBad,
    /// A superblock slot is another file's.
    SlotForeign,
    /// The slots have generations that do not follow each other.
    Generations {
        /// In this slot.
        found: u64,
        /// In the other.
        newest: u64,
    },
    /// The file is marked as damaged: nothing of it counts until the other servers have filled it.
    Marked,
    /// The file is shorter than its superblock says.
    CutShort {
        /// Bytes that it should have.
        expected: u64,
    },
    /// The system could not read the bytes.
    Unreadable(OsError),
    /// The log ends elsewhere than a clean stop left it.
    EndMoved {
        /// What is there in place of the next frame.
        why: FrameFault,
        /// The last frame at the clean stop.
        fseq: u64,
        /// Where that frame ended.
        end: u64,
    },
    /// The log ends before a frame that the superblock knows to have been durable.
    DurableFrameGone {
        /// What is there in place of the next frame.
        why: FrameFault,
        /// The number of the durable frame.
        fseq: u64,
    },
    /// The log ends before a frame of which a later one says that it was durable.
    WitnessedFrameGone {
        /// What is there in place of the next frame.
        why: FrameFault,
        /// The number of the durable frame.
        fseq: u64,
    },
    /// Log that the newest snapshot covers ends before frames that were written later.
    CoveredFrameGone {
        /// What is there in place of the next frame.
        why: FrameFault,
    },
    /// A frame was written by a later opening than both superblock slots know.
    FrameAhead {
        /// Where it is.
        at: u64,
    },
    /// What lies behind the log's end could not be read, so nobody knows whether more of it was durable.
    BehindTheEnd {
        /// Where.
        at: u64,
        /// The system's answer.
        error: OsError,
    },
    /// A frame was good at the first reading and is not at the second.
    ReadTwice(FrameFault),
    /// A frame that is good by itself holds what is no record.
    Record(RecordFault),
    /// The log of an open file is not what was written.
    LogChanged(FrameFault),
    /// The log of an open file cannot be read any more.
    LogUnreadable(OsError),
    /// A transaction cannot be applied to the state before it.
    TxnRefused {
        /// Which one.
        zxid: Zxid,
        /// What the state says to it.
        why: String,
    },
    /// No snapshot can be loaded; this is wrong with the newest.
    NoSnapshot(SnapshotFault),
    /// No snapshot is whole; this is wrong with the first.
    NoWholeSnapshot(SnapshotFault),
}

impl DamageCause {
    /// Whether it is the file that is wrong for good: not one that could not be read this time, nor one whose transactions
    /// this release does not take.
    pub(crate) fn is_of_the_bytes(&self) -> bool {
        match self {
            DamageCause::BehindTheEnd { .. }
            | DamageCause::LogUnreadable(_)
            | DamageCause::TxnRefused { .. }
            | DamageCause::Unreadable(_) => false,
            DamageCause::NoSnapshot(why) | DamageCause::NoWholeSnapshot(why) => {
                !matches!(why, SnapshotFault::Unreadable(_) | SnapshotFault::Refused(_))
            }
            _ => true,
        }
    }
}

impl fmt::Display for DamageCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DamageCause::NoSuperblock => f.write_str("none of the four superblock copies is valid"),
            DamageCause::SuperblocksGone => f.write_str(
                "zeros, or nothing, where the four superblock copies should be: the file was cut or overwritten; a \
                 server that is to begin with nothing needs a place where no file is",
            ),
            DamageCause::SlotBad => f.write_str("both mirrors of a superblock slot are bad"),
            DamageCause::SlotForeign => f.write_str("a superblock slot of another file"),
            DamageCause::Generations { found, newest } => write!(f, "generation {found} beside generation {newest}"),
            DamageCause::Marked => f.write_str("the file is marked as damaged and waits to be filled by its peers"),
            DamageCause::CutShort { expected } => {
                write!(f, "the file ends here and should have {expected} bytes")
            }
            DamageCause::Unreadable(error) => write!(f, "cannot be read: {error}"),
            DamageCause::EndMoved { why, fseq, end } => {
                write!(f, "{why}, though a clean stop left frame {fseq} to end at {end}")
            }
            DamageCause::DurableFrameGone { why, fseq } => write!(f, "{why}, though frame {fseq} was durable"),
            DamageCause::WitnessedFrameGone { why, fseq } => {
                write!(f, "{why}, though a later frame says that frame {fseq} was durable")
            }
            DamageCause::CoveredFrameGone { why } => write!(f, "{why}, before frames that were written later"),
            DamageCause::FrameAhead { at } => write!(f, "a frame at {at} is newer than both superblock slots"),
            DamageCause::BehindTheEnd { at, error } => write!(f, "byte {at} behind the end cannot be read: {error}"),
            DamageCause::ReadTwice(why) => write!(f, "read twice with two results: {why}"),
            DamageCause::Record(fault) => fault.fmt(f),
            DamageCause::LogChanged(why) => write!(f, "the log, read again, has changed: {why}"),
            DamageCause::LogUnreadable(error) => write!(f, "the log cannot be read again: {error}"),
            DamageCause::TxnRefused { zxid, why } => write!(f, "transaction {zxid} was refused: {why}"),
            DamageCause::NoSnapshot(why) => write!(f, "no snapshot can be loaded, the newest because {why}"),
            DamageCause::NoWholeSnapshot(why) => write!(f, "no snapshot is whole: {why}"),
        }
    }
}

/// Why bytes are not the next frame of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameFault {
    /// The extent has no room for a header.
    ExtentEnds,
    /// No header with its checksum.
    NoHeader,
    /// The header names another place.
    OtherPlace,
    /// The header names an opening that the superblock does not know.
    LaterIncarnation,
    /// It would not fit its extent.
    TooLong,
    /// The body does not match its checksum.
    BodyChecksum,
    /// An OPEN frame that contradicts itself.
    Open,
    /// A MARK frame with content.
    Mark,
    /// A TRUNC frame that contradicts itself.
    Trunc,
    /// What it holds is no record.
    Record(RecordFault),
    /// Its zxids go backwards.
    ZxidsBackwards,
    /// It has other records than its header says.
    OtherRecords,
    /// An OPEN frame in the wrong place, or none in the right one.
    OpenMisplaced,
    /// An OPEN frame of an earlier use of the extent.
    OpenOfEarlierUse,
    /// A frame of an earlier use of the space.
    EarlierUse,
    /// It follows another frame.
    FollowsAnother,
    /// An OPEN frame that left the chain elsewhere.
    LeftElsewhere,
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameFault::ExtentEnds => "the extent ends",
            FrameFault::NoHeader => "no frame header",
            FrameFault::OtherPlace => "a frame of another place",
            FrameFault::LaterIncarnation => "a frame of a later incarnation than the superblock's",
            FrameFault::TooLong => "a frame longer than its extent",
            FrameFault::BodyChecksum => "the frame's body does not match its checksum",
            FrameFault::Open => "an OPEN frame that contradicts itself",
            FrameFault::Mark => "a MARK frame with content",
            FrameFault::Trunc => "a TRUNC frame that contradicts itself",
            FrameFault::Record(fault) => return fault.fmt(f),
            FrameFault::ZxidsBackwards => "zxids go backwards inside a frame",
            FrameFault::OtherRecords => "a frame with other records than it says",
            FrameFault::OpenMisplaced => "an OPEN frame in the wrong place, or none in the right one",
            FrameFault::OpenOfEarlierUse => "an OPEN frame of an earlier use of the extent",
            FrameFault::EarlierUse => "a frame of an earlier use of the space",
            FrameFault::FollowsAnother => "a frame that follows another one",
            FrameFault::LeftElsewhere => "an OPEN frame that left the chain elsewhere",
        })
    }
}

/// Why bytes of a frame are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordFault {
    /// The frame ends inside the header.
    HeaderCutShort,
    /// Its kind is not known.
    UnknownKind,
    /// It is longer than its frame.
    TooLong,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordFault::HeaderCutShort => "a record header is cut short",
            RecordFault::UnknownKind => "a record of unknown kind",
            RecordFault::TooLong => "a record is longer than its frame",
        })
    }
}

/// Why a snapshot cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// The system could not read the bytes.
    Unreadable(OsError),
    /// No chunk header.
    NoHeader,
    /// A chunk does not match its checksum.
    Checksum {
        /// In its header.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
    /// A chunk belongs elsewhere.
    OtherPlace {
        /// What should stand there.
        expected: Box<ChunkAt>,
        /// What does.
        found: Box<ChunkAt>,
    },
    /// There are more chunks than extents have room for.
    TooManyChunks,
    /// The chunks together are not what the superblock names.
    NotNamed {
        /// Bytes of their payloads.
        bytes: u64,
        /// The checksum of the last one.
        crc: u32,
    },
    /// They have another number of bytes.
    Length {
        /// Bytes found.
        found: u64,
        /// Bytes that the superblock names.
        expected: u64,
    },
    /// They hold another number of entries.
    Entries {
        /// Entries found.
        found: u64,
        /// Entries that the superblock names.
        expected: u64,
    },
    /// It has no log behind it, or lies beyond the log.
    OutsideLog {
        /// The state that it holds.
        zxid: Zxid,
        /// Where the log begins.
        from: Zxid,
        /// Where the log ends.
        to: Zxid,
    },
    /// An entry does not belong into a state.
    Refused(String),
}

impl fmt::Display for SnapshotFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotFault::Unreadable(error) => write!(f, "cannot be read: {error}"),
            SnapshotFault::NoHeader => f.write_str("no chunk header"),
            SnapshotFault::Checksum { stored, computed } => write_checksums(f, *stored, *computed),
            SnapshotFault::OtherPlace { expected, found } => {
                write!(f, "a chunk that belongs elsewhere: expected {expected}, found {found}")
            }
            SnapshotFault::TooManyChunks => f.write_str("the snapshot has more chunks than extents"),
            SnapshotFault::NotNamed { bytes, crc } => {
                write!(f, "{bytes} bytes with checksum {crc:#010x} are not what the superblock names")
            }
            SnapshotFault::Length { found, expected } => write!(f, "{found} bytes in place of {expected}"),
            SnapshotFault::Entries { found, expected } => write!(f, "{found} entries in place of {expected}"),
            SnapshotFault::OutsideLog { zxid, from, to } => {
                write!(f, "its zxid {zxid} is outside the log, {from} to {to}")
            }
            SnapshotFault::Refused(why) => f.write_str(why),
        }
    }
}

/// What the header of a chunk says about its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkAt {
    /// In bytes from the start of the file.
    pub offset: u64,
    /// The number of its snapshot.
    pub snapshot: u64,
    /// The state that the snapshot holds.
    pub zxid: u64,
    /// Its number in the snapshot.
    pub number: u32,
    /// The checksum of the chunk before it.
    pub prev_crc: u32,
    /// Whether it is the last one.
    pub flags: u32,
}

impl fmt::Display for ChunkAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChunkAt { offset, snapshot, zxid, number, prev_crc, flags } = self;
        write!(
            f,
            "chunk {number} of snapshot {snapshot} at zxid {zxid:#x} at byte {offset}, behind a chunk with checksum \
             {prev_crc:#010x}, flags {flags}"
        )
    }
}

/// What is wrong with one copy of the superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SuperblockFault {
    Unreadable(OsError),
    Checksum { stored: u32, computed: u32 },
    SlotLength,
    OtherPlace { claimed: u64 },
    ExtentSize,
    ExtentCount,
    FirstLength,
    ExtentState,
    Soundness,
    Configurations,
    MapNowhere,
    MapUnreadable(OsError),
    MapChecksum { stored: u32, computed: u32 },
    LogExtents { base: u64, head: u64, extents: usize },
    NearItsEnd,
    MapExtent,
    LogExtentTwice { order: u64 },
    LogExtentMissing { base: u64, head: u64 },
    SnapshotExtents { slot: usize, found: usize, needed: u64 },
    NoBeginning,
}

impl fmt::Display for SuperblockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SuperblockFault::Unreadable(error) => return write!(f, "unreadable: {error}"),
            SuperblockFault::Checksum { stored, computed } => return write_checksums(f, *stored, *computed),
            SuperblockFault::SlotLength => "wrong slot length",
            SuperblockFault::OtherPlace { claimed } => return write!(f, "it belongs at byte {claimed}"),
            SuperblockFault::ExtentSize => "extent size out of range",
            SuperblockFault::ExtentCount => "extent count out of range",
            SuperblockFault::FirstLength => "length of the first extent out of range",
            SuperblockFault::ExtentState => "unknown extent state",
            SuperblockFault::Soundness => "unknown soundness",
            SuperblockFault::Configurations => "configurations too long",
            SuperblockFault::MapNowhere => "the rest of its map is nowhere",
            SuperblockFault::MapUnreadable(error) => return write!(f, "the rest of its map is unreadable: {error}"),
            SuperblockFault::MapChecksum { stored, computed } => {
                f.write_str("the rest of its map: ")?;
                return write_checksums(f, *stored, *computed);
            }
            SuperblockFault::LogExtents { base, head, extents } => {
                return write!(f, "log extents {base}..={head} do not fit {extents} extents");
            }
            SuperblockFault::NearItsEnd => "a number that may never go back is near its end",
            SuperblockFault::MapExtent => "the extent of the map is not where it is said to be",
            SuperblockFault::LogExtentTwice { order } => {
                return write!(f, "log extent number {order} twice or out of range");
            }
            SuperblockFault::LogExtentMissing { base, head } => {
                return write!(f, "a log extent of {base}..={head} is missing");
            }
            SuperblockFault::SnapshotExtents { slot, found, needed } => {
                return write!(f, "snapshot {slot} has {found} extents in place of {needed}");
            }
            SuperblockFault::NoBeginning => "the log does not begin at its beginning and there is no snapshot",
        })
    }
}

fn write_checksums(f: &mut fmt::Formatter<'_>, stored: u32, computed: u32) -> fmt::Result {
    write!(f, "checksum {stored:#010x} stored, {computed:#010x} computed")
}

/// Why a file is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignCause {
    /// It is a folder, a device, a pipe.
    NotAFile,
    /// Something else is where the superblocks should be.
    NoSuperblock,
}

impl fmt::Display for ForeignCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForeignCause::NotAFile => "it is not a regular file",
            ForeignCause::NoSuperblock => "no superblock at any of its four places",
        })
    }
}

/// What an option may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionRange {
    /// A power of two, both ends included.
    PowerOfTwo {
        /// The least.
        least: u64,
        /// The greatest.
        most: u64,
    },
    /// So many extents at least.
    ExtentsAtLeast {
        /// How many.
        extents: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// From 1 to half an extent.
    HalfAnExtent {
        /// Its bytes.
        bytes: u64,
    },
    /// 1 or 2.
    OneOrTwo,
}

impl fmt::Display for OptionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionRange::PowerOfTwo { least, most } => write!(f, "a power of two from {least} to {most}"),
            OptionRange::ExtentsAtLeast { extents, bytes } => write!(f, "at least {extents} extents, {bytes} bytes"),
            OptionRange::HalfAnExtent { bytes } => write!(f, "1 to half an extent, {bytes}"),
            OptionRange::OneOrTwo => f.write_str("1 or 2"),
        }
    }
}
