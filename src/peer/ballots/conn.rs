//! One connection of the election port: bytes in, notifications out, and the newest of ours back.

use std::io::IoSlice;

use mio::event::Event;

use super::{QuorumWire, WireRead};
use crate::ids::Millis;
use crate::records::peer::Notification;

/// Notifications that a server may send at once, and how many more in a second. An election takes a few dozen.
const BURST: u64 = 1000;
const PER_SECOND: u64 = 200;
/// The same in bytes.
const BURST_BYTES: u64 = 8 << 20;
const BYTES_PER_SECOND: u64 = 1 << 20;

/// So much at once and so much in a second.
#[derive(Debug)]
struct Bucket {
    left: u64,
    most: u64,
    per_second: u64,
    filled_at: Millis,
}

impl Bucket {
    fn new(now: Millis, most: u64, per_second: u64) -> Bucket {
        Bucket { left: most, most, per_second, filled_at: now }
    }

    /// False when there is not so much left.
    fn take(&mut self, now: Millis, amount: u64) -> bool {
        let fill = now.since(self.filled_at) * self.per_second / 1000;
        if fill > 0 {
            self.left = self.left.saturating_add(fill).min(self.most);
            self.filled_at = now;
        }
        let enough = self.left >= amount;
        self.left = self.left.saturating_sub(amount);
        enough
    }
}

#[derive(Debug)]
pub(super) struct BallotConn {
    pub(super) wire: QuorumWire,
    /// When it was accepted, or stood.
    pub(super) since: Millis,
    /// Bytes that are no whole message yet.
    pub(super) input: Vec<u8>,
    /// The message that is being sent, and how much of it was.
    output: Vec<u8>,
    sent: usize,
    /// Since when the other end takes nothing of it.
    stalled_since: Option<Millis>,
    /// Since when we want to hear of the other end and have not.
    asked_at: Option<Millis>,
    messages: Bucket,
    bytes: Bucket,
}

impl BallotConn {
    pub(super) fn new(now: Millis, wire: QuorumWire) -> BallotConn {
        BallotConn {
            wire,
            since: now,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            stalled_since: None,
            asked_at: None,
            messages: Bucket::new(now, BURST, PER_SECOND),
            bytes: Bucket::new(now, BURST_BYTES, BYTES_PER_SECOND),
        }
    }

    pub(super) fn ready(&mut self, event: &Event) {
        self.wire.ready(event);
    }

    /// Whether there may be something to read that no event will tell of.
    pub(super) fn has_work(&self) -> bool {
        self.wire.is_readable()
    }

    /// We want to hear of the other end. How long we have been waiting, ms.
    pub(super) fn ask(&mut self, now: Millis) -> u64 {
        now.since(*self.asked_at.get_or_insert(now))
    }

    /// When it is broken because the other end takes nothing.
    pub(super) fn stalls_at(&self, stall_ms: u64) -> Option<Millis> {
        self.stalled_since.map(|at| at.plus(stall_ms))
    }

    /// Reads up to `most` bytes. `Some` when the connection is at its end; what came before it is in `input`.
    pub(super) fn read(&mut self, scratch: &mut [u8], most: usize) -> Option<String> {
        let mut count = 0;
        while self.wire.is_readable() && count < most {
            match self.wire.read(scratch) {
                WireRead::Bytes(size) => {
                    self.input.extend_from_slice(&scratch[..size]);
                    count += size;
                }
                WireRead::Nothing => break,
                WireRead::Gone(why) => return Some(why),
            }
        }
        None
    }

    /// Takes every whole notification out of what was read. Those that ZooKeeper ignores are ignored.
    ///
    /// # Errors
    /// Why the connection has to be closed.
    pub(super) fn notifications(&mut self, now: Millis, mut heard: impl FnMut(Notification)) -> Result<(), String> {
        let mut begin = 0;
        while let Some((message, size)) =
            Notification::split(&self.input[begin..]).map_err(|error| error.to_string())?
        {
            if !self.messages.take(now, 1) || !self.bytes.take(now, size as u64) {
                return Err("it sends more notifications than an election takes".to_owned());
            }
            if let Some(notification) = Notification::decode(message) {
                self.asked_at = None;
                heard(notification);
            }
            begin += size;
        }
        self.input.drain(..begin);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        Ok(())
    }

    /// Sends what waits. A message begun is sent whole; behind it only the newest.
    ///
    /// # Errors
    /// Why the connection is broken.
    pub(super) fn write(
        &mut self,
        now: Millis,
        newest: Option<&[u8]>,
        is_unsent: &mut bool,
        stall_ms: u64,
    ) -> Result<(), String> {
        loop {
            if self.sent == self.output.len() {
                self.output.clear();
                self.sent = 0;
                let Some(newest) = newest.filter(|_| *is_unsent) else { return Ok(()) };
                self.output.extend_from_slice(newest);
                *is_unsent = false;
            }
            match self.wire.write(&[IoSlice::new(&self.output[self.sent..])])? {
                0 => {
                    let since = *self.stalled_since.get_or_insert(now);
                    return match now.since(since) >= stall_ms {
                        true => Err("it takes nothing any more".to_owned()),
                        false => Ok(()),
                    };
                }
                count => {
                    self.sent += count;
                    self.stalled_since = None;
                }
            }
        }
    }
}
