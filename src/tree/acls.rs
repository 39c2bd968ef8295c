//! Access control lists, each kept once however many znodes have it.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashTable;

use super::network::IpNetwork;
use crate::hash::Keys;
use crate::meter;
use crate::records::{Acl, Id, perms};

/// An access control list that some znode has. It never changes: a znode is given another one.
#[derive(Debug, PartialEq, Eq)]
pub struct AclList {
    entries: Box<[Acl<'static>]>,
    /// What the entries mean, one for each, so that a check reads no text.
    rules: Box<[AclRule]>,
    open: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct AclRule {
    perms: i32,
    who: AclSubject,
}

#[derive(Debug, PartialEq, Eq)]
enum AclSubject {
    Anyone,
    /// An id that nothing matches.
    Nobody,
    At(IpNetwork),
    /// Who has the identity with this hash, if it is the one of the entry.
    Known(u64),
}

impl AclSubject {
    fn of(id: &Id<'_>) -> AclSubject {
        match (id.scheme.as_str(), id.id.as_str()) {
            ("world", "anyone") => AclSubject::Anyone,
            ("world", _) => AclSubject::Nobody,
            ("ip", text) => text.parse().map_or(AclSubject::Nobody, AclSubject::At),
            _ => AclSubject::Known(id_hash(id)),
        }
    }
}

/// A hash that tells most identities apart; equal ones are to be compared. Keyed by nothing, as it decides nothing.
pub(crate) fn id_hash(id: &Id<'_>) -> u64 {
    let bytes = id.scheme.as_str().bytes().chain([0xff]).chain(id.id.as_str().bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl AclList {
    /// A list of its own, for comparing and checking; those of znodes are shared.
    pub(crate) fn new(entries: &[Acl<'_>]) -> AclList {
        AclList {
            entries: entries.iter().map(|acl| acl.clone().into_owned()).collect(),
            rules: entries.iter().map(|acl| AclRule { perms: acl.perms, who: AclSubject::of(&acl.id) }).collect(),
            open: entries.is_empty() || is_open(entries),
        }
    }

    /// The entries, in the order in which they were given.
    pub fn entries(&self) -> &[Acl<'static>] {
        &self.entries
    }

    /// Whether everybody may do everything and no identity need be looked at: exactly `world:anyone:31`, or empty.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether one of the entries grants one of the bits in `wanted` to a client at `address` that has the identities for
    /// which `knows` holds; it is given the hash of one and the id itself. An empty list grants everything.
    pub(crate) fn grants(&self, wanted: i32, address: Option<IpAddr>, knows: impl Fn(u64, &Id<'_>) -> bool) -> bool {
        self.entries.is_empty()
            || self.rules.iter().zip(&self.entries).any(|(rule, entry)| {
                meter::steps(1);
                rule.perms & wanted != 0
                    && match &rule.who {
                        AclSubject::Anyone => true,
                        AclSubject::Nobody => false,
                        AclSubject::At(network) => address.is_some_and(|address| network.contains(address)),
                        AclSubject::Known(hash) => knows(*hash, &entry.id),
                    }
            })
    }

    /// What a check costs at most, in the units of a budget: nothing for an open list.
    pub(crate) fn cost(&self) -> usize {
        if self.open { 0 } else { self.rules.len() / 8 }
    }

    fn bytes(&self) -> u64 {
        let texts = |acl: &Acl<'_>| acl.id.scheme.as_str().len() + acl.id.id.as_str().len() + 2 * 16;
        let entries: usize =
            self.entries.iter().map(|acl| size_of::<Acl<'_>>() + size_of::<AclRule>() + texts(acl)).sum();
        (entries + size_of::<AclList>() + 2 * size_of::<usize>() + size_of::<AclSlot>()) as u64
    }
}

/// The list that has number 0 and is never given up.
pub(super) const OPEN: u32 = 0;

fn is_open(entries: &[Acl<'_>]) -> bool {
    matches!(entries, [acl] if acl.perms == perms::ALL
        && acl.id.scheme.as_str() == "world" && acl.id.id.as_str() == "anyone")
}

/// Lists by number, counted by the znodes that name them.
pub(super) struct Acls {
    slots: Vec<AclSlot>,
    by_content: HashTable<u32>,
    free: Vec<u32>,
    keys: Keys,
    bytes: u64,
}

struct AclSlot {
    list: Option<Arc<AclList>>,
    users: u64,
    hash: u64,
    /// The snapshot that has this list already.
    mark: u8,
}

impl Acls {
    pub(super) fn new(keys: Keys) -> Acls {
        let open = AclSlot { list: Some(Arc::new(AclList::new(&[Acl::open()]))), users: 0, hash: 0, mark: 0 };
        Acls { slots: vec![open], by_content: HashTable::new(), free: Vec::new(), keys, bytes: 0 }
    }

    /// The number of this list, with one more user.
    pub(super) fn intern(&mut self, entries: &[Acl<'_>]) -> u32 {
        if is_open(entries) {
            self.slots[OPEN as usize].users += 1;
            return OPEN;
        }
        let hash = self.hash(entries);
        let slots = &self.slots;
        let same = |&id: &u32| slots[id as usize].list.as_ref().is_some_and(|list| *list.entries == *entries);
        if let Some(&id) = self.by_content.find(hash, same) {
            self.slots[id as usize].users += 1;
            return id;
        }
        let list = AclList::new(entries);
        self.bytes += list.bytes();
        let slot = AclSlot { list: Some(Arc::new(list)), users: 1, hash, mark: 0 };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer lists than znodes")
            }
        };
        let slots = &self.slots;
        self.by_content.insert_unique(hash, id, |&id| slots[id as usize].hash);
        id
    }

    /// One more user of a list that has some.
    pub(super) fn share(&mut self, id: u32) {
        debug_assert!(self.slots[id as usize].list.is_some());
        self.slots[id as usize].users += 1;
    }

    /// One user less; the list goes with its last one.
    pub(super) fn release(&mut self, id: u32) {
        let slot = &mut self.slots[id as usize];
        assert!(slot.users > 0, "list {id} has no users to lose");
        slot.users -= 1;
        if slot.users > 0 || id == OPEN {
            return;
        }
        let list = slot.list.take().expect("a list with users is there");
        let hash = slot.hash;
        self.bytes -= list.bytes();
        self.by_content.find_entry(hash, |&other| other == id).expect("every list is in the table").remove();
        self.free.push(id);
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> &Arc<AclList> {
        self.slots[id as usize].list.as_ref().expect("a znode names only lists that are there")
    }

    /// Lists in use, the open one included.
    pub(super) fn len(&self) -> usize {
        self.by_content.len() + 1
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every list with its number of users.
    pub(super) fn users(&self) -> impl Iterator<Item = (u32, u64)> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.list.is_some()).map(|(id, slot)| (id as u32, slot.users))
    }

    /// Whether snapshot `mark` lacks this list; from now on it has it.
    pub(super) fn first_for(&mut self, id: u32, mark: u8) -> bool {
        std::mem::replace(&mut self.slots[id as usize].mark, mark) != mark
    }

    /// Forgets which snapshots have which list.
    pub(super) fn clear_marks(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.mark = 0);
    }

    fn hash(&self, entries: &[Acl<'_>]) -> u64 {
        entries.iter().fold(entries.len() as u64, |hash, acl| {
            let hash = self.keys.step(hash, &acl.perms.to_be_bytes());
            let hash = self.keys.step(hash, acl.id.scheme.as_str().as_bytes());
            self.keys.step(hash, acl.id.id.as_str().as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> Vec<Acl<'static>> {
        vec![Acl::new(perms::READ, "world", "anyone")]
    }

    #[test]
    fn equal_lists_are_one_and_go_with_their_last_user() {
        let mut acls = Acls::new(Keys([1, 2]));
        let first = acls.intern(&read());
        assert_eq!(acls.intern(&read()), first);
        assert_eq!(acls.len(), 2);
        acls.release(first);
        assert_eq!(acls.get(first).entries(), read());
        acls.release(first);
        assert_eq!((acls.len(), acls.bytes()), (1, 0));
    }

    #[test]
    fn the_open_list_is_number_zero_and_stays() {
        let mut acls = Acls::new(Keys([1, 2]));
        assert_eq!(acls.intern(&[Acl::open()]), OPEN);
        acls.release(OPEN);
        assert!(acls.get(OPEN).is_open());
    }

    #[test]
    fn an_empty_list_is_open_but_not_the_open_list() {
        let mut acls = Acls::new(Keys([1, 2]));
        let empty = acls.intern(&[]);
        assert_ne!(empty, OPEN);
        assert!(acls.get(empty).is_open());
        let read = acls.intern(&read());
        assert!(!acls.get(read).is_open());
    }
}
