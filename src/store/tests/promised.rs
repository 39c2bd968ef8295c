//! What the bytes of the log promise to the next start, read from the image by the document's offsets.

use std::io;
use std::sync::{Arc, Mutex};

use super::Model;
use super::sim_disk::SimDisk;
use super::world::tiny;
use crate::ids::{Millis, Zxid};
use crate::store::access::{Disk, ReadAt};
use crate::store::chain::Chain;
use crate::store::frame::{FrameHead, FrameKind, Records, record_len};
use crate::store::layout::{EXTENTS_AT, PAGE, SLOT_AT, SLOT_LEN, frame, record, sb};
use crate::store::recover::recover_image;
use crate::store::{EndOfLog, Record, Store, StoreError, StoreOptions, SyncMode};

fn open(disk: &Arc<SimDisk>, options: &StoreOptions) -> Store {
    let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
    Store::open_on(disk, options, &mut Model::default()).unwrap().0
}

fn append(store: &mut Store, zxid: i64, len: usize) {
    store.append(&[Record { zxid: Zxid(zxid), txn: &vec![zxid as u8; len] }]).unwrap();
}

fn u64_at(image: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(image[at..at + 8].try_into().unwrap())
}

/// (place, number, kind, number that was synced) of every frame that lies in its own place, in order of the places.
fn frames(image: &[u8]) -> Vec<(usize, u64, u16, u64)> {
    let places = (EXTENTS_AT as usize..image.len()).step_by(frame::ALIGN);
    let here = places.filter(|at| {
        image[*at..at + 4] == frame::MAGIC_VALUE.to_le_bytes() && u64_at(image, at + frame::OWN_OFFSET) == *at as u64
    });
    here.map(|at| {
        let kind = u16::from_le_bytes(image[at + frame::KIND..at + frame::KIND + 2].try_into().unwrap());
        (at, u64_at(image, at + frame::FSEQ), kind, u64_at(image, at + frame::SYNCED_FSEQ))
    })
    .collect()
}

const OPEN: u16 = 1;

// P5: without it a torn tail cannot be told from damage.
#[test]
fn every_frame_names_the_last_frame_before_its_write_as_synced() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    for zxid in 1..=30 {
        append(&mut store, zxid, 700);
    }
    let mut all = frames(&disk.image());
    all.sort_by_key(|one| one.1);
    assert!(all.len() > 30 && all.iter().filter(|one| one.2 == OPEN).count() > 1, "across extents: {all:?}");
    for pair in all.windows(2) {
        assert_eq!(pair[1].1, pair[0].1 + 1, "numbers have no gap without a restart");
        // An OPEN shares the write of the frame behind it.
        let expected = if pair[0].2 == OPEN { pair[0].3 } else { pair[0].1 };
        assert_eq!(pair[1].3, expected, "{pair:?}");
    }
    assert_eq!(all[0].3, 0);
}

#[test]
fn frames_name_nothing_as_synced_where_nothing_is_synced() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &StoreOptions { sync: SyncMode::Never, ..tiny() });
    for zxid in 1..=5 {
        append(&mut store, zxid, 100);
    }
    assert!(frames(&disk.image()).iter().all(|one| one.3 == 0));
}

// P3: a torn frame may come back from the device later, so its number must not belong to another one.
#[test]
fn a_number_that_was_seen_on_the_disk_is_never_used_again() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    for zxid in 1..=4 {
        append(&mut store, zxid, 600);
    }
    drop(store);
    let mut image = disk.image();
    let all = frames(&image);
    let (place, highest) = all.iter().map(|one| (one.0, one.1)).max_by_key(|one| one.1).unwrap();
    // Its header is whole and its body is not: a write that the power cut.
    image[place + frame::HEADER_LEN + 100] ^= 1;
    let disk = Arc::new(SimDisk::of_image(image, 2));
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let (mut store, report) = Store::open_on(shared, &tiny(), &mut Model::default()).unwrap();
    assert_eq!((report.end, report.last_zxid), (EndOfLog::Cut { at: place as u64 }, Zxid(3)));
    append(&mut store, 4, 50);
    append(&mut store, 5, 50);
    let after = frames(&disk.image());
    let number = |at: usize| after.iter().find(|one| one.0 == at).map(|one| one.1);
    assert!(number(place).is_some_and(|number| number > highest), "{highest} again at {place}: {after:?}");
    let mut numbers: Vec<u64> = after.iter().map(|one| one.1).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), after.len(), "each number once");
}

/// Writes a field of every superblock copy that is there anew, with its checksum.
fn patch(image: &mut [u8], field: usize, change: impl Fn(u64) -> u64) {
    for at in SLOT_AT.iter().flatten().map(|at| *at as usize) {
        if image[at..at + 8].iter().all(|b| *b == 0) {
            continue;
        }
        let value = change(u64_at(image, at + field));
        image[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
        let crc = crc32c::crc32c(&image[at + sb::SLOT_LEN..at + SLOT_LEN]);
        image[at + sb::CRC..at + sb::CRC + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

fn is_damage(image: &[u8]) -> bool {
    match recover_image(image, &mut Model::default()) {
        Ok(_) => false,
        Err(StoreError::Corrupt { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

// S-41, D-11
#[test]
fn a_clean_stop_is_believed_only_with_the_frame_and_the_place_it_names() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    for zxid in 1..=3 {
        append(&mut store, zxid, 100);
    }
    store.close().unwrap();
    let image = disk.image();
    assert_eq!(recover_image(&image, &mut Model::default()).unwrap().end, EndOfLog::Clean);
    for (field, step) in [(sb::END_FSEQ, 1), (sb::END_OFFSET, frame::ALIGN as u64)] {
        for change in [u64::wrapping_add, u64::wrapping_sub] {
            let mut other = image.clone();
            patch(&mut other, field, |value| change(value, step));
            assert!(is_damage(&other), "field at {field}");
        }
    }
}

// S-41: the superblock is a witness of its own, where no later frame is left.
#[test]
fn a_frame_that_the_superblock_knows_to_be_durable_is_missed() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    for zxid in 1..=3 {
        append(&mut store, zxid, 100);
    }
    store.set_epochs(1, 1).unwrap();
    append(&mut store, 4, 100);
    let image = disk.image();
    let mut all = frames(&image);
    all.sort_by_key(|one| one.1);
    let named = |number: u64| all.iter().find(|one| one.1 == number).unwrap().0;
    let (last, known) = (all[all.len() - 1].1, all[all.len() - 2].1);
    // Everything from one frame on is gone.
    let cut_from = |number: u64| {
        let mut cut = image.clone();
        cut[named(number)..].fill(0);
        cut
    };
    let report = recover_image(&cut_from(last), &mut Model::default()).unwrap();
    assert_eq!((report.end, report.last_zxid), (EndOfLog::Cut { at: named(last) as u64 }, Zxid(3)), "it was not known");
    for (number, good) in [(known, 2), (known - 1, 1)] {
        match recover_image(&cut_from(number), &mut Model::default()) {
            Err(StoreError::Corrupt { offset, good_to, lost_to, .. }) => {
                assert_eq!(offset, named(number) as u64);
                assert_eq!((good_to, lost_to), (Zxid(good), Some(Zxid(3))));
            }
            other => panic!("{number}: {other:?}"),
        }
    }
}

/// A disk that writes down in which order it was asked to keep what.
struct Noted(SimDisk, Mutex<Vec<&'static str>>);

impl Noted {
    fn note(&self, what: &'static str) {
        self.1.lock().unwrap().push(what);
    }
}

impl ReadAt for Noted {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_at(buf, at)
    }
}

impl Disk for Noted {
    fn grow(&self, len: u64) -> io::Result<()> {
        self.0.grow(len)
    }
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.note("write");
        self.0.write_at(buf, at)
    }
    fn write_at_synced(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.note("write synced");
        self.0.write_at_synced(buf, at)
    }
    fn write_at_direct(&self, buf: &[u8], at: u64) -> io::Result<()> {
        self.note("write");
        self.0.write_at_direct(buf, at)
    }
    fn read_at_direct(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_at_direct(buf, at)
    }
    fn sync_all(&self) -> io::Result<()> {
        self.note("sync");
        self.0.sync_all()
    }
    fn writer(&self) -> &'static str {
        "noted"
    }
    fn now_us(&self) -> u64 {
        self.0.now_us()
    }
    fn random(&self, buf: &mut [u8]) -> io::Result<()> {
        self.0.random(buf)
    }
    fn is_being_created(&self) -> bool {
        self.0.is_being_created()
    }
    fn put_in_place(&self) -> io::Result<()> {
        self.note("in place");
        self.0.put_in_place()
    }
}

// D-12: else a power cut takes the file away with everything that was acknowledged since.
#[test]
fn a_new_file_is_durable_before_its_name_and_its_name_before_the_file_is_used() {
    let disk = Arc::new(Noted(SimDisk::new(1), Mutex::default()));
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let (store, _) = Store::open_on(shared, &tiny(), &mut Model::default()).unwrap();
    let notes = std::mem::take(&mut *disk.1.lock().unwrap());
    let name = notes.iter().position(|note| *note == "in place").expect("its name is made durable");
    let before = &notes[..name];
    let last_write = before.iter().rposition(|note| *note == "write");
    assert!(last_write < before.iter().rposition(|note| *note == "sync"), "{notes:?}");
    assert_eq!(notes.iter().filter(|note| **note == "in place").count(), 1);
    drop(store);
    // An old file has its name.
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
    drop(Store::open_on(shared, &tiny(), &mut Model::default()).unwrap());
    assert!(!disk.1.lock().unwrap().contains(&"in place"));
}

#[test]
fn a_file_that_cannot_be_put_in_its_place_is_an_error() {
    let folder = super::real::Folder::new();
    let disk = crate::store::disk::DiskFile::open(&folder.file()).unwrap();
    assert!(disk.is_being_created() && !folder.file().exists());
    disk.put_in_place().unwrap();
    assert!(!disk.is_being_created() && folder.file().exists());
    assert!(disk.put_in_place().is_err(), "there is nothing left to rename");
}

const MARK: u16 = 3;

// An idle server says once, after a while, that everything before is durable.
#[test]
fn a_mark_follows_the_last_records_once_and_not_too_early() {
    let disk = Arc::new(SimDisk::new(1));
    let options = StoreOptions { mark_after_ms: 50, ..tiny() };
    let mut store = open(&disk, &options);
    let all = || frames(&disk.image()).iter().filter(|one| one.2 == MARK).count();
    // Opening a file says so at once.
    let opened = all();
    let marks = || all() - opened;
    for now in [0, 50, 500] {
        store.tick(Millis(now)).unwrap();
    }
    assert_eq!(marks(), 0, "nothing was written");
    append(&mut store, 1, 10);
    store.tick(Millis(1000)).unwrap();
    store.tick(Millis(1049)).unwrap();
    assert_eq!(marks(), 0, "49 ms");
    append(&mut store, 2, 10);
    store.tick(Millis(1050)).unwrap();
    assert_eq!(marks(), 0, "records came in between");
    store.tick(Millis(1100)).unwrap();
    assert_eq!(marks(), 1);
    for now in [1200, 1300] {
        store.tick(Millis(now)).unwrap();
    }
    assert_eq!(marks(), 1, "once");
    append(&mut store, 3, 10);
    store.tick(Millis(2000)).unwrap();
    store.tick(Millis(2050)).unwrap();
    assert_eq!(marks(), 2);
}

#[test]
fn what_is_between_records_and_behind_frames_is_zeros() {
    // As the document says, whatever lay in memory before.
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(&disk, &tiny());
    let mut zxid = 0;
    for len in (0..40).rev().chain([4000, 1, 2000, 3]) {
        let txn = vec![0xff; len];
        let records = [1, 2, 3].map(|more| Record { zxid: Zxid(zxid + more), txn: &txn });
        store.append(&records).unwrap();
        zxid += 3;
    }
    let (end, page) = (store.log.at as usize, (store.log.at as usize).next_multiple_of(PAGE));
    let image = disk.image();
    assert!(image[end..page].iter().all(|byte| *byte == 0), "behind the last frame");
    let visit = &mut |head: &FrameHead, body: &[u8]| {
        let mut padded = 0;
        if head.kind == FrameKind::Txns {
            for one in Records::of(body) {
                let txn = one.unwrap().txn;
                let from = padded + record::HEADER_LEN + txn.len();
                padded += record_len(txn.len());
                assert!(body[from..padded].iter().all(|byte| *byte == 0), "behind {} bytes", txn.len());
            }
        }
        let from = head.own_offset as usize + frame::HEADER_LEN + body.len();
        let to = (head.own_offset + head.len()) as usize;
        assert!(image[from..to].iter().all(|byte| *byte == 0), "behind frame {}", head.fseq);
        Ok(())
    };
    let chain = Chain::walk(&&image[..], store.sb(), visit).unwrap();
    assert_eq!(chain.records, 132);
}
