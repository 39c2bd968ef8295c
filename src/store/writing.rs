//! A synced write of the log, to be carried out by whichever thread has the time for it.
//!
//! Building a frame, writing it and taking note of it are three steps, so that the middle one, which waits for the disk,
//! needs nothing of the store: [`append_begin`](crate::store::Store::append_begin), [`LogWrite::carry_out`],
//! [`append_end`](crate::store::Store::append_end). One write is under way at a time, so all frames before the one that is
//! being written are durable.

use std::io;
use std::sync::Arc;

use crate::ids::Zxid;
use crate::store::access::{AlignedBuf, Disk};
use crate::store::frame::FrameKind;

/// A frame that is built and not written yet.
#[must_use = "the store waits for it"]
pub struct LogWrite {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) buf: AlignedBuf,
    /// Bytes of `buf` to write, and where.
    pub(crate) len: usize,
    pub(crate) at: u64,
    pub(crate) is_synced: bool,
    pub(crate) end: FrameEnd,
}

impl std::fmt::Debug for LogWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWrite").field("at", &self.at).field("len", &self.len).finish_non_exhaustive()
    }
}

/// What became of a [`LogWrite`].
#[derive(Debug)]
#[must_use = "the store waits for it"]
pub struct LogWritten {
    pub(crate) buf: AlignedBuf,
    pub(crate) took_us: u64,
    pub(crate) result: io::Result<()>,
    pub(crate) end: FrameEnd,
}

/// What the log's end is once the frame is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameEnd {
    pub(crate) kind: FrameKind,
    pub(crate) lseq: u64,
    pub(crate) index: u32,
    /// Where it begins, with the OPEN before it if it has one.
    pub(crate) at: u64,
    pub(crate) len: u64,
    /// Bytes in the buffer before it.
    pub(crate) lead: usize,
    /// The number of the OPEN before it; `None` when there is none.
    pub(crate) opens: Option<u64>,
    pub(crate) fseq: u64,
    pub(crate) crc: u32,
    pub(crate) last_zxid: Zxid,
    pub(crate) records: usize,
}

impl LogWrite {
    /// Writes the frame and waits until it is durable.
    pub fn carry_out(self) -> LogWritten {
        let LogWrite { disk, buf, len, at, is_synced, end } = self;
        let begun = disk.now_us();
        let bytes = &buf.bytes()[..len];
        let result = if is_synced { disk.write_at_synced(bytes, at) } else { disk.write_at(bytes, at) };
        LogWritten { took_us: disk.now_us().saturating_sub(begun), buf, result, end }
    }
}
