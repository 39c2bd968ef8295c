//! What people read of what is wrong: each fault has a sentence of its own, with the numbers that it is about.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use crate::ids::Zxid;
use crate::store::cause::{
    ChunkAt, DamageCause, ForeignCause, FrameFault, OptionRange, RecordFault, SnapshotFault, SuperblockFault,
};
use crate::store::os_error::OsError;
use crate::store::superblock::CopyFault;
use crate::store::{DamagedSnapshot, StoreError};

fn eio() -> OsError {
    OsError::from(&io::Error::from_raw_os_error(libc::EIO))
}

/// Each text once, none of them empty.
fn all_differ(texts: &[String]) {
    let once: BTreeSet<&String> = texts.iter().collect();
    assert_eq!(once.len(), texts.len(), "{texts:#?}");
    assert!(texts.iter().all(|text| text.len() > 5), "{texts:#?}");
}

#[test]
fn every_cause_of_damage_is_told_with_its_numbers() {
    let why = FrameFault::NoHeader;
    let texts = [
        (DamageCause::NoSuperblock, "none of the four superblock copies is valid"),
        (
            DamageCause::SuperblocksGone,
            "zeros, or nothing, where the four superblock copies should be: the file was cut or overwritten; a server that \
             is to begin with nothing needs a place where no file is",
        ),
        (DamageCause::SlotBad, "both mirrors of a superblock slot are bad"),
        (DamageCause::SlotForeign, "a superblock slot of another file"),
        (DamageCause::Generations { found: 7, newest: 5 }, "generation 7 beside generation 5"),
        (DamageCause::Marked, "the file is marked as damaged and waits to be filled by its peers"),
        (DamageCause::CutShort { expected: 9 }, "the file ends here and should have 9 bytes"),
        (DamageCause::Unreadable(eio()), "cannot be read: Input/output error (EIO)"),
        (
            DamageCause::EndMoved { why, fseq: 4, end: 640 },
            "no frame header, though a clean stop left frame 4 to end at 640",
        ),
        (DamageCause::DurableFrameGone { why, fseq: 4 }, "no frame header, though frame 4 was durable"),
        (
            DamageCause::WitnessedFrameGone { why, fseq: 4 },
            "no frame header, though a later frame says that frame 4 was durable",
        ),
        (DamageCause::CoveredFrameGone { why }, "no frame header, before frames that were written later"),
        (DamageCause::FrameAhead { at: 640 }, "a frame at 640 is newer than both superblock slots"),
        (
            DamageCause::BehindTheEnd { at: 640, error: eio() },
            "byte 640 behind the end cannot be read: Input/output error (EIO)",
        ),
        (DamageCause::ReadTwice(why), "read twice with two results: no frame header"),
        (DamageCause::Record(RecordFault::TooLong), "a record is longer than its frame"),
        (DamageCause::LogChanged(why), "the log, read again, has changed: no frame header"),
        (DamageCause::LogUnreadable(eio()), "the log cannot be read again: Input/output error (EIO)"),
        (DamageCause::TxnRefused { zxid: Zxid(16), why: "no".to_owned() }, "transaction 0x10 was refused: no"),
        (
            DamageCause::NoSnapshot(SnapshotFault::NoHeader),
            "no snapshot can be loaded, the newest because no chunk header",
        ),
        (DamageCause::NoWholeSnapshot(SnapshotFault::NoHeader), "no snapshot is whole: no chunk header"),
    ];
    for (cause, text) in texts {
        assert_eq!(cause.to_string(), text);
        // An operator reads it with its place and with what is left.
        let (good_to, lost_to) = (Zxid(3), Some(Zxid(32)));
        let known = StoreError::Corrupt { offset: 5, cause: cause.clone(), good_to, lost_to };
        let unknown = StoreError::Corrupt { offset: 5, cause, good_to, lost_to: None };
        let begins = format!("damaged at byte 5: {text}; readable up to zxid 0x3, ");
        let ends = "; nothing was changed, look with `zoarium inspect`";
        assert_eq!(known.to_string(), format!("{begins}lost for certain up to zxid 0x20{ends}"));
        assert_eq!(unknown.to_string(), format!("{begins}what is lost behind it is unknown{ends}"));
    }
}

#[test]
fn no_two_faults_of_frames_are_told_in_the_same_words() {
    let records = [RecordFault::HeaderCutShort, RecordFault::UnknownKind, RecordFault::TooLong];
    let faults = [
        FrameFault::ExtentEnds,
        FrameFault::NoHeader,
        FrameFault::OtherPlace,
        FrameFault::LaterIncarnation,
        FrameFault::TooLong,
        FrameFault::BodyChecksum,
        FrameFault::Open,
        FrameFault::Mark,
        FrameFault::Trunc,
        FrameFault::ZxidsBackwards,
        FrameFault::OtherRecords,
        FrameFault::OpenMisplaced,
        FrameFault::OpenOfEarlierUse,
        FrameFault::EarlierUse,
        FrameFault::FollowsAnother,
        FrameFault::LeftElsewhere,
    ];
    let of_records = records.map(FrameFault::Record);
    all_differ(&faults.iter().chain(&of_records).map(ToString::to_string).collect::<Vec<_>>());
    for (record, frame) in records.iter().zip(of_records) {
        assert_eq!(record.to_string(), frame.to_string());
    }
}

#[test]
fn what_is_wrong_with_a_snapshot_is_told_with_what_was_found_and_what_should_be() {
    let at = ChunkAt { offset: 640, snapshot: 3, zxid: 16, number: 2, prev_crc: 0xab, flags: 1 };
    let text = "chunk 2 of snapshot 3 at zxid 0x10 at byte 640, behind a chunk with checksum 0x000000ab, flags 1";
    let other = ChunkAt { number: 4, ..at };
    let texts = [
        (SnapshotFault::Unreadable(eio()), "cannot be read: Input/output error (EIO)".to_owned()),
        (SnapshotFault::NoHeader, "no chunk header".to_owned()),
        (
            SnapshotFault::Checksum { stored: 1, computed: 0xcd },
            "checksum 0x00000001 stored, 0x000000cd computed".to_owned(),
        ),
        (
            SnapshotFault::OtherPlace { expected: at.into(), found: other.into() },
            format!("a chunk that belongs elsewhere: expected {text}, found {}", text.replace("chunk 2", "chunk 4")),
        ),
        (SnapshotFault::TooManyChunks, "the snapshot has more chunks than extents".to_owned()),
        (
            SnapshotFault::NotNamed { bytes: 7, crc: 0xef },
            "7 bytes with checksum 0x000000ef are not what the superblock names".to_owned(),
        ),
        (SnapshotFault::Length { found: 7, expected: 9 }, "7 bytes in place of 9".to_owned()),
        (SnapshotFault::Entries { found: 7, expected: 9 }, "7 entries in place of 9".to_owned()),
        (
            SnapshotFault::OutsideLog { zxid: Zxid(1), from: Zxid(2), to: Zxid(3) },
            "its zxid 0x1 is outside the log, 0x2 to 0x3".to_owned(),
        ),
        (SnapshotFault::Refused("a short entry".to_owned()), "a short entry".to_owned()),
    ];
    for (fault, text) in texts {
        assert_eq!(fault.to_string(), text);
        let damaged = DamagedSnapshot { zxid: Zxid(16), offset: 640, fault: fault.clone() };
        assert_eq!(damaged.to_string(), format!("snapshot at zxid 0x10: byte 640: {text}"));
        let unreadable = StoreError::SnapshotUnreadable { offset: 640, cause: fault };
        let expected = format!("the new snapshot reads back wrong at byte 640: {text}; the older ones stay");
        assert_eq!(unreadable.to_string(), expected);
    }
}

#[test]
fn what_is_wrong_with_a_superblock_copy_is_told_in_words_of_its_own() {
    let with_numbers = [
        (SuperblockFault::Unreadable(eio()), "unreadable: Input/output error (EIO)"),
        (SuperblockFault::Checksum { stored: 1, computed: 2 }, "checksum 0x00000001 stored, 0x00000002 computed"),
        (SuperblockFault::OtherPlace { claimed: 640 }, "it belongs at byte 640"),
        (SuperblockFault::MapUnreadable(eio()), "the rest of its map is unreadable: Input/output error (EIO)"),
        (
            SuperblockFault::MapChecksum { stored: 1, computed: 2 },
            "the rest of its map: checksum 0x00000001 stored, 0x00000002 computed",
        ),
        (SuperblockFault::LogExtents { base: 3, head: 9, extents: 4 }, "log extents 3..=9 do not fit 4 extents"),
        (SuperblockFault::LogExtentTwice { order: 7 }, "log extent number 7 twice or out of range"),
        (SuperblockFault::LogExtentMissing { base: 3, head: 9 }, "a log extent of 3..=9 is missing"),
        (SuperblockFault::SnapshotExtents { slot: 1, found: 2, needed: 3 }, "snapshot 1 has 2 extents in place of 3"),
    ];
    let plain = [
        SuperblockFault::SlotLength,
        SuperblockFault::ExtentSize,
        SuperblockFault::ExtentCount,
        SuperblockFault::FirstLength,
        SuperblockFault::ExtentState,
        SuperblockFault::Soundness,
        SuperblockFault::Configurations,
        SuperblockFault::MapNowhere,
        SuperblockFault::NearItsEnd,
        SuperblockFault::MapExtent,
        SuperblockFault::NoBeginning,
    ];
    let mut all: Vec<String> = plain.iter().map(ToString::to_string).collect();
    for (fault, text) in with_numbers {
        assert_eq!(CopyFault::Bad(fault).to_string(), text);
        all.push(text.to_owned());
    }
    all.extend([CopyFault::Foreign, CopyFault::Newer { found: 512, known: 1 }].iter().map(ToString::to_string));
    all_differ(&all);
    assert_eq!(CopyFault::Empty.to_string(), "empty");
    assert_eq!(CopyFault::Newer { found: 512, known: 1 }.to_string(), "format or feature 0x200 is not known");
}

#[test]
fn every_refusal_of_a_store_says_what_was_asked_and_what_can_be() {
    let path = PathBuf::from("/data/zoarium");
    let locked = |holder| StoreError::Locked { path: path.clone(), holder };
    let option = |allowed| StoreError::Option { name: "size", value: 3, allowed };
    let texts = [
        (StoreError::Full { capacity: 640 }, "no space left: the file may hold 640 bytes here; nothing was written"),
        (
            StoreError::TooLarge { size: 7, limit: 5 },
            "a record of 7 bytes exceeds the limit of 5 bytes; nothing was written",
        ),
        (
            StoreError::SyncFailed(eio()),
            "a write could not be made durable: Input/output error (EIO); no more writes until the file is opened anew",
        ),
        (locked(Some(std::process::id())), "/data/zoarium is in use by this process; one file serves one server"),
        (locked(Some(0)), "/data/zoarium is in use by process 0; one file serves one server"),
        (
            locked(None),
            "/data/zoarium is in use by another server, in this process or elsewhere; one file serves one server",
        ),
        (
            StoreError::Foreign { found: ForeignCause::NotAFile },
            "not a Zoarium file: it is not a regular file; it was left as it is",
        ),
        (
            StoreError::Foreign { found: ForeignCause::NoSuperblock },
            "not a Zoarium file: no superblock at any of its four places; it was left as it is",
        ),
        (
            StoreError::Newer { found: 16, known: 1 },
            "the file has format or features 0x10, this version knows 0x1: use a newer one",
        ),
        (StoreError::WrongServer { expected: 4, found: 3 }, "the file belongs to server 3, this is server 4"),
        (option(OptionRange::PowerOfTwo { least: 2, most: 8 }), "size = 3 is out of range: a power of two from 2 to 8"),
        (
            option(OptionRange::ExtentsAtLeast { extents: 8, bytes: 640 }),
            "size = 3 is out of range: at least 8 extents, 640 bytes",
        ),
        (option(OptionRange::HalfAnExtent { bytes: 640 }), "size = 3 is out of range: 1 to half an extent, 640"),
        (option(OptionRange::OneOrTwo), "size = 3 is out of range: 1 or 2"),
        (StoreError::Io { what: "lock the file", error: eio() }, "cannot lock the file: Input/output error (EIO)"),
        (StoreError::NoSnapshot, "no snapshot is being taken"),
        (StoreError::SnapshotRunning, "a snapshot is being taken already"),
        (StoreError::LogReleased, "the log that was being read for a member has been released"),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.names_the_file(), text.starts_with("/data") || text.starts_with("size"), "{text}");
    }
}
