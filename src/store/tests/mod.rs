//! The store against a plain model: on real files, on simulated disks that crash, fill up and rot.

mod asked;
mod beside;
mod birth;
mod bounds;
mod covered;
mod crafted;
mod crash;
mod damage;
mod document;
mod entries;
mod faults;
mod figures;
pub(crate) mod full_disk;
mod history;
mod leaving;
mod member;
mod promised;
pub(crate) mod real;
mod retry;
mod shape;
pub(crate) mod sim_disk;
mod slow;
mod story;
mod told;
mod words;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use sim_disk::SimDisk;

use crate::ids::Zxid;
use crate::store::{Disk, Record, Replay, Store, StoreError, StoreOptions};

/// What is on this disk, or a new file.
fn open(disk: &Arc<SimDisk>, options: &StoreOptions) -> Store {
    let shared: Arc<dyn Disk> = Arc::clone(disk) as _;
    Store::open_on(shared, options, &mut Model::default()).unwrap().0
}

/// Transactions of these zxids, each of so many bytes that tell it.
fn fill(store: &mut Store, zxids: std::ops::RangeInclusive<i64>, size: usize) {
    for zxid in zxids {
        store.append(&[Record { zxid: Zxid(zxid), txn: &vec![zxid as u8; size] }]).unwrap();
    }
}

/// What the store must give back: a state that any loss, repetition or reordering of transactions changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Model {
    /// The last bytes written to each of a few keys, and how often.
    keys: BTreeMap<u8, (u64, Vec<u8>)>,
    pub(crate) last: i64,
    /// Transactions seen since the snapshot.
    pub(crate) seen: Vec<i64>,
    loading: bool,
    /// Which transaction set a key, where that was seen.
    set_by: BTreeMap<u8, i64>,
    /// What a snapshot left to the log and has not come from there: the key and the transaction.
    left: BTreeMap<u8, i64>,
}

/// Bit of a key whose bytes a snapshot leaves to the log: the transaction is there in their place.
const LEFT: u8 = 0x80;

impl Model {
    pub(crate) fn apply(&mut self, zxid: Zxid, txn: &[u8]) {
        let slot = self.keys.entry(txn.first().copied().unwrap_or(0) % 8).or_default();
        slot.0 = slot.0.wrapping_mul(31).wrapping_add(zxid.0 as u64);
        slot.1 = txn.to_vec();
        self.set_by.insert(txn.first().copied().unwrap_or(0) % 8, zxid.0);
        self.last = zxid.0;
    }

    /// Begins a snapshot of the state in `store`, and gives its entries: they leave to the log what they may.
    pub(crate) fn snapshot_in(&self, store: &mut Store) -> Result<Vec<Vec<u8>>, StoreError> {
        let after = store.snapshot_begin(Zxid(self.last), self.size())?;
        let (mut all, mut left) = (0, 0);
        let mut entries = self.entries();
        for entry in &mut entries {
            let by = self.set_by.get(&entry[0]).copied().unwrap_or(0);
            let bytes = entry.len() as u64 - 9;
            all += bytes;
            if after.is_some_and(|after| by > after.0) {
                left += bytes;
                entry[0] |= LEFT;
                entry.truncate(9);
                entry.extend_from_slice(&by.to_le_bytes());
            }
        }
        store.snapshot_has_large(all, left);
        Ok(entries)
    }

    /// The state as snapshot entries.
    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        let entry = |(key, (mix, bytes)): (&u8, &(u64, Vec<u8>))| {
            let mut out = vec![*key];
            out.extend_from_slice(&mix.to_le_bytes());
            out.extend_from_slice(bytes);
            out
        };
        self.keys.iter().map(entry).collect()
    }

    /// Stream bytes of a snapshot of it.
    pub(crate) fn size(&self) -> u64 {
        self.keys.values().map(|(_, bytes)| 13 + bytes.len() as u64).sum()
    }

    /// Equal but for how it came to be.
    pub(crate) fn same_state(&self, other: &Model) -> bool {
        (&self.keys, self.last) == (&other.keys, other.last)
    }
}

impl Replay for Model {
    fn snapshot_begin(&mut self, zxid: Zxid) {
        *self = Model { last: zxid.0, loading: true, ..Model::default() };
    }

    fn snapshot_entry(&mut self, entry: &[u8]) -> Result<(), String> {
        let (head, bytes) = entry.split_at_checked(9).ok_or("a short entry")?;
        let mix = u64::from_le_bytes(head[1..].try_into().map_err(|_| "a short entry")?);
        if head[0] & LEFT == 0 {
            self.keys.insert(head[0], (mix, bytes.to_vec()));
        } else {
            let by = bytes.try_into().map_err(|_| "a short entry")?;
            self.keys.insert(head[0] & !LEFT, (mix, Vec::new()));
            self.left.insert(head[0] & !LEFT, i64::from_le_bytes(by));
        }
        Ok(())
    }

    fn snapshot_value(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        assert!(!self.loading && zxid.0 <= self.last, "{zxid} for a snapshot at {}", self.last);
        let key = txn.first().copied().unwrap_or(0) % 8;
        if self.left.get(&key) == Some(&zxid.0) {
            self.left.remove(&key);
            self.set_by.insert(key, zxid.0);
            self.keys.entry(key).or_default().1 = txn.to_vec();
        }
        Ok(())
    }

    fn snapshot_filled(&mut self) -> Result<(), String> {
        if self.left.is_empty() { Ok(()) } else { Err(format!("the log does not have {:?}", self.left)) }
    }

    fn snapshot_end(&mut self) -> Result<(), String> {
        self.loading = false;
        Ok(())
    }

    fn txn(&mut self, zxid: Zxid, txn: &[u8]) -> Result<(), String> {
        assert!(!self.loading, "a transaction inside a snapshot");
        if zxid.0 <= self.last {
            return Err(format!("{zxid} after {}", self.last));
        }
        self.seen.push(zxid.0);
        self.apply(zxid, txn);
        Ok(())
    }
}
