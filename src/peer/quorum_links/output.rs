//! What waits to be sent on one connection: small packets side by side, large data shared and not copied.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::peer::wire::QuorumWire;
use crate::records::peer::QuorumPacket;
use crate::records::txn::Payload;

/// Data from this size on is shared instead of copied.
const SHARED_FROM: usize = 4 << 10;
/// Bytes that small packets are gathered in, at most.
const PIECE_MAX: usize = 64 << 10;
/// Pieces handed to the system in one write.
const PIECES_MAX: usize = 64;

#[derive(Debug)]
enum OutputPiece {
    Own(Vec<u8>),
    Shared(Payload),
}

impl OutputPiece {
    fn bytes(&self) -> &[u8] {
        match self {
            OutputPiece::Own(bytes) => bytes,
            OutputPiece::Shared(bytes) => bytes,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct LinkOutput {
    pieces: VecDeque<OutputPiece>,
    /// Bytes of the first piece that were sent.
    sent: usize,
    len: usize,
    /// A piece that was sent, to be filled again.
    spare: Vec<u8>,
}

impl LinkOutput {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn packet(&mut self, packet: &QuorumPacket) {
        let large = packet.data.as_ref().filter(|data| data.len() >= SHARED_FROM);
        let before = self.tail().len();
        match large {
            None => {
                let tail = self.tail();
                packet.encode(tail);
                self.len += tail.len() - before;
            }
            Some(data) => {
                let tail = self.tail();
                packet.encode_before_data(tail);
                self.len += tail.len() - before + data.len();
                self.pieces.push_back(OutputPiece::Shared(data.clone()));
                let tail = self.tail();
                packet.encode_behind_data(tail);
                self.len += tail.len();
            }
        }
    }

    pub(super) fn bytes(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        self.pieces.push_back(OutputPiece::Own(bytes));
    }

    /// The piece that small packets are appended to.
    fn tail(&mut self) -> &mut Vec<u8> {
        let is_room = matches!(self.pieces.back(), Some(OutputPiece::Own(bytes)) if bytes.len() < PIECE_MAX);
        if !is_room {
            let piece = std::mem::take(&mut self.spare);
            self.pieces.push_back(OutputPiece::Own(piece));
        }
        match self.pieces.back_mut() {
            Some(OutputPiece::Own(bytes)) => bytes,
            _ => unreachable!("one was just pushed"),
        }
    }

    /// Sends what the system takes.
    ///
    /// # Errors
    /// Why the connection is broken.
    pub(super) fn write(&mut self, wire: &mut QuorumWire) -> Result<(), String> {
        while self.len > 0 {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let mut skip = self.sent;
            let mut count = 0;
            for piece in self.pieces.iter().take(PIECES_MAX) {
                slices[count] = IoSlice::new(&piece.bytes()[std::mem::take(&mut skip)..]);
                count += 1;
            }
            let taken = wire.write(&slices[..count])?;
            if taken == 0 {
                return Ok(());
            }
            self.took(taken);
        }
        Ok(())
    }

    fn took(&mut self, count: usize) {
        self.len -= count;
        self.sent += count;
        while let Some(first) = self.pieces.front() {
            let size = first.bytes().len();
            if self.sent < size {
                return;
            }
            self.sent -= size;
            if let Some(OutputPiece::Own(mut bytes)) = self.pieces.pop_front()
                && bytes.capacity() <= 2 * PIECE_MAX
                && bytes.capacity() > self.spare.capacity()
            {
                bytes.clear();
                self.spare = bytes;
            }
        }
    }
}
