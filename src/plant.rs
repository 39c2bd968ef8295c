//! Planted bugs: a checker is trusted only after it has caught something (`correctness.md` §6.9).
//!
//! Outside tests every question is answered "no" at compile time.

/// A bug that a test can switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An append returns before its sync (D-10).
    AckBeforeSync,
    /// Both mirrors of a superblock slot share one sync (P7).
    MirrorsTogether,
    /// Recovery does not compare the chain of frames (P2, P3).
    ChainUnchecked,
    /// Recovery takes any end of the log for a torn tail (S-41).
    EverythingTorn,
    /// A snapshot is built where the one it will replace still lies (P6).
    BuildInPlace,
    /// A frame goes on although the sync before it failed (S-42).
    NoPoison,
    /// A snapshot is published before it is synced (P8).
    PublishUnsynced,
    /// A frame claims itself as synced (P5).
    SyncedTooSoon,
    /// Log is released by the newest snapshot in place of the oldest kept (D-09).
    RetireByNewest,
    /// The space kept for the next snapshot is that of the last one published.
    ReserveByLastSnapshot,
    /// The log is never slowed for the running snapshot.
    SlowSlowsNobody,
    /// Chunks of a snapshot wait until all growth is done.
    GrowthBeforeChunks,
    /// Nobody waits for a snapshot's bytes that wait in memory.
    PreimagesUnbounded,
    /// A new file comes to its place before it is complete.
    NameBeforeContent,
}

#[cfg(test)]
thread_local! {
    static ON: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Whether the bug is switched on.
#[cfg(test)]
pub(crate) fn on(plant: Plant) -> bool {
    ON.get() == Some(plant)
}

/// Whether the bug is switched on.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn on(_plant: Plant) -> bool {
    false
}

/// Runs `body` with one bug switched on in this thread.
#[cfg(test)]
pub(crate) fn with<T>(plant: Plant, body: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ON.set(None);
        }
    }
    let _off = Off;
    ON.set(Some(plant));
    body()
}
