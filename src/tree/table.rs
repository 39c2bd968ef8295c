//! From the hash of a path to its znode: 256 small tables, so that none stops the loop when it grows.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::node::NodeId;
use crate::meter;

const SHARDS: usize = 256;
/// Parts that a caller which enters many znodes had better fill one after the other.
pub(super) const PARTS: usize = SHARDS;

/// Holds for every znode but the root its id under the upper half of its path's hash.
pub(super) struct Table {
    shards: Box<[HashTable<TableSlot>]>,
}

#[derive(Clone, Copy)]
struct TableSlot {
    hash: u32,
    id: NodeId,
}

/// Bytes that one znode takes in the tables, at the usual load.
pub(super) const SLOT_SIZE: usize = 18;
const _: () = assert!(SLOT_SIZE == 2 * (size_of::<TableSlot>() + 1));

impl Table {
    pub(super) fn new() -> Table {
        Table { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }

    /// The znode under `hash` for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(NodeId) -> bool) -> Option<NodeId> {
        meter::steps(1);
        let hash = upper(hash);
        self.shards[shard(hash)].find(spread(hash), |slot| slot.hash == hash && is_it(slot.id)).map(|slot| slot.id)
    }

    /// Adds a znode that is not there yet.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, id: NodeId) {
        meter::steps(1);
        let hash = upper(hash);
        self.shards[shard(hash)].insert_unique(spread(hash), TableSlot { hash, id }, |slot| spread(slot.hash));
    }

    /// The part of the index that a hash belongs to, below [`PARTS`].
    #[inline]
    pub(super) fn part(hash: u64) -> usize {
        shard(upper(hash))
    }

    /// Makes room for so many znodes, which hash evenly.
    pub(super) fn reserve(&mut self, count: usize) {
        for shard in &mut self.shards {
            shard.reserve(count / SHARDS, |slot| spread(slot.hash));
        }
    }

    /// Adds a znode, unless there is one under `hash` for which `is_same` holds. Whether it was added.
    pub(super) fn insert_new(&mut self, hash: u64, id: NodeId, mut is_same: impl FnMut(NodeId) -> bool) -> bool {
        let hash = upper(hash);
        let same = |slot: &TableSlot| slot.hash == hash && is_same(slot.id);
        match self.shards[shard(hash)].entry(spread(hash), same, |slot| spread(slot.hash)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(TableSlot { hash, id });
                true
            }
        }
    }

    /// Takes a znode out.
    pub(super) fn remove(&mut self, hash: u64, id: NodeId) {
        let hash = upper(hash);
        match self.shards[shard(hash)].find_entry(spread(hash), |slot| slot.id == id) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => panic!("{id:?} is not in the table under the hash of its path"),
        }
    }

    /// Znodes in all tables.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn shard(hash: u32) -> usize {
    (hash >> 24) as usize
}

/// The table wants entropy in its lowest and its highest bits; within a shard the highest are all alike.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
