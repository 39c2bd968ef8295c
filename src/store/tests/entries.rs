//! Entries of a snapshot wherever chunks cut them: in the middle, in their length, at their end.

use std::sync::Arc;

use super::crafted::superblock;
use super::open;
use super::sim_disk::SimDisk;
use super::world::tiny;
use crate::ids::Zxid;
use crate::store::layout::{PAGE, chunk};
use crate::store::recover::recover_image;
use crate::store::{Record, Replay, parallel};

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
