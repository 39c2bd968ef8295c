//! Entries of a snapshot wherever chunks cut them: in the middle, in their length, at their end.

use std::sync::Arc;

use super::crafted::superblock;
use super::open;
use super::sim_disk::SimDisk;
use super::world::tiny;
use crate::ids::Zxid;
use crate::store::layout::{PAGE, chunk};
use crate::store::recover::recover_image;
use crate::store::{Record, Replay, StoreOptions, parallel};

/// Bytes of entries that a chunk has.
const PAYLOAD: usize = PAGE - chunk::HEADER_LEN;

/// Keeps what it is given.
#[derive(Default)]
struct Kept(Vec<Vec<u8>>);

impl Replay for Kept {
    fn snapshot_begin(&mut self, _: Zxid) {
        self.0.clear();
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.0.push(entry.to_vec());
        Ok(())
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn txn(&mut self, _: Zxid, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn entries_come_back_whole_wherever_a_chunk_ends() {
    // S-40: of the first so many bytes are left to its chunk, for the length of the next and what that has.
    for left in 0..12 {
        let entries: Vec<Vec<u8>> = [PAYLOAD - 4 - left, 0, 3, 2 * PAYLOAD + 5, 0, PAYLOAD - 4, 0, 1]
            .iter()
            .enumerate()
            .map(|(number, size)| vec![number as u8 + 1; *size])
            .collect();
        let disk = Arc::new(SimDisk::new(1));
        let mut store = open(&disk, &tiny());
        store.append(&[Record { zxid: Zxid(1), txn: b"x" }]).unwrap();
        let bytes: usize = entries.iter().map(|entry| entry.len() + 4).sum();
        store.snapshot_begin(Zxid(1), bytes as u64).unwrap();
        entries.iter().for_each(|entry| store.snapshot_push(entry).unwrap());
        store.snapshot_finish().unwrap();
        assert_eq!(store.snapshot_wait().unwrap().outcome, Ok(bytes as u64));
        let image = disk.image();
        let mut found = Kept::default();
        let report = recover_image(&image, &mut found).unwrap();
        assert!(found.0 == entries, "{left} bytes left");
        assert_eq!(report.snapshot_entries, entries.len() as u64);
        for threads in [false, true] {
            let mut found = Kept::default();
            let whole = parallel::recover(&&image[..], &superblock(&image), &mut found, threads);
            assert!(whole.is_some() && found.0 == entries, "{left} bytes left, threads: {threads}");
        }
    }
}

#[test]
fn a_state_of_many_batches_is_taken_in_once_and_in_order() {
    // S-40: more than is handed over together, of the snapshot and of the log behind it.
    let disk = Arc::new(SimDisk::new(1));
    let options = StoreOptions { extent_size: 256 << 10, max_size: 64 << 20, max_record: 128 << 10, ..tiny() };
    let mut store = open(&disk, &options);
    store.append(&[Record { zxid: Zxid(1), txn: b"x" }]).unwrap();
    store.snapshot_begin(Zxid(1), 4 << 20).unwrap();
    for number in 0..60_u8 {
        store.snapshot_push(&vec![number; 50_000]).unwrap();
    }
    store.snapshot_finish().unwrap();
    store.snapshot_wait().unwrap().outcome.unwrap();
    for zxid in 2..=60 {
        store.append(&[Record { zxid: Zxid(zxid), txn: &vec![zxid as u8; 60_000] }]).unwrap();
    }
    let image = disk.image();
    for threads in [false, true] {
        let mut found = Logged::default();
        let whole = parallel::recover(&&image[..], &superblock(&image), &mut found, threads).unwrap();
        assert_eq!(whole.replayed, 59);
        assert!(found.0.0.iter().map(|entry| entry[0]).eq(0..60), "threads: {threads}");
        assert!(found.1.iter().copied().eq(2..=60), "threads: {threads}");
    }
}

/// Keeps which transactions came as well.
#[derive(Default)]
struct Logged(Kept, Vec<i64>);

impl Replay for Logged {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        self.1.clear();
        self.0.snapshot_begin(zxid);
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        self.0.snapshot_entry(entry)
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        self.0.snapshot_end()
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        assert!(txn.len() == 60_000 && txn.iter().all(|byte| *byte == zxid.0 as u8));
        self.1.push(zxid.0);
        Ok(())
    }
}
