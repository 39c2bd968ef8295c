//! How far whoever runs a client's callbacks is behind, and when its transport stops reading for that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Callbacks of one client that may wait before its transport stops reading. What came with the last read still joins them.
pub const JOBS_MAX: usize = 10_000;
/// Bytes of replies and events that may wait with them.
pub const BYTES_MAX: usize = 16 << 20;
/// What a callback itself takes, about.
pub(super) const JOB_SIZE: usize = 128;

static LAST: AtomicU64 = AtomicU64::new(0);

/// One client's share of a queue.
#[derive(Default)]
pub struct QueueShare {
    /// Which client, for the queue.
    pub(super) id: u64,
    /// Written under the queue's lock.
    jobs: AtomicUsize,
    /// Written under the queue's lock.
    bytes: AtomicUsize,
    /// Threads that wait for a reply: reading goes on for them, or a callback that waits would never return.
    waiting: AtomicUsize,
    /// The transport was told to stop and wants to hear when it may go on.
    stopped: AtomicBool,
    read_on: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl QueueShare {
    /// Nothing yet.
    pub fn new() -> QueueShare {
        QueueShare { id: LAST.fetch_add(1, Ordering::Relaxed) + 1, ..QueueShare::default() }
    }

    /// What gets the transport to read again.
    pub(super) fn on_drained(&self, read_on: impl Fn() + Send + Sync + 'static) {
        let _ = self.read_on.set(Box::new(read_on));
    }

    /// Callbacks that wait, and the bytes they hold.
    pub fn waiting(&self) -> (usize, usize) {
        (self.jobs.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst))
    }

    /// Under the queue's lock.
    pub(super) fn add(&self, size: usize) {
        self.jobs.store(self.jobs.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + size, Ordering::Relaxed);
    }

    /// Under the queue's lock. Whether [`QueueShare::read_on`] is due.
    pub(super) fn sub(&self, size: usize) -> bool {
        let jobs = self.jobs.load(Ordering::Relaxed) - 1;
        let bytes = self.bytes.load(Ordering::Relaxed) - size;
        self.jobs.store(jobs, Ordering::SeqCst);
        self.bytes.store(bytes, Ordering::SeqCst);
        // At half, so that reading does not stop and go with every callback.
        jobs <= JOBS_MAX / 2 && bytes <= BYTES_MAX / 2 && self.stopped.load(Ordering::SeqCst)
    }

    fn is_above(&self) -> bool {
        let (jobs, bytes) = self.waiting();
        (jobs >= JOBS_MAX || bytes >= BYTES_MAX) && self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Whether to stop reading. If so, the transport hears when to go on.
    pub(super) fn is_full(&self) -> bool {
        if !self.is_above() {
            return false;
        }
        self.stopped.store(true, Ordering::SeqCst);
        // It may have been run empty just before that was written, and nobody would say so again.
        if self.is_above() {
            return true;
        }
        self.stopped.store(false, Ordering::SeqCst);
        false
    }

    /// Without the queue's lock.
    pub(super) fn read_on(&self) {
        if self.stopped.swap(false, Ordering::SeqCst)
            && let Some(read_on) = self.read_on.get()
        {
            read_on();
        }
    }

    /// A thread begins to wait for a reply.
    pub(super) fn begin_waiting(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.read_on();
    }

    /// It has it, or gave up.
    pub(super) fn end_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn reading_stops_at_the_bound_and_goes_on_at_half() {
        //
        let (load, reading) = (QueueShare::new(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&reading);
        load.on_drained(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        for _ in 1..JOBS_MAX {
            load.add(1);
            assert!(!load.is_full());
        }
        load.add(1);
        assert!(load.is_full());
        load.begin_waiting();
        assert!(!load.is_full(), "whoever waits is answered");
        assert_eq!(reading.load(Ordering::SeqCst), 1);
        load.end_waiting();
        assert!(load.is_full());
        let due = (0..JOBS_MAX).position(|_| load.sub(1)).unwrap();
        assert_eq!(due + 1, JOBS_MAX / 2);
        load.read_on();
        load.read_on();
        assert_eq!(reading.load(Ordering::SeqCst), 2, "once");
    }

    #[test]
    fn a_few_large_replies_fill_it_too() {
        let load = QueueShare::new();
        load.add(BYTES_MAX - 1);
        assert!(!load.is_full());
        load.add(1);
        assert!(load.is_full());
    }
}
