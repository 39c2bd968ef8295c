//! A log file: a head, then transactions, each behind its checksum and its length.
//!
//! The data ends where the file does, or with a length of 0, which is what the zeros read as that ZooKeeper writes ahead.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::DatadirError;
use crate::ids::Zxid;

const LOG_MAGIC: [u8; 4] = *b"ZKLG";
const HEAD_LEN: usize = 16;
/// The byte behind each transaction.
const END_MARK: u8 = 0x42;
/// Bytes of the checksum and the length.
const FRAME_LEN: u64 = 12;
/// Where the zxid stands in a transaction: behind the session and the request's number.
const ZXID_AT: usize = 12;

/// The transactions of one log file, in order.
pub(super) struct TxnLogFile {
    path: PathBuf,
    source: BufReader<File>,
    at: u64,
    len: u64,
    txn: Vec<u8>,
}

/// What comes next in a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextTxn {
    /// A transaction; [`TxnLogFile::txn`] has its bytes.
    Txn(Zxid),
    /// The data ends here.
    End,
    /// A transaction whose checksum or end mark is wrong; whether only zeros, or nothing, come behind it.
    Torn { is_last: bool },
}

impl TxnLogFile {
    /// Opens a log; `None` when it is empty, which is how a crash leaves one that was just begun.
    pub(super) fn open(path: &Path) -> Result<Option<TxnLogFile>, DatadirError> {
        let file = File::open(path).map_err(DatadirError::io("read", path))?;
        let len = file.metadata().map_err(DatadirError::io("read", path))?.len();
        let mut log = TxnLogFile { path: path.to_owned(), source: BufReader::new(file), at: 0, len, txn: Vec::new() };
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
        let mut frame = [0; FRAME_LEN as usize];
        if self.fill(&mut frame)? < frame.len() {
            return Ok(NextTxn::End);
        }
        let [stored @ .., a, b, c, d] = frame;
        let length = i32::from_be_bytes([a, b, c, d]);
        if length == 0 {
            return Ok(NextTxn::End);
        }
        let rest = self.len.saturating_sub(self.at);
        let Some(length) = u64::try_from(length).ok().filter(|length| *length < rest) else {
            // Cut short: as in ZooKeeper the end, and not an error.
            return if length > 0 { Ok(NextTxn::End) } else { Err(self.damaged(format!("a length of {length}"))) };
        };
        // `rest` has been seen in the file, so a claim cannot size this.
        self.txn.resize(length as usize, 0);
        let mut txn = std::mem::take(&mut self.txn);
        let is_whole = self.fill(&mut txn)? == txn.len();
        self.txn = txn;
        let mut end = [0];
        if !is_whole || self.fill(&mut end)? == 0 {
            return Ok(NextTxn::End);
        }
        let is_marked = end[0] == END_MARK;
        if !is_marked || u64::from_be_bytes(stored) != u64::from(adler2::adler32_slice(&self.txn)) {
            return Ok(NextTxn::Torn { is_last: self.only_zeros_follow()? });
        }
        let zxid = self.txn.get(ZXID_AT..).and_then(|rest| rest.first_chunk::<8>());
        let zxid = zxid.ok_or_else(|| self.damaged(format!("a transaction of {length} bytes")))?;
        Ok(NextTxn::Txn(Zxid(i64::from_be_bytes(*zxid))))
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

    fn only_zeros_follow(&mut self) -> Result<bool, DatadirError> {
        let mut piece = [0; 4096];
        loop {
            match self.fill(&mut piece)? {
                0 => return Ok(true),
                count if piece[..count].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
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
