//! A log file: a head, then transactions, each behind its checksum and its length.
//!
//! The data ends where the file does, or with a length of 0, which is what the zeros read as that ZooKeeper writes ahead.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::DatadirError;
use super::snapshot::FORMAT;
use crate::ids::Zxid;

const LOG_MAGIC: [u8; 4] = *b"ZKLG";
const HEAD_LEN: usize = 16;
/// Bytes that are written at once.
const PIECE: usize = 1 << 20;
/// The byte behind each transaction.
const END_MARK: u8 = 0x42;
/// Bytes of the checksum and the length.
const FRAME_LEN: usize = 12;
/// Bytes behind something that is no transaction in which others are looked for. A log grows by 64 MiB of zeros at once.
const REST_MAX: u64 = 256 << 20;
/// How often each of them may be looked at for that, on average.
const LOOKS: usize = 16;
/// Where the zxid stands in a transaction: behind the session and the request's number.
const ZXID_AT: usize = 12;

/// A log file that is written from front to back.
pub(super) struct TxnLogWriter {
    path: PathBuf,
    file: BufWriter<File>,
    /// Transactions so far.
    pub(super) written: u64,
}

impl TxnLogWriter {
    /// Begins one in `file`, which is new and at `path`.
    pub(super) fn begin(path: PathBuf, file: File) -> Result<TxnLogWriter, DatadirError> {
        let mut log = TxnLogWriter { path, file: BufWriter::with_capacity(PIECE, file), written: 0 };
        let mut head = [0; HEAD_LEN];
        head[..4].copy_from_slice(&LOG_MAGIC);
        head[4..8].copy_from_slice(&FORMAT.to_be_bytes());
        log.put(&head)?;
        Ok(log)
    }

    /// Writes a transaction.
    pub(super) fn push(&mut self, txn: &[u8]) -> Result<(), DatadirError> {
        let length = i32::try_from(txn.len()).expect("a record of ours is smaller than a file of ours");
        self.put(&u64::from(adler2::adler32_slice(txn)).to_be_bytes())?;
        self.put(&length.to_be_bytes())?;
        self.put(txn)?;
        self.put(&[END_MARK])?;
        self.written += 1;
        Ok(())
    }

    /// All of it is on the disk.
    pub(super) fn finish(self) -> Result<u64, DatadirError> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(DatadirError::io("write", &self.path))?;
        Ok(self.written)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DatadirError> {
        self.file.write_all(bytes).map_err(DatadirError::io("write", &self.path))
    }
}

/// The transactions of one log file, in order.
pub(super) struct TxnLogReader {
    path: PathBuf,
    source: BufReader<File>,
    at: u64,
    len: u64,
    txn: Vec<u8>,
}

/// What comes next in a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextTxn {
    /// A transaction; [`TxnLogReader::txn`] has its bytes.
    Txn(Zxid),
    /// The data ends here: nothing follows, or zeros.
    End,
    /// Something that is no whole transaction, and none behind it: a write that was cut short.
    Torn,
    /// The same, and whole transactions behind it: damage.
    Damaged,
}

impl TxnLogReader {
    /// Opens a log; `None` when it is empty, which is how a crash leaves one that was just begun.
    pub(super) fn open(path: &Path) -> Result<Option<TxnLogReader>, DatadirError> {
        let file = File::open(path).map_err(DatadirError::io("read", path))?;
        let len = file.metadata().map_err(DatadirError::io("read", path))?.len();
        let mut log = TxnLogReader { path: path.to_owned(), source: BufReader::new(file), at: 0, len, txn: Vec::new() };
        let mut head = [0; HEAD_LEN];
        if log.fill(&mut head)? < HEAD_LEN || head == [0; HEAD_LEN] {
            return Ok(None);
        }
        if head[..4] != LOG_MAGIC {
            log.at = 0;
            return Err(log.damaged("it does not begin as a log of ZooKeeper's does".to_owned()));
        }
        Ok(Some(log))
    }

    /// Reads the next transaction.
    pub(super) fn next(&mut self) -> Result<NextTxn, DatadirError> {
        let begun = self.at;
        let mut frame = [0; FRAME_LEN];
        if self.fill(&mut frame)? == 0 {
            return Ok(NextTxn::End);
        }
        let [stored @ .., a, b, c, d] = frame;
        let rest = self.len.saturating_sub(self.at);
        let length = u64::try_from(i32::from_be_bytes([a, b, c, d])).ok();
        // As many bytes are there, so a claim cannot size this.
        let Some(length) = length.filter(|length| *length > 0 && *length < rest) else { return self.other(begun) };
        let mut txn = std::mem::take(&mut self.txn);
        txn.resize(length as usize, 0);
        let filled = self.fill(&mut txn)?;
        self.txn = txn;
        let mut end = [0];
        let is_whole = filled == self.txn.len() && self.fill(&mut end)? == 1 && end[0] == END_MARK;
        if !is_whole || u64::from_be_bytes(stored) != u64::from(adler2::adler32_slice(&self.txn)) {
            return self.other(begun);
        }
        let zxid = self.txn.get(ZXID_AT..).and_then(|rest| rest.first_chunk::<8>());
        let zxid = zxid.ok_or_else(|| self.damaged(format!("a transaction of {length} bytes")))?;
        Ok(NextTxn::Txn(Zxid(i64::from_be_bytes(*zxid))))
    }

    /// What it means that no whole transaction stands at `begun`.
    fn other(&mut self, begun: u64) -> Result<NextTxn, DatadirError> {
        self.at = begun;
        self.source.seek(SeekFrom::Start(begun)).map_err(DatadirError::io("read", &self.path))?;
        let mut rest = Vec::new();
        let read = self.source.by_ref().take(REST_MAX).read_to_end(&mut rest);
        read.map_err(DatadirError::io("read", &self.path))?;
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(NextTxn::End);
        }
        // So much is looked at again and again in what follows: bytes that were made for it would else take for ever.
        let mut looks = LOOKS * rest.len();
        let others = (1..rest.len()).any(|at| is_txn(&rest[at..], &mut looks)) || rest.len() as u64 == REST_MAX;
        Ok(if others { NextTxn::Damaged } else { NextTxn::Torn })
    }

    /// The bytes of the transaction that was read last.
    pub(super) fn txn(&self) -> &[u8] {
        &self.txn
    }

    /// Where the next one would be.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn damaged(&self, what: String) -> DatadirError {
        DatadirError::Damaged { path: self.path.clone(), offset: self.at, what }
    }

    /// Reads as many bytes as there are, up to all of `to`.
    fn fill(&mut self, to: &mut [u8]) -> Result<usize, DatadirError> {
        let mut filled = 0;
        while filled < to.len() {
            match self.source.read(&mut to[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DatadirError::io("read", &self.path)(error)),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }
}

/// Whether a whole transaction stands at the beginning of `bytes`. `looks`: bytes that may still be read for that.
fn is_txn(bytes: &[u8], looks: &mut usize) -> bool {
    // The upper half of a checksum is zeros.
    let [0, 0, 0, 0, stored @ .., a, b, c, d] = bytes.first_chunk::<FRAME_LEN>().copied().unwrap_or([1; FRAME_LEN])
    else {
        return false;
    };
    let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(0);
    let Some((txn, rest)) = bytes[FRAME_LEN..].split_at_checked(length) else { return false };
    if length == 0 || rest.first() != Some(&END_MARK) {
        return false;
    }
    // Where there is so much that looks like transactions, it is taken for some.
    *looks = looks.saturating_sub(length);
    *looks == 0 || u32::from_be_bytes(stored) == adler2::adler32_slice(txn)
}
