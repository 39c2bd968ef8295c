//! Memory for large frames that are being read: which connection may read on, which waits, and which is closed to make room.
//!
//! Memory is counted by what has arrived, never by what a frame claims, so a claim costs nothing. When it is used
//! up, one connection at a time may go beyond and finish its frame; when its bytes do not come quickly it loses that turn to
//! the next in line. A connection that holds memory for a frame whose bytes do not come makes room. So a frame that is being sent
//! waits for others that are being sent, but not for those that are not.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::Millis;

/// Bytes of an incomplete frame that cost nothing. A frame above this is a large one.
pub(super) const FREE: usize = 8 << 10;
/// A large frame progresses while it comes at this rate, bytes per second,
const RATE_MIN: u64 = 64 << 10;
/// counted over this time, ms.
const GRACE_MS: u64 = 1000;
/// A connection that goes beyond the memory has this long for its frame while others wait, ms,
const TURN_MS: u64 = 100;
/// and this long for its next bytes, ms; nothing, when few came last.
const DRY_MS: u64 = 10;
const MANY: usize = 16 << 10;

/// An incomplete large frame.
struct Holder {
    /// Its size, and what has arrived of it.
    wanted: usize,
    kept: usize,
    /// It progresses until then at least.
    good_until: Millis,
    in_line: bool,
}

impl Holder {
    fn held(&self) -> usize {
        self.kept.saturating_sub(FREE)
    }
}

/// Whose turn it is to go beyond the memory.
#[derive(Clone, Copy)]
struct FirstInLine {
    slot: u32,
    /// It loses its turn then in any case, and then when its socket stays dry.
    until: Millis,
    dry_until: Option<Millis>,
}

impl FirstInLine {
    fn ends(&self) -> Millis {
        self.dry_until.map_or(self.until, |dry| dry.min(self.until))
    }
}

/// What a connection may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Share {
    /// Read as much as it likes.
    Any,
    /// Read what is free.
    Few,
    /// Wait: it is in line now.
    Wait,
    /// Ask again once this one is closed: it holds memory and does not use it.
    AfterClosing(u32),
}

/// The memory, and the connections that share it. Knows connections by their slots.
pub(super) struct MemoryPool {
    /// Bytes for all large frames.
    max: usize,
    /// Bytes read at once.
    chunk: usize,
    holders: BTreeMap<u32, Holder>,
    held: usize,
    line: VecDeque<u32>,
    /// Goes beyond `max`.
    head: Option<FirstInLine>,
    /// When no connection was found that does not progress.
    searched: Option<Millis>,
}

impl MemoryPool {
    pub(super) fn new(max: usize, chunk: usize) -> MemoryPool {
        MemoryPool { max, chunk, holders: BTreeMap::new(), held: 0, line: VecDeque::new(), head: None, searched: None }
    }

    /// Bytes held by large frames.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn fits(&self) -> bool {
        self.held + self.chunk <= self.max
    }

    /// Whether a connection that has something to read may read it.
    pub(super) fn may_read(&mut self, slot: u32, now: Millis) -> Share {
        if self.fits() {
            return Share::Any;
        }
        let Some(holder) = self.holders.get(&slot) else { return Share::Few };
        let wanted = holder.wanted;
        if self.head.is_some_and(|head| head.ends() <= now && !(head.slot == slot && self.line.is_empty())) {
            self.head = None;
        }
        let is_head = self.head.is_some_and(|head| head.slot == slot);
        if is_head && self.held < self.max + wanted {
            return Share::Any;
        }
        if let Some(idle) = self.idlest(slot, now).filter(|&(_, good_until)| good_until < now) {
            return Share::AfterClosing(idle.0);
        }
        match self.head {
            None if self.held < self.max + wanted => {
                self.head = Some(FirstInLine { slot, until: now.plus(TURN_MS), dry_until: None });
                Share::Any
            }
            Some(_) if !is_head => {
                self.wait(slot);
                Share::Wait
            }
            // No connection can go on: the slowest makes room. One that is alone may have any size.
            _ => match self.slowest(slot) {
                Some(slowest) => Share::AfterClosing(slowest),
                None => Share::Any,
            },
        }
    }

    /// The connection that makes room first: the one whose bytes have not come for longest. Those in line wait for us, and not we
    /// for them.
    fn idlest(&mut self, but: u32, now: Millis) -> Option<(u32, Millis)> {
        // Once for each look at the clock: with many connections that all want memory it would be the square.
        if self.searched == Some(now) {
            return None;
        }
        let others = self.holders.iter().filter(|(slot, holder)| **slot != but && holder.held() > 0 && !holder.in_line);
        let idlest =
            others.min_by_key(|(_, holder)| holder.good_until).map(|(slot, holder)| (*slot, holder.good_until));
        if idlest.is_none_or(|(_, good_until)| good_until >= now) {
            self.searched = Some(now);
        }
        idlest
    }

    fn slowest(&self, but: u32) -> Option<u32> {
        let others = self.holders.iter().filter(|(slot, holder)| **slot != but && holder.held() > 0);
        others.min_by_key(|(_, holder)| (holder.in_line, holder.good_until)).map(|(slot, _)| *slot)
    }

    fn wait(&mut self, slot: u32) {
        if let Some(holder) = self.holders.get_mut(&slot)
            && !std::mem::replace(&mut holder.in_line, true)
        {
            self.line.push_back(slot);
        }
    }

    /// What is kept of a connection's input now, and the size of the frame it belongs to; 0 when that is not known.
    pub(super) fn keeps(&mut self, slot: u32, kept: usize, wanted: usize, now: Millis) {
        if wanted <= FREE || kept == 0 {
            return self.forget(slot);
        }
        let new = || Holder { wanted, kept: 0, good_until: now.plus(GRACE_MS), in_line: false };
        let holder = self.holders.entry(slot).or_insert_with(new);
        let before = holder.held();
        if holder.wanted != wanted || kept < holder.kept {
            *holder = new();
        }
        let grown = (kept - holder.kept) as u64;
        let good_until = holder.good_until.max(now).plus(grown * 1000 / RATE_MIN);
        if grown > 0 {
            holder.good_until = good_until.min(now.plus(GRACE_MS)).max(holder.good_until);
        }
        holder.kept = kept;
        self.held = self.held + holder.held() - before;
    }

    /// So many bytes were read from it; `is_dry`: its socket has nothing more for now.
    pub(super) fn has_read(&mut self, slot: u32, count: usize, is_dry: bool, now: Millis) {
        if let Some(head) = self.head.as_mut().filter(|head| head.slot == slot) {
            match (is_dry, count) {
                (true, 0..MANY) => self.head = None,
                (true, _) => head.dry_until = Some(now.plus(DRY_MS)),
                (false, _) => head.dry_until = None,
            }
        }
    }

    /// It is gone, or has no large frame any more.
    pub(super) fn forget(&mut self, slot: u32) {
        self.head = self.head.filter(|head| head.slot != slot);
        if let Some(holder) = self.holders.remove(&slot) {
            self.held -= holder.held();
        }
    }

    /// When somebody in line may try again.
    pub(super) fn goes_on_at(&self, now: Millis) -> Option<Millis> {
        match self.head {
            _ if self.line.is_empty() => None,
            Some(head) if !self.fits() => Some(head.ends()),
            _ => Some(now),
        }
    }

    /// Empties the line, oldest first: each may try again. Having waited is not held against anybody.
    pub(super) fn go_on(&mut self, now: Millis) -> Vec<u32> {
        if self.goes_on_at(now).is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut line = Vec::with_capacity(self.line.len());
        for slot in self.line.drain(..) {
            // It may have left, and its slot have come to a connection that does not wait.
            if let Some(holder) = self.holders.get_mut(&slot).filter(|holder| holder.in_line) {
                holder.in_line = false;
                holder.good_until = holder.good_until.max(now.plus(GRACE_MS));
                line.push(slot);
            }
        }
        line
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
