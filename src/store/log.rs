//! The log as it is written: the append that makes records durable.
//!
//! A *frame* is what one sync makes durable. Frames form a chain (own offset, number, incarnation, checksum of the frame
//! before), and each says up to which frame the syncs had returned when it was made: that tells a torn tail from damage.

use std::sync::Arc;

use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, Zxid};
use crate::store::access::{AlignedBuf, ReadAt};
use crate::store::chain::{Chain, LogExtent};
use crate::store::error::StoreError;
use crate::store::frame::{FrameContent, FrameHead, FrameKind, OpenBody, Record, frame_len, record_len};
use crate::store::layout::{PAGE, frame, open};
use crate::store::options::SyncMode;
use crate::store::root::{LogEnd, Root};
use crate::store::superblock::Superblock;
use crate::store::writing::{FrameEnd, LogWork, LogWrite, LogWritten};

/// The append buffer of an idle server.
const APPEND_BUF: usize = 64 * 1024;
/// Bytes of a TRUNC frame's body.
const TRUNC_LEN: usize = size_of::<i64>();

/// What is known of the log extents before the first of [`Log::extents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EarlierExtents {
    /// There are none.
    None,
    /// The snapshot that was loaded covers them, and nothing has looked at them since the file was opened.
    Unchecked,
    /// The same, and they are damaged.
    Damaged,
}

/// The log as it is written: where it ends, what the next frame needs to know, and where its frames are.
#[derive(Debug)]
pub(crate) struct Log {
    /// The log extent that holds the end.
    pub(crate) lseq: u64,
    pub(crate) index: u32,
    /// Where the next frame goes.
    pub(crate) at: u64,
    /// The last frame written, and synced.
    pub(crate) fseq: u64,
    pub(crate) last_crc: u32,
    pub(crate) last_zxid: Zxid,
    /// The last frame that holds records.
    pub(crate) last_txns_fseq: u64,
    /// The extents in use, in order; the last is `index`, unless nothing was written to it yet.
    pub(crate) extents: Vec<LogExtent>,
    /// What of the log comes before those.
    pub(crate) earlier: EarlierExtents,
    /// Truncations: the frame's number and the zxid after which earlier frames are void.
    pub(crate) truncs: Vec<(u64, Zxid)>,
    /// Begins with what the page that holds `at` has before it, since pages are written whole.
    buf: AlignedBuf,
    /// The highest frame number seen when the file was opened: ours are above.
    pub(crate) fseq_floor: u64,
    /// The last records were known to be durable when this frame was written.
    pub(crate) marked_fseq: u64,
    /// Since when nothing was appended, as far as `tick` has seen.
    pub(crate) idle_since: Option<Millis>,
    /// A frame was built and is being written.
    pub(crate) is_writing: bool,
    /// The end of the log is to be marked, by whoever carries out its writes.
    pub(crate) is_mark_due: bool,
    pub(crate) counts: LogCounts,
}

/// What the log did since the file was opened.
#[derive(Debug, Default)]
pub(crate) struct LogCounts {
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
    pub(crate) syncs_us: u64,
    pub(crate) sync_max_us: u64,
    /// Appends that had to wait for a fresh extent.
    pub(crate) waited_for_extent: u64,
}

impl Log {
    /// A log without frames in the extent that is number `lseq`.
    pub(crate) fn new(sb: &Superblock, lseq: u64) -> Log {
        let index = sb.log_extent(lseq).expect("the superblock was checked: every lseq is there");
        Log {
            lseq,
            index,
            at: sb.extent_at(index),
            fseq: 0,
            last_crc: 0,
            last_zxid: Zxid::ZERO,
            last_txns_fseq: 0,
            extents: Vec::new(),
            earlier: EarlierExtents::None,
            truncs: Vec::new(),
            buf: AlignedBuf::new(APPEND_BUF),
            fseq_floor: 0,
            marked_fseq: 0,
            idle_since: None,
            is_writing: false,
            is_mark_due: false,
            counts: LogCounts::default(),
        }
    }

    /// The log of a file of which nothing counts: the numbers of its frames begin above `fseq`.
    pub(crate) fn hollow(sb: &Superblock, fseq: u64) -> Log {
        Log { fseq, fseq_floor: fseq, ..Log::new(sb, sb.log_head_lseq) }
    }

    /// The log that a chain of frames was found to be, after a state at `snapshot`. `highest_fseq`: of all frames in the file.
    pub(crate) fn found(sb: &Superblock, chain: Chain, snapshot: Zxid, highest_fseq: u64) -> Log {
        Log {
            index: chain.index,
            at: chain.at,
            fseq: chain.fseq,
            last_crc: chain.last_crc,
            last_zxid: chain.last_zxid.max(snapshot),
            last_txns_fseq: chain.last_txns_fseq,
            earlier: match chain.extents.first() {
                Some(first) if first.lseq > sb.log_base_lseq => EarlierExtents::Unchecked,
                _ => EarlierExtents::None,
            },
            extents: chain.extents,
            truncs: chain.truncs,
            fseq_floor: highest_fseq,
            ..Log::new(sb, chain.lseq)
        }
    }

    /// Where it ends, for the superblock.
    pub(crate) fn end(&self) -> LogEnd {
        let first_fseq = self.extents.is_empty().then(|| self.fseq.max(self.fseq_floor) + 1);
        LogEnd { fseq: self.fseq, zxid: self.last_zxid, offset: self.at, first_fseq }
    }

    /// Where it ends, counted in whole extents since the file's beginning: what is lost at their ends counts.
    pub(crate) fn position(&self, sb: &Superblock) -> u64 {
        self.lseq * sb.extent_size() + (self.at - sb.extent_at(self.index))
    }

    /// Linked extents that wait for it. Where the update failed that was to name the extent of a log begun anew, none do.
    pub(crate) fn ahead(&self, sb: &Superblock) -> u64 {
        sb.log_head_lseq.saturating_sub(self.lseq)
    }

    /// Whether a record of frame `fseq` was not cut off since.
    pub(crate) fn survives(&self, fseq: u64, zxid: Zxid) -> bool {
        self.cut(fseq, zxid) == zxid
    }

    /// The last zxid that is left of a history that reached `zxid` at frame `fseq`.
    pub(crate) fn cut(&self, fseq: u64, zxid: Zxid) -> Zxid {
        let later = self.truncs.iter().filter(|(at, _)| *at > fseq).map(|(_, to)| *to);
        later.fold(zxid, Zxid::min)
    }

    /// Ends the log, and begins an empty one after `zxid` in another extent. Frames keep their numbers.
    pub(crate) fn begin_anew(&mut self, lseq: u64, index: u32, at: u64, zxid: Zxid) {
        (self.lseq, self.index, self.at, self.last_zxid) = (lseq, index, at, zxid);
        self.extents.clear();
        self.truncs.clear();
        self.earlier = EarlierExtents::None;
    }

    /// Linked extents before the first that it knows.
    pub(crate) fn earlier_extents(&self, sb: &Superblock) -> u64 {
        match (self.earlier, self.extents.first()) {
            (EarlierExtents::None, _) | (_, None) => 0,
            (EarlierExtents::Unchecked | EarlierExtents::Damaged, Some(first)) => first.lseq - sb.log_base_lseq,
        }
    }

    /// Takes in what the check of the earlier extents found: the chain that leads to the first that it knows. What was given
    /// up meanwhile is of no use any more.
    pub(crate) fn take_earlier(&mut self, sb: &Superblock, found: Result<Chain, StoreError>) {
        if self.earlier_extents(sb) == 0 {
            return;
        }
        match found {
            Ok(mut chain) => {
                // The last is the one that it begins with itself.
                chain.extents.pop();
                self.extents.splice(0..0, chain.extents);
                self.truncs.splice(0..0, chain.truncs);
                self.earlier = EarlierExtents::None;
            }
            Err(error) => {
                log::error!(
                    "the log before the newest snapshot is damaged: {error}. Nothing is lost: a new snapshot is taken, and \
                     this part of the log is given up"
                );
                self.earlier = EarlierExtents::Damaged;
            }
        }
    }

    /// Forgets extents, and what was cut off in them, that the log does not have any more.
    pub(crate) fn forget_before(&mut self, lseq: u64) {
        if self.extents.first().is_none_or(|first| lseq >= first.lseq) {
            self.earlier = EarlierExtents::None;
        }
        self.extents.retain(|extent| extent.lseq >= lseq);
        let first = self.extents.first().map_or(0, |extent| extent.first_fseq);
        self.truncs.retain(|(fseq, _)| *fseq >= first);
    }
}

/// How far a run of records goes in one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RecordBatch {
    records: usize,
    body_len: usize,
    /// The frame goes to the next extent, behind its OPEN.
    moves: bool,
}

/// How many of `records` go into one frame at `at` of an extent that ends at `end`.
fn next_batch(records: &[Record<'_>], at: u64, end: u64, opened: bool, extent_size: u64) -> RecordBatch {
    let overhead = |opened: bool| frame::HEADER_LEN + if opened { 0 } else { open::FRAME_LEN };
    let here = (end - at) as usize;
    for (room, moves) in
        [(here.saturating_sub(overhead(opened)), false), (extent_size as usize - overhead(false), true)]
    {
        let mut body_len = 0;
        let mut count = 0;
        for one in records {
            let len = record_len(one.txn.len());
            if body_len + len > room || (count > 0 && body_len + len > frame::BODY_SOFT_MAX) {
                break;
            }
            body_len += len;
            count += 1;
        }
        if count > 0 {
            return RecordBatch { records: count, body_len, moves };
        }
    }
    unreachable!("max_record is at most half an extent, so one record always fits an empty one")
}

impl Log {
    /// Whether the extent at the end already has its OPEN.
    fn opened(&self, sb: &Superblock) -> bool {
        self.at != sb.extent_at(self.index)
    }

    /// How many of `records` go into the next frame, and where.
    fn plan(&self, sb: &Superblock, records: &[Record<'_>]) -> RecordBatch {
        next_batch(records, self.at, sb.extent_end(self.index), self.opened(sb), sb.extent_size())
    }

    /// How many times `records` go on in the next extent.
    pub(crate) fn moves_for(&self, sb: &Superblock, records: &[Record<'_>]) -> u64 {
        let size = sb.extent_size();
        let (mut at, mut end, mut opened) = (self.at, sb.extent_end(self.index), self.opened(sb));
        let mut moves = 0;
        let mut rest = records;
        while !rest.is_empty() {
            let batch = next_batch(rest, at, end, opened, size);
            if batch.moves {
                moves += 1;
                (at, end, opened) = (0, size, false);
            }
            at += (frame_len(batch.body_len) + if opened { 0 } else { open::FRAME_LEN }) as u64;
            opened = true;
            rest = &rest[batch.records..];
        }
        moves
    }

    /// How many times the log goes on in the next extent when each transaction has a frame of its own: never less than when
    /// some share one, as no place in the log comes later than with more bytes before it.
    pub(crate) fn moves_apart(&self, sb: &Superblock, sizes: &[usize]) -> u64 {
        let size = sb.extent_size();
        let (mut at, mut end, mut opened) = (self.at, sb.extent_end(self.index), self.opened(sb));
        let mut moves = 0;
        // A mark may come before each of the first two.
        for len in [0, 0].into_iter().chain(sizes.iter().map(|size| record_len(*size))) {
            let mut needed = frame_len(len) + if opened { 0 } else { open::FRAME_LEN };
            if end - at < needed as u64 {
                moves += 1;
                (at, end) = (0, size);
                needed = frame_len(len) + open::FRAME_LEN;
            }
            at += needed as u64;
            opened = true;
        }
        moves
    }

    /// Whether a frame of `body_len` bytes goes to the next extent.
    fn moves_without_records(&self, sb: &Superblock, body_len: usize) -> bool {
        let needed = frame_len(body_len) + if self.opened(sb) { 0 } else { open::FRAME_LEN };
        sb.extent_end(self.index) - self.at < needed as u64
    }

    /// Whether the present extent is half full and no other waits: the next is linked then, so that no commit waits for it.
    pub(crate) fn wants_next(&self, sb: &Superblock) -> bool {
        let half = sb.extent_at(self.index) + sb.extent_size() / 2;
        self.at >= half && sb.is_whole() && self.ahead(sb) == 0
    }

    /// Reads what stands before the end of the log in its page, when the file has been opened.
    pub(crate) fn read_last_page(&mut self, source: &dyn ReadAt) -> Result<(), StoreError> {
        let lead = (self.at % PAGE as u64) as usize;
        let page = &mut self.buf.bytes_mut()[..lead];
        source.read_at(page, self.at - lead as u64).map_err(StoreError::io("read the end of the log"))
    }

    /// Builds the frame of as many of `records` as go into one, in order. The extents that they need are linked.
    pub(crate) fn begin_append(&mut self, root: &Root, records: &[Record<'_>]) -> LogWrite {
        let batch = self.plan(&root.sb, records);
        self.begin_frame(root, FrameContent::Txns(&records[..batch.records]), batch)
    }

    /// Builds the frame that says that everything before is durable. `None` where there is no room for it.
    pub(crate) fn begin_mark(&mut self, root: &Root) -> Option<LogWrite> {
        let moves = self.moves_without_records(&root.sb, 0);
        let has_room = !moves || self.ahead(&root.sb) > 0;
        has_room.then(|| self.begin_frame(root, FrameContent::Mark, RecordBatch { records: 0, body_len: 0, moves }))
    }

    /// Says in the log that everything before is durable. Does nothing where there is no room for it.
    pub(crate) fn append_mark(&mut self, root: &mut Root) -> Result<(), StoreError> {
        match self.begin_mark(root) {
            Some(write) => self.end_frame(root, write.carry_out()),
            None => Ok(()),
        }
    }

    /// Whether a TRUNC frame goes to the next extent.
    pub(crate) fn moves_for_trunc(&self, sb: &Superblock) -> bool {
        self.moves_without_records(sb, TRUNC_LEN)
    }

    /// Makes everything past `to` void, durably (D-08). The extent that it goes to is linked.
    pub(crate) fn append_trunc(&mut self, root: &mut Root, to: Zxid) -> Result<(), StoreError> {
        let moves = self.moves_for_trunc(&root.sb);
        let batch = RecordBatch { records: 0, body_len: TRUNC_LEN, moves };
        let write = self.begin_frame(root, FrameContent::Trunc(to), batch);
        self.end_frame(root, write.carry_out())?;
        self.truncs.push((self.fseq, to));
        Ok(())
    }

    /// Builds one frame, with the OPEN before it where it is the first of its extent. Nothing of the log's end changes: it goes
    /// on with the frame once that is written.
    fn begin_frame(&mut self, root: &Root, content: FrameContent<'_>, batch: RecordBatch) -> LogWrite {
        assert!(!self.is_writing, "two writes of the log at once");
        self.is_mark_due = false;
        let sb = &root.sb;
        let (lseq, index, at) = if batch.moves {
            let lseq = self.lseq + 1;
            let index = sb.log_extent(lseq).expect("linked before: checked by the caller");
            (lseq, index, sb.extent_at(index))
        } else {
            (self.lseq, self.index, self.at)
        };
        let opens = at == sb.extent_at(index);
        let total = frame_len(batch.body_len) + if opens { open::FRAME_LEN } else { 0 };
        assert!(at + total as u64 <= sb.extent_end(index), "a frame past the end of its extent");
        // Whole pages are written, past the page cache where that is possible: what is durable in the first of them is
        // written again as it is, and the last is filled up with zeros.
        let lead = (at % PAGE as u64) as usize;
        let written_len = (lead + total).next_multiple_of(PAGE);
        if self.buf.capacity() < written_len {
            let mut larger = AlignedBuf::new(written_len.next_power_of_two());
            larger.bytes_mut()[..lead].copy_from_slice(&self.buf.bytes()[..lead]);
            self.buf = larger;
        }
        // One sync at a time, so all frames before this one are synced; unless syncing is off, then none can be said to be.
        let synced_fseq = match root.sync {
            SyncMode::Always if failpoint::on(Failpoint::SyncedTooSoon) => self.fseq + 1,
            SyncMode::Always if failpoint::on(Failpoint::NeverSaysSynced) => 0,
            SyncMode::Always => self.fseq,
            SyncMode::Never => 0,
        };
        let mut head = FrameHead {
            header_crc: 0,
            own_offset: at,
            fseq: self.fseq.max(if failpoint::on(Failpoint::NumbersReused) { 0 } else { self.fseq_floor }) + 1,
            incarnation: sb.incarnation,
            kind: content.kind(),
            body_len: batch.body_len as u32,
            body_crc: 0,
            synced_fseq,
            last_zxid: content.last_zxid(self.last_zxid),
            prev_crc: self.last_crc,
            records: content.records().len() as u32,
        };
        let first_fseq = head.fseq;
        let page_rest = &mut self.buf.bytes_mut()[lead..written_len];
        let (out, behind) = page_rest.split_at_mut(total);
        behind.fill(0);
        let mut rest = out;
        if opens {
            let (mine, behind) = rest.split_at_mut(open::FRAME_LEN);
            let before = self.extents.last();
            let body = OpenBody {
                lseq,
                extent: index,
                prev_extent: before.map_or(u32::MAX, |e| e.index),
                prev_end_offset: before.map_or(0, |_| self.at),
                prev_lseq: before.map_or(0, |e| e.lseq),
                base_zxid: self.last_zxid,
            };
            head.prev_crc = head.encode_open(&body, root.seed, mine);
            head.fseq += 1;
            head.own_offset += open::FRAME_LEN as u64;
            rest = behind;
        }
        head.encode_with(content, root.seed, rest);
        self.is_writing = true;
        let end = FrameEnd {
            kind: head.kind,
            lseq,
            index,
            at,
            len: total as u64,
            lead,
            opens: opens.then_some(first_fseq),
            fseq: head.fseq,
            crc: head.header_crc,
            last_zxid: head.last_zxid,
            records: content.records().len(),
        };
        let work = LogWork::Frame {
            buf: std::mem::take(&mut self.buf),
            len: written_len,
            at: at - lead as u64,
            is_synced: root.sync == SyncMode::Always && !failpoint::on(Failpoint::AckBeforeSync),
            end,
        };
        LogWrite { disk: Arc::clone(&root.disk), work }
    }

    /// Moves the end of the log behind a frame that was written.
    pub(crate) fn end_frame(&mut self, root: &mut Root, written: LogWritten) -> Result<(), StoreError> {
        let LogWritten { took_us, result, frame } = written;
        let Some((buf, end)) = frame else { return root.end_update(result) };
        assert!(self.is_writing, "no write was begun");
        self.is_writing = false;
        self.buf = buf;
        self.counts.syncs += 1;
        self.counts.syncs_us += took_us;
        self.counts.sync_max_us = self.counts.sync_max_us.max(took_us);
        if let Err(error) = result
            && !failpoint::on(Failpoint::FailureIgnored)
        {
            return Err(root.poison_sync(&error));
        }
        let in_buf = end.lead + end.len as usize;
        let last_page = in_buf / PAGE * PAGE;
        self.buf.bytes_mut().copy_within(last_page..in_buf, 0);
        self.counts.frames += 1;
        self.counts.records += end.records as u64;
        self.counts.bytes += end.len;
        let FrameEnd { lseq, index, at, .. } = end;
        if let Some(first_fseq) = end.opens {
            if let Some(left) = self.extents.last_mut() {
                left.end = self.at;
            }
            let base_zxid = self.last_zxid;
            self.extents.push(LogExtent { lseq, index, first_fseq, base_zxid, last_zxid: base_zxid, end: at });
        }
        (self.lseq, self.index, self.at) = (lseq, index, at + end.len);
        (self.fseq, self.last_crc, self.last_zxid) = (end.fseq, end.crc, end.last_zxid);
        let current = self.extents.last_mut().expect("an extent that holds a frame was opened");
        // What was cut off is still in it.
        (current.last_zxid, current.end) = (current.last_zxid.max(self.last_zxid), self.at);
        if end.kind != FrameKind::Mark {
            self.last_txns_fseq = self.fseq;
            self.idle_since = None;
        }
        Ok(())
    }
}
