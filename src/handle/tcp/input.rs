//! Bytes from a server, cut into frames.

use std::ops::Range;

use crate::handle::pending::ProtocolError;

/// What is kept of a buffer's room between bursts, in bytes.
const ROOM_KEPT: usize = 256 << 10;

/// What came and was not looked at yet. Room is taken for what has come, never for what a length promises.
#[derive(Debug)]
pub(super) struct TcpInput {
    bytes: Vec<u8>,
    start: usize,
    frame_size_max: usize,
}

impl TcpInput {
    /// Empty; frames above `frame_size_max` bytes are nonsense.
    pub(super) fn new(frame_size_max: usize) -> TcpInput {
        TcpInput { bytes: Vec::new(), start: 0, frame_size_max }
    }

    /// Adds what came, and forgets the frames that were taken.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
            if self.bytes.capacity() > ROOM_KEPT && self.bytes.len() < ROOM_KEPT / 2 {
                self.bytes.shrink_to(ROOM_KEPT);
            }
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets everything, as for a new connection.
    pub(super) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.start = 0;
    }

    /// Takes the next whole frame: where its payload lies until the next [`TcpInput::extend`].
    ///
    /// # Errors
    /// [`ProtocolError`] for a length that no frame has.
    pub(super) fn frame(&mut self) -> Result<Option<Range<usize>>, ProtocolError> {
        let Some(head) = self.bytes[self.start..].first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*head);
        let fits = usize::try_from(length).ok().filter(|&length| length <= self.frame_size_max);
        let length = fits.ok_or_else(|| {
            ProtocolError(format!(
                "a frame of {length} bytes came, and {} are the most taken here",
                self.frame_size_max
            ))
        })?;
        let payload = self.start + 4..self.start + 4 + length;
        if payload.end > self.bytes.len() {
            return Ok(None);
        }
        self.start = payload.end;
        Ok(Some(payload))
    }

    /// A frame's payload.
    pub(super) fn payload(&self, frame: Range<usize>) -> &[u8] {
        &self.bytes[frame]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_came() {
        let mut wire = Vec::new();
        for payload in [&b"one"[..], b"", b"three"] {
            wire.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            wire.extend_from_slice(payload);
        }
        for step in 1..wire.len() {
            let mut input = TcpInput::new(5);
            let mut frames = Vec::new();
            for piece in wire.chunks(step) {
                input.extend(piece);
                while let Some(frame) = input.frame().unwrap() {
                    frames.push(input.payload(frame).to_vec());
                }
            }
            assert_eq!(frames, [&b"one"[..], b"", b"three"], "in steps of {step}");
        }
    }

    #[test]
    fn lengths_that_no_frame_has_are_refused_before_room_is_taken() {
        for length in [-1, i32::MIN, 6, i32::MAX] {
            let mut input = TcpInput::new(5);
            input.extend(&length.to_be_bytes());
            assert!(input.frame().is_err(), "{length}");
            assert!(input.bytes.capacity() < 1000);
        }
    }
}
