//! How a file comes to be, how it grows up, and what is never taken for one that is new.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::Model;
use super::crash::seeds;
use super::real::{Folder, append};
use super::sim_disk::SimDisk;
use super::world::{World, tiny};
use crate::ids::{Millis, Zxid};
use crate::store::layout::{EXTENTS_AT, MAP_HERE, SLOT_AT};
use crate::store::{Disk, EndOfLog, InspectVerdict, Record, Store, StoreError, StoreOptions, inspect};

// An embedded server for tests must not cost 33 MB of disk.
#[test]
fn a_new_file_takes_less_than_one_mib_and_grows_with_what_is_written() {
    let folder = Folder::new();
    let options = StoreOptions::default();
    let (mut store, _) = Store::open(&folder.file(), &options, &mut Model::default()).unwrap();
    for now in 0..50 {
        store.tick(Millis(now)).unwrap();
        std::thread::yield_now();
    }
    let size = || std::fs::metadata(folder.file()).map(|meta| (meta.len(), meta.blocks() * 512)).unwrap();
    let (len, used) = size();
    assert!(len <= 1 << 20 && used <= 2 << 20, "{len} bytes, {used} used");
    assert_eq!(store.stats().file_bytes, len);

    let mut model = Model::default();
    let (mut zxid, mut now) = (1, 50);
    while size().0 < 16 << 20 {
        append(&mut store, &mut model, zxid, 1, 20_000);
        (zxid, now) = (zxid + 1, now + 1);
        store.tick(Millis(now)).unwrap();
        assert!(zxid < 20_000, "{:?}", store.stats());
    }
    drop(store);
    let mut found = Model::default();
    Store::open(&folder.file(), &options, &mut found).unwrap();
    assert!(found.same_state(&model));
}

// A record that does not fit what the file has of its first extent.
#[test]
fn a_new_file_takes_the_largest_record_at_once() {
    let folder = Folder::new();
    let (mut store, _) = Store::open(&folder.file(), &StoreOptions::default(), &mut Model::default()).unwrap();
    let mut model = Model::default();
    append(&mut store, &mut model, 1, 1, 2 << 20);
    append(&mut store, &mut model, 2, 3, 2 << 20);
    drop(store);
    let mut found = Model::default();
    Store::open(&folder.file(), &StoreOptions::default(), &mut found).unwrap();
    assert!(found.same_state(&model));
}

// S-40 to S-43 while the first extent is not whole.
#[test]
fn a_small_new_file_survives_crashes_like_any_other() {
    // SC-54
    for seed in seeds(40) {
        let options = StoreOptions {
            extent_size: 64 << 10,
            initial_size: 64 << 10,
            max_size: 3 << 20,
            max_record: 8 << 10,
            snapshot_rate: 0,
            small_extents: true,
            log_window: 100 << 10,
            ..StoreOptions::default()
        };
        let mut world = World::new(seed, options);
        if let Err(wrong) = world.run(6) {
            panic!("{wrong}\nreplay: ZOA_SEED={seed} cargo test --lib a_small_new_file");
        }
    }
}

/// A real file with something in it.
fn served(folder: &Folder) -> Vec<u8> {
    let (mut store, _) = Store::open(&folder.file(), &StoreOptions::default(), &mut Model::default()).unwrap();
    append(&mut store, &mut Model::default(), 1, 2000, 300);
    store.close().unwrap();
    std::fs::read(folder.file()).unwrap()
}

fn is_refused_and_left_alone(folder: &Folder, content: &[u8], what: &str) {
    std::fs::write(folder.file(), content).unwrap();
    let refused = Store::open(&folder.file(), &StoreOptions::default(), &mut Model::default()).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. } | StoreError::Foreign { .. }), "{what}: {refused}");
    assert!(std::fs::read(folder.file()).unwrap() == content, "{what}: changed");
    let verdict = inspect(&folder.file(), &mut |_| ());
    let says_so = matches!(verdict, Ok(InspectVerdict::Damaged { .. }) | Err(StoreError::Foreign { .. }));
    assert!(says_so, "{what}: {verdict:?}");
}

// S-41: silent total loss.
#[test]
fn a_file_that_lost_its_head_is_refused_and_left_alone() {
    let folder = Folder::new();
    let image = served(&folder);
    for len in [EXTENTS_AT as usize, 132 << 10, EXTENTS_AT as usize + 4096, image.len()] {
        let mut zeroed = image.clone();
        zeroed[..len].fill(0);
        is_refused_and_left_alone(&folder, &zeroed, "zeroed");
    }
    for len in [0, 1, 4096, 100_000, EXTENTS_AT as usize] {
        is_refused_and_left_alone(&folder, &vec![0; len], "nothing but zeros");
        is_refused_and_left_alone(&folder, &image[..len.min(image.len())], "cut");
    }
    // The head of a file that is being created, over one that was served.
    let mut first = image.clone();
    for mirror in SLOT_AT[0] {
        first[mirror as usize..mirror as usize + 16384].fill(0);
    }
    first[EXTENTS_AT as usize..].fill(0);
    is_refused_and_left_alone(&folder, &first, "one slot");
}

#[test]
fn what_a_creation_cut_short_has_left_is_made_anew_and_goes() {
    let folder = Folder::new();
    let left = folder.file().with_extension("db.creating");
    for content in [b"".to_vec(), vec![0; 300_000], b"half".to_vec()] {
        std::fs::write(&left, &content).unwrap();
        assert_eq!(inspect(&left, &mut |_| ()), Ok(InspectVerdict::Unfinished));
        let (store, report) = Store::open(&folder.file(), &StoreOptions::default(), &mut Model::default()).unwrap();
        assert_eq!(report.end, EndOfLog::Created);
        assert!(!left.exists());
        store.close().unwrap();
        std::fs::remove_file(folder.file()).unwrap();
    }
    // One that comes to nothing leaves nothing.
    let options = StoreOptions { max_size: u64::MAX, extent_size: 64 << 20, ..StoreOptions::default() };
    let disk = crate::store::DiskFile::open(&folder.file()).unwrap();
    let second = Store::open(&folder.file(), &options, &mut Model::default()).unwrap_err();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    drop(disk);
    assert!(!left.exists() && !folder.file().exists());
}

fn reopen(disk: &Arc<SimDisk>, options: &StoreOptions) -> Result<(Store, Model), StoreError> {
    let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
    let mut found = Model::default();
    Store::open_on(disk, options, &mut found).map(|(store, _)| (store, found))
}

// A file that is full for good until it may be larger: the map of its extents grows with it.
#[test]
fn a_larger_limit_helps_a_file_that_is_full_and_its_map_survives_rot() {
    let size = |extents: u64| (128 << 10) + extents * (16 << 10);
    let full = StoreOptions { max_size: size(MAP_HERE as u64), ..tiny() };
    let disk = Arc::new(SimDisk::new(1));
    let (mut store, mut model) = reopen(&disk, &full).unwrap();
    let mut zxid = 0;
    let mut fill = |store: &mut Store, model: &mut Model, until: u64| {
        while store.stats().file_bytes < until {
            let txn = vec![zxid as u8; 8000];
            zxid += 1;
            match store.append(&[Record { zxid: Zxid(zxid), txn: &txn }]) {
                Ok(()) => model.apply(Zxid(zxid), &txn),
                Err(StoreError::Full { .. }) => {
                    zxid -= 1;
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    fill(&mut store, &mut model, u64::MAX);
    assert_eq!(store.stats().file_bytes, full.max_size);
    drop(store);

    let larger = StoreOptions { max_size: size(2000), ..tiny() };
    let disk = Arc::new(SimDisk::of_image(disk.image(), 2));
    let (mut store, found) = reopen(&disk, &larger).unwrap();
    assert!(found.same_state(&model));
    fill(&mut store, &mut model, size(MAP_HERE as u64 + 40));
    let map_at = store.sb().map_extent.map(|index| store.sb().extent_at(index)).expect("there is a rest of the map");
    let generation = store.sb().generation;
    drop(store);

    let open = |image: Vec<u8>| reopen(&Arc::new(SimDisk::of_image(image, 3)), &larger);
    let image = disk.image();
    assert!(open(image.clone()).unwrap().1.same_state(&model));
    let quarter = 4096;
    for copy in 0..4 {
        let mut rotten = image.clone();
        rotten[map_at as usize + copy * quarter + 17] ^= 1;
        assert!(open(rotten).unwrap().1.same_state(&model), "copy {copy}");
    }
    let slot = (generation % 2) as usize;
    let mut rotten = image.clone();
    for mirror in 0..2 {
        rotten[map_at as usize + (slot * 2 + mirror) * quarter + 17] ^= 1;
    }
    assert!(matches!(open(rotten), Err(StoreError::Corrupt { .. })));

    // A snapshot releases what it was full of.
    let (mut store, _) = open(image).unwrap();
    for _ in 0..3 {
        store.snapshot_begin(store.last_zxid(), 70_000).unwrap();
        for entry in model.entries() {
            store.snapshot_push(&entry).unwrap();
        }
        store.snapshot_finish().unwrap();
        let done = (0..50).find_map(|i| store.tick(Millis(i)).unwrap()).expect("the snapshot ends");
        assert!(done.outcome.is_ok(), "{done:?}");
    }
    assert!(store.space().free > 1000, "{:?}", store.space());
}
