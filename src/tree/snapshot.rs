//! A walk over all znodes as they were at one moment, while transactions go on.
//!
//! Each znode carries the mark of the last snapshot that has it. The walk writes what is unmarked; whoever is about to
//! change or delete an unmarked znode has it written first, as it still is; new znodes are born marked. So every znode
//! that was there at the beginning is written exactly once, as it was then, and an id that is given out anew meanwhile is
//! never mistaken for the old znode. The same goes for the numbers of ACLs: one is free for another list only when no
//! unmarked znode names it, and new lists are named by marked znodes only.

use std::collections::VecDeque;

use super::entry::{self, Totals, Value, ValueMark};
use super::{NodeId, Tree};
use crate::ids::Zxid;

/// So many snapshots may be given up in a row before marks are wiped; more, and an old mark could come round again.
const UNFINISHED_MAX: u8 = 128;

/// Bytes that an entry takes beside its own while it waits: its place in the queue, and what the allocator adds.
const AHEAD_OVERHEAD: usize = size_of::<Vec<u8>>() + 16;

/// Bytes of an entry that count as much as one znode more.
const HEAVY: usize = 16 << 10;

/// As how many znodes an entry of so many bytes counts in a slice: large data takes its time.
fn weight(bytes: usize) -> usize {
    1 + bytes / HEAVY
}

/// What a snapshot may leave to the log, which is kept with it: data of `least` bytes and more, set after `after` and up to `upto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeavingOut {
    /// The log that is kept begins here, at the latest.
    pub after: Zxid,
    /// What the snapshot holds. A state that was received may have something of later transactions, which come once more.
    pub upto: Zxid,
    /// Smaller data is not worth the looking up.
    pub least: usize,
}

impl LeavingOut {
    /// Nothing: the snapshot needs no log.
    pub const NOTHING: LeavingOut = LeavingOut { after: Zxid::ZERO, upto: Zxid::ZERO, least: usize::MAX };
}

/// Large data of the snapshot that runs, or ran last: bytes in all as far as it is, and of these what it left to the log.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LargeData {
    /// As large as what may be left to the log, whether it was or not.
    pub bytes: u64,
    /// Left to the log.
    pub left: u64,
}

/// Which snapshot is the latest, and how far it is.
#[derive(Default)]
pub(super) struct TreeSnapshots {
    /// The mark of the latest snapshot, running or not. New znodes get it.
    pub(super) mark: u8,
    unfinished: u8,
    walk: Option<Box<Walk>>,
    large: LargeData,
}

struct Walk {
    leave: LeavingOut,
    next: u32,
    end: u32,
    /// Entries written ahead of the walk, in order.
    ahead: VecDeque<Vec<u8>>,
    ahead_bytes: usize,
    totals: Totals,
}

impl Tree {
    /// Begins a snapshot of the tree as it is now.
    ///
    /// `emit` gets the first entry. Call [`Tree::snapshot_slice`] until it says that the last one is out; transactions
    /// may be applied in between. Entries begin with a byte from 1 to 15; other bytes are free for other kinds.
    ///
    /// Panics when one is running already.
    pub fn snapshot_begin(&mut self, emit: &mut dyn FnMut(&[u8])) {
        self.snapshot_begin_leaving(LeavingOut::NOTHING, emit);
    }

    /// The same of a snapshot that may leave data to the log. [`Tree::fill_from_log`] puts it back.
    ///
    /// Panics when one is running already.
    pub fn snapshot_begin_leaving(&mut self, leave: LeavingOut, emit: &mut dyn FnMut(&[u8])) {
        assert!(self.snapshots.walk.is_none(), "one snapshot at a time");
        let snapshots = &mut self.snapshots;
        if snapshots.unfinished >= UNFINISHED_MAX {
            snapshots.unfinished = 0;
            self.nodes.iter_mut().for_each(|node| node.mark = 0);
        }
        // A list that is not in use keeps its mark for ever, a znode only until the next snapshot is complete.
        snapshots.mark = snapshots.mark.checked_add(1).unwrap_or_else(|| {
            self.acls.clear_marks();
            1
        });
        // Counted as given up until it is complete.
        snapshots.unfinished += 1;
        snapshots.large = LargeData::default();
        let mut walk = Box::new(Walk {
            leave,
            next: 0,
            end: self.nodes.end(),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            totals: Totals::default(),
        });
        let mut header = Vec::new();
        entry::write_header(&mut header);
        walk.totals.count(&header);
        emit(&header);
        snapshots.walk = Some(walk);
    }

    /// Goes on with the snapshot, by at most `max_nodes` znodes, and by fewer where they hold much data. Whether the last
    /// entry is out, and the snapshot over.
    ///
    /// Panics when none is running.
    pub fn snapshot_slice(&mut self, max_nodes: usize, emit: &mut dyn FnMut(&[u8])) -> bool {
        let mut walk = self.snapshots.walk.take().expect("a snapshot is running");
        let mut left = max_nodes;
        while left > 0
            && let Some(entry) = walk.ahead.pop_front()
        {
            walk.ahead_bytes -= entry.capacity() + AHEAD_OVERHEAD;
            emit(&entry);
            left = left.saturating_sub(weight(entry.len()));
        }
        let mut out = Vec::new();
        // Not before the queue is empty: an ACL in it may be the one that the next znode names.
        while left > 0 && walk.next < walk.end {
            let id = NodeId(walk.next);
            walk.next += 1;
            out.clear();
            let mut bytes = 0;
            if let Some(node) = self.nodes.get(id).filter(|node| node.mark != self.snapshots.mark) {
                // Data that is left to the log is read to be known again.
                bytes = node.data_length();
                self.write(id, walk.leave, &mut |entry| emit(entry), &mut walk.totals, &mut out);
            }
            left = left.saturating_sub(weight(bytes.max(out.len())));
        }
        if walk.next < walk.end || !walk.ahead.is_empty() {
            self.snapshots.walk = Some(walk);
            return false;
        }
        out.clear();
        entry::write_trailer(walk.totals, &mut out);
        emit(&out);
        self.snapshots.unfinished = 0;
        true
    }

    /// Gives up the snapshot that is running, if one is.
    pub fn snapshot_abort(&mut self) {
        if self.snapshots.walk.take().is_some() {}
    }

    /// Whether a snapshot has begun and is not over.
    pub fn snapshot_running(&self) -> bool {
        self.snapshots.walk.is_some()
    }

    /// What the snapshot that runs, or ran last, has of large data so far.
    pub fn snapshot_large(&self) -> LargeData {
        self.snapshots.large
    }

    /// Bytes in memory of entries that transactions have put before the walk and [`Tree::snapshot_slice`] has not handed out yet.
    pub fn snapshot_preimage_bytes(&self) -> usize {
        self.snapshots.walk.as_ref().map_or(0, |walk| walk.ahead_bytes)
    }

    /// How many bytes of entries a snapshot of the tree would be at most, with four for the length of each.
    pub fn snapshot_estimate(&self) -> u64 {
        self.nodes.len() as u64 * entry::NODE_SIZE_MAX + self.sizes.names + self.sizes.data + self.acls.bytes() + 64
    }

    /// To be called before anything of a znode changes that a snapshot holds.
    #[inline]
    pub(super) fn before_change(&mut self, id: NodeId) {
        if self.snapshots.walk.is_some() && self.nodes[id].mark != self.snapshots.mark {
            self.write_ahead(id);
        }
        self.before_change_for_walks(id);
    }

    #[cold]
    fn write_ahead(&mut self, id: NodeId) {
        let mut walk = self.snapshots.walk.take().expect("only called while a snapshot runs");
        let Walk { ahead, ahead_bytes, totals, leave, .. } = &mut *walk;
        let mut push = |entry: &mut Vec<u8>| {
            *ahead_bytes += entry.capacity() + AHEAD_OVERHEAD;
            ahead.push_back(std::mem::take(entry));
        };
        self.write(id, *leave, &mut push, totals, &mut Vec::new());
        self.snapshots.walk = Some(walk);
    }

    /// Writes an unmarked znode, and its ACL if that is new to the snapshot, and marks both.
    fn write(
        &mut self,
        id: NodeId,
        leave: LeavingOut,
        emit: &mut dyn FnMut(&mut Vec<u8>),
        totals: &mut Totals,
        out: &mut Vec<u8>,
    ) {
        let mark = self.snapshots.mark;
        let acl = self.nodes[id].acl;
        if self.acls.first_for(acl, mark) {
            out.clear();
            entry::write_acl(acl, self.acls.get(acl).entries(), out);
            totals.count(out);
            emit(out);
        }
        self.nodes[id].mark = mark;
        out.clear();
        let length = self.nodes[id].data_length();
        let in_log = length >= leave.least.max(1) && self.leaves_data(id, leave);
        if length >= leave.least {
            self.snapshots.large.bytes += length as u64;
            self.snapshots.large.left += if in_log { length as u64 } else { 0 };
        }
        let data = self.data(id);
        let value = match data.as_deref() {
            None => Value::Null,
            Some(data) if in_log => Value::InLog(ValueMark::of(data)),
            Some(data) => Value::Here(data),
        };
        entry::write_node(id, &self.nodes[id], value, out);
        totals.count(out);
        emit(out);
    }

    /// Whether the log has the data of a znode: it was set by a transaction that came since the tree was loaded. What is below
    /// `/zookeeper` has a meaning for the tree itself, which it needs at once when it is loaded.
    fn leaves_data(&self, id: NodeId, leave: LeavingOut) -> bool {
        let mzxid = Zxid(self.nodes[id].mzxid);
        mzxid > leave.after.max(self.loaded_upto) && mzxid <= leave.upto && !self.is_system(id)
    }
}
