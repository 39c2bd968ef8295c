//! How much the log may take while a snapshot has to keep up with it: a pure rule, without clock and without file.
//!
//! The log may run ahead of the running snapshot by a quarter of what it is allowed, and for the rest goes forward as the
//! snapshot does. So the writers are slowed in proportion, nobody is refused, and when the allowance is used up the
//! snapshot is published. [`Store::log_budget`](crate::store::Store::log_budget) fills in the numbers.

use crate::failpoint::{self, Failpoint};

/// How far the running snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotProgress {
    /// Stream bytes written.
    pub(crate) written: u64,
    /// Stream bytes read back and checked.
    pub(crate) checked: u64,
    /// Stream bytes in all, as far as is known.
    pub(crate) total: u64,
}

impl SnapshotProgress {
    /// Reading back costs about a quarter of writing.
    fn done(&self) -> u64 {
        (4 * self.written.min(self.total) + self.checked.min(self.total)) / 5
    }

    /// `bytes` in proportion to what is done.
    fn share(&self, bytes: u64) -> u64 {
        (u128::from(bytes) * u128::from(self.done()) / u128::from(self.total.max(1))) as u64
    }
}

/// What the rule looks at. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLoad {
    /// Log since the snapshot that runs began, or since the newest one kept did.
    pub(crate) since: u64,
    /// Below this many bytes writes wait for more: a frame for each few bytes would cost a sync each.
    pub(crate) quantum: u64,
    /// Log between the beginnings of two snapshots.
    pub(crate) window: u64,
    /// Log that can be written before nothing is left but the reserve.
    pub(crate) room: u64,
    pub(crate) running: Option<SnapshotProgress>,
    /// A snapshot is due and begins in this turn.
    pub(crate) begins: bool,
    /// Bytes of the running snapshot that wait in memory, and how many may.
    pub(crate) waiting: u64,
    pub(crate) waiting_max: u64,
}

/// What a turn may log, in bytes; 0: writes wait.
pub(crate) fn budget(load: &LogLoad) -> u64 {
    if failpoint::on(Failpoint::SlowSlowsNobody) {
        return u64::MAX;
    }
    if load.running.is_some() && load.waiting > load.waiting_max && !failpoint::on(Failpoint::PreimagesUnbounded) {
        return 0;
    }
    let free = match &load.running {
        Some(progress) => {
            let allowed = load.window.min(load.since.saturating_add(load.room));
            let ahead = allowed / 4;
            (ahead + progress.share(allowed - ahead)).saturating_sub(load.since)
        }
        None if load.since < load.window => (load.window - load.since).max(load.quantum),
        // The log does not go on past its window but where no snapshot can be had, as on a disk that fails.
        None if load.begins => load.quantum,
        None => load.room,
    };
    let free = free.min(load.room);
    if free < load.quantum { 0 } else { free }
}

/// Whether the snapshot is behind the log, and is to be written as fast as the disk takes it: it is to be done when half
/// of what the log is allowed is used up, and before the log has had as much as the snapshot. Where the log may have several
/// times as much, a restart would have all of it to read.
pub(crate) fn is_behind(load: &LogLoad) -> bool {
    load.running.is_some_and(|progress| {
        let allowed = load.window.min(load.since.saturating_add(load.room));
        let meanwhile = (allowed / 2).min(progress.total / 4 * 3);
        progress.share(meanwhile) < load.since || load.waiting > load.waiting_max / 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn load(since: u64, written: u64, checked: u64) -> LogLoad {
        LogLoad {
            since: since * MIB,
            quantum: MIB / 16,
            window: 64 * MIB,
            room: 1000 * MIB,
            running: Some(SnapshotProgress { written: written * MIB, checked: checked * MIB, total: 100 * MIB }),
            begins: false,
            waiting: 0,
            waiting_max: 16 * MIB,
        }
    }

    #[test]
    fn the_log_runs_ahead_by_a_quarter_and_then_goes_on_with_the_snapshot() {
        assert_eq!(budget(&load(0, 0, 0)), 16 * MIB);
        assert_eq!(budget(&load(16, 0, 0)), 0);
        assert_eq!(budget(&load(16, 50, 0)), 48 * MIB * 2 / 5);
        assert_eq!(budget(&load(40, 100, 0)), 16 * MIB + 48 * MIB * 4 / 5 - 40 * MIB);
        assert_eq!(budget(&load(63, 100, 100)), MIB);
        assert_eq!(budget(&load(64, 100, 100)), 0);
    }

    #[test]
    fn the_window_is_never_passed_while_a_snapshot_runs() {
        for since in 0..80 {
            for done in 0..=100 {
                let load = load(since, done, done);
                let budget = budget(&load);
                assert!(budget == 0 || load.since + budget <= load.window, "{load:?}: {budget}");
            }
        }
    }

    #[test]
    fn less_room_than_the_window_is_shared_out_in_the_same_way() {
        let tight = LogLoad { room: 8 * MIB, ..load(0, 0, 0) };
        assert_eq!(budget(&tight), 2 * MIB);
        let used = LogLoad { room: 0, since: 8 * MIB, ..load(0, 100, 100) };
        assert_eq!(budget(&used), 0);
    }

    #[test]
    fn without_a_snapshot_the_log_goes_up_to_its_window() {
        let idle = LogLoad { running: None, ..load(10, 0, 0) };
        assert_eq!(budget(&idle), 54 * MIB);
        let due = LogLoad { running: None, begins: true, ..load(64, 0, 0) };
        assert_eq!(budget(&due), due.quantum);
        // A disk on which none succeeds does not stop the writers before the room is used up.
        let hopeless = LogLoad { running: None, ..load(70, 0, 0) };
        assert_eq!(budget(&hopeless), 1000 * MIB);
        assert_eq!(budget(&LogLoad { room: 0, ..hopeless }), 0);
    }

    #[test]
    fn too_many_bytes_of_a_snapshot_in_memory_stop_the_writers() {
        let crowded = LogLoad { waiting: 17 * MIB, ..load(1, 0, 0) };
        assert_eq!(budget(&crowded), 0);
        assert_ne!(
            failpoint::with(Failpoint::PreimagesUnbounded, || budget(&crowded)),
            0,
            "the planted bug was not found"
        );
        assert!(is_behind(&LogLoad { waiting: 9 * MIB, ..load(0, 1, 1) }));
    }

    #[test]
    fn a_snapshot_that_falls_behind_is_written_faster() {
        assert!(!is_behind(&load(10, 50, 50)));
        assert!(is_behind(&load(20, 50, 50)));
        assert!(!is_behind(&LogLoad { running: None, ..load(63, 0, 0) }));
    }

    #[test]
    fn a_snapshot_of_which_the_log_may_have_three_is_not_written_slower_for_that() {
        let large = |since| LogLoad { window: 300 * MIB, ..load(since, 50, 50) };
        assert!(!is_behind(&large(37)));
        assert!(is_behind(&large(38)));
    }
}
