//! A synced write of the file, to be carried out by whichever thread has the time for it.
//!
//! Building a frame, writing it and taking note of it are three steps, so that the middle one, which waits for the disk,
//! needs nothing of the store: [`append_begin`](crate::store::Store::append_begin), [`LogWrite::carry_out`],
//! [`append_end`](crate::store::Store::append_end). An update of the superblock goes the same way where the store was told so. One
//! write is under way at a time, so all frames before the one that is being written are durable.

use std::io;
use std::sync::Arc;

use crate::ids::Zxid;
use crate::store::access::{AlignedBuf, Disk};
use crate::store::frame::FrameKind;
use crate::store::root::RootStep;

/// A frame that is built, or an update of the superblock, and not written yet.
#[must_use = "the store waits for it"]
pub struct LogWrite {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) work: LogWork,
}

/// What there is to write.
pub(crate) enum LogWork {
    Frame {
        buf: AlignedBuf,
        /// Bytes of `buf` to write, and where.
        len: usize,
        at: u64,
        is_synced: bool,
        end: FrameEnd,
    },
    /// The copies of the next generation of the superblock, one after the other.
    Root(Vec<RootStep>),
}

impl std::fmt::Debug for LogWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.work {
            LogWork::Frame { at, len, .. } => f.debug_struct("LogWrite").field("at", at).field("len", len).finish(),
            LogWork::Root(steps) => f.debug_struct("LogWrite").field("steps", &steps.len()).finish(),
        }
    }
}

/// What became of a [`LogWrite`].
#[derive(Debug)]
#[must_use = "the store waits for it"]
pub struct LogWritten {
    pub(crate) took_us: u64,
    pub(crate) result: io::Result<()>,
    /// What was written: a frame, with its buffer; `None` for an update of the superblock.
    pub(crate) frame: Option<(AlignedBuf, FrameEnd)>,
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
    /// Records in it.
    pub(crate) fn records(&self) -> usize {
        match &self.work {
            LogWork::Frame { end, .. } => end.records,
            LogWork::Root(_) => 0,
        }
    }

    /// Writes it and waits until it is durable.
    pub fn carry_out(self) -> LogWritten {
        let LogWrite { disk, work } = self;
        let begun = disk.now_us();
        let write = |bytes: &[u8], at, is_synced| match is_synced {
            true => disk.write_at_synced(bytes, at),
            false => disk.write_at(bytes, at),
        };
        let (result, frame) = match work {
            LogWork::Frame { buf, len, at, is_synced, end } => {
                (write(&buf.bytes()[..len], at, is_synced), Some((buf, end)))
            }
            LogWork::Root(steps) => {
                (steps.iter().try_for_each(|step| write(step.buf.bytes(), step.at, step.is_synced)), None)
            }
        };
        LogWritten { took_us: disk.now_us().saturating_sub(begun), result, frame }
    }
}
