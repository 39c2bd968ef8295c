//! Slow work beside the loop: snapshot chunks, reading them back, zeroing new space, checking the log that an opening passed
//! over.
//!
//! One thread named `zoarium-snap` that exists only while there is work. It has a queue each for snapshots and for growth, with
//! a pace of its own, and takes from them in turn, a piece at a time: no chunk waits for more than one piece of zeroing, and
//! no growth for more than one chunk. A queue in a rush is not paced. The log is checked when neither has anything due.
//!
//! On disks that ask for it (simulated ones) the same pieces are carried out inside `tick`, in the same order, so that a
//! run can be repeated exactly; and where the disk is [`paced`](Disk::paced), no faster than on the thread: time is the
//! disk's [`now_us`](Disk::now_us), and a piece takes as long as the pace and [`direct_us`](Disk::direct_us) say.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::failpoint::{self, Failpoint};
use crate::store::access::{AlignedBuf, Disk};
use crate::store::cause::SnapshotFault;
use crate::store::chain::Chain;
use crate::store::cover::CoverCheck;
use crate::store::error::StoreError;

/// Bytes zeroed by one write.
const ZERO_PIECE: u64 = 256 * 1024;

/// Work for the helper.
#[derive(Debug)]
pub(crate) enum HelperJob {
    /// Reserve blocks for `at..at + len`, zero them, sync them.
    Grow(Growth),
    /// Write the first `len` bytes of `buf` at `at`.
    Chunk { at: u64, buf: AlignedBuf, len: usize },
    /// Sync, then read the chunks back and check them.
    Verify(Box<dyn Check>),
    /// Check the log that the opening passed over.
    CheckLog(Box<CoverCheck>),
}

/// Space that is made ready a piece at a time.
#[derive(Debug)]
pub(crate) struct Growth {
    at: u64,
    len: u64,
    done: u64,
    /// What each piece is written from.
    zeros: AlignedBuf,
}

impl Growth {
    /// Of `at..at + len`.
    pub(crate) fn new(at: u64, len: u64) -> Growth {
        Growth { at, len, done: 0, zeros: AlignedBuf::default() }
    }

    fn step(&mut self, disk: &dyn Disk, piece: usize) -> Result<(), JobError> {
        let plain = |error| JobError { error, sync_failed: false };
        if self.done == 0 {
            disk.grow(self.at + self.len).map_err(plain)?;
            self.zeros = AlignedBuf::new(piece);
        }
        disk.write_at_direct(&self.zeros.bytes()[..piece], self.at + self.done).map_err(plain)?;
        self.done += piece as u64;
        if self.done == self.len {
            disk.sync_all().map_err(|error| JobError { error, sync_failed: true })?;
        }
        Ok(())
    }
}

/// A check that is made a piece at a time.
pub(crate) trait Check: std::fmt::Debug + Send {
    /// Bytes read in this step, and the result when it was the last one.
    fn step(&mut self, disk: &dyn Disk) -> (usize, Option<Result<(), VerifyError>>);

    /// Stream bytes that were read back.
    fn checked(&self) -> u64;
}

/// What went wrong when a snapshot was read back.
#[derive(Debug)]
pub(crate) enum VerifyError {
    Sync(io::Error),
    Bad { offset: u64, fault: SnapshotFault },
}

/// An error, and whether it came from a sync: then nothing may be believed any more.
#[derive(Debug)]
pub(crate) struct JobError {
    pub(crate) error: io::Error,
    pub(crate) sync_failed: bool,
}

/// What became of a job.
#[derive(Debug)]
pub(crate) enum JobDone {
    Grown(Result<(), JobError>),
    Snapshot(SnapshotPiece),
    /// The chain from the log's beginning to the extent at which the opening began.
    LogChecked(Result<Chain, StoreError>),
}

/// What became of a job for a snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotPiece {
    Chunk { at: u64, len: usize, buf: AlignedBuf, result: io::Result<()> },
    Verified(Result<(), VerifyError>),
}

/// One kind of work, and how fast it may go.
#[derive(Debug, Default)]
struct Lane {
    jobs: VecDeque<HelperJob>,
    /// Bytes per second; 0 = unpaced.
    rate: u64,
    rush: bool,
    /// When the next piece may begin, in microseconds.
    due: u64,
}

impl Lane {
    fn is_due(&self, now: u64, hurry: bool) -> bool {
        !self.jobs.is_empty() && (hurry || self.rush || self.rate == 0 || now >= self.due)
    }

    fn charge(&mut self, now: u64, bytes: usize) {
        let pause = (bytes as u64 * 1_000_000).checked_div(self.rate).unwrap_or(0);
        // A piece that came late is not made up for by a burst.
        self.due = if self.rush { now } else { now + pause };
    }
}

#[derive(Debug, Default)]
struct JobQueue {
    /// Chunks and their check.
    snapshot: Lane,
    growth: Lane,
    log_check: Lane,
    /// The last piece was one of growth.
    grew: bool,
    done: VecDeque<JobDone>,
    running: bool,
    /// A piece is being carried out.
    busy: bool,
    /// Someone waits: do not pace.
    hurry: bool,
    stop: bool,
    /// Stream bytes that the check under way has read back.
    checked: u64,
    /// Where there is no thread: until when the last piece takes.
    free_at: u64,
}

impl JobQueue {
    fn is_empty(&self) -> bool {
        self.lanes().iter().all(|lane| lane.jobs.is_empty())
    }

    fn lanes(&self) -> [&Lane; 3] {
        [&self.snapshot, &self.growth, &self.log_check]
    }

    /// The next piece that may begin at `now`.
    fn take(&mut self, now: u64, hurry: bool) -> Option<HelperJob> {
        let grows = self.growth.is_due(now, hurry);
        let snapshot_due = self.snapshot.is_due(now, hurry);
        if failpoint::on(Failpoint::GrowthBeforeChunks) && !self.growth.jobs.is_empty() {
            return if grows { self.growth.jobs.pop_front() } else { None };
        }
        if snapshot_due && (!grows || self.grew) {
            self.grew = false;
            return self.snapshot.jobs.pop_front();
        }
        if grows {
            self.grew = true;
            return self.growth.jobs.pop_front();
        }
        if self.log_check.is_due(now, hurry) { self.log_check.jobs.pop_front() } else { None }
    }

    /// When there is something to do next, if nothing changes.
    fn next_due(&self) -> Option<u64> {
        self.lanes().into_iter().filter(|lane| !lane.jobs.is_empty()).map(|lane| lane.due).min()
    }

    /// Takes in what became of a piece.
    fn put(&mut self, now: u64, piece: JobPiece) {
        let lane = match piece.lane {
            LaneKind::Snapshot => &mut self.snapshot,
            LaneKind::Growth => &mut self.growth,
            LaneKind::LogCheck => &mut self.log_check,
        };
        lane.charge(now, piece.bytes);
        self.checked = piece.checked.unwrap_or(self.checked);
        match piece.outcome {
            JobStep::Done(done) => self.done.push_back(done),
            JobStep::GoesOn(job) => lane.jobs.push_front(job),
        }
    }
}

#[derive(Debug, Default)]
struct HelperShared {
    queue: Mutex<JobQueue>,
    changed: Condvar,
}

impl HelperShared {
    fn lock(&self) -> MutexGuard<'_, JobQueue> {
        // A panic while the lock is held leaves a queue that is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store's end of the helper.
#[derive(Debug, Default)]
pub(crate) struct Helper {
    shared: Arc<HelperShared>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    pub(crate) fn new(rate: u64) -> Helper {
        let helper = Helper::default();
        let mut queue = helper.shared.lock();
        (queue.snapshot.rate, queue.growth.rate, queue.log_check.rate) = (rate, rate, rate);
        drop(queue);
        helper
    }

    /// Bytes per second of a snapshot from now on; 0 = unpaced.
    pub(crate) fn set_snapshot_rate(&mut self, rate: u64) {
        self.shared.lock().snapshot.rate = rate;
    }

    /// Whether the log waits, or will, for the snapshot or for growth: then they go as fast as the disk does.
    pub(crate) fn rush(&mut self, snapshot: bool, growth: bool) {
        let mut queue = self.shared.lock();
        let more = (snapshot && !queue.snapshot.rush) || (growth && !queue.growth.rush);
        (queue.snapshot.rush, queue.growth.rush) = (snapshot, growth);
        drop(queue);
        if more {
            self.shared.changed.notify_all();
        }
    }

    /// Stream bytes that the check under way has read back.
    pub(crate) fn checked(&self) -> u64 {
        self.shared.lock().checked
    }

    /// Hands over a job, starting the thread if it is not there.
    pub(crate) fn submit(&mut self, disk: &Arc<dyn Disk>, job: HelperJob) {
        let mut queue = self.shared.lock();
        if matches!(job, HelperJob::Verify(_)) {
            queue.checked = 0;
        }
        match job {
            HelperJob::Grow(_) => queue.growth.jobs.push_back(job),
            HelperJob::CheckLog(_) => queue.log_check.jobs.push_back(job),
            HelperJob::Chunk { .. } | HelperJob::Verify(_) => queue.snapshot.jobs.push_back(job),
        }
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
        queue.busy || !queue.is_empty() || !queue.done.is_empty()
    }

    /// What has been finished since the last call. Where there is no thread, does what is due first.
    pub(crate) fn poll(&mut self, disk: &dyn Disk) -> Option<JobDone> {
        let mut queue = self.shared.lock();
        loop {
            if let Some(done) = queue.done.pop_front() {
                return Some(done);
            }
            if queue.running || queue.is_empty() {
                return None;
            }
            // In a hurry, or on a disk that knows no time, nothing is waited for.
            let paced = disk.paced() && !queue.hurry;
            let now = disk.now_us();
            if paced && now < queue.free_at {
                return None;
            }
            let job = queue.take(now, !paced)?;
            let piece = carry_out(job, disk);
            queue.free_at = now + disk.direct_us(piece.bytes);
            queue.put(now, piece);
        }
    }

    /// Waits for the next job to be finished, without pacing. There must be one.
    pub(crate) fn wait(&mut self, disk: &dyn Disk) -> JobDone {
        loop {
            self.shared.lock().hurry = true;
            let done = self.poll(disk);
            if let Some(done) = done {
                self.shared.lock().hurry = false;
                return done;
            }
            let queue = self.shared.lock();
            assert!(queue.busy || !queue.is_empty() || !queue.done.is_empty(), "waiting for no job");
            self.shared.changed.notify_all();
            let waited = self.shared.changed.wait_while(queue, |q| q.running && q.done.is_empty());
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Drops the snapshot jobs that are not being carried out, and tells how many.
    pub(crate) fn forget_snapshot_jobs(&mut self) -> u32 {
        let mut queue = self.shared.lock();
        std::mem::take(&mut queue.snapshot.jobs).len() as u32
    }

    /// Ends the thread, in the middle of what it does.
    pub(crate) fn stop(&mut self) {
        let mut queue = self.shared.lock();
        queue.stop = true;
        (queue.snapshot.jobs, queue.growth.jobs, queue.log_check.jobs) = Default::default();
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

fn work(shared: &HelperShared, disk: &dyn Disk) {
    let begun = Instant::now();
    let now = || begun.elapsed().as_micros() as u64;
    let mut queue = shared.lock();
    // Another thread's clock began elsewhere.
    (queue.snapshot.due, queue.growth.due, queue.log_check.due) = (0, 0, 0);
    loop {
        if queue.is_empty() && !queue.stop {
            let waited = shared.changed.wait_timeout_while(queue, LINGER, |q| q.is_empty() && !q.stop);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.stop || queue.is_empty() {
            queue.running = false;
            return;
        }
        let hurry = queue.hurry;
        let Some(job) = queue.take(now(), hurry) else {
            let pause = queue.next_due().unwrap_or(0).saturating_sub(now()).max(1);
            let waited = shared.changed.wait_timeout(queue, Duration::from_micros(pause));
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        };
        queue.busy = true;
        drop(queue);
        let piece = carry_out(job, disk);
        queue = shared.lock();
        queue.busy = false;
        if !queue.stop {
            queue.put(now(), piece);
        }
        shared.changed.notify_all();
    }
}

/// The queue that a job is in.
enum LaneKind {
    Snapshot,
    Growth,
    LogCheck,
}

/// A part of a job that was carried out.
struct JobPiece {
    lane: LaneKind,
    /// What the pace counts.
    bytes: usize,
    checked: Option<u64>,
    outcome: JobStep,
}

enum JobStep {
    Done(JobDone),
    /// The rest of the job.
    GoesOn(HelperJob),
}

fn carry_out(job: HelperJob, disk: &dyn Disk) -> JobPiece {
    match job {
        HelperJob::Grow(growth) => grow(disk, growth),
        HelperJob::Chunk { at, buf, len } => {
            let result = disk.write_at_direct(&buf.bytes()[..len], at);
            let outcome = JobStep::Done(JobDone::Snapshot(SnapshotPiece::Chunk { at, len, buf, result }));
            JobPiece { lane: LaneKind::Snapshot, bytes: len, checked: None, outcome }
        }
        HelperJob::Verify(mut check) => {
            let (bytes, ended) = check.step(disk);
            let checked = Some(check.checked());
            let outcome = match ended {
                Some(result) => JobStep::Done(JobDone::Snapshot(SnapshotPiece::Verified(result))),
                None => JobStep::GoesOn(HelperJob::Verify(check)),
            };
            // To read costs less than to write.
            JobPiece { lane: LaneKind::Snapshot, bytes: bytes / 4, checked, outcome }
        }
        HelperJob::CheckLog(mut log) => {
            let (bytes, ended) = log.step(disk);
            let outcome = match ended {
                Some(result) => JobStep::Done(JobDone::LogChecked(result)),
                None => JobStep::GoesOn(HelperJob::CheckLog(log)),
            };
            JobPiece { lane: LaneKind::LogCheck, bytes: bytes / 4, checked: None, outcome }
        }
    }
}

fn grow(disk: &dyn Disk, mut growth: Growth) -> JobPiece {
    let piece = (growth.len - growth.done).min(ZERO_PIECE) as usize;
    let outcome = match growth.step(disk, piece) {
        Ok(()) if growth.done < growth.len => JobStep::GoesOn(HelperJob::Grow(growth)),
        result => JobStep::Done(JobDone::Grown(result)),
    };
    JobPiece { lane: LaneKind::Growth, bytes: piece, checked: None, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> HelperJob {
        HelperJob::Chunk { at: 0, buf: AlignedBuf::new(4096), len: 4096 }
    }

    /// Pieces of growth before the first chunk, when both wait.
    fn growth_before_a_chunk() -> u32 {
        let mut queue = JobQueue::default();
        queue.growth.jobs.extend((0..9).map(|i| HelperJob::Grow(Growth::new(i, 1 << 22))));
        queue.snapshot.jobs.push_back(chunk());
        let mut pieces = 0;
        while let Some(HelperJob::Grow(_)) = queue.take(0, true) {
            pieces += 1;
        }
        pieces
    }

    #[test]
    fn a_chunk_waits_for_one_piece_of_growth_at_most_and_growth_for_one_chunk() {
        assert!(growth_before_a_chunk() <= 1);
        assert!(
            failpoint::with(Failpoint::GrowthBeforeChunks, growth_before_a_chunk) > 1,
            "the planted bug was not found"
        );
        let mut queue = JobQueue::default();
        queue.snapshot.jobs.extend((0..9).map(|_| chunk()));
        queue.growth.jobs.push_back(HelperJob::Grow(Growth::new(0, 1 << 22)));
        let first: Vec<HelperJob> = (0..2).filter_map(|_| queue.take(0, true)).collect();
        assert!(first.iter().any(|job| matches!(job, HelperJob::Grow(_))), "{first:?}");
    }

    #[test]
    fn each_kind_has_its_own_pace_and_a_rush_has_none() {
        let mut queue = JobQueue::default();
        (queue.snapshot.rate, queue.growth.rate) = (1_000_000, 1_000_000);
        let grow = || HelperJob::Grow(Growth::new(0, 1 << 22));
        queue.growth.jobs.extend([grow(), grow()]);
        queue.snapshot.jobs.extend([chunk(), chunk()]);
        let written = |job, grows| {
            let lane = if grows { LaneKind::Growth } else { LaneKind::Snapshot };
            JobPiece { lane, bytes: 4000, checked: None, outcome: JobStep::GoesOn(job) }
        };
        let job = queue.take(0, false).expect("both are due");
        let grows = matches!(job, HelperJob::Grow(_));
        queue.put(0, written(job, grows));
        let other = queue.take(0, false).expect("the other is not held up by it");
        assert_ne!(grows, matches!(other, HelperJob::Grow(_)));
        queue.put(0, written(other, !grows));
        assert!(queue.take(3999, false).is_none() && queue.next_due() == Some(4000));
        queue.snapshot.rush = true;
        assert!(matches!(queue.take(1, false), Some(HelperJob::Chunk { .. })));
        assert!(matches!(queue.take(4000, false), Some(HelperJob::Grow(_))));
    }

    #[test]
    fn a_thread_that_begins_anew_does_not_wait_by_the_clock_of_the_one_before() {
        // Each has its own clock: a pause that was left of the first would last as long as the first had lived.
        let folder = crate::store::tests::real::Folder::new();
        let disk = crate::store::DiskFile::open(&folder.file()).expect("the folder can be written");
        disk.grow(8192).expect("there is room");
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let mut helper = Helper::new(1);
        helper.shared.lock().snapshot.due = u64::MAX / 2;
        helper.submit(&disk, chunk());
        let begun = Instant::now();
        let done = loop {
            if let Some(done) = helper.poll(&*disk) {
                break done;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it waits for ever");
            std::thread::yield_now();
        };
        assert!(matches!(done, JobDone::Snapshot(SnapshotPiece::Chunk { result: Ok(()), .. })), "{done:?}");
    }
}
