//! The log: frames, records, and the append that makes them durable.
//!
//! A *frame* is what one sync makes durable. Frames form a chain (own offset, number, incarnation, checksum of the frame
//! before), and each says up to which frame the syncs had returned when it was made: that tells a torn tail from damage.

use std::sync::Arc;

use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::store::disk::AlignedBuf;
use crate::store::error::StoreError;
use crate::store::extents::ExtentState;
use crate::store::file::Store;
use crate::store::layout::{PAGE, frame, open, record};
use crate::store::le;
use crate::store::options::SyncMode;
use crate::store::superblock::Extent;
use crate::store::writing::{FrameEnd, LogWrite, LogWritten};

/// One transaction for the log.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its id, above all before it.
    pub zxid: Zxid,
    /// Its bytes, opaque to the store.
    pub txn: &'a [u8],
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The first frame of a log extent.
    Open,
    /// Records.
    Txns,
    /// Nothing: only that what came before is durable.
    Mark,
    /// Everything past a zxid in earlier frames is void.
    Trunc,
}

impl FrameKind {
    fn code(self) -> u16 {
        match self {
            FrameKind::Open => 1,
            FrameKind::Txns => 2,
            FrameKind::Mark => 3,
            FrameKind::Trunc => 4,
        }
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FrameKind::Open => "OPEN",
            FrameKind::Txns => "TXNS",
            FrameKind::Mark => "MARK",
            FrameKind::Trunc => "TRUNC",
        }
    }

    fn of_code(code: u16) -> Option<FrameKind> {
        match code {
            1 => Some(FrameKind::Open),
            2 => Some(FrameKind::Txns),
            3 => Some(FrameKind::Mark),
            4 => Some(FrameKind::Trunc),
            _ => None,
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) header_crc: u32,
    pub(crate) own_offset: u64,
    pub(crate) fseq: u64,
    pub(crate) incarnation: u32,
    pub(crate) kind: FrameKind,
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
    pub(crate) synced_fseq: u64,
    pub(crate) last_zxid: Zxid,
    pub(crate) prev_crc: u32,
    pub(crate) records: u32,
}

impl FrameHead {
    /// Reads a header that is whole by itself: magic, checksum, known kind.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<FrameHead> {
        if le::u32_at(bytes, frame::MAGIC) != frame::MAGIC_VALUE {
            return None;
        }
        let header_crc = le::u32_at(bytes, frame::HEADER_CRC);
        if header_crc != crc32c::crc32c_append(seed, bytes.get(frame::OWN_OFFSET..frame::HEADER_LEN)?) {
            return None;
        }
        Some(FrameHead {
            header_crc,
            own_offset: le::u64_at(bytes, frame::OWN_OFFSET),
            fseq: le::u64_at(bytes, frame::FSEQ),
            incarnation: le::u32_at(bytes, frame::INCARNATION),
            kind: FrameKind::of_code(le::u16_at(bytes, frame::KIND))?,
            body_len: le::u32_at(bytes, frame::BODY_LEN),
            body_crc: le::u32_at(bytes, frame::BODY_CRC),
            synced_fseq: le::u64_at(bytes, frame::SYNCED_FSEQ),
            last_zxid: Zxid(le::u64_at(bytes, frame::LAST_ZXID) as i64),
            prev_crc: le::u32_at(bytes, frame::PREV_CRC),
            records: le::u32_at(bytes, frame::RECORDS),
        })
    }

    /// Writes the header and returns its checksum.
    fn encode(&self, seed: u32, out: &mut [u8]) -> u32 {
        le::put_u32(out, frame::MAGIC, frame::MAGIC_VALUE);
        le::put_u64(out, frame::OWN_OFFSET, self.own_offset);
        le::put_u64(out, frame::FSEQ, self.fseq);
        le::put_u32(out, frame::INCARNATION, self.incarnation);
        le::put_u16(out, frame::KIND, self.kind.code());
        le::put_u16(out, frame::FLAGS, 0);
        le::put_u32(out, frame::BODY_LEN, self.body_len);
        le::put_u32(out, frame::BODY_CRC, self.body_crc);
        le::put_u64(out, frame::SYNCED_FSEQ, self.synced_fseq);
        le::put_u64(out, frame::LAST_ZXID, self.last_zxid.0 as u64);
        le::put_u32(out, frame::PREV_CRC, self.prev_crc);
        le::put_u32(out, frame::RECORDS, self.records);
        let crc = crc32c::crc32c_append(seed, &out[frame::OWN_OFFSET..frame::HEADER_LEN]);
        le::put_u32(out, frame::HEADER_CRC, crc);
        crc
    }

    /// Bytes the frame takes, padding included.
    pub(crate) fn len(&self) -> u64 {
        frame_len(self.body_len as usize) as u64
    }
}

/// Bytes a frame with a body of `body_len` takes.
pub(crate) fn frame_len(body_len: usize) -> usize {
    (frame::HEADER_LEN + body_len).next_multiple_of(frame::ALIGN)
}

fn record_len(txn_len: usize) -> usize {
    (record::HEADER_LEN + txn_len).next_multiple_of(record::ALIGN)
}

/// The body of an OPEN frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenBody {
    pub(crate) lseq: u64,
    pub(crate) extent: u32,
    pub(crate) prev_extent: u32,
    pub(crate) prev_end_offset: u64,
    pub(crate) prev_lseq: u64,
    pub(crate) base_zxid: Zxid,
}

impl OpenBody {
    pub(crate) fn decode(body: &[u8]) -> Option<OpenBody> {
        (body.len() == open::BODY_LEN).then(|| OpenBody {
            lseq: le::u64_at(body, open::LSEQ),
            extent: le::u32_at(body, open::EXTENT),
            prev_extent: le::u32_at(body, open::PREV_EXTENT),
            prev_end_offset: le::u64_at(body, open::PREV_END_OFFSET),
            prev_lseq: le::u64_at(body, open::PREV_LSEQ),
            base_zxid: Zxid(le::u64_at(body, open::BASE_ZXID) as i64),
        })
    }

    fn encode(&self, out: &mut [u8]) {
        le::put_u64(out, open::LSEQ, self.lseq);
        le::put_u32(out, open::EXTENT, self.extent);
        le::put_u32(out, open::PREV_EXTENT, self.prev_extent);
        le::put_u64(out, open::PREV_END_OFFSET, self.prev_end_offset);
        le::put_u64(out, open::PREV_LSEQ, self.prev_lseq);
        le::put_u64(out, open::BASE_ZXID, self.base_zxid.0 as u64);
    }
}

/// The records of a TXNS body, in order. Ends with an error at the first thing that is not a record.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Records<'a> {
        Records { rest: body }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        if rest.len() < record::HEADER_LEN {
            return Some(Err("a record header is cut short"));
        }
        if le::u16_at(rest, record::KIND) != record::KIND_TXN {
            return Some(Err("a record of unknown kind"));
        }
        let len = le::u32_at(rest, record::LENGTH) as usize;
        let Some(txn) = rest.get(record::HEADER_LEN..).and_then(|body| body.get(..len)) else {
            return Some(Err("a record is longer than its frame"));
        };
        self.rest = rest.get(record_len(len)..).unwrap_or_default();
        Some(Ok(Record { zxid: Zxid(le::u64_at(rest, record::ZXID) as i64), txn }))
    }
}

/// One linked log extent that the chain has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogExtent {
    pub(crate) lseq: u64,
    pub(crate) index: u32,
    /// The number of its first frame.
    pub(crate) first_fseq: u64,
    /// The last zxid before its first record.
    pub(crate) base_zxid: Zxid,
    /// The highest zxid in it or before it, cut off or not.
    pub(crate) last_zxid: Zxid,
    /// Where the chain leaves it.
    pub(crate) end: u64,
}

/// Where the log ends, and what the next frame needs to know.
#[derive(Debug)]
pub(crate) struct Tail {
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
    /// Truncations: the frame's number and the zxid after which earlier frames are void.
    pub(crate) truncs: Vec<(u64, Zxid)>,
    /// Begins with what the page that holds `at` has before it, since pages are written whole.
    pub(crate) buf: AlignedBuf,
}

impl Tail {
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
    }

    /// Forgets extents, and what was cut off in them, that the log does not have any more.
    pub(crate) fn forget_before(&mut self, lseq: u64) {
        self.extents.retain(|extent| extent.lseq >= lseq);
        let first = self.extents.first().map_or(0, |extent| extent.first_fseq);
        self.truncs.retain(|(fseq, _)| *fseq >= first);
    }
}

/// What goes into a frame.
#[derive(Debug, Clone, Copy)]
enum FrameContent<'a> {
    Txns(&'a [Record<'a>]),
    Mark,
    Trunc(Zxid),
}

impl<'a> FrameContent<'a> {
    fn kind(&self) -> FrameKind {
        match self {
            FrameContent::Txns(_) => FrameKind::Txns,
            FrameContent::Mark => FrameKind::Mark,
            FrameContent::Trunc(_) => FrameKind::Trunc,
        }
    }

    fn records(&self) -> &'a [Record<'a>] {
        match self {
            FrameContent::Txns(records) => records,
            FrameContent::Mark | FrameContent::Trunc(_) => &[],
        }
    }

    /// The last zxid behind it, given the one before it.
    fn last_zxid(&self, before: Zxid) -> Zxid {
        match self {
            FrameContent::Txns(records) => records.last().map_or(before, |one| one.zxid),
            FrameContent::Mark => before,
            FrameContent::Trunc(to) => *to,
        }
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

impl Store {
    /// Appends `records` and makes them durable.
    ///
    /// One frame, one write, one sync; more only where the records exceed 1 MiB or cross the end of an extent. After a
    /// crash in the middle a prefix of `records` may be found again.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] and [`StoreError::Full`] before anything is written: the store stays usable.
    /// [`StoreError::SyncFailed`] is final (S-42).
    ///
    /// # Panics
    /// When the zxids do not grow: the log would go backwards.
    pub fn append(&mut self, records: &[Record<'_>]) -> Result<(), StoreError> {
        let forgets = failpoint::on(Failpoint::LastRecordForgotten) && records.len() > 1;
        let mut rest = if forgets { &records[..records.len() - 1] } else { records };
        while let Some(write) = self.append_begin(rest)? {
            let count = write.end.records;
            self.append_end(write.carry_out())?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// First step of an append: builds the frame of as many of `records` as go into one, in order; there is room for all of
    /// them then. `None` when there are none. To be carried out and handed back by [`append_end`](Store::append_end) before the
    /// next begins; until then nothing of it counts.
    ///
    /// # Errors
    /// As [`append`](Store::append).
    ///
    /// # Panics
    /// As [`append`](Store::append), and while a write is under way.
    pub fn append_begin(&mut self, records: &[Record<'_>]) -> Result<Option<LogWrite>, StoreError> {
        self.has_history()?;
        let mut last = self.log.last_zxid;
        for one in records {
            assert!(one.zxid > last, "log goes backwards: {:?} after {last:?}", one.zxid);
            last = one.zxid;
            let size = one.txn.len() as u64;
            if size > self.max_record() {
                return Err(StoreError::TooLarge { size, limit: self.max_record() });
            }
        }
        if records.is_empty() {
            return Ok(None);
        }
        self.link_for(records)?;
        let batch = self.plan(records);
        Ok(Some(self.begin_frame(FrameContent::Txns(&records[..batch.records]), batch)))
    }

    /// Last step of an append: takes note that the frame is durable.
    ///
    /// # Errors
    /// [`StoreError::SyncFailed`], which is final (S-42).
    pub fn append_end(&mut self, written: LogWritten) -> Result<(), StoreError> {
        self.end_frame(written)
    }

    /// Whether a write is under way.
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Begins to say in the log that all of it is durable, if that is due and [`tick`](Store::tick) was told to leave it.
    ///
    /// # Errors
    /// As every write.
    pub fn mark_begin(&mut self) -> Result<Option<LogWrite>, StoreError> {
        if self.is_writing || !std::mem::take(&mut self.is_mark_due) {
            return Ok(None);
        }
        self.alive()?;
        self.marked_fseq = self.log.fseq;
        Ok(self.plan_mark().map(|batch| self.begin_frame(FrameContent::Mark, batch)))
    }

    /// Makes sure that transactions of these sizes find room behind the end of the log, whichever of them come to share a
    /// frame, for who tells others of them before they are appended: no [`append`](Store::append) of just these comes to
    /// [`StoreError::Full`]. What was reserved and not appended yet is to be told again.
    ///
    /// # Errors
    /// As [`append`](Store::append).
    pub fn reserve(&mut self, sizes: &[usize]) -> Result<(), StoreError> {
        self.alive()?;
        if let Some(size) = sizes.iter().map(|size| *size as u64).find(|size| *size > self.max_record()) {
            return Err(StoreError::TooLarge { size, limit: self.max_record() });
        }
        if self.moves_apart(sizes) > self.sb.log_head_lseq - self.log.lseq && !self.sb.is_whole() {
            self.widen_at_once()?;
        }
        let moves = self.moves_apart(sizes);
        self.link_at_least(moves)
    }

    /// How many times the log goes on in the next extent when each transaction has a frame of its own: never less than when
    /// some share one, as no place in the log comes later than with more bytes before it.
    fn moves_apart(&self, sizes: &[usize]) -> u64 {
        let size = self.sb.extent_size();
        let (mut at, mut end, mut opened) = (self.log.at, self.sb.extent_end(self.log.index), self.opened());
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

    pub(crate) fn max_record(&self) -> u64 {
        self.options.max_record.min(self.sb.extent_size() / 2)
    }

    /// Whether the extent at the end already has its OPEN.
    fn opened(&self) -> bool {
        self.log.at != self.sb.extent_at(self.log.index)
    }

    fn plan(&self, records: &[Record<'_>]) -> RecordBatch {
        let end = self.sb.extent_end(self.log.index);
        next_batch(records, self.log.at, end, self.opened(), self.sb.extent_size())
    }

    /// Links as many extents as `records` will need, so that no write is begun that cannot be finished (F-09).
    fn link_for(&mut self, records: &[Record<'_>]) -> Result<(), StoreError> {
        let moves = self.moves_for(records);
        if moves > 0 && !self.sb.is_whole() {
            self.widen_at_once()?;
            return self.link_for(records);
        }
        self.link_at_least(moves)
    }

    fn link_at_least(&mut self, moves: u64) -> Result<(), StoreError> {
        while self.sb.log_head_lseq - self.log.lseq < moves {
            self.stats.waited_for_extent += 1;
            self.link_next()?;
        }
        Ok(())
    }

    /// How many times `records` go on in the next extent.
    fn moves_for(&self, records: &[Record<'_>]) -> u64 {
        let size = self.sb.extent_size();
        let (mut at, mut end, mut opened) = (self.log.at, self.sb.extent_end(self.log.index), self.opened());
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

    /// Makes one more FREE extent part of the log.
    pub(crate) fn link_next(&mut self) -> Result<(), StoreError> {
        let index = self.take_free()?;
        let mut next = self.sb.clone();
        next.log_head_lseq += 1;
        next.map[index as usize] = Extent { state: ExtentState::Log, order: next.log_head_lseq };
        self.update_superblock(next)?;
        // Later appends change pages by halves; having them in memory saves a read in each.
        self.disk.prefetch(self.sb.extent_at(index), self.sb.extent_size());
        Ok(())
    }

    /// Links the next extent when the present one is half full, so that no commit waits for it.
    pub(crate) fn link_ahead(&mut self) -> Result<(), StoreError> {
        let half = self.sb.extent_at(self.log.index) + self.sb.extent_size() / 2;
        if self.log.at >= half && self.sb.is_whole() && self.sb.log_head_lseq == self.log.lseq && self.has_one_for_log()
        {
            self.link_next()?;
        }
        Ok(())
    }

    /// Reads what stands before the end of the log in its page, when the file has been opened.
    pub(crate) fn read_last_page(&mut self) -> Result<(), StoreError> {
        let lead = (self.log.at % PAGE as u64) as usize;
        let page = &mut self.log.buf.bytes_mut()[..lead];
        self.disk.read_at(page, self.log.at - lead as u64).map_err(StoreError::io("read the end of the log"))
    }

    /// Says in the log that everything before is durable. Does nothing where there is no room for it.
    pub(crate) fn append_mark(&mut self) -> Result<(), StoreError> {
        match self.plan_mark() {
            Some(batch) => self.append_frame(FrameContent::Mark, batch),
            None => Ok(()),
        }
    }

    fn plan_mark(&self) -> Option<RecordBatch> {
        let moves = self.moves_without_records(0);
        let has_room = !moves || self.sb.log_head_lseq > self.log.lseq;
        has_room.then_some(RecordBatch { records: 0, body_len: 0, moves })
    }

    /// Makes everything past `to` void, durably (D-08). Nothing is written when there is no room for it.
    pub(crate) fn append_trunc(&mut self, to: Zxid) -> Result<(), StoreError> {
        let body_len = size_of::<i64>();
        if self.moves_without_records(body_len) && !self.sb.is_whole() {
            self.widen_at_once()?;
        }
        let moves = self.moves_without_records(body_len);
        if moves && self.sb.log_head_lseq == self.log.lseq {
            self.link_next()?;
        }
        self.append_frame(FrameContent::Trunc(to), RecordBatch { records: 0, body_len, moves })?;
        self.log.truncs.push((self.log.fseq, to));
        Ok(())
    }

    /// Whether a frame of `body_len` bytes goes to the next extent.
    fn moves_without_records(&self, body_len: usize) -> bool {
        let needed = frame_len(body_len) + if self.opened() { 0 } else { open::FRAME_LEN };
        self.sb.extent_end(self.log.index) - self.log.at < needed as u64
    }

    /// Writes one frame with one sync.
    fn append_frame(&mut self, content: FrameContent<'_>, batch: RecordBatch) -> Result<(), StoreError> {
        let write = self.begin_frame(content, batch);
        self.end_frame(write.carry_out())
    }

    /// Builds one frame, with the OPEN before it where it is the first of its extent. Nothing of the log's end changes.
    fn begin_frame(&mut self, content: FrameContent<'_>, batch: RecordBatch) -> LogWrite {
        assert!(!self.is_writing, "two writes of the log at once");
        self.is_mark_due = false;
        let (kind, records) = (content.kind(), content.records());
        let seed = self.seed;
        // Where the chain goes on.
        let (lseq, index, at) = if batch.moves {
            let lseq = self.log.lseq + 1;
            let index = self.sb.log_extent(lseq).expect("linked before: checked by the caller");
            (lseq, index, self.sb.extent_at(index))
        } else {
            (self.log.lseq, self.log.index, self.log.at)
        };
        let opens = at == self.sb.extent_at(index);
        let total = frame_len(batch.body_len) + if opens { open::FRAME_LEN } else { 0 };
        assert!(at + total as u64 <= self.sb.extent_end(index), "a frame past the end of its extent");
        // Whole pages are written, past the page cache where that is possible: what is durable in the first of them is
        // written again as it is, and the last is filled up with zeros.
        let lead = (at % PAGE as u64) as usize;
        let written_len = (lead + total).next_multiple_of(PAGE);
        if self.log.buf.capacity() < written_len {
            let mut larger = AlignedBuf::new(written_len.next_power_of_two());
            larger.bytes_mut()[..lead].copy_from_slice(&self.log.buf.bytes()[..lead]);
            self.log.buf = larger;
        }
        // One sync at a time, so all frames before this one are synced; unless syncing is off, then none can be said to be.
        let synced_fseq = match self.options.sync {
            SyncMode::Always if failpoint::on(Failpoint::SyncedTooSoon) => self.log.fseq + 1,
            SyncMode::Always if failpoint::on(Failpoint::NeverSaysSynced) => 0,
            SyncMode::Always => self.log.fseq,
            SyncMode::Never => 0,
        };
        let mut head = FrameHead {
            header_crc: 0,
            own_offset: at,
            fseq: self.log.fseq.max(if failpoint::on(Failpoint::NumbersReused) { 0 } else { self.fseq_floor }) + 1,
            incarnation: self.sb.incarnation,
            kind,
            body_len: batch.body_len as u32,
            body_crc: 0,
            synced_fseq,
            last_zxid: content.last_zxid(self.log.last_zxid),
            prev_crc: self.log.last_crc,
            records: records.len() as u32,
        };
        let first_fseq = head.fseq;
        let page_rest = &mut self.log.buf.bytes_mut()[lead..written_len];
        let (out, behind) = page_rest.split_at_mut(total);
        behind.fill(0);
        let mut rest = out;
        if opens {
            let (mine, behind) = rest.split_at_mut(open::FRAME_LEN);
            mine.fill(0);
            let before = self.log.extents.last();
            let body = OpenBody {
                lseq,
                extent: index,
                prev_extent: before.map_or(u32::MAX, |e| e.index),
                prev_end_offset: before.map_or(0, |_| self.log.at),
                prev_lseq: before.map_or(0, |e| e.lseq),
                base_zxid: self.log.last_zxid,
            };
            body.encode(&mut mine[frame::HEADER_LEN..]);
            let body_crc = crc32c::crc32c(&mine[frame::HEADER_LEN..][..open::BODY_LEN]);
            let opening = FrameHead {
                kind: FrameKind::Open,
                body_len: open::BODY_LEN as u32,
                body_crc,
                last_zxid: self.log.last_zxid,
                records: 0,
                ..head
            };
            head.prev_crc = opening.encode(seed, mine);
            head.fseq += 1;
            head.own_offset += open::FRAME_LEN as u64;
            rest = behind;
        }
        let mut fill = frame::HEADER_LEN;
        for one in records {
            let end = fill + record::HEADER_LEN + one.txn.len();
            let header = &mut rest[fill..fill + record::HEADER_LEN];
            le::put_u32(header, record::LENGTH, one.txn.len() as u32);
            le::put_u16(header, record::KIND, record::KIND_TXN);
            le::put_u16(header, record::FLAGS, 0);
            le::put_u64(header, record::ZXID, one.zxid.0 as u64);
            rest[fill + record::HEADER_LEN..end].copy_from_slice(one.txn);
            fill = end.next_multiple_of(record::ALIGN);
            rest[end..fill].fill(0);
        }
        if let FrameContent::Trunc(to) = content {
            le::put_u64(rest, fill, to.0 as u64);
            fill += batch.body_len;
        }
        rest[fill..].fill(0);
        head.body_crc = crc32c::crc32c(&rest[frame::HEADER_LEN..fill]);
        let header_crc = head.encode(seed, rest);

        self.is_writing = true;
        LogWrite {
            disk: Arc::clone(&self.disk),
            buf: std::mem::take(&mut self.log.buf),
            len: written_len,
            at: at - lead as u64,
            is_synced: self.options.sync == SyncMode::Always && !failpoint::on(Failpoint::AckBeforeSync),
            end: FrameEnd {
                kind,
                lseq,
                index,
                at,
                len: total as u64,
                lead,
                opens: opens.then_some(first_fseq),
                fseq: head.fseq,
                crc: header_crc,
                last_zxid: head.last_zxid,
                records: records.len(),
            },
        }
    }

    /// Moves the end of the log behind a frame that was written.
    fn end_frame(&mut self, written: LogWritten) -> Result<(), StoreError> {
        let LogWritten { buf, took_us, result, end } = written;
        assert!(self.is_writing, "no write was begun");
        self.is_writing = false;
        self.log.buf = buf;
        self.stats.fsync_count += 1;
        self.stats.fsync_total_us += took_us;
        self.stats.fsync_max_us = self.stats.fsync_max_us.max(took_us);
        if let Err(error) = result {
            return Err(self.poison_sync(&error));
        }
        let in_buf = end.lead + end.len as usize;
        let last_page = in_buf / PAGE * PAGE;
        self.log.buf.bytes_mut().copy_within(last_page..in_buf, 0);
        self.stats.frames += 1;
        self.stats.records += end.records as u64;
        self.stats.log_bytes += end.len;
        let FrameEnd { lseq, index, at, .. } = end;
        if let Some(first_fseq) = end.opens {
            if let Some(left) = self.log.extents.last_mut() {
                left.end = self.log.at;
            }
            let base_zxid = self.log.last_zxid;
            self.log.extents.push(LogExtent { lseq, index, first_fseq, base_zxid, last_zxid: base_zxid, end: at });
        }
        let tail = &mut self.log;
        (tail.lseq, tail.index, tail.at) = (lseq, index, at + end.len);
        (tail.fseq, tail.last_crc, tail.last_zxid) = (end.fseq, end.crc, end.last_zxid);
        let current = tail.extents.last_mut().expect("an extent that holds a frame was opened");
        // What was cut off is still in it.
        (current.last_zxid, current.end) = (current.last_zxid.max(tail.last_zxid), tail.at);
        if end.kind != FrameKind::Mark {
            tail.last_txns_fseq = tail.fseq;
            self.idle_since = None;
        }
        Ok(())
    }
}
