//! How often things happened on this server, and how long requests took.

use crate::four_letter::{Latency, SizeSummary, Spread};

/// Counts since the start, or since they were reset.
#[derive(Default)]
pub(super) struct Counters {
    pub received: u64,
    pub sent: u64,
    pub latency: Latency,
    pub read_latency: Spread,
    pub update_latency: Spread,
    pub response_size: SizeSummary,
    pub expired: u64,
    pub resumed: u64,
    pub auth_failed: u64,
    pub handshakes_overdue: u64,
}

impl Counters {
    /// A reply was made, so many ms after its request.
    pub(super) fn replied(&mut self, latency_ms: u64, is_write: bool) {
        self.sent += 1;
        self.latency.record(latency_ms);
        let spread = if is_write { &mut self.update_latency } else { &mut self.read_latency };
        spread.record(latency_ms);
    }

    /// Sets to zero what `srst` does.
    pub(super) fn reset(&mut self) {
        let Counters { expired, resumed, auth_failed, handshakes_overdue, .. } = *self;
        *self = Counters { expired, resumed, auth_failed, handshakes_overdue, ..Counters::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reset_is_what_is_told_of_requests_and_nothing_else() {
        let mut counters = Counters {
            received: 1,
            expired: 2,
            resumed: 3,
            auth_failed: 4,
            handshakes_overdue: 5,
            ..Counters::default()
        };
        counters.replied(7, true);
        counters.reset();
        let kept = (counters.expired, counters.resumed, counters.auth_failed, counters.handshakes_overdue);
        assert_eq!(kept, (2, 3, 4, 5));
        assert_eq!((counters.received, counters.sent, counters.latency.count()), (0, 0, 0));
        assert_eq!(counters.update_latency.latency().count(), 0);
    }
}
