//! Slow work beside the loop: snapshot chunks, reading them back, zeroing new space.
//!
//! One thread named `zoarium-snap` that exists only while there is work. On disks that ask for it (simulated ones) the
//! same jobs run inside `tick`, one at a time and in the same order, so that a run can be repeated exactly.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::store::map::{AlignedBuf, Disk};
use crate::store::snapshot::{self, ChunkPlan};

/// Bytes zeroed by one write.
const ZERO_PIECE: usize = 256 * 1024;

/// Work for the helper.
#[derive(Debug)]
pub(crate) enum Job {
    /// Reserve blocks for `at..at + len`, zero them, sync them.
    Grow { at: u64, len: u64 },
    /// Write the first `len` bytes of `buf` at `at`.
    Chunk { at: u64, buf: AlignedBuf, len: usize },
    /// Sync, then read the chunks back and check them.
    Verify(ChunkPlan),
}

/// An error, and whether it came from a sync: then nothing may be believed any more.
#[derive(Debug)]
pub(crate) struct JobError {
    pub(crate) error: io::Error,
    pub(crate) sync_failed: bool,
}

/// What became of a job.
#[derive(Debug)]
pub(crate) enum Done {
    Grown(Result<(), JobError>),
    Chunk { at: u64, len: usize, buf: AlignedBuf, result: io::Result<()> },
    Verified(Result<(), snapshot::VerifyError>),
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    done: VecDeque<Done>,
    running: bool,
    /// A job is being carried out.
    busy: bool,
    /// Someone waits: do not pace.
    hurry: bool,
    stop: bool,
    rate: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held leaves a queue that is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as `bytes` may take at the set rate; false when asked to stop.
    fn pace(&self, bytes: usize) -> bool {
        let mut queue = self.lock();
        if queue.rate > 0 && !queue.hurry && !queue.stop {
            let pause = Duration::from_micros(bytes as u64 * 1_000_000 / queue.rate);
            let paced = self.changed.wait_timeout_while(queue, pause, |q| !q.stop && !q.hurry);
            queue = paced.unwrap_or_else(PoisonError::into_inner).0;
        }
        !queue.stop
    }
}

/// The store's end of the helper.
#[derive(Debug, Default)]
pub(crate) struct Helper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    pub(crate) fn new(rate: u64) -> Helper {
        let helper = Helper::default();
        helper.shared.lock().rate = rate;
        helper
    }

    /// Bytes per second from now on; 0 = unpaced.
    pub(crate) fn set_rate(&mut self, rate: u64) {
        self.shared.lock().rate = rate;
    }

    /// Hands over a job, starting the thread if it is not there.
    pub(crate) fn submit(&mut self, disk: &Arc<dyn Disk>, job: Job) {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        if !disk.background() {
            return;
        }
        if queue.running {
            drop(queue);
            self.shared.changed.notify_all();
            return;
        }
        queue.running = true;
        drop(queue);
        if let Some(old) = self.thread.take() {
            let _ = old.join();
        }
        let (shared, worker_disk) = (Arc::clone(&self.shared), Arc::clone(disk));
        let spawned =
            std::thread::Builder::new().name("zoarium-snap".to_owned()).spawn(move || work(&shared, &*worker_disk));
        match spawned {
            Ok(thread) => self.thread = Some(thread),
            // Without a thread the work is done by whoever waits for it, or by the next tick.
            Err(_) => self.shared.lock().running = false,
        }
    }

    /// Whether something is under way or waits to be taken in.
    pub(crate) fn active(&self) -> bool {
        let queue = self.shared.lock();
        queue.busy || !queue.jobs.is_empty() || !queue.done.is_empty()
    }

    /// What has been finished since the last call. Where there is no thread, does the next job first.
    pub(crate) fn poll(&mut self, disk: &dyn Disk) -> Option<Done> {
        let mut queue = self.shared.lock();
        if let Some(done) = queue.done.pop_front() {
            return Some(done);
        }
        if queue.running {
            return None;
        }
        let job = queue.jobs.pop_front()?;
        drop(queue);
        Some(carry_out(job, disk, &|_| true))
    }

    /// Waits for the next job to be finished, without pacing. There must be one.
    pub(crate) fn wait(&mut self, disk: &dyn Disk) -> Done {
        loop {
            if let Some(done) = self.poll(disk) {
                return done;
            }
            let mut queue = self.shared.lock();
            assert!(queue.busy || !queue.jobs.is_empty() || !queue.done.is_empty(), "waiting for no job");
            queue.hurry = true;
            self.shared.changed.notify_all();
            let waited = self.shared.changed.wait_while(queue, |q| q.running && q.done.is_empty());
            waited.unwrap_or_else(PoisonError::into_inner).hurry = false;
        }
    }

    /// Drops the snapshot jobs that have not begun, and tells how many.
    pub(crate) fn forget_snapshot_jobs(&mut self) -> u32 {
        let mut queue = self.shared.lock();
        let before = queue.jobs.len();
        queue.jobs.retain(|job| matches!(job, Job::Grow { .. }));
        (before - queue.jobs.len()) as u32
    }

    /// Ends the thread, in the middle of what it does.
    pub(crate) fn stop(&mut self) {
        let mut queue = self.shared.lock();
        queue.stop = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How long an idle thread waits for more before it ends.
const LINGER: Duration = Duration::from_millis(200);

fn work(shared: &Shared, disk: &dyn Disk) {
    let mut queue = shared.lock();
    loop {
        if queue.jobs.is_empty() && !queue.stop {
            let waited = shared.changed.wait_timeout_while(queue, LINGER, |q| q.jobs.is_empty() && !q.stop);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(job) = queue.jobs.pop_front().filter(|_| !queue.stop) else {
            queue.running = false;
            return;
        };
        queue.busy = true;
        drop(queue);
        let done = carry_out(job, disk, &|bytes| shared.pace(bytes));
        queue = shared.lock();
        queue.busy = false;
        queue.done.push_back(done);
        shared.changed.notify_all();
    }
}

fn carry_out(job: Job, disk: &dyn Disk, pace: &dyn Fn(usize) -> bool) -> Done {
    match job {
        Job::Grow { at, len } => Done::Grown(grow(disk, at, len, pace)),
        Job::Chunk { at, buf, len } => {
            let result = disk.write_at_direct(&buf.bytes()[..len], at);
            pace(len);
            Done::Chunk { at, len, buf, result }
        }
        Job::Verify(plan) => Done::Verified(snapshot::verify(disk, &plan, pace)),
    }
}

fn grow(disk: &dyn Disk, at: u64, len: u64, pace: &dyn Fn(usize) -> bool) -> Result<(), JobError> {
    let plain = |error| JobError { error, sync_failed: false };
    disk.grow(at + len).map_err(plain)?;
    let zeros = AlignedBuf::new(ZERO_PIECE.min(len as usize));
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(zeros.capacity() as u64) as usize;
        disk.write_at_direct(&zeros.bytes()[..piece], at + done).map_err(plain)?;
        done += piece as u64;
        if !pace(piece) {
            return Err(plain(io::ErrorKind::Interrupted.into()));
        }
    }
    disk.sync_all().map_err(|error| JobError { error, sync_failed: true })
}
