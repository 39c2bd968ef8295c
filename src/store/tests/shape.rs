//! What a file says of itself, wherever its map lies, and what is refused before a file is made.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Model;
use super::crafted::{superblock, with_two_snapshots};
use super::sim_disk::SimDisk;
use super::world::tiny;
use crate::ids::Zxid;
use crate::store::cause::{OptionRange, SuperblockFault};
use crate::store::layout::{MAP_HERE, SLOT_AT, SLOT_LEN, sb};
use crate::store::superblock::{Copies, CopyFault, Extent, ExtentState, Superblock};
use crate::store::{
    Disk, InspectLine, InspectVerdict, MemberState, Soundness, Store, StoreError, StoreOptions, inspect_bytes,
};

#[test]
fn options_that_cannot_be_are_refused_with_what_could() {
    let kib = 1 << 10;
    let ranges = [
        (StoreOptions { extent_size: 24 * kib, ..tiny() }, OptionRange::PowerOfTwo { least: 16 * kib, most: 64 << 20 }),
        (StoreOptions { extent_size: 8 * kib, ..tiny() }, OptionRange::PowerOfTwo { least: 16 * kib, most: 64 << 20 }),
        (StoreOptions { small_extents: false, ..tiny() }, OptionRange::PowerOfTwo { least: 4 << 20, most: 64 << 20 }),
        (
            StoreOptions { max_size: 8 * 16 * kib - 1, ..tiny() },
            OptionRange::ExtentsAtLeast { extents: 8, bytes: 8 * 16 * kib },
        ),
        (StoreOptions { max_record: 0, ..tiny() }, OptionRange::HalfAnExtent { bytes: 8 * kib }),
        (StoreOptions { max_record: 8 * kib + 1, ..tiny() }, OptionRange::HalfAnExtent { bytes: 8 * kib }),
        (StoreOptions { keep_snapshots: 0, ..tiny() }, OptionRange::OneOrTwo),
        (StoreOptions { keep_snapshots: 3, ..tiny() }, OptionRange::OneOrTwo),
    ];
    for (options, expected) in ranges {
        match options.check() {
            Err(StoreError::Option { allowed, .. }) => assert_eq!(allowed, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
    }
    for good in [StoreOptions { max_size: 8 * 16 * kib, ..tiny() }, StoreOptions { keep_snapshots: 1, ..tiny() }] {
        good.check().unwrap();
    }
}

#[test]
fn inspect_tells_the_superblocks_and_what_the_newest_says() {
    let (image, _) = with_two_snapshots();
    let newest = superblock(&image);
    let mut places = Vec::new();
    let mut root = None;
    let (mut frames, mut snapshots) = (Vec::new(), Vec::new());
    let verdict = inspect_bytes(&&image[..], true, &mut |line| match line {
        InspectLine::Superblock(one) => places.push((one.slot, one.mirror)),
        InspectLine::Root { file_uuid, server_id, extent_size, incarnation, clean, .. } => {
            root = Some((file_uuid, server_id, extent_size, incarnation, clean));
        }
        InspectLine::Snapshot { slot, id, zxid, bytes, entries, log_after, whole } => {
            assert_eq!((whole, log_after), (Ok(()), zxid));
            snapshots.push((slot, id, zxid, bytes, entries));
        }
        InspectLine::Frame { offset, len, fseq, .. } => frames.push((offset, offset + len, fseq)),
        _ => {}
    })
    .unwrap();
    assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    let expected = (newest.file_uuid, newest.server_id, newest.extent_size(), newest.incarnation, newest.clean());
    assert_eq!(root, Some(expected));
    let kept = newest.snapshots.iter().enumerate().filter_map(|(slot, kept)| Some((slot, (*kept)?)));
    let kept: Vec<_> = kept.map(|(slot, kept)| (slot, kept.id, kept.zxid, kept.bytes, kept.entries)).collect();
    assert!(kept.len() == 2 && snapshots == kept, "{snapshots:?}, {kept:?}");
    assert!(frames.is_sorted_by(|a, b| a.2 < b.2), "{frames:?}");
    let (InspectVerdict::Good { end: at } | InspectVerdict::Torn { at, .. }) = verdict else { panic!("{verdict:?}") };
    assert_eq!(at, frames.last().unwrap().1, "the next frame goes behind the last");
}

/// A file whose map has 40 extents more than a superblock has room for.
fn with_a_large_map() -> (Vec<u8>, Superblock) {
    let (mut image, _) = with_two_snapshots();
    let mut large = superblock(&image);
    large.map.resize(MAP_HERE + 40, Extent::FREE);
    large.map[MAP_HERE] = Extent { state: ExtentState::Map, order: 0 };
    for index in [1, MAP_HERE + 1, MAP_HERE + 2, MAP_HERE + 39] {
        if large.map[index].state == ExtentState::Free {
            large.map[index] = Extent { state: ExtentState::Bad, order: 0 };
        }
    }
    large.map_extent = Some(MAP_HERE as u32);
    large.check_itself().unwrap();
    image.resize(large.file_len() as usize, 0);
    for (slot, mirrors) in SLOT_AT.iter().enumerate() {
        for at in mirrors {
            let mut copy = large.clone();
            copy.generation = if large.generation % 2 == slot as u64 { large.generation } else { large.generation - 1 };
            copy.encode(*at, &mut image[*at as usize..*at as usize + SLOT_LEN]);
            let (rest_at, rest) = (copy.map_rest_at(*at).unwrap() as usize, copy.map_rest());
            image[rest_at..rest_at + rest.bytes().len()].copy_from_slice(rest.bytes());
        }
    }
    (image, large)
}

#[test]
fn a_map_that_goes_on_elsewhere_is_read_back_whole_and_each_copy_has_a_place_of_its_own() {
    let (image, large) = with_a_large_map();
    let places: BTreeSet<u64> = SLOT_AT.iter().flatten().map(|at| large.map_rest_at(*at).unwrap()).collect();
    let inside = large.extent_at(MAP_HERE as u32)..large.extent_end(MAP_HERE as u32);
    assert!(places.len() == 4 && places.iter().all(|at| inside.contains(at)), "{places:?}");
    let copies = Copies::read(&&image[..]).unwrap();
    assert!(copies.newest().unwrap().map == large.map && copies.repairs().is_empty());
    let file = superblock(&image);
    assert_eq!((file.generation, file.map_extent), (large.generation, large.map_extent));
    // S-41: a copy whose rest is damaged is none; the others do.
    for at in &places {
        let mut damaged = image.clone();
        damaged[*at as usize + 3] ^= 1;
        let copies = Copies::read(&&damaged[..]).unwrap();
        let [(slot, mirror)] = copies.repairs()[..] else { panic!("{:?}", copies.repairs()) };
        let place = *at as usize..*at as usize + large.map_rest().bytes().len();
        let (stored, computed) = (crc32c::crc32c(&image[place.clone()]), crc32c::crc32c(&damaged[place]));
        let fault = CopyFault::Bad(SuperblockFault::MapChecksum { stored, computed });
        assert_eq!(copies.found[slot][mirror], Err(fault));
        assert!(copies.choose().unwrap().map == large.map);
    }
    let mut lost = image;
    places.iter().for_each(|at| lost[*at as usize + 3] ^= 1);
    assert!(Copies::read(&&lost[..]).unwrap().newest().is_none());
}

#[test]
fn a_map_goes_on_elsewhere_exactly_when_it_has_to() {
    let (_, large) = with_a_large_map();
    let mut full = large.clone();
    full.map.truncate(MAP_HERE);
    full.map_extent = None;
    full.check_itself().unwrap();
    assert_eq!(full.map_rest_at(SLOT_AT[0][0]), None);
    assert!(Superblock { map_extent: None, ..large.clone() }.check_itself().is_err());
    full.map[MAP_HERE - 1] = Extent { state: ExtentState::Map, order: 0 };
    full.map_extent = Some(MAP_HERE as u32 - 1);
    assert!(full.check_itself().is_err());
}

#[test]
fn a_damaged_file_that_was_cut_gets_its_length_back_and_is_whole_once_it_is_filled() {
    // L-10
    let (image, _) = with_two_snapshots();
    let before = superblock(&image);
    for cut in [0, 20_000] {
        let disk = Arc::new(SimDisk::of_image(image[..image.len() - cut].to_vec(), 1));
        let mut store = Store::open_to_be_filled(Arc::clone(&disk) as Arc<dyn Disk>, &tiny()).unwrap();
        assert!(disk.image().len() as u64 >= before.file_len(), "{cut} bytes were missing");
        assert!(store.is_to_be_filled());
        let marked = superblock(&disk.image());
        assert_eq!(marked.incarnation, before.incarnation + 1);
        assert_eq!(marked.flags & (sb::FLAG_DAMAGED | sb::FLAG_CLEAN), sb::FLAG_DAMAGED);
        assert_eq!(store.member_state().soundness, Soundness::Damaged);
        let again = Store::open_on(Arc::clone(&disk) as Arc<dyn Disk>, &tiny(), &mut Model::default());
        assert!(matches!(again, Err(StoreError::Corrupt { .. })), "it counts for nothing before");
        let mut state = Model::default();
        state.apply(Zxid(900), b"filled");
        let kept = MemberState {
            soundness: Soundness::Sound,
            accepted_epoch: 3,
            current_epoch: 3,
            ..store.member_state().clone()
        };
        store.install_begin(Zxid(900), state.size(), &kept).unwrap();
        state.entries().iter().for_each(|entry| store.snapshot_push(entry).unwrap());
        store.snapshot_finish().unwrap();
        assert!(store.snapshot_wait().unwrap().outcome.is_ok());
        assert_eq!((store.stats().snapshots, store.last_zxid()), (1, Zxid(900)));
        drop(store);
        let mut found = Model::default();
        let (store, _) = Store::open_on(disk as Arc<dyn Disk>, &tiny(), &mut found).unwrap();
        assert!(found.same_state(&state) && !store.is_to_be_filled());
        assert_eq!(store.member_state(), &kept);
    }
}

#[test]
fn a_state_is_not_installed_with_texts_that_the_superblock_has_no_room_for() {
    let (image, owed) = with_two_snapshots();
    let disk = Arc::new(SimDisk::of_image(image, 1));
    let (mut store, _) = Store::open_on(Arc::clone(&disk) as Arc<dyn Disk>, &tiny(), &mut Model::default()).unwrap();
    let text = |size| crate::store::KeptConfig { version: 1, text: vec![b'x'; size] };
    let too_long =
        MemberState { config: text(MemberState::TEXTS_MAX), config_seen: text(1), ..store.member_state().clone() };
    let refused = store.install_begin(Zxid(owed.last + 1), 1000, &too_long);
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert!(!store.snapshot_running() && store.last_zxid() == Zxid(owed.last));
    let fits = MemberState { config: text(MemberState::TEXTS_MAX - 1), ..too_long };
    store.install_begin(Zxid(owed.last + 1), 1000, &fits).unwrap();
    store.snapshot_abort();
}
