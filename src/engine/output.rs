//! What a connection has to send: frames in order, how much of them has left, and how much of it is a single reply.

/// A buffer larger than this is given back when it has been sent.
const KEPT_SIZE: usize = 64 << 10;

/// Bytes for one client.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// These have left. They are dropped when they are half of all: moving the rest at each send would cost the square.
    sent: usize,
    /// Where the largest reply ends, and its length.
    large: (usize, usize),
    /// Bytes that the engine-wide sum knows of.
    pub counted: usize,
}

impl Output {
    /// Bytes not sent yet.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// How many there are beside the largest single reply, which has a limit of its own.
    pub(super) fn beside_the_largest(&self) -> usize {
        let (end, length) = self.large;
        self.len() - length.min(end.saturating_sub(self.sent))
    }

    /// Where to append whole frames.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The last `length` bytes are one reply.
    pub(super) fn note_reply(&mut self, length: usize) {
        let (end, before) = self.large;
        if length >= before.min(end.saturating_sub(self.sent)) {
            self.large = (self.bytes.len(), length);
        }
    }

    /// Begins a frame: its body is to be appended, then [`Output::end_frame`]. Returns where it begins.
    pub(super) fn begin_frame(&mut self) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        start
    }

    /// Puts the length of the frame in front that begins at `start`. Returns how many bytes it has with that.
    pub(super) fn end_frame(&mut self, start: usize) -> usize {
        let frame = self.bytes.len() - start;
        let length = u32::try_from(frame - 4).expect("the limit on a reply is below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// Appends a frame whose length is still to be put in front. Returns where it begins.
    pub(super) fn append(&mut self, frame: Vec<u8>) -> usize {
        let start = self.bytes.len();
        if start == 0 {
            self.bytes = frame;
        } else {
            self.bytes.extend_from_slice(&frame);
        }
        start
    }

    /// The last `length` bytes belong to the same reply as those before them.
    pub(super) fn note_more(&mut self, length: usize) {
        let (end, before) = self.large;
        if end + length == self.bytes.len() {
            self.large = (self.bytes.len(), before + length);
        } else {
            self.note_reply(length);
        }
    }

    /// The next `count` bytes have left.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        assert!(self.sent <= self.bytes.len(), "more was sent than there is");
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.large = (0, 0);
            if self.bytes.capacity() > KEPT_SIZE {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        } else if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.large.0 = self.large.0.saturating_sub(self.sent);
            self.sent = 0;
            if self.bytes.capacity() > KEPT_SIZE && self.bytes.capacity() > 4 * self.bytes.len() {
                self.bytes.shrink_to_fit();
            }
        }
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        *self = Output { counted: self.counted, ..Output::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_reply_does_not_count_until_it_has_left() {
        let mut output = Output::default();
        let frame = |output: &mut Output, body: &[u8]| {
            let start = output.begin_frame();
            output.bytes_mut().extend_from_slice(body);
            output.end_frame(start)
        };
        let event = |output: &mut Output| frame(output, &[1; 96]);
        event(&mut output);
        let reply = frame(&mut output, &[2; 9996]);
        output.note_reply(reply);
        event(&mut output);
        assert_eq!((output.len(), output.beside_the_largest()), (10_200, 200));
        let small = frame(&mut output, &[3; 46]);
        output.note_reply(small);
        assert_eq!(output.beside_the_largest(), 250, "a smaller reply changes nothing");
        output.advance(100);
        assert_eq!((output.len(), output.beside_the_largest()), (10_150, 150));
        output.advance(9_000);
        assert_eq!((output.len(), output.beside_the_largest()), (1_150, 150), "what is left of it");
        output.advance(1_000);
        assert_eq!((output.len(), output.beside_the_largest()), (150, 150));
        assert_eq!(output.unsent()[104], 3);
        output.advance(150);
        assert_eq!((output.len(), output.beside_the_largest()), (0, 0));
    }

    #[test]
    fn sending_piece_by_piece_keeps_every_byte_in_order() {
        let mut output = Output::default();
        let all: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
        output.bytes_mut().extend_from_slice(&all);
        let mut seen = Vec::new();
        while output.len() > 0 {
            let count = output.len().min(777);
            seen.extend_from_slice(&output.unsent()[..count]);
            output.advance(count);
        }
        assert_eq!(seen, all);
    }
}
