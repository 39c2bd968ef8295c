//! Bytes of a snapshot file, uncompressed, with the checksum of all that were taken.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use adler2::Adler32;

use super::error::DatadirError;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// What a snapshot begins with that was compressed with snappy.
const SNAPPY_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Bytes of a block that was compressed with snappy, at most: ZooKeeper's have 32 KiB.
const SNAPPY_BLOCK_MAX: usize = 16 << 20;

/// A file that is taken from front to back; every byte that is taken counts for its seal.
pub(super) struct SealedReader {
    path: PathBuf,
    source: Box<dyn Read>,
    piece: Vec<u8>,
    /// What of the piece was taken.
    at: usize,
    taken: u64,
    seal: Adler32,
}

impl SealedReader {
    /// Opens a file, compressed as its ending says.
    pub(super) fn open(path: &Path) -> Result<SealedReader, DatadirError> {
        let file = File::open(path).map_err(DatadirError::io("read", path))?;
        let source: Box<dyn Read> = match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(PIECE, file))),
            Some("snappy") => Box::new(SnappyReader::new(BufReader::with_capacity(PIECE, file))),
            _ => Box::new(file),
        };
        Ok(SealedReader::over(path, source))
    }

    /// The same over the uncompressed bytes of the file at `path`, wherever they come from.
    pub(super) fn over(path: &Path, source: Box<dyn Read>) -> SealedReader {
        SealedReader { path: path.to_owned(), source, piece: Vec::new(), at: 0, taken: 0, seal: Adler32::new() }
    }

    /// What was read and not taken; empty at the end of the file only.
    pub(super) fn ahead(&mut self) -> Result<&[u8], DatadirError> {
        if self.at == self.piece.len() {
            self.piece.resize(PIECE, 0);
            let read = loop {
                match self.source.read(&mut self.piece) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.piece.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            read.map_err(|error| match error.kind() {
                // What cannot be uncompressed.
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                    self.damaged(format!("cannot be uncompressed: {error}"))
                }
                _ => DatadirError::io("read", &self.path)(error),
            })?;
        }
        Ok(&self.piece[self.at..])
    }

    /// Takes the first `count` bytes of what is [`ahead`](SealedReader::ahead).
    pub(super) fn take(&mut self, count: usize) {
        self.seal.write_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        self.taken += count as u64;
    }

    /// Takes exactly `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], DatadirError> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            let ahead = self.ahead()?;
            if ahead.is_empty() {
                return Err(self.damaged(format!("the file ends in {what}")));
            }
            let count = ahead.len().min(N - filled);
            bytes[filled..filled + count].copy_from_slice(&ahead[..count]);
            self.take(count);
            filled += count;
        }
        Ok(bytes)
    }

    /// Takes all that is left, which is `most` bytes at most.
    pub(super) fn rest(&mut self, most: usize) -> Result<Vec<u8>, DatadirError> {
        let mut rest = Vec::new();
        loop {
            let ahead = self.ahead()?;
            if ahead.is_empty() {
                return Ok(rest);
            }
            rest.extend_from_slice(ahead);
            let count = ahead.len();
            if rest.len() > most {
                return Err(self.damaged("more follows than a snapshot has behind its state".to_owned()));
            }
            self.take(count);
        }
    }

    /// The checksum of everything that was taken.
    pub(super) fn seal(&self) -> Adler32 {
        self.seal
    }

    /// Bytes that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn damaged(&self, what: String) -> DatadirError {
        DatadirError::Damaged { path: self.path.clone(), offset: self.taken, what }
    }
}

/// What Java's snappy library writes: a head, then blocks, each behind its compressed length.
struct SnappyReader<R> {
    source: R,
    block: Vec<u8>,
    at: usize,
    has_head: bool,
}

impl<R: Read> SnappyReader<R> {
    fn new(source: R) -> SnappyReader<R> {
        SnappyReader { source, block: Vec::new(), at: 0, has_head: false }
    }

    /// Reads the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if !self.has_head {
            let mut head = [0; 16];
            self.source.read_exact(&mut head)?;
            if head[..8] != SNAPPY_MAGIC {
                return Err(bad("it does not begin as a file of snappy's does"));
            }
            self.has_head = true;
        }
        let mut length = [0; 4];
        let first = self.source.read(&mut length)?;
        if first == 0 {
            return Ok(false);
        }
        self.source.read_exact(&mut length[first..])?;
        let length = u32::from_be_bytes(length) as usize;
        if length > SNAPPY_BLOCK_MAX {
            return Err(bad("a block is longer than any of snappy's"));
        }
        let mut compressed = Vec::new();
        self.source.by_ref().take(length as u64).read_to_end(&mut compressed)?;
        if compressed.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if snap::raw::decompress_len(&compressed).map_err(|error| bad(&error.to_string()))? > SNAPPY_BLOCK_MAX {
            return Err(bad("a block is longer than any of snappy's"));
        }
        self.block = snap::raw::Decoder::new().decompress_vec(&compressed).map_err(|error| bad(&error.to_string()))?;
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = to.len().min(self.block.len() - self.at);
        to[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
