//! Bytes from a server that wait to be cut into frames.

/// What is kept of a buffer's room between bursts, in bytes.
const ROOM_KEPT: usize = 256 << 10;

/// What came and was not taken yet. Room is taken for what has come, never for what a length promises.
#[derive(Debug, Default)]
pub(super) struct TcpInput {
    bytes: Vec<u8>,
    start: usize,
}

impl TcpInput {
    /// Adds what came, and forgets what was taken.
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
        *self = TcpInput::default();
    }

    /// What was not taken yet.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// So many bytes of it are taken.
    pub(super) fn take(&mut self, size: usize) {
        self.start += size;
        debug_assert!(self.start <= self.bytes.len(), "only what has come is taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_came_and_their_room_is_given_back() {
        let wire: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for step in [1, 7, 1000] {
            let (mut input, mut taken) = (TcpInput::default(), Vec::new());
            for piece in wire.chunks(step) {
                input.extend(piece);
                let size = input.waiting().len().saturating_sub(3);
                taken.extend_from_slice(&input.waiting()[..size]);
                input.take(size);
            }
            taken.extend_from_slice(input.waiting());
            assert_eq!(taken, wire, "in steps of {step}");
        }
        let mut input = TcpInput::default();
        input.extend(&vec![0; 4 * ROOM_KEPT]);
        input.take(4 * ROOM_KEPT);
        input.extend(&[1]);
        assert!(input.bytes.capacity() <= ROOM_KEPT);
    }
}
