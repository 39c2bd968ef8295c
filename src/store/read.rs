//! Reading the log from a transaction on, for a member that lacks what follows.
//!
//! Checksums are checked again before anything is given out, and so is the chain of frames. What a truncation made void is
//! passed over. Extents that a reader has before it are not released, within limits.

use crate::store::access::ReadAt;
use crate::store::cause::{DamageCause, FrameFault};
use crate::store::chain::{LogExtent, frame_at};
use crate::store::error::StoreError;
use crate::store::frame::{FrameHead, FrameKind, Records};
use crate::store::layout::frame;
use crate::store::log::Log;
use crate::store::os_error::OsError;
use crate::store::superblock::Superblock;
use crate::store::window::Window;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Millis, Zxid};

/// A reader that has not come to its end by then is given up, ms.
const PIN_MAX_MS: u64 = 10 * 60 * 1000;

/// Where one reader of the log is.
#[derive(Debug)]
pub struct LogCursor {
    id: u64,
    before: Zxid,
    /// Up to here the reader has everything.
    upto: Zxid,
    lseq: u64,
    /// The frame that is next, or is being read.
    at: u64,
    /// The header checksum and the number of the frame before it; `None` at the beginning of an extent.
    behind: Option<(u32, u64)>,
}

impl LogCursor {
    /// The last transaction of the history at or below the one asked for.
    pub fn before(&self) -> Zxid {
        self.before
    }

    /// The log extent that the reader is in.
    pub(crate) fn lseq(&self) -> u64 {
        self.lseq
    }

    /// The last transaction that was given out, or what was asked for.
    pub fn upto(&self) -> Zxid {
        self.upto
    }
}

/// What readers of the log still need.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    next: u64,
    held: BTreeMap<u64, Pin>,
}

#[derive(Debug, Clone, Copy)]
struct Pin {
    lseq: u64,
    since: Millis,
}

impl Pins {
    /// The first extent that a reader has before it.
    pub(crate) fn first(&self) -> Option<u64> {
        self.held.values().map(|pin| pin.lseq).min()
    }

    /// Holds the log from `cursor` on for its reader.
    pub(crate) fn hold(&mut self, cursor: &mut LogCursor, now: Millis) {
        self.next += 1;
        cursor.id = self.next;
        self.held.insert(cursor.id, Pin { lseq: cursor.lseq, since: now });
    }

    /// Whether the reader still has its part of the log.
    pub(crate) fn holds(&self, cursor: &LogCursor) -> bool {
        self.held.contains_key(&cursor.id)
    }

    /// The reader has come to where `cursor` is.
    pub(crate) fn follow(&mut self, cursor: &LogCursor) {
        if let Some(pin) = self.held.get_mut(&cursor.id) {
            pin.lseq = cursor.lseq;
        }
    }

    /// Ends the reading.
    pub(crate) fn release(&mut self, cursor: &LogCursor) {
        self.held.remove(&cursor.id);
    }

    /// Gives up every reader.
    pub(crate) fn drop_all(&mut self) {
        self.held.clear();
    }

    /// Gives up those that have been reading for too long.
    pub(crate) fn drop_old(&mut self, now: Millis) {
        self.held.retain(|_, pin| now.since(pin.since) < PIN_MAX_MS);
    }
}

/// A transaction of the log.
pub type Logged = (Zxid, Arc<[u8]>);

/// The log of an open file, to be read.
#[derive(Clone, Copy)]
pub(crate) struct LogReader<'a> {
    pub(crate) source: &'a dyn ReadAt,
    pub(crate) sb: &'a Superblock,
    pub(crate) log: &'a Log,
}

impl LogReader<'_> {
    /// Whether the log or a kept snapshot knows a state at exactly `zxid`.
    pub(crate) fn knows(&self, zxid: Zxid) -> Result<bool, StoreError> {
        let is_kept = self.sb.snapshots.iter().flatten().any(|kept| kept.zxid == zxid);
        let found = self.find(zxid)?.map(|cursor| cursor.before);
        Ok(is_kept || found == Some(zxid))
    }

    /// Whether the state at `to` can be read back: it is one of the history's, and begins with a snapshot or with nothing.
    pub(crate) fn leads_to(&self, to: Zxid) -> Result<bool, StoreError> {
        let first = self.log.extents.first().map_or(self.log.last_zxid, |first| first.base_zxid);
        let has_snapshot = self.sb.snapshots.iter().flatten().any(|kept| kept.zxid <= to && kept.log_after >= first);
        let from_nothing = self.sb.log_base_lseq == 1 && self.sb.snapshots.iter().flatten().all(|kept| kept.zxid > to);
        Ok((has_snapshot || (from_nothing && first == Zxid::ZERO)) && self.knows(to)?)
    }

    /// The place in the log behind `after`.
    pub(crate) fn find(&self, after: Zxid) -> Result<Option<LogCursor>, StoreError> {
        // The last extent before which everything is at or below `after`. What was cut off is in none.
        let extents = &self.log.extents;
        let from = extents.iter().rev().find(|extent| extent.base_zxid <= after).or(extents.first());
        let mut before = from.map_or(self.log.last_zxid, |extent| self.log.cut(extent.first_fseq, extent.base_zxid));
        if before > after {
            return Ok(None);
        }
        let (lseq, at) = from.map_or((self.log.lseq, self.log.at), |e| (e.lseq, self.sb.extent_at(e.index)));
        let mut cursor = LogCursor { id: 0, before, upto: Zxid(i64::MIN), lseq, at, behind: None };
        self.read_frames(&mut cursor, &mut |zxid, _| {
            let is_before = zxid <= after;
            if is_before {
                before = zxid;
            }
            is_before
        })?;
        (cursor.before, cursor.upto) = (before, after);
        Ok(Some(cursor))
    }

    /// Reads on: transactions in order, of `bytes_max` bytes in all, or one that is larger.
    pub(crate) fn read(&self, cursor: &mut LogCursor, bytes_max: usize) -> Result<Vec<Logged>, StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let read = self.read_frames(cursor, &mut |zxid, txn| {
            if bytes > 0 && bytes + txn.len() > bytes_max {
                return false;
            }
            bytes += txn.len().max(1);
            found.push((zxid, Arc::from(txn)));
            true
        });
        // What came before a fault is good.
        if found.is_empty() {
            read?;
        }
        Ok(found)
    }

    /// Gives what follows the cursor to `take`, until that wants no more, and moves the cursor behind what was taken.
    fn read_frames(&self, cursor: &mut LogCursor, take: &mut dyn FnMut(Zxid, &[u8]) -> bool) -> Result<(), StoreError> {
        let mut window = Window::small(self.source);
        while let Some(extent) = self.log.extents.iter().find(|extent| extent.lseq == cursor.lseq) {
            if cursor.at >= extent.end {
                let next = self.log.extents.iter().find(|next| next.lseq == cursor.lseq + 1);
                let Some(next) = next else { return Ok(()) };
                (cursor.lseq, cursor.at, cursor.behind) = (next.lseq, self.sb.extent_at(next.index), None);
                continue;
            }
            let head = self.frame_again(&mut window, cursor, extent)?;
            if head.kind == FrameKind::Txns {
                let body_at = cursor.at + frame::HEADER_LEN as u64;
                let body = window.bytes(body_at, head.body_len as usize, extent.end);
                let body =
                    body.map_err(|error| unreadable(cursor, DamageCause::LogUnreadable(OsError::from(&error))))?;
                for one in Records::of(body) {
                    let one = one.map_err(|fault| changed(cursor, FrameFault::Record(fault)))?;
                    if one.zxid <= cursor.upto || !self.log.survives(head.fseq, one.zxid) {
                        continue;
                    }
                    if !take(one.zxid, one.txn) {
                        return Ok(());
                    }
                    cursor.upto = one.zxid;
                }
            }
            cursor.at += head.len();
            cursor.behind = Some((head.header_crc, head.fseq));
        }
        Ok(())
    }

    /// The frame at the cursor, which was good when it was written.
    fn frame_again(
        &self,
        window: &mut Window<'_>,
        cursor: &LogCursor,
        extent: &LogExtent,
    ) -> Result<FrameHead, StoreError> {
        let head = frame_at(window, self.sb, cursor.at, extent.end)
            .map_err(|error| unreadable(cursor, DamageCause::LogUnreadable(OsError::from(&error))))?;
        let head = head.map_err(|why| changed(cursor, why))?;
        let follows = match cursor.behind {
            None => head.kind == FrameKind::Open && head.fseq == extent.first_fseq,
            Some((crc, fseq)) => head.prev_crc == crc && head.fseq > fseq && head.fseq <= self.log.fseq,
        };
        if !follows {
            return Err(changed(cursor, FrameFault::EarlierUse));
        }
        Ok(head)
    }
}

fn changed(cursor: &LogCursor, why: FrameFault) -> StoreError {
    unreadable(cursor, DamageCause::LogChanged(why))
}

fn unreadable(cursor: &LogCursor, cause: DamageCause) -> StoreError {
    StoreError::Corrupt { offset: cursor.at, cause, good_to: cursor.upto, lost_to: None }
}
