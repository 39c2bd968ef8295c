//! Side tables over the znodes that go by themselves: ephemerals by session, containers and TTL znodes by turn.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{Node, NodeId};
use super::owner::Owner;
use crate::ids::{SessionId, WallMillis};

/// The ephemerals of each session. A znode remembers its place in the list, so leaving takes no search.
#[derive(Default)]
pub(super) struct Ephemerals {
    lists: BTreeMap<SessionId, EphemeralList>,
    count: usize,
}

/// A session's ephemerals. Those that make a quota stand in front, because the end of the session takes from the back: what
/// it deletes is booked to a quota that goes with it, on every server alike and whatever was created first.
#[derive(Default)]
struct EphemeralList {
    ids: Vec<NodeId>,
    quotas: usize,
}

impl Ephemerals {
    /// Adds a znode. `placed` is called with every znode whose place is new, the added one among them.
    pub(super) fn add(
        &mut self,
        session: SessionId,
        id: NodeId,
        makes_quota: bool,
        mut placed: impl FnMut(NodeId, usize),
    ) {
        let list = self.lists.entry(session).or_default();
        let mut place = list.ids.len();
        list.ids.push(id);
        if makes_quota {
            list.ids.swap(place, list.quotas);
            placed(list.ids[place], place);
            place = list.quotas;
            list.quotas += 1;
        }
        placed(id, place);
        self.count += 1;
    }

    /// Takes out the znode at `place`. `placed` is called with every znode whose place is another now.
    pub(super) fn remove(&mut self, session: SessionId, place: u32, mut placed: impl FnMut(NodeId, usize)) {
        let list = self.lists.get_mut(&session).expect("the session of an ephemeral has a list");
        let mut place = place as usize;
        if place < list.quotas {
            list.quotas -= 1;
            list.ids.swap(place, list.quotas);
            placed(list.ids[place], place);
            place = list.quotas;
        }
        list.ids.swap_remove(place);
        self.count -= 1;
        if let Some(&moved) = list.ids.get(place) {
            placed(moved, place);
        }
        if list.ids.is_empty() {
            self.lists.remove(&session);
        }
    }

    pub(super) fn of(&self, session: SessionId) -> &[NodeId] {
        self.lists.get(&session).map_or(&[], |list| &list.ids)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = (SessionId, usize)> {
        self.lists.iter().map(|(&session, list)| (session, list.ids.len()))
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.count * size_of::<NodeId>() + self.lists.len() * 64) as u64
    }
}

/// Why a znode may go without being asked for. Only childless ones may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// A container that once had a child.
    Idle,
    /// A container that never had one.
    Unused,
    /// A TTL znode; it goes after this moment.
    Ttl(i64),
}

impl Turn {
    #[inline]
    pub(super) fn of(node: &Node) -> Option<Turn> {
        if node.owner == 0 || node.child_count > 0 {
            return None;
        }
        match node.owner() {
            Owner::Container if node.cversion > 0 => Some(Turn::Idle),
            Owner::Container => Some(Turn::Unused),
            Owner::Ttl(ttl) => Some(Turn::Ttl(node.mtime.saturating_add_unsigned(ttl))),
            Owner::None | Owner::Session(_) => None,
        }
    }
}

/// Childless containers and TTL znodes, the latter by the end of their time.
#[derive(Default)]
pub(super) struct Reaper {
    idle: BTreeSet<NodeId>,
    unused: BTreeSet<NodeId>,
    ttl: BTreeSet<(i64, NodeId)>,
}

impl Reaper {
    pub(super) fn moved(&mut self, id: NodeId, before: Option<Turn>, after: Option<Turn>) {
        match before {
            Some(Turn::Idle) => drop(self.idle.remove(&id)),
            Some(Turn::Unused) => drop(self.unused.remove(&id)),
            Some(Turn::Ttl(end)) => drop(self.ttl.remove(&(end, id))),
            None => {}
        }
        match after {
            Some(Turn::Idle) => drop(self.idle.insert(id)),
            Some(Turn::Unused) => drop(self.unused.insert(id)),
            Some(Turn::Ttl(end)) => drop(self.ttl.insert((end, id))),
            None => {}
        }
    }

    /// Znodes whose time has come: containers first, then TTL znodes, oldest end first.
    pub(super) fn due(&self, now: WallMillis) -> impl Iterator<Item = NodeId> {
        let ttl = self.ttl.iter().take_while(move |&&(end, _)| end < now.0).map(|&(_, id)| id);
        self.idle.iter().copied().chain(ttl)
    }

    pub(super) fn unused(&self) -> impl Iterator<Item = NodeId> {
        self.unused.iter().copied()
    }

    pub(super) fn holds(&self, id: NodeId, turn: Turn) -> bool {
        match turn {
            Turn::Idle => self.idle.contains(&id),
            Turn::Unused => self.unused.contains(&id),
            Turn::Ttl(end) => self.ttl.contains(&(end, id)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.idle.len() + self.unused.len() + self.ttl.len()
    }
}
