//! Files whose checksums are right and whose content is not: made by hand, field by field. None of them may be believed.

use std::sync::Arc;

use super::Model;
use super::sim_disk::SimDisk;
use super::world::{World, tiny};
use crate::ids::{Millis, Zxid};
use crate::store::cause::{DamageCause, SnapshotFault, SuperblockFault};
use crate::store::chain::Chain;
use crate::store::layout::{EXTENTS_AT, PAGE, SLOT_AT, SLOT_LEN, frame, record};
use crate::store::le;
use crate::store::recover::recover_image;
use crate::store::superblock::{Copies, Extent, ExtentState, Superblock};
use crate::store::{Disk, EndOfLog, Record, Store, StoreError, StoreOptions};

fn open(disk: &Arc<SimDisk>, options: &StoreOptions) -> Store {
    let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
    Store::open_on(disk, options, &mut Model::default()).unwrap().0
}

pub(super) fn superblock(image: &[u8]) -> Superblock {
    Copies::read(&image).unwrap().newest().unwrap().clone()
}

/// Writes `sb` to all four places, as two generations.
pub(super) fn put_superblock(image: &mut [u8], sb: &Superblock) {
    for (slot, mirrors) in SLOT_AT.iter().enumerate() {
        for at in mirrors {
            let mut copy = sb.clone();
            copy.generation = if sb.generation % 2 == slot as u64 { sb.generation } else { sb.generation - 1 };
            copy.encode(*at, &mut image[*at as usize..*at as usize + SLOT_LEN]);
        }
    }
}

/// A file with two snapshots that are both whole, and log after them.
pub(super) fn with_two_snapshots() -> (Vec<u8>, Model) {
    let mut world = World::new(5, tiny());
    world.open().unwrap().unwrap();
    let mut now = 0;
    for _ in 0..2 {
        for _ in 0..60 {
            let zxid = world.owed.last + 1;
            world.append_these(vec![(zxid, vec![zxid as u8; 900])]).unwrap();
            now += 1;
            world.store.as_mut().unwrap().tick(Millis(now)).unwrap();
        }
        let entries = world.owed.entries();
        let store = world.store.as_mut().unwrap();
        let size: usize = entries.iter().map(|entry| entry.len() + 4).sum();
        store.snapshot_begin(store.last_zxid(), size as u64).unwrap();
        entries.iter().for_each(|entry| store.snapshot_push(entry).unwrap());
        store.snapshot_finish().unwrap();
        let done = (0..50).find_map(|i| store.tick(Millis(now + i)).unwrap()).expect("the snapshot ends");
        assert!(done.outcome.is_ok(), "{done:?}");
    }
    for _ in 0..40 {
        let zxid = world.owed.last + 1;
        world.append_these(vec![(zxid, vec![zxid as u8; 900])]).unwrap();
    }
    world.store = None;
    (world.disk.image(), world.owed)
}

// S-41: the number of entries is a witness of its own, where the tree would take what is there for all there was.
#[test]
fn a_snapshot_with_other_entries_than_the_superblock_names_is_not_loaded() {
    let (image, owed) = with_two_snapshots();
    let sb = superblock(&image);
    let newer = usize::from(sb.snapshots[1].unwrap().id > sb.snapshots[0].unwrap().id);
    for change in [-1, 1] {
        let mut one = sb.clone();
        let kept = one.snapshots[newer].as_mut().unwrap();
        kept.entries = kept.entries.wrapping_add_signed(change);
        let mut other = image.clone();
        put_superblock(&mut other, &one);
        let mut found = Model::default();
        let report = recover_image(&other, &mut found).unwrap();
        let older = sb.snapshots[1 - newer].unwrap().zxid;
        assert_eq!((report.snapshot, report.snapshots_damaged.len()), (Some(older), 1), "{report:?}");
        assert!(found.same_state(&owed));
        // With no other snapshot it is damage.
        let kept = one.snapshots[1 - newer].as_mut().unwrap();
        kept.entries = kept.entries.wrapping_add_signed(change);
        put_superblock(&mut other, &one);
        let Err(StoreError::Corrupt { cause, .. }) = recover_image(&other, &mut Model::default()) else { panic!() };
        let DamageCause::NoSnapshot(SnapshotFault::Entries { found, expected }) = cause else { panic!("{cause}") };
        assert_eq!(found.wrapping_add_signed(change), expected);
    }
}

// S-40: the older snapshot needs the log after it; without that it must not pass for the state.
#[test]
fn a_snapshot_whose_log_is_gone_is_not_taken_in_place_of_one_that_is_damaged() {
    // SC-50
    let (image, _) = with_two_snapshots();
    let sb = superblock(&image);
    let newer = usize::from(sb.snapshots[1].unwrap().id > sb.snapshots[0].unwrap().id);
    let source = &image[..];
    let chain = Chain::walk(&source, &sb, &mut |_, _| Ok(())).unwrap();
    // As if the log up to the newer snapshot had been released.
    let newest = sb.snapshots[newer].unwrap().zxid;
    let first = chain.extents.iter().rfind(|extent| extent.base_zxid <= newest).unwrap();
    assert!(first.base_zxid > sb.snapshots[1 - newer].unwrap().zxid, "the extents are too large for this test");
    let mut short = sb.clone();
    for extent in &mut short.map {
        if extent.state == ExtentState::Log && extent.order < first.lseq {
            *extent = Extent::FREE;
        }
    }
    (short.log_base_lseq, short.base_fseq) = (first.lseq, first.first_fseq);
    let mut other = image.clone();
    put_superblock(&mut other, &short);
    assert_eq!(recover_image(&other, &mut Model::default()).unwrap().snapshot, Some(newest));
    let rotten = short.extent_at(short.snapshot_extents(newer)[0]) as usize + 100;
    other[rotten] ^= 1;
    let Err(StoreError::Corrupt { cause, .. }) = recover_image(&other, &mut Model::default()) else { panic!() };
    assert!(matches!(cause, DamageCause::NoSnapshot(SnapshotFault::Checksum { .. })), "{cause}");
}

/// A frame behind the end of a log.
#[derive(Clone)]
struct Frame {
    /// What it says of the length of its body, where that is not so.
    claims: Option<u32>,
    kind: u16,
    last_zxid: i64,
    records: u32,
    body: Vec<u8>,
    fseq: u64,
    incarnation: u32,
    prev_crc: u32,
    own_offset: u64,
}

fn put_frame(image: &mut [u8], at: u64, seed: u32, one: &Frame) {
    let out = &mut image[at as usize..];
    le::put_u32(out, frame::MAGIC, frame::MAGIC_VALUE);
    le::put_u64(out, frame::OWN_OFFSET, one.own_offset);
    le::put_u64(out, frame::FSEQ, one.fseq);
    le::put_u32(out, frame::INCARNATION, one.incarnation);
    le::put_u16(out, frame::KIND, one.kind);
    le::put_u16(out, frame::FLAGS, 0);
    le::put_u32(out, frame::BODY_LEN, one.claims.unwrap_or(one.body.len() as u32));
    le::put_u32(out, frame::BODY_CRC, crc32c::crc32c(&one.body));
    le::put_u64(out, frame::SYNCED_FSEQ, 0);
    le::put_u64(out, frame::LAST_ZXID, one.last_zxid as u64);
    le::put_u32(out, frame::PREV_CRC, one.prev_crc);
    le::put_u32(out, frame::RECORDS, one.records);
    let crc = crc32c::crc32c_append(seed, &out[frame::OWN_OFFSET..frame::HEADER_LEN]);
    le::put_u32(out, frame::HEADER_CRC, crc);
    out[frame::HEADER_LEN..frame::HEADER_LEN + one.body.len()].copy_from_slice(&one.body);
}

fn records(zxids: &[i64]) -> Vec<u8> {
    let mut body = Vec::new();
    for zxid in zxids {
        let mut one = [0; record::HEADER_LEN + 8];
        le::put_u32(&mut one, record::LENGTH, 3);
        le::put_u16(&mut one, record::KIND, record::KIND_TXN);
        le::put_u64(&mut one, record::ZXID, *zxid as u64);
        body.extend_from_slice(&one);
    }
    body
}

// P3: the chain ends before a frame that does not continue it, whatever its checksums say.
#[test]
fn a_frame_that_contradicts_itself_or_the_one_before_it_ends_the_log() {
    const TXNS: u16 = 2;
    const MARK: u16 = 3;
    const TRUNC: u16 = 4;
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    for zxid in 1..=3 {
        store.append(&[Record { zxid: Zxid(zxid), txn: &[1; 100] }]).unwrap();
    }
    drop(store);
    let image = disk.image();
    let (sb, source) = (superblock(&image), &image[..]);
    let chain = Chain::walk(&source, &sb, &mut |_, _| Ok(())).unwrap();
    let good = Frame {
        claims: None,
        kind: MARK,
        last_zxid: 3,
        records: 0,
        body: Vec::new(),
        fseq: chain.fseq + 1,
        incarnation: chain.incarnation,
        prev_crc: chain.last_crc,
        own_offset: chain.at,
    };
    let txns = Frame { kind: TXNS, last_zxid: 5, records: 2, body: records(&[4, 5]), ..good.clone() };
    let trunc = Frame { kind: TRUNC, last_zxid: 2, records: 0, body: 2i64.to_le_bytes().to_vec(), ..good.clone() };
    let mut unknown = txns.clone();
    le::put_u16(&mut unknown.body, record::KIND, 9);
    let mut too_long = txns.clone();
    le::put_u32(&mut too_long.body, record::LENGTH, 40);
    let (at, next) = (chain.at, chain.at + frame::HEADER_LEN as u64);
    let end_of = |one: &Frame| {
        let mut other = image.clone();
        put_frame(&mut other, at, sb.seed(), one);
        match recover_image(&other, &mut Model::default()) {
            Ok(report) => (report.end, report.last_zxid.0),
            Err(error) => panic!("{error}"),
        }
    };
    // Those that go on, so that the others end it for the right reason.
    assert_eq!(end_of(&good), (EndOfLog::Cut { at: next }, 3));
    assert_eq!(end_of(&txns), (EndOfLog::Cut { at: next + 64 }, 5));
    assert_eq!(end_of(&trunc), (EndOfLog::Cut { at: next + 64 }, 2));
    for (what, one) in [
        ("a MARK with content", Frame { body: vec![0; 8], ..good.clone() }),
        ("a MARK of a later zxid", Frame { last_zxid: 4, ..good.clone() }),
        ("a MARK of an earlier zxid", Frame { last_zxid: 2, ..good.clone() }),
        ("a number too high", Frame { fseq: good.fseq + 1, ..good.clone() }),
        ("a number too low", Frame { fseq: good.fseq - 1, ..good.clone() }),
        ("an earlier incarnation", Frame { incarnation: good.incarnation - 1, ..good.clone() }),
        ("another frame before it", Frame { prev_crc: good.prev_crc ^ 1, ..good.clone() }),
        ("another place", Frame { own_offset: at + 64, ..good.clone() }),
        ("an unknown kind", Frame { kind: 9, ..good.clone() }),
        ("an OPEN in the middle", Frame { kind: 1, ..good.clone() }),
        ("no records", Frame { records: 0, body: Vec::new(), last_zxid: 3, ..txns.clone() }),
        ("fewer records than it says", Frame { records: 3, ..txns.clone() }),
        ("more records than it says", Frame { records: 1, ..txns.clone() }),
        ("another last zxid", Frame { last_zxid: 6, ..txns.clone() }),
        ("a zxid twice", Frame { body: records(&[4, 4]), last_zxid: 4, ..txns.clone() }),
        ("zxids that go back", Frame { body: records(&[5, 4]), last_zxid: 4, ..txns.clone() }),
        ("a zxid that is there already", Frame { body: records(&[3, 4]), last_zxid: 4, ..txns.clone() }),
        ("longer than its extent", Frame { claims: Some(tiny().extent_size as u32), ..txns.clone() }),
        ("a TRUNC that says two things", Frame { last_zxid: 1, ..trunc.clone() }),
        ("a TRUNC that cuts nothing", Frame { last_zxid: 4, body: 4i64.to_le_bytes().to_vec(), ..trunc.clone() }),
        ("a TRUNC without a zxid", Frame { body: vec![2; 4], ..trunc.clone() }),
        ("a record of an unknown kind", unknown),
        ("a record longer than its frame", too_long),
        (
            "half a record header",
            Frame { records: 1, body: records(&[4])[..12].to_vec(), last_zxid: 4, ..txns.clone() },
        ),
    ] {
        assert_eq!(end_of(&one), (EndOfLog::Cut { at }, 3), "{what}");
    }
    // P9: written by an opening that neither slot knows, at the end or behind it.
    for place in [at, at + 2 * frame::ALIGN as u64] {
        let later = Frame { incarnation: good.incarnation + 1, own_offset: place, ..good.clone() };
        let mut other = image.clone();
        put_frame(&mut other, place, sb.seed(), &later);
        let (cause, good_to) = (DamageCause::FrameAhead { at: place }, Zxid(3));
        let refused = recover_image(&other, &mut Model::default());
        assert_eq!(refused, Err(StoreError::Corrupt { offset: at, cause, good_to, lost_to: None }));
    }
}

// S-41
#[test]
fn a_superblock_that_contradicts_itself_is_not_believed() {
    let (image, _) = with_two_snapshots();
    let sb = superblock(&image);
    assert_eq!(sb.check_itself(), Ok(()));
    let log = sb.map.iter().position(|extent| extent.state == ExtentState::Log).unwrap();
    let free = sb.map.iter().position(|extent| extent.state == ExtentState::Free).unwrap();
    let snapshot = sb.map.iter().position(|extent| extent.state == ExtentState::SnapA).unwrap();
    type Change = fn(&mut Superblock, usize);
    type Is = fn(&SuperblockFault) -> bool;
    let extents: Is = |fault| matches!(fault, SuperblockFault::LogExtents { .. });
    let missing: Is = |fault| matches!(fault, SuperblockFault::LogExtentMissing { .. });
    let twice: Is = |fault| matches!(fault, SuperblockFault::LogExtentTwice { .. });
    let near: Is = |fault| matches!(fault, SuperblockFault::NearItsEnd);
    let snap: Is = |fault| matches!(fault, SuperblockFault::SnapshotExtents { .. });
    let map: Is = |fault| matches!(fault, SuperblockFault::MapExtent);
    let start: Is = |fault| matches!(fault, SuperblockFault::NoBeginning);
    let changes: &[(&str, Is, usize, Change)] = &[
        ("no first log extent", extents, 0, |sb, _| sb.log_base_lseq = 0),
        ("the log ends before it begins", extents, 0, |sb, _| sb.log_head_lseq = sb.log_base_lseq - 1),
        ("more log than extents", extents, 0, |sb, _| sb.log_head_lseq = sb.log_base_lseq + sb.map.len() as u64),
        ("one more log extent than there is", missing, 0, |sb, _| sb.log_head_lseq += 1),
        ("one log extent fewer than there is", twice, 0, |sb, _| sb.log_base_lseq += 1),
        ("a log extent lost", missing, log, |sb, at| sb.map[at] = Extent::FREE),
        ("a log extent twice", twice, free, |sb, at| {
            sb.map[at] = Extent { state: ExtentState::Log, order: sb.log_base_lseq };
        }),
        ("a log extent below the first", twice, free, |sb, at| {
            sb.map[at] = Extent { state: ExtentState::Log, order: sb.log_base_lseq - 1 };
        }),
        ("a frame number near its end", near, 0, |sb, _| sb.end_fseq = 1 << 62),
        ("a first frame number near its end", near, 0, |sb, _| sb.base_fseq = 1 << 62),
        ("a generation near its end", near, 0, |sb, _| sb.generation = 1 << 62),
        ("a part of a snapshot lost", snap, snapshot, |sb, at| sb.map[at] = Extent::FREE),
        ("a part of a snapshot too much", snap, free, |sb, at| {
            sb.map[at] = Extent { state: ExtentState::SnapA, order: sb.snapshot_extents(0).len() as u64 };
        }),
        ("a snapshot out of order", snap, snapshot, |sb, at| sb.map[at].order += 1),
        ("extents of a snapshot that is not there", snap, 0, |sb, _| sb.snapshots[0] = None),
        ("a map that goes on though it fits", map, free, |sb, at| sb.map_extent = Some(at as u32)),
        ("a place for a map that does not go on", map, free, |sb, at| {
            sb.map[at] = Extent { state: ExtentState::Map, order: 0 };
        }),
        ("the rest of a log without a snapshot", start, 0, |sb, _| {
            sb.snapshots = [None, None];
            for extent in &mut sb.map {
                if matches!(extent.state, ExtentState::SnapA | ExtentState::SnapB) {
                    *extent = Extent::FREE;
                }
            }
        }),
    ];
    for (what, is_why, at, change) in changes {
        let mut other = sb.clone();
        change(&mut other, *at);
        let found = other.check_itself();
        assert!(found.as_ref().is_err_and(is_why), "{what}: {found:?}");
        // And no file with it is taken for one with less in it.
        let mut bytes = image.clone();
        put_superblock(&mut bytes, &other);
        let refused = recover_image(&bytes, &mut Model::default());
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{what}: {refused:?}");
    }
}

// S-41: a first extent of no length would be a log without an end to find, and one that is too long another's bytes.
#[test]
fn the_length_of_a_first_extent_that_cannot_be_is_damage() {
    let options = StoreOptions {
        extent_size: 64 << 10,
        initial_size: 64 << 10,
        max_size: 3 << 20,
        log_window: 100 << 10,
        ..tiny()
    };
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &options);
    store.append(&[Record { zxid: Zxid(1), txn: &[1; 100] }]).unwrap();
    drop(store);
    let image = disk.image();
    let sb = superblock(&image);
    assert!(!sb.is_whole(), "the file is new");
    for first_len in [0, sb.extent_size() + PAGE as u64, u64::MAX] {
        let mut other = image.clone();
        other.resize(EXTENTS_AT as usize + 3 * sb.extent_size() as usize, 0);
        put_superblock(&mut other, &Superblock { first_len, ..sb.clone() });
        let refused = recover_image(&other, &mut Model::default());
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{first_len}: {refused:?}");
    }
    // Only a lone extent may be short.
    let mut two = sb.clone();
    two.map.push(Extent::FREE);
    let mut other = image.clone();
    other.resize(EXTENTS_AT as usize + 3 * sb.extent_size() as usize, 0);
    put_superblock(&mut other, &two);
    let refused = recover_image(&other, &mut Model::default());
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
}

// P7: a slot with one mirror is one bad sector away from a file that does not open.
#[test]
fn a_superblock_copy_that_was_lost_is_written_anew_and_no_other() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    store.append(&[Record { zxid: Zxid(1), txn: &[1; 100] }]).unwrap();
    store.close().unwrap();
    let image = disk.image();
    let reopen = |image: &[u8]| {
        let disk = Arc::new(SimDisk::of_image(image.to_vec(), 2));
        let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
        let (store, report) = Store::open_on(shared, &tiny(), &mut Model::default()).unwrap();
        drop(store);
        (disk.image(), report.repaired)
    };
    let (whole, repaired) = reopen(&image);
    assert_eq!((repaired, Copies::read(&&whole[..]).unwrap().repairs()), (0, Vec::new()));
    for (slot, mirrors) in SLOT_AT.iter().enumerate() {
        for (mirror, at) in mirrors.iter().enumerate() {
            let mut rotten = image.clone();
            rotten[*at as usize + 200] ^= 1;
            assert_eq!(Copies::read(&&rotten[..]).unwrap().repairs(), [(slot, mirror)]);
            let (mended, repaired) = reopen(&rotten);
            assert_eq!(repaired, 1, "slot {slot}, mirror {mirror}");
            let copies = Copies::read(&&mended[..]).unwrap();
            assert!(copies.found.iter().flatten().all(Result::is_ok), "slot {slot}, mirror {mirror}: {copies:?}");
            // An older generation in a mirror is as bad as none.
            let mut behind = image.clone();
            let mut older = copies.of_slot(slot).unwrap().clone();
            older.generation = Copies::read(&&image[..]).unwrap().of_slot(slot).unwrap().generation - 2;
            if older.generation > 0 {
                older.encode(*at, &mut behind[*at as usize..*at as usize + SLOT_LEN]);
                assert_eq!(Copies::read(&&behind[..]).unwrap().repairs(), [(slot, mirror)]);
                assert_eq!(reopen(&behind).1, 1);
            }
        }
    }
}
