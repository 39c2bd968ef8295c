//! Frames and records as bytes: what one sync makes durable, and what a frame carries.

use crate::ids::Zxid;
use crate::store::cause::RecordFault;
use crate::store::layout::{frame, open, record};
use crate::store::le;

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

    /// Encodes the OPEN frame that goes before this one into `out`, which has its length. Returns its header's checksum.
    pub(crate) fn encode_open(&self, body: &OpenBody, seed: u32, out: &mut [u8]) -> u32 {
        out.fill(0);
        body.encode(&mut out[frame::HEADER_LEN..]);
        let body_crc = crc32c::crc32c(&out[frame::HEADER_LEN..][..open::BODY_LEN]);
        let (kind, body_len, last_zxid) = (FrameKind::Open, open::BODY_LEN as u32, body.base_zxid);
        FrameHead { kind, body_len, body_crc, last_zxid, records: 0, ..*self }.encode(seed, out)
    }

    /// Encodes the frame with what it carries into `out`, which has its length. The checksums are put in here as well.
    pub(crate) fn encode_with(&mut self, content: FrameContent<'_>, seed: u32, out: &mut [u8]) {
        let mut fill = frame::HEADER_LEN;
        for one in content.records() {
            let end = fill + record::HEADER_LEN + one.txn.len();
            let header = &mut out[fill..fill + record::HEADER_LEN];
            le::put_u32(header, record::LENGTH, one.txn.len() as u32);
            le::put_u16(header, record::KIND, record::KIND_TXN);
            le::put_u16(header, record::FLAGS, 0);
            le::put_u64(header, record::ZXID, one.zxid.0 as u64);
            out[fill + record::HEADER_LEN..end].copy_from_slice(one.txn);
            fill = end.next_multiple_of(record::ALIGN);
            out[end..fill].fill(0);
        }
        if let FrameContent::Trunc(to) = content {
            le::put_u64(out, fill, to.0 as u64);
            fill += size_of::<i64>();
        }
        out[fill..].fill(0);
        self.body_crc = crc32c::crc32c(&out[frame::HEADER_LEN..fill]);
        self.header_crc = self.encode(seed, out);
    }

    /// Bytes the frame takes, padding included.
    pub(crate) fn len(&self) -> u64 {
        frame_len(self.body_len as usize) as u64
    }
}

/// What goes into a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FrameContent<'a> {
    Txns(&'a [Record<'a>]),
    Mark,
    Trunc(Zxid),
}

impl<'a> FrameContent<'a> {
    pub(crate) fn kind(&self) -> FrameKind {
        match self {
            FrameContent::Txns(_) => FrameKind::Txns,
            FrameContent::Mark => FrameKind::Mark,
            FrameContent::Trunc(_) => FrameKind::Trunc,
        }
    }

    pub(crate) fn records(&self) -> &'a [Record<'a>] {
        match self {
            FrameContent::Txns(records) => records,
            FrameContent::Mark | FrameContent::Trunc(_) => &[],
        }
    }

    /// The last zxid behind it, given the one before it.
    pub(crate) fn last_zxid(&self, before: Zxid) -> Zxid {
        match self {
            FrameContent::Txns(records) => records.last().map_or(before, |one| one.zxid),
            FrameContent::Mark => before,
            FrameContent::Trunc(to) => *to,
        }
    }
}

/// Bytes a frame with a body of `body_len` takes.
pub(crate) fn frame_len(body_len: usize) -> usize {
    (frame::HEADER_LEN + body_len).next_multiple_of(frame::ALIGN)
}

pub(crate) fn record_len(txn_len: usize) -> usize {
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
    type Item = Result<Record<'a>, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        if rest.len() < record::HEADER_LEN {
            return Some(Err(RecordFault::HeaderCutShort));
        }
        if le::u16_at(rest, record::KIND) != record::KIND_TXN {
            return Some(Err(RecordFault::UnknownKind));
        }
        let len = le::u32_at(rest, record::LENGTH) as usize;
        let Some(txn) = rest.get(record::HEADER_LEN..).and_then(|body| body.get(..len)) else {
            return Some(Err(RecordFault::TooLong));
        };
        self.rest = rest.get(record_len(len)..).unwrap_or_default();
        Some(Ok(Record { zxid: Zxid(le::u64_at(rest, record::ZXID) as i64), txn }))
    }
}

pub(crate) fn trunc_to(body: &[u8]) -> Option<Zxid> {
    Some(Zxid(i64::from_le_bytes(body.try_into().ok()?)))
}
