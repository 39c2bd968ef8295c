//! One znode in memory: 128 bytes and its data.

use super::owner::Owner;

/// A znode's place in memory, good until the znode is deleted. Given out again afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The root, which is never deleted.
    pub const ROOT: NodeId = NodeId(0);
    /// No znode: the end of a list.
    pub(super) const NIL: NodeId = NodeId(u32::MAX);
}

pub(super) const NODE_SIZE: usize = 128;
const _: () = assert!(size_of::<Node>() == NODE_SIZE);
const _: () = assert!(size_of::<Name>() == 24);

/// Invariants, recounted by `Tree::check`:
/// N1: the children of a znode form a ring over `next`/`prev` that starts where its `Branch` says; `child_count` is its
/// length.
/// N2: the ring is in order of creation: czxid never falls along it.
/// N3: an ephemeral has no children; its `place` is its place in the list of its session.
/// N4: the `Branch` of a znode with children counts the znodes and bytes below it.
/// N5: where `head` is not 0, the data is the text of a usage: a part of that length which is kept as numbers, then `data`.
pub(super) struct Node {
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) pzxid: i64,
    pub(super) ctime: i64,
    pub(super) mtime: i64,
    /// As [`Owner::to_i64`].
    pub(super) owner: i64,
    pub(super) data: Option<Box<[u8]>>,
    pub(super) name: Name,
    pub(super) version: i32,
    /// Children ever created; what clients see is derived.
    pub(super) cversion: i32,
    pub(super) aversion: i32,
    pub(super) acl: u32,
    pub(super) parent: NodeId,
    /// With children its place among the `Branches`; of an ephemeral its place in the list of its session; else nothing.
    pub(super) place: u32,
    /// The next sibling, the last one's being the first; of a free slot the next free one.
    pub(super) next: NodeId,
    pub(super) prev: NodeId,
    pub(super) child_count: u32,
    /// The snapshot that has this znode already.
    pub(super) mark: u8,
    /// Owned by the watch room.
    pub(super) watched: u8,
    pub(super) live: bool,
    /// Bytes of its text that are kept as numbers, for the usage of a quota; else 0.
    pub(super) head: u8,
}

impl Node {
    /// A znode created by transaction `zxid` at `time`, not linked yet.
    pub(super) fn new(name: Name, data: Option<Box<[u8]>>, acl: u32, owner: Owner, zxid: i64, time: i64) -> Node {
        Node {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            owner: owner.to_i64(),
            data,
            name,
            version: 0,
            cversion: 0,
            aversion: 0,
            acl,
            parent: NodeId::NIL,
            place: 0,
            next: NodeId::NIL,
            prev: NodeId::NIL,
            child_count: 0,
            mark: 0,
            watched: 0,
            live: true,
            head: 0,
        }
    }

    /// What is left in a slot when its znode is gone.
    pub(super) fn vacant(next: NodeId) -> Node {
        let mut node = Node::new(Name::new(""), None, 0, Owner::None, 0, 0);
        node.live = false;
        node.next = next;
        node
    }

    pub(super) fn owner(&self) -> Owner {
        Owner::from_i64(self.owner)
    }

    pub(super) fn is_ephemeral(&self) -> bool {
        self.owner != 0 && matches!(self.owner(), Owner::Session(_))
    }

    pub(super) fn data_length(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.len()) + usize::from(self.head)
    }

    /// Bytes on the heap beyond the slot, as an allocator counts them.
    pub(super) fn boxed_bytes(&self) -> u64 {
        boxed_bytes(self.data_length()) + self.name.boxed_bytes()
    }
}

/// What an allocation of `len` bytes takes: a header of 8, rounded up to 16, 32 at least. None for nothing.
pub(super) fn boxed_bytes(len: usize) -> u64 {
    if len == 0 { 0 } else { ((len as u64 + 8 + 15) & !15).max(32) }
}

const INLINE_MAX: usize = 22;

/// The last component of a path, in place when it is short.
pub(super) enum Name {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Boxed(Box<str>),
}

impl Name {
    pub(super) fn new(name: &str) -> Name {
        if name.len() > INLINE_MAX {
            return Name::Boxed(name.into());
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Name::Inline { len: name.len() as u8, bytes }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Name::Boxed(name) => name.as_bytes(),
        }
    }

    #[inline]
    pub(super) fn as_str(&self) -> &str {
        match self {
            Name::Inline { len, bytes } => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).expect("the bytes were copied from a str")
            }
            Name::Boxed(name) => name,
        }
    }

    pub(super) fn boxed_bytes(&self) -> u64 {
        match self {
            Name::Inline { .. } => 0,
            Name::Boxed(name) => boxed_bytes(name.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_whatever_their_length() {
        for len in 0..60 {
            let name = "é".repeat(len / 2) + &"x".repeat(len % 2);
            assert_eq!(Name::new(&name).as_str(), name);
            assert_eq!(Name::new(&name).as_bytes(), name.as_bytes());
        }
    }

    #[test]
    fn only_long_names_take_memory_of_their_own() {
        assert_eq!(Name::new(&"x".repeat(22)).boxed_bytes(), 0);
        assert_eq!(Name::new(&"x".repeat(23)).boxed_bytes(), 32);
    }
}
