//! When silence may be held against clients: once everything they had sent has been taken in, and only for time in which
//! somebody listened.
//!
//! A sync that takes seconds, a stopped process or a machine that swaps must not end sessions whose clients did all they
//! could. So time in which the loop did not come back to its sockets is granted back, and before anybody expires the loop
//! takes in what had arrived by then: every event, every connection in the queue of a listening socket, every socket in
//! line. It counts what was there in place of waiting until nothing is left, because under load something always is.

use crate::ids::Millis;

/// Connections that may wait in the queue of a listening socket, if the configuration does not say how many; the system may allow fewer.
const BACKLOG: usize = 4096;

/// The same where `clientPortListenBacklog` may say how many.
pub(super) fn backlog(told: i32) -> usize {
    usize::try_from(told).ok().filter(|told| *told > 0).unwrap_or(BACKLOG)
}

/// What one turn took in.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Intake {
    /// Sockets that may have something to report.
    pub sockets: usize,
    /// Events reported in this turn.
    pub events: usize,
    /// Whether there may be more events than were reported.
    pub more_events: bool,
    /// Connections accepted in this turn.
    pub accepted: usize,
    /// Whether more connections may wait to be accepted.
    pub more_connections: bool,
    /// Sockets that were in line to be read after that.
    pub in_line: usize,
    /// How many of them have been read.
    pub read: usize,
}

/// What was there when the first timeout came due and has not been taken in yet.
#[derive(Clone, Copy, Debug)]
struct Rest {
    events: usize,
    connections: usize,
    /// Not known before the others are zero.
    in_line: Option<usize>,
}

/// Measures how well the loop listens. Times are on the loop's clock.
pub(super) struct LoopDelay {
    /// Work of this length at a stretch is not granted back, ms: answers are late by no more than that.
    gap_ms: u64,
    /// Connections that may wait to be accepted.
    backlog: usize,
    woke: Millis,
    /// Since when the loop waits for events, and for how long it means to.
    asleep: Option<(Millis, u64)>,
    rest: Option<Rest>,
}

impl LoopDelay {
    /// For sessions whose timeout is at least this, and listening sockets that let so many wait.
    pub(super) fn new(timeout_min_ms: u64, backlog: usize) -> LoopDelay {
        LoopDelay { gap_ms: (timeout_min_ms / 8).clamp(10, 500), backlog, woke: Millis(0), asleep: None, rest: None }
    }

    /// The loop begins to wait for events, for at most so long.
    pub(super) fn sleeps(&mut self, now: Millis, timeout_ms: u64) {
        self.asleep = Some((now, timeout_ms));
    }

    /// The loop has events. Returns for how much of the time since the last turn the loop did not listen, ms.
    pub(super) fn woke(&mut self, now: Millis) -> u64 {
        let passed = now.since(self.woke);
        let (since, timeout_ms) = self.asleep.take().unwrap_or((now, 0));
        let (worked, slept) = (since.since(self.woke), now.since(since));
        // To sleep longer than meant is to be stopped.
        let heard = worked.min(self.gap_ms) + slept.min(timeout_ms.saturating_add(self.gap_ms));
        self.woke = now;
        passed.saturating_sub(heard)
    }

    /// Whether sessions that are silent now may expire. `is_due`: at least one would. To be asked once in each turn.
    pub(super) fn is_complete(&mut self, is_due: bool, intake: Intake) -> bool {
        if !is_due {
            return false;
        }
        let rest = self.rest.get_or_insert(Rest { events: intake.sockets, connections: self.backlog, in_line: None });
        rest.events = if intake.more_events { rest.events.saturating_sub(intake.events) } else { 0 };
        rest.connections = if intake.more_connections { rest.connections.saturating_sub(intake.accepted) } else { 0 };
        if rest.events > 0 || rest.connections > 0 {
            return false;
        }
        // They are read in order, so after as many all that were there have been.
        let in_line = rest.in_line.unwrap_or(intake.in_line).saturating_sub(intake.read);
        rest.in_line = Some(in_line);
        let complete = in_line == 0;
        if complete {
            self.rest = None;
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of `(work, sleep, timeout)` ms each; what was granted back by each.
    fn granted(turns: &[(u64, u64, u64)]) -> Vec<u64> {
        let mut hearing = LoopDelay::new(4000, BACKLOG);
        let mut now = Millis(0);
        let turn = |&(work, sleep, timeout): &(u64, u64, u64)| {
            now = now.plus(work);
            hearing.sleeps(now, timeout);
            now = now.plus(sleep);
            hearing.woke(now)
        };
        turns.iter().map(turn).collect()
    }

    #[test]
    fn time_in_which_the_loop_listens_counts() {
        assert_eq!(granted(&[(5, 1000, 1000), (400, 0, 0), (0, 0, 0), (3, 700, 1000)]), [0, 0, 0, 0]);
    }

    #[test]
    fn a_slow_sync_and_a_stopped_process_are_granted_back() {
        assert_eq!(granted(&[(6000, 0, 0), (1, 10, 10)]), [5500, 0], "a sync of 6 s");
        assert_eq!(granted(&[(1, 7000, 1000), (1, 10, 10)]), [5500, 0], "stopped while it waited for events");
        assert_eq!(granted(&[(2000, 3000, 0)]), [4000], "both");
    }

    #[test]
    fn everything_that_had_arrived_comes_before_anybody_expires() {
        let mut hearing = LoopDelay::new(4000, BACKLOG);
        let quiet = Intake { sockets: 3000, ..Intake::default() };
        assert!(!hearing.is_complete(false, quiet), "nobody is due");
        assert!(hearing.is_complete(true, quiet));
        // 3,000 sockets have something, and 1,024 events come at a time.
        let busy = Intake { sockets: 3000, events: 1024, more_events: true, in_line: 1024, read: 1024, ..quiet };
        assert!(!hearing.is_complete(true, busy));
        assert!(!hearing.is_complete(true, busy));
        assert!(hearing.is_complete(true, Intake { events: 952, more_events: false, ..busy }));
        // Connections in the queue come before it, and are read.
        let accepting = Intake { accepted: 256, more_connections: true, in_line: 256, read: 256, ..quiet };
        assert!(!hearing.is_complete(true, accepting));
        assert!(!hearing.is_complete(true, Intake { more_connections: false, read: 100, ..accepting }));
        assert!(!hearing.is_complete(true, Intake { in_line: 400, read: 100, ..quiet }));
        assert!(hearing.is_complete(true, Intake { in_line: 500, read: 100, ..quiet }), "256 have been read");
    }

    #[test]
    fn no_load_puts_expiry_off_for_ever() {
        let mut hearing = LoopDelay::new(4000, BACKLOG);
        let flood = Intake {
            sockets: 10_000,
            events: 1024,
            more_events: true,
            accepted: 256,
            more_connections: true,
            in_line: 9000,
            read: 64,
        };
        for round in 0..10 {
            let turns = (1..1000).find(|_| hearing.is_complete(true, flood));
            assert!(turns.is_some_and(|turns| turns <= 16 + 9000 / 64 + 1), "round {round}: {turns:?}");
        }
    }
}
