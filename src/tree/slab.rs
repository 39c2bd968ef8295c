//! Where znodes live: chunks that never move, so growing never copies and ids stay good.

use std::ops::{Index, IndexMut};

use super::node::{Node, NodeId};
use crate::meter;

const CHUNK_BITS: u32 = 12;
const CHUNK_NODES: usize = 1 << CHUNK_BITS;

/// All znodes by id, with a free list through the slots that are not in use.
pub(super) struct Slab {
    /// All but the last are full. A chunk is reserved whole and touched as it fills.
    chunks: Vec<Vec<Node>>,
    free: NodeId,
    live: usize,
}

impl Slab {
    pub(super) fn new() -> Slab {
        Slab { chunks: Vec::new(), free: NodeId::NIL, live: 0 }
    }

    /// Znodes in use.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// All ids ever given out are below this.
    pub(super) fn end(&self) -> u32 {
        match self.chunks.last() {
            None => 0,
            Some(last) => (((self.chunks.len() - 1) << CHUNK_BITS) + last.len()) as u32,
        }
    }

    pub(super) fn insert(&mut self, node: Node) -> NodeId {
        self.live += 1;
        if self.free != NodeId::NIL {
            let id = self.free;
            let slot = self.slot_mut(id);
            let next = slot.next;
            *slot = node;
            self.free = next;
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_NODES) {
            self.chunks.push(Vec::with_capacity(CHUNK_NODES));
        }
        let id = NodeId(self.end());
        assert!(id != NodeId::NIL, "a tree holds fewer than 2^32 - 1 znodes");
        self.chunks.last_mut().expect("just made sure of it").push(node);
        id
    }

    /// Takes the znode out; its id may be given out again at once.
    pub(super) fn remove(&mut self, id: NodeId) -> Node {
        assert!(self[id].live, "{id:?} is not in use");
        let free = self.free;
        let node = std::mem::replace(self.slot_mut(id), Node::vacant(free));
        self.free = id;
        self.live -= 1;
        node
    }

    /// Puts the root in the place that is kept for it.
    pub(super) fn set_root(&mut self, node: Node) {
        *self.slot_mut(NodeId::ROOT) = node;
    }

    /// The znode with this id, unless the slot is free or was never used.
    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.chunks.get(id.0 as usize >> CHUNK_BITS)?.get(id.0 as usize & (CHUNK_NODES - 1)).filter(|node| node.live)
    }

    /// All znodes.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.chunks.iter_mut().flatten().filter(|node| node.live)
    }

    fn slot_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[id.0 as usize >> CHUNK_BITS][id.0 as usize & (CHUNK_NODES - 1)]
    }
}

impl Index<NodeId> for Slab {
    type Output = Node;

    #[inline]
    fn index(&self, id: NodeId) -> &Node {
        meter::steps(1);
        let node = &self.chunks[id.0 as usize >> CHUNK_BITS][id.0 as usize & (CHUNK_NODES - 1)];
        debug_assert!(node.live, "{id:?} is used after its znode was deleted");
        node
    }
}

impl IndexMut<NodeId> for Slab {
    #[inline]
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        meter::steps(1);
        let node = self.slot_mut(id);
        debug_assert!(node.live, "{id:?} is used after its znode was deleted");
        node
    }
}

/// What only a znode with children has, so that all others do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// The first child; of a free slot the next free one.
    pub(super) first: NodeId,
    /// The last child, so that a new one is linked without a look at the first.
    pub(super) last: NodeId,
    /// Znodes below, at any depth.
    pub(super) below: u32,
    /// Bytes of their data.
    pub(super) bytes: u64,
}

/// These by the place that their znode remembers.
#[derive(Default)]
pub(super) struct Branches {
    chunks: Vec<Vec<Branch>>,
    free: Option<u32>,
    live: usize,
}

impl Branches {
    /// Memory of those in use.
    pub(super) fn bytes(&self) -> u64 {
        (self.live * size_of::<Branch>()) as u64
    }

    pub(super) fn insert(&mut self, first: NodeId) -> u32 {
        self.live += 1;
        let inner = Branch { first, last: first, below: 0, bytes: 0 };
        if let Some(place) = self.free {
            let next = self[place].first;
            self.free = (next != NodeId::NIL).then_some(next.0);
            self[place] = inner;
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_NODES) {
            self.chunks.push(Vec::with_capacity(CHUNK_NODES));
        }
        let full = (self.chunks.len() - 1) << CHUNK_BITS;
        let last = self.chunks.last_mut().expect("just made sure of it");
        last.push(inner);
        (full + last.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, place: u32) {
        self.live -= 1;
        self[place].first = self.free.map_or(NodeId::NIL, NodeId);
        self.free = Some(place);
    }
}

impl Index<u32> for Branches {
    type Output = Branch;

    #[inline]
    fn index(&self, place: u32) -> &Branch {
        meter::steps(1);
        &self.chunks[place as usize >> CHUNK_BITS][place as usize & (CHUNK_NODES - 1)]
    }
}

impl IndexMut<u32> for Branches {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut Branch {
        meter::steps(1);
        &mut self.chunks[place as usize >> CHUNK_BITS][place as usize & (CHUNK_NODES - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Name;
    use super::super::owner::Owner;
    use super::*;

    fn node(zxid: i64) -> Node {
        Node::new(Name::new("n"), None, 0, Owner::None, zxid, 0)
    }

    #[test]
    fn places_of_inner_znodes_are_given_out_again() {
        let mut inners = Branches::default();
        for i in 0..10_000 {
            assert_eq!(inners.insert(NodeId(i)), i);
        }
        inners.remove(5000);
        inners.remove(7);
        assert_eq!((inners.insert(NodeId(1)), inners.insert(NodeId(2))), (7, 5000));
        assert_eq!(inners.insert(NodeId(3)), 10_000);
        assert_eq!(inners[7], Branch { first: NodeId(1), last: NodeId(1), below: 0, bytes: 0 });
    }

    #[test]
    fn ids_count_up_over_chunks_and_freed_ones_come_first() {
        let mut slab = Slab::new();
        for i in 0..10_000 {
            assert_eq!(slab.insert(node(i64::from(i))), NodeId(i));
        }
        assert_eq!((slab.len(), slab.end()), (10_000, 10_000));
        assert_eq!(slab.remove(NodeId(5000)).czxid, 5000);
        assert_eq!(slab.remove(NodeId(7)).czxid, 7);
        assert!(slab.get(NodeId(7)).is_none());
        assert_eq!(slab.iter_mut().count(), 9_998);
        assert_eq!(slab.insert(node(-1)), NodeId(7));
        assert_eq!(slab.insert(node(-2)), NodeId(5000));
        assert_eq!(slab.insert(node(-3)), NodeId(10_000));
        assert_eq!(slab[NodeId(7)].czxid, -1);
        assert!(slab.get(NodeId(20_000)).is_none());
    }
}
