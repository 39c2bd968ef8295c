//! Slow work beside the loop: snapshot chunks, reading them back, zeroing new space.
//!
//! One thread named `zoarium-snap` that exists only while there is work. On disks that ask for it (simulated ones) the
//! same jobs run inside `tick`, one at a time and in the same order, so that a run can be repeated exactly; and no faster
//! than the thread would be, by the disk's clock, where the disk says that it is paced.

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
    /// Without a thread: the job under way, and when the next piece of it is due by the disk's clock.
    inline: Option<Work>,
    due_us: u64,
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
        queue.busy || !queue.jobs.is_empty() || !queue.done.is_empty() || self.inline.is_some()
    }

    /// What has been finished since the last call. Where there is no thread, does first what there was time for.
    pub(crate) fn poll(&mut self, disk: &dyn Disk) -> Option<Done> {
        let mut queue = self.shared.lock();
        if let Some(done) = queue.done.pop_front() {
            return Some(done);
        }
        if queue.running {
            return None;
        }
        drop(queue);
        self.go_on(disk, false)
    }

    /// Without a thread: works until a job is done, or until its next piece is not due yet. In a hurry nothing is paced.
    fn go_on(&mut self, disk: &dyn Disk, hurry: bool) -> Option<Done> {
        loop {
            let paced = disk.paced() && !hurry;
            if paced && disk.now_us() < self.due_us {
                return None;
            }
            let rate = {
                let mut queue = self.shared.lock();
                if self.inline.is_none() {
                    self.inline = Some(Work::of(queue.jobs.pop_front()?));
                }
                queue.rate
            };
            let work = self.inline.as_mut()?;
            let (bytes, done) = work.go_on(disk);
            if paced && rate > 0 {
                self.due_us = self.due_us.max(disk.now_us()) + bytes as u64 * 1_000_000 / rate;
            }
            if done.is_some() {
                self.inline = None;
                return done;
            }
        }
    }

    /// Waits for the next job to be finished, without pacing. There must be one.
    pub(crate) fn wait(&mut self, disk: &dyn Disk) -> Done {
        loop {
            if let Some(done) = self.poll(disk) {
                return done;
            }
            let mut queue = self.shared.lock();
            if !queue.running {
                drop(queue);
                if let Some(done) = self.go_on(disk, true) {
                    return done;
                }
                queue = self.shared.lock();
            }
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
        self.inline = None;
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

/// A job under way. A piece of it is what lies between two looks at the pace.
#[derive(Debug)]
enum Work {
    Grow { at: u64, len: u64, zeroed: Option<u64>, zeros: AlignedBuf },
    Chunk { at: u64, buf: AlignedBuf, len: usize },
    Verify(snapshot::Verifying),
}

impl Work {
    fn of(job: Job) -> Work {
        match job {
            Job::Grow { at, len } => {
                Work::Grow { at, len, zeroed: None, zeros: AlignedBuf::new(ZERO_PIECE.min(len as usize)) }
            }
            Job::Chunk { at, buf, len } => Work::Chunk { at, buf, len },
            Job::Verify(plan) => Work::Verify(snapshot::Verifying::new(plan)),
        }
    }

    /// Does one piece: how many bytes it is paced by, and what became of the job when that was the last.
    fn go_on(&mut self, disk: &dyn Disk) -> (usize, Option<Done>) {
        match self {
            Work::Grow { at, len, zeroed, zeros } => match grow(disk, *at, *len, zeroed, zeros) {
                Ok(Some(bytes)) => (bytes, None),
                Ok(None) => (0, Some(Done::Grown(Ok(())))),
                Err(error) => (0, Some(Done::Grown(Err(error)))),
            },
            Work::Chunk { at, buf, len } => {
                let result = disk.write_at_direct(&buf.bytes()[..*len], *at);
                let buf = std::mem::replace(buf, AlignedBuf::new(0));
                (*len, Some(Done::Chunk { at: *at, len: *len, buf, result }))
            }
            Work::Verify(verifying) => match verifying.go_on(disk) {
                Ok(Some(bytes)) => (bytes, None),
                Ok(None) => (0, Some(Done::Verified(Ok(())))),
                Err(error) => (0, Some(Done::Verified(Err(error)))),
            },
        }
    }

    /// Told to stop before the last piece.
    fn stopped(self) -> Done {
        let error = io::ErrorKind::Interrupted.into();
        match self {
            Work::Grow { .. } => Done::Grown(Err(JobError { error, sync_failed: false })),
            Work::Chunk { at, buf, len } => Done::Chunk { at, buf, len, result: Err(error) },
            Work::Verify(_) => Done::Verified(Err(snapshot::VerifyError::Stopped)),
        }
    }
}

/// On the thread: piece after piece, paced.
fn carry_out(job: Job, disk: &dyn Disk, pace: &dyn Fn(usize) -> bool) -> Done {
    let mut work = Work::of(job);
    loop {
        let (bytes, done) = work.go_on(disk);
        let goes_on = bytes == 0 || pace(bytes);
        match done {
            Some(done) => return done,
            None if goes_on => {}
            None => return work.stopped(),
        }
    }
}

/// One piece of growth: the blocks, then zeros, then the sync. `None` when it is whole.
fn grow(
    disk: &dyn Disk,
    at: u64,
    len: u64,
    zeroed: &mut Option<u64>,
    zeros: &AlignedBuf,
) -> Result<Option<usize>, JobError> {
    let plain = |error| JobError { error, sync_failed: false };
    let Some(done) = zeroed else {
        disk.grow(at + len).map_err(plain)?;
        *zeroed = Some(0);
        return Ok(Some(0));
    };
    if *done == len {
        disk.sync_all().map_err(|error| JobError { error, sync_failed: true })?;
        return Ok(None);
    }
    let piece = (len - *done).min(zeros.capacity() as u64) as usize;
    disk.write_at_direct(&zeros.bytes()[..piece], at + *done).map_err(plain)?;
    *done += piece as u64;
    Ok(Some(piece))
}
