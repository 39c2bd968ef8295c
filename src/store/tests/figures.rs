//! Damage, figure by figure: where it is told to be, what was found there and what should have been, what is good before it and what
//! is known to be lost. An operator decides by these whether a file is filled anew, and by whom.

use std::sync::Arc;

use super::Model;
use super::crafted::{put_superblock, superblock, with_two_snapshots};
use super::sim_disk::SimDisk;
use super::world::tiny;
use super::{fill, open};
use crate::ids::Zxid;
use crate::store::cause::{ForeignCause, FrameFault, SuperblockFault};
use crate::store::chain::Chain;
use crate::store::chunks::{Verification, plan_of};
use crate::store::frame::FrameKind;
use crate::store::helper::{Check, VerifyError};
use crate::store::layout::{self, SLOT_AT, SLOT_LEN, chunk, sb};
use crate::store::os_error::OsError;
use crate::store::parallel;
use crate::store::recover::recover_image;
use crate::store::superblock::{Extent, ExtentState, Superblock};
use crate::store::{
    DamageCause, InspectLine, InspectVerdict, RecoveryReport, Replay, SnapshotFault, Store, StoreError, StoreOptions,
    inspect_bytes, le,
};

fn recovered(image: &[u8]) -> Result<RecoveryReport, StoreError> {
    recover_image(image, &mut Model::default())
}

/// A disk with transactions 1 to 10, each in a frame of its own.
fn logged() -> Arc<SimDisk> {
    let disk = Arc::new(SimDisk::new(1));
    fill(&mut open(&disk, &tiny()), 1..=10, 100);
    disk
}

/// The frame with this transaction: where it is, and its number.
fn frame_of(image: &[u8], zxid: i64) -> (u64, u64) {
    let mut found = None;
    let visit = &mut |head: &crate::store::frame::FrameHead, _: &[u8]| {
        if head.kind == FrameKind::Txns && head.last_zxid == Zxid(zxid) {
            found = Some((head.own_offset, head.fseq));
        }
        Ok(())
    };
    Chain::walk(&image, &superblock(image), visit).unwrap();
    found.expect("it is in the log")
}

/// With a bit of the frame of this transaction turned; where that is.
fn hit(image: &mut [u8], zxid: i64) -> u64 {
    let (at, _) = frame_of(image, zxid);
    image[at as usize + 8] ^= 1;
    at
}

#[test]
fn a_frame_that_is_missed_is_told_with_its_place_and_with_what_is_good_before_it_and_lost_behind_it() {
    // S-41, P3: by what the superblock knows of a clean stop, by what it knew when the file was opened, by later frames.
    let why = FrameFault::NoHeader;
    let clean = logged();
    open(&clean, &tiny()).close().unwrap();
    let stopped = superblock(&clean.image());
    let cause = DamageCause::EndMoved { why, fseq: stopped.end_fseq, end: stopped.end_offset };
    let opened = Arc::new(SimDisk::of_image(clean.image(), 2));
    drop(open(&opened, &tiny()));
    let durable = DamageCause::DurableFrameGone { why, fseq: superblock(&opened.image()).end_fseq };
    for (disk, cause, lost_to) in [(clean, cause, 10), (opened, durable, 10)] {
        let mut image = disk.image();
        let offset = hit(&mut image, 5);
        let expected = StoreError::Corrupt { offset, cause, good_to: Zxid(4), lost_to: Some(Zxid(lost_to)) };
        assert_eq!(recovered(&image), Err(expected));
    }
    let mut image = logged().image();
    let (_, fseq) = frame_of(&image, 5);
    let offset = hit(&mut image, 5);
    let cause = DamageCause::WitnessedFrameGone { why, fseq };
    // Of the last frame none says that it was synced.
    let expected = StoreError::Corrupt { offset, cause, good_to: Zxid(4), lost_to: Some(Zxid(9)) };
    assert_eq!(recovered(&image), Err(expected));
}

#[test]
fn what_cannot_be_read_of_the_log_is_told_with_its_place_and_what_is_good_before_it() {
    // F-07
    let image = logged().image();
    let error = OsError::from(&std::io::Error::other("a bad sector"));
    let (at, _) = frame_of(&image, 5);
    let open_bad = |from: u64, to: u64| {
        let disk = SimDisk::of_image(image.clone(), 1);
        disk.fail_reads(from, to);
        Store::open_on(Arc::new(disk), &tiny(), &mut Model::default()).map(drop)
    };
    let unreadable = DamageCause::Unreadable(error);
    let expected = StoreError::Corrupt { offset: at, cause: unreadable, good_to: Zxid(4), lost_to: None };
    assert_eq!(open_bad(at, at + 1), Err(expected));
    // Behind the end nobody knows whether there was more.
    let end = Chain::walk(&&image[..], &superblock(&image), &mut |_, _| Ok(())).unwrap().at;
    let behind = end.next_multiple_of(layout::SECTOR) + 2 * layout::SECTOR;
    let cause = DamageCause::BehindTheEnd { at: behind, error };
    match open_bad(behind, behind + layout::SECTOR) {
        Err(StoreError::Corrupt { offset, cause: found, good_to, lost_to: None }) => {
            assert_eq!((offset, found, good_to), (end, cause, Zxid(10)));
        }
        other => panic!("{other:?}"),
    }
}

/// Takes every transaction but one.
struct Refusing(Model, i64);

impl Replay for Refusing {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.0.snapshot_begin(zxid);
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.0.snapshot_entry(entry)
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        self.0.snapshot_end()
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        if zxid.0 == self.1 { Err("no".to_owned()) } else { self.0.txn(zxid, txn) }
    }
}

#[test]
fn a_transaction_that_the_state_refuses_is_told_with_its_frame_and_with_what_came_before() {
    let with_snapshots = with_two_snapshots();
    for (image, refused, last) in
        [(logged().image(), 7, 10), (with_snapshots.0, with_snapshots.1.last - 3, with_snapshots.1.last)]
    {
        let (offset, _) = frame_of(&image, refused);
        let cause = DamageCause::TxnRefused { zxid: Zxid(refused), why: "no".to_owned() };
        let expected = StoreError::Corrupt { offset, cause, good_to: Zxid(refused - 1), lost_to: Some(Zxid(last)) };
        assert_eq!(recover_image(&image, &mut Refusing(Model::default(), refused)), Err(expected));
    }
}

#[test]
fn superblocks_that_do_not_belong_together_are_told_with_their_slot_and_their_numbers() {
    // P7, P9, S-41
    let mut image = logged().image();
    let mut newest = superblock(&image);
    newest.generation += 10;
    put_superblock(&mut image, &newest);
    let slot = (newest.generation % 2) as usize;
    let other = 1 - slot;
    let with_other = |change: &dyn Fn(&mut Superblock)| {
        let mut image = image.clone();
        for at in SLOT_AT[other] {
            let mut copy = newest.clone();
            copy.generation -= 1;
            change(&mut copy);
            copy.encode(at, &mut image[at as usize..at as usize + SLOT_LEN]);
        }
        image
    };
    let refused = |image: &[u8]| match recovered(image) {
        Err(StoreError::Corrupt { offset, cause, good_to, .. }) => (offset, cause, good_to),
        other => panic!("{other:?}"),
    };
    assert!(recovered(&with_other(&|_| ())).is_ok(), "two that follow each other");
    let foreign = with_other(&|copy| copy.file_uuid[3] ^= 1);
    assert_eq!(refused(&foreign), (SLOT_AT[other][0], DamageCause::SlotForeign, Zxid::ZERO));
    let old = newest.generation - 3;
    let cause = DamageCause::Generations { found: old, newest: newest.generation };
    assert_eq!(refused(&with_other(&|copy| copy.generation = old)), (SLOT_AT[other][0], cause, Zxid::ZERO));
    let mut bad = image.clone();
    SLOT_AT[other].iter().for_each(|at| bad[*at as usize + 100] ^= 1);
    assert_eq!(refused(&bad), (SLOT_AT[other][0], DamageCause::SlotBad, newest.end_zxid));
    let mut none = bad;
    SLOT_AT[slot].iter().for_each(|at| none[*at as usize + 100] ^= 1);
    assert_eq!(refused(&none), (0, DamageCause::NoSuperblock, Zxid::ZERO));
    for at in SLOT_AT.iter().flatten() {
        none[*at as usize..*at as usize + SLOT_LEN].fill(0);
    }
    assert_eq!(refused(&none), (0, DamageCause::SuperblocksGone, Zxid::ZERO));
    for at in SLOT_AT.iter().flatten() {
        none[*at as usize..*at as usize + 8].copy_from_slice(b"SQLite f");
    }
    assert_eq!(recovered(&none), Err(StoreError::Foreign { found: ForeignCause::NoSuperblock }));
}

#[test]
fn a_newer_format_or_feature_is_told_beside_what_is_known() {
    // One copy is enough: a newer version has written it.
    let image = logged().image();
    for at in SLOT_AT.iter().flatten().map(|at| *at as usize) {
        let with = |field: usize, value: u32| {
            let mut image = image.clone();
            let copy = &mut image[at..at + SLOT_LEN];
            let known = if field == sb::FORMAT { 0 } else { le::u32_at(copy, field) };
            le::put_u32(copy, field, known | value);
            let crc = crc32c::crc32c(&copy[sb::SLOT_LEN..]);
            le::put_u32(copy, sb::CRC, crc);
            recovered(&image)
        };
        let newer = |found, known| Err(StoreError::Newer { found, known });
        assert_eq!(with(sb::FORMAT, layout::FORMAT + 1), newer(layout::FORMAT + 1, layout::FORMAT));
        assert_eq!(with(sb::INCOMPAT, 1 << 9), newer(1 << 9, 0));
        assert_eq!(with(sb::RO_COMPAT, 1 << 3), newer(1 << 3, 0));
    }
}

#[test]
fn what_a_superblock_contradicts_itself_in_is_told_in_numbers() {
    // S-41
    let (image, _) = with_two_snapshots();
    let whole = superblock(&image);
    let (base, head, extents) = (whole.log_base_lseq, whole.log_head_lseq, whole.map.len());
    let of = |change: &dyn Fn(&mut Superblock)| {
        let mut other = whole.clone();
        change(&mut other);
        other.check_itself().unwrap_err()
    };
    let free = whole.map.iter().position(|extent| extent.state == ExtentState::Free).unwrap();
    assert_eq!(
        of(&|sb| sb.log_head_lseq = sb.log_base_lseq - 1),
        SuperblockFault::LogExtents { base, head: base - 1, extents }
    );
    let missing = SuperblockFault::LogExtentMissing { base, head: head + 1 };
    assert_eq!(of(&|sb| sb.log_head_lseq += 1), missing);
    let twice = |sb: &mut Superblock| sb.map[free] = Extent { state: ExtentState::Log, order: head };
    assert_eq!(of(&twice), SuperblockFault::LogExtentTwice { order: head });
    for slot in [0, 1] {
        let needed = whole.snapshot_extents(slot).len();
        let lost = SuperblockFault::SnapshotExtents { slot, found: needed - 1, needed: needed as u64 };
        let last = *whole.snapshot_extents(slot).last().unwrap() as usize;
        assert_eq!(of(&|sb| sb.map[last] = Extent::FREE), lost);
        let unnamed = SuperblockFault::SnapshotExtents { slot, found: needed, needed: 0 };
        assert_eq!(of(&|sb| sb.snapshots[slot] = None), unnamed);
    }
}

/// The slot of the newer snapshot, and where its first chunk is.
fn newer(sb: &Superblock) -> (usize, u64) {
    let slot = usize::from(sb.snapshots[1].unwrap().id > sb.snapshots[0].unwrap().id);
    (slot, sb.extent_at(sb.snapshot_extents(slot)[0]))
}

#[test]
fn a_snapshot_that_is_not_what_the_superblock_names_is_told_with_what_was_found_and_what_is_named() {
    // S-41, D-09
    let (image, _) = with_two_snapshots();
    let whole = superblock(&image);
    let (slot, at) = newer(&whole);
    let kept = whole.snapshots[slot].unwrap();
    let told = |image: &[u8]| {
        let report = recovered(image).unwrap();
        let [damaged] = &report.snapshots_damaged[..] else { panic!("{report:?}") };
        assert_eq!(damaged.zxid, kept.zxid);
        (damaged.offset, damaged.fault.clone())
    };
    // By the superblock: another length, or another number of chunks.
    let mut named = whole.clone();
    named.snapshots[slot].as_mut().unwrap().bytes += 5;
    let mut other = image.clone();
    put_superblock(&mut other, &named);
    assert_eq!(told(&other), (at, SnapshotFault::NotNamed { bytes: kept.bytes, crc: kept.chain_crc }));
    // By the chunk: its bytes, and its place.
    let used = le::u32_at(&image[at as usize..], chunk::USED) as usize;
    let crc = |chunk: &[u8]| crc32c::crc32c_append(whole.seed(), &chunk[chunk::OWN_OFFSET..chunk::HEADER_LEN + used]);
    let mut other = image.clone();
    other[at as usize + chunk::HEADER_LEN] ^= 1;
    let fault = SnapshotFault::Checksum { stored: crc(&image[at as usize..]), computed: crc(&other[at as usize..]) };
    assert_eq!(told(&other), (at, fault));
    for claimed in [whole.chunk_len() - chunk::HEADER_LEN + 1, u32::MAX as usize] {
        let mut other = image.clone();
        le::put_u32(&mut other[at as usize..], chunk::USED, claimed as u32);
        assert_eq!(told(&other), (at, SnapshotFault::NoHeader), "{claimed} bytes of a chunk");
    }
    let mut other = image.clone();
    let bytes = &mut other[at as usize..];
    le::put_u64(bytes, chunk::SNAPSHOT_ID, kept.id + 7);
    let computed = crc(bytes);
    le::put_u32(bytes, chunk::CRC, computed);
    let (offset, SnapshotFault::OtherPlace { expected, found }) = told(&other) else { panic!() };
    assert_eq!((offset, expected.snapshot, found.snapshot), (at, kept.id, kept.id + 7));
    assert_eq!((expected.offset, expected.zxid, expected.number), (at, kept.zxid.0 as u64, 0));
    assert_eq!((found.offset, found.zxid, found.number), (at, kept.zxid.0 as u64, 0));
    assert_eq!((expected.prev_crc, expected.flags), (found.prev_crc, found.flags));
}

#[test]
fn a_snapshot_that_is_read_back_with_another_length_is_not_taken() {
    // D-09: the last look before a snapshot counts.
    let (image, _) = with_two_snapshots();
    let whole = superblock(&image);
    let (slot, _) = newer(&whole);
    let disk = SimDisk::of_image(image, 1);
    for more in [0, 5] {
        let mut kept = whole.snapshots[slot].unwrap();
        kept.bytes += more;
        let mut check = Verification::new(plan_of(&whole, &whole.snapshot_extents(slot), kept));
        let ended = (0..1000).find_map(|_| check.step(&disk).1).expect("it ends");
        match (more, ended) {
            (0, Ok(())) => assert_eq!(check.checked(), kept.bytes),
            (5, Err(VerifyError::Bad { offset: 0, fault })) => {
                assert_eq!(fault, SnapshotFault::Length { found: kept.bytes - 5, expected: kept.bytes });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_snapshot_without_its_log_is_told_with_both_ends_of_the_log() {
    // SC-50, S-40: the older one, without the newer and with the log as if that were there.
    let (mut image, _) = with_two_snapshots();
    let mut short = superblock(&image);
    let (newest, _) = newer(&short);
    let chain = Chain::walk(&&image[..], &short, &mut |_, _| Ok(())).unwrap();
    let zxid = short.snapshots[newest].unwrap().zxid;
    let first = *chain.extents.iter().rfind(|extent| extent.base_zxid <= zxid).unwrap();
    for extent in &mut short.map {
        if extent.state == ExtentState::Log && extent.order < first.lseq {
            *extent = Extent::FREE;
        }
    }
    (short.log_base_lseq, short.base_fseq) = (first.lseq, first.first_fseq);
    short.retire_snapshot(newest);
    put_superblock(&mut image, &short);
    let older = short.snapshots[1 - newest].unwrap();
    let (from, to) = (first.base_zxid, chain.last_zxid);
    let fault = SnapshotFault::OutsideLog { zxid: older.zxid, from, to };
    let offset = short.extent_at(short.snapshot_extents(1 - newest)[0]);
    let cause = DamageCause::NoSnapshot(fault.clone());
    assert_eq!(recovered(&image), Err(StoreError::Corrupt { offset, cause, good_to: Zxid::ZERO, lost_to: Some(to) }));
    let verdict = inspect_bytes(&&image[..], false, &mut |_| ()).unwrap();
    let cause = DamageCause::NoWholeSnapshot(fault);
    assert_eq!(verdict, InspectVerdict::Damaged { at: 0, cause, good_to: Zxid::ZERO, lost_to: Some(to) });
}

#[test]
fn inspect_says_where_a_torn_log_ends_and_where_a_damaged_one_is_damaged() {
    let image = logged().image();
    let end = Chain::walk(&&image[..], &superblock(&image), &mut |_, _| Ok(())).unwrap().at;
    let look = |image: &[u8]| inspect_bytes(&image, false, &mut |_| ()).unwrap();
    assert_eq!(look(&image), InspectVerdict::Torn { at: end, why: FrameFault::NoHeader });
    let mut other = image.clone();
    let at = hit(&mut other, 5);
    match look(&other) {
        InspectVerdict::Damaged { at: found, cause: DamageCause::WitnessedFrameGone { .. }, good_to, lost_to } => {
            assert_eq!((found, good_to, lost_to), (at, Zxid(4), Some(Zxid(9))));
        }
        other => panic!("{other:?}"),
    }
    let len = image.len() as u64;
    let cut = &image[..image.len() - 1000];
    let cause = DamageCause::CutShort { expected: len };
    let (good_to, lost_to) = (Zxid::ZERO, None);
    assert_eq!(look(cut), InspectVerdict::Damaged { at: len - 1000, cause, good_to, lost_to });
    let mut marked = image.clone();
    let mut root = superblock(&image);
    root.flags |= sb::FLAG_DAMAGED;
    put_superblock(&mut marked, &root);
    let (cause, good_to) = (DamageCause::Marked, Zxid(10));
    assert_eq!(look(&marked), InspectVerdict::Damaged { at: 0, cause, good_to, lost_to });
}

/// A file with one snapshot at zxid 60, all the log before it, and so many transactions behind it.
fn covered(behind: i64) -> (Vec<u8>, Model) {
    let options = StoreOptions { follower_window: 1 << 20, keep_snapshots: 1, ..tiny() };
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &options);
    let mut state = Model::default();
    for zxid in 1..=60 + behind {
        if zxid == 61 {
            snapshot(&mut store, &state);
        }
        fill(&mut store, zxid..=zxid, 900);
        state.apply(Zxid(zxid), &[zxid as u8; 900]);
    }
    if behind == 0 {
        snapshot(&mut store, &state);
    }
    assert!(store.sb().log_base_lseq + 2 < store.log.lseq, "the log was released");
    (disk.image(), state)
}

fn snapshot(store: &mut Store, state: &Model) {
    store.snapshot_begin(store.last_zxid(), state.size()).unwrap();
    state.entries().iter().for_each(|entry| store.snapshot_push(entry).unwrap());
    store.snapshot_finish().unwrap();
    store.snapshot_wait().unwrap().outcome.unwrap();
}

#[test]
fn damage_before_a_whole_snapshot_is_told_and_the_file_is_good_unless_what_follows_is_damaged_too() {
    // S-41: a server starts on the one, and on the other it does not.
    let look = |image: &[u8]| {
        let mut told = Vec::new();
        let verdict = inspect_bytes(&image, false, &mut |line| {
            if let InspectLine::CoveredDamage { offset, .. } = line {
                told.push(offset);
            }
        });
        (verdict.unwrap(), told)
    };
    for behind in [0, 4] {
        let (mut image, owed) = covered(behind);
        let root = superblock(&image);
        let first = root.extent_at(root.log_extent(root.log_base_lseq).unwrap());
        let (later, _) = frame_of(&image, 60 + behind - 2);
        image[first as usize + 8] ^= 1;
        let (verdict, told) = look(&image);
        assert!(!matches!(verdict, InspectVerdict::Damaged { .. }), "{behind}: {verdict:?}");
        assert_eq!(told, [first]);
        let mut found = Model::default();
        recover_image(&image, &mut found).unwrap();
        assert!(found.same_state(&owed));
        if behind > 0 {
            image[later as usize + 8] ^= 1;
            let (verdict, told) = look(&image);
            assert!(matches!(verdict, InspectVerdict::Damaged { at, .. } if at == first), "{verdict:?}");
            assert_eq!(told, []);
            assert!(recovered(&image).is_err());
        }
    }
}

#[test]
fn only_what_is_wrong_for_good_is_damage_of_the_bytes() {
    // L-10: such a file is filled anew. One that could not be read this time is not, nor one that a newer release may take.
    let error = || OsError::from(&std::io::Error::other("a bad sector"));
    let refused = DamageCause::TxnRefused { zxid: Zxid(5), why: "no".to_owned() };
    let passing = [
        DamageCause::BehindTheEnd { at: 5, error: error() },
        DamageCause::LogUnreadable(error()),
        DamageCause::Unreadable(error()),
        refused,
        DamageCause::NoSnapshot(SnapshotFault::Unreadable(error())),
        DamageCause::NoWholeSnapshot(SnapshotFault::Refused("no".to_owned())),
    ];
    assert!(passing.iter().all(|cause| !cause.is_of_the_bytes()));
    let lasting = [
        DamageCause::NoSuperblock,
        DamageCause::SlotBad,
        DamageCause::Marked,
        DamageCause::CutShort { expected: 5 },
        DamageCause::NoSnapshot(SnapshotFault::Checksum { stored: 1, computed: 2 }),
        DamageCause::NoWholeSnapshot(SnapshotFault::NoHeader),
    ];
    assert!(lasting.iter().all(DamageCause::is_of_the_bytes));
}

#[test]
fn inspect_names_each_frame_by_its_kind_and_the_opening_that_wrote_it() {
    let disk = logged();
    open(&disk, &tiny()).truncate(Zxid(8)).unwrap();
    let mut told = Vec::new();
    inspect_bytes(&&disk.image()[..], false, &mut |line| {
        if let InspectLine::Frame { kind, incarnation, .. } = line {
            told.push((kind, incarnation));
        }
    })
    .unwrap();
    let mut expected = vec![("OPEN", 1), ("MARK", 1)];
    expected.extend([("TXNS", 1); 10]);
    expected.extend([("MARK", 2), ("TRUNC", 2)]);
    assert_eq!(told, expected);
}

#[test]
fn a_file_with_nothing_wrong_is_read_on_several_threads() {
    // What they find is what one finds, or they would not be asked (`damage.rs`).
    let (image, owed) = with_two_snapshots();
    for threads in [false, true] {
        let mut found = Model::default();
        let whole = parallel::recover(&&image[..], &superblock(&image), &mut found, threads);
        assert!(whole.is_some_and(|whole| whole.replayed > 0), "{threads}");
        assert!(found.same_state(&owed));
    }
}
