//! Where callbacks wait for their turn, and who runs them.
//!
//! A queue is run by one thread at a time: the process's callback thread, or whoever calls [`CallbackQueue::run`]. Jobs of a
//! client are run in the order in which they came, so events keep their place among replies.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::load::QueueShare;
use crate::process::{PLACES, PerProcess, forks, is_working_for, work_for};

/// Something to run. Knows itself what to do when its client has ended.
pub type Job = Box<dyn RunJob>;

/// What a [`Job`] does. Closures without arguments do, where they are called.
pub trait RunJob: Send {
    /// Does it.
    fn run(self: Box<Self>);
}

impl<F: FnOnce() + Send> RunJob for F {
    fn run(self: Box<Self>) {
        (*self)();
    }
}

/// Jobs of any number of clients, in order of arrival.
pub struct CallbackQueue {
    state: Mutex<QueueState>,
    /// Jobs that wait, and one more while one runs. For a look without the lock.
    backlog: AtomicUsize,
    arrived: Condvar,
    idle: Condvar,
    /// A pipe for foreign event loops; the byte in it says that there is something to run.
    pipe: Option<(std::io::PipeReader, std::io::PipeWriter)>,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<(Arc<QueueShare>, usize, Job)>,
    running: Option<u64>,
    /// A thread is in [`CallbackQueue::run`].
    has_runner: bool,
    /// Clients that were let go by a callback: their jobs are run as soon as that returns.
    leaving: Vec<u64>,
    waiters: usize,
    signalled: bool,
    over: bool,
}

impl QueueState {
    /// The next job of a client that is leaving.
    fn next_leaving(&mut self) -> Option<(Arc<QueueShare>, usize, Job)> {
        while let Some(&id) = self.leaving.first() {
            if let Some(job) = self.next_of(id) {
                return Some(job);
            }
            self.leaving.remove(0);
        }
        None
    }

    /// The next job of one client.
    fn next_of(&mut self, id: u64) -> Option<(Arc<QueueShare>, usize, Job)> {
        let at = self.jobs.iter().position(|(load, ..)| load.id == id)?;
        self.jobs.remove(at)
    }
}

thread_local! {
    /// The queues (by address) that have a callback on this thread's stack, the innermost last: a callback may run another
    /// queue.
    static RUNNING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Why a queue did not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotRun {
    /// The call comes from a callback that this very queue runs.
    Nested,
    /// Another thread is running it.
    Busy,
    /// A callback forked, and this is the child: the rest is its parent's to run.
    Forked,
}

/// How waiting for a client's callbacks ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// None is left.
    Yes,
    /// Some were left when the time had passed.
    Late,
    /// They wait for the very callback that asks.
    Deadlock,
}

/// The callbacks that wait for the callbacks of another queue: from which queue, for which one. A queue has one runner, so
/// there is at most one entry from each.
static CROSSINGS: PerProcess<Mutex<Vec<(usize, usize)>>> = PerProcess::new([const { Mutex::new(Vec::new()) }; PLACES]);

/// An entry for each queue that has a callback on this thread's stack.
struct Crossing(Vec<usize>);

impl Crossing {
    /// Enters them, unless those of `target` wait for one of them already.
    fn begin(target: usize) -> Option<Crossing> {
        let from = RUNNING.try_with(|running| running.borrow().clone()).unwrap_or_default();
        if from.is_empty() {
            return Some(Crossing(from));
        }
        let mut all = CROSSINGS.mine().lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = target;
        // Each waits for one other, so this comes to an end, at the latest where it began.
        while let Some(&(_, next)) = all.iter().find(|(of, _)| *of == at) {
            if from.contains(&next) {
                return None;
            }
            at = next;
        }
        all.extend(from.iter().map(|of| (*of, target)));
        Some(Crossing(from))
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            let mut all = CROSSINGS.mine().lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|(of, _)| !self.0.contains(of));
        }
    }
}

impl CallbackQueue {
    /// A queue that a host runs itself, with a descriptor to poll.
    ///
    /// # Errors
    /// What the system says when it has no descriptors left.
    pub fn with_descriptor() -> std::io::Result<CallbackQueue> {
        let (reader, writer) = std::io::pipe()?;
        Ok(CallbackQueue { pipe: Some((reader, writer)), ..CallbackQueue::new() })
    }

    fn new() -> CallbackQueue {
        CallbackQueue {
            state: Mutex::default(),
            backlog: AtomicUsize::new(0),
            arrived: Condvar::new(),
            idle: Condvar::new(),
            pipe: None,
        }
    }

    /// Readable while something waits to be run. For polling only.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(|(reader, _)| reader.as_fd())
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends jobs of one client, each with the bytes it holds, and wakes whoever runs them. Never refuses: transports
    /// stop before.
    pub fn push(&self, load: &Arc<QueueShare>, jobs: impl IntoIterator<Item = (usize, Job)>) {
        let mut state = self.lock();
        let before = state.jobs.len();
        for (size, job) in jobs {
            load.add(size);
            state.jobs.push_back((Arc::clone(load), size, job));
        }
        if state.jobs.len() == before {
            return;
        }
        self.backlog.fetch_add(state.jobs.len() - before, Ordering::Relaxed);
        self.signal(&mut state);
        let wanted = state.waiters > 0;
        drop(state);
        if wanted {
            self.arrived.notify_one();
        }
    }

    fn signal(&self, state: &mut QueueState) {
        if let Some((_, writer)) = &self.pipe
            && !state.signalled
        {
            // One byte at a time is in the pipe, so this cannot block.
            state.signalled = (&*writer).write(&[1]).is_ok();
        }
    }

    fn unsignal(&self, state: &mut QueueState) {
        if let Some((reader, _)) = &self.pipe
            && state.signalled
            && state.jobs.is_empty()
        {
            let _ = (&*reader).read(&mut [0]);
            state.signalled = false;
        }
    }

    /// Runs up to `max` jobs, waiting up to `wait` for the first (`None`: for ever). Returns how many it ran.
    ///
    /// # Errors
    /// [`NotRun`] from within one of its own callbacks, while another thread is running it, and in a child that one of the
    /// callbacks forked.
    pub fn run(&self, max: usize, wait: Option<Duration>) -> Result<usize, NotRun> {
        if self.is_running_here() {
            return Err(NotRun::Nested);
        }
        let deadline = wait.map(|wait| Instant::now() + wait);
        let mut state = self.lock();
        if state.has_runner {
            return Err(NotRun::Busy);
        }
        state.has_runner = true;
        let end = EndOfRun(self);
        while state.jobs.is_empty() && !state.over {
            state.waiters += 1;
            state = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    state.waiters -= 1;
                    break;
                }
                Some(left) => self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.waiters -= 1;
        }
        let (mut ran, process) = (0, forks());
        loop {
            let next = state.next_leaving().or_else(|| if ran < max { state.jobs.pop_front() } else { None });
            let Some((load, size, job)) = next else { break };
            state.running = Some(load.id);
            let reads_on = load.sub(size);
            drop(state);
            if reads_on {
                load.read_on();
            }
            self.run_one(job);
            if forks() != process {
                // Threads that do not exist here may have the lock.
                std::mem::forget(end);
                return Err(NotRun::Forked);
            }
            ran += 1;
            state = self.lock();
            state.running = None;
            if state.waiters > 0 {
                self.idle.notify_all();
            }
        }
        self.unsignal(&mut state);
        drop(state);
        drop(end);
        Ok(ran)
    }

    fn run_one(&self, job: Job) {
        // Where it fails the thread is ending, and nothing will ask.
        let _ = RUNNING.try_with(|running| running.borrow_mut().push(self.address()));
        // A callback's panic is the callback's: the next one must still run.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run())).is_err() {
            log::error!("a callback panicked");
        }
        let _ = RUNNING.try_with(|running| running.borrow_mut().pop());
        self.backlog.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a job waits or runs.
    pub fn is_busy(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > 0
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether a callback of this queue is on this thread's stack.
    pub fn is_running_here(&self) -> bool {
        RUNNING.try_with(|running| running.borrow().contains(&self.address())).unwrap_or(false)
    }

    /// Waits until the jobs that this client has now have been run; at once when called from a callback of this queue,
    /// whose end they wait for. So do those of another queue whose callback waits for this one in the same way, or for one
    /// that does: [`Settled::Deadlock`].
    ///
    /// A queue that nobody is running is run for this client right here.
    pub fn settle(&self, client: &QueueShare, deadline: Option<Instant>) -> Settled {
        if self.is_running_here() {
            return Settled::Yes;
        }
        let mut crossing = None;
        let mut state = self.lock();
        loop {
            let is_busy = state.running == Some(client.id);
            let nobody_runs = self.pipe.is_some() && !state.has_runner;
            let next = if nobody_runs { state.next_leaving().or_else(|| state.next_of(client.id)) } else { None };
            if let Some((load, size, job)) = next {
                state.has_runner = true;
                state.running = Some(load.id);
                let reads_on = load.sub(size);
                drop(state);
                if reads_on {
                    load.read_on();
                }
                let (end, process) = (EndOfRun(self), forks());
                self.run_one(job);
                if forks() != process {
                    std::mem::forget(end);
                    return Settled::Late;
                }
                drop(end);
                state = self.lock();
                continue;
            }
            if !is_busy && client.waiting().0 == 0 {
                self.unsignal(&mut state);
                return Settled::Yes;
            }
            if crossing.is_none() {
                crossing = Crossing::begin(self.address());
                if crossing.is_none() {
                    return Settled::Deadlock;
                }
            }
            let left = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Settled::Late,
                Some(left) => left.min(Duration::from_millis(100)),
                None => Duration::from_millis(100),
            };
            state.waiters += 1;
            state = self.idle.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiters -= 1;
        }
    }

    /// This client is let go by a callback that is running: what waits for it is run when that returns, whatever else
    /// waits, for the host may never run this queue again.
    pub(super) fn leave(&self, client: &QueueShare) {
        self.lock().leaving.push(client.id);
    }

    fn end(&self) {
        self.lock().over = true;
        self.arrived.notify_all();
    }

    fn run_until_over(&self) {
        work_for(self);
        loop {
            if self.run(usize::MAX, None) == Err(NotRun::Forked) {
                // The child's only thread, which its callback did not keep: it ends, and the child with it.
                return;
            }
            let state = self.lock();
            if state.over && state.jobs.is_empty() {
                return;
            }
        }
    }
}

/// Lets others run the queue, even if the thread that ran it is unwinding.
struct EndOfRun<'a>(&'a CallbackQueue);

impl Drop for EndOfRun<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.has_runner = false;
        state.running = None;
        self.0.idle.notify_all();
    }
}

/// The process's own queue with its thread, there while somebody holds this.
pub struct Callbacks {
    queue: Arc<CallbackQueue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Those of the moment. One for all clients of the process, so that threads do not grow with clients. A forked child has
/// the memory of its parent's thread, but not the thread.
static CALLBACKS: PerProcess<Mutex<(u32, Weak<Callbacks>)>> =
    PerProcess::new([const { Mutex::new((0, Weak::new())) }; PLACES]);

impl Callbacks {
    /// The thread `zoarium-callbacks`, begun if this is the first to ask for it.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
    pub fn shared() -> std::io::Result<Arc<Callbacks>> {
        let mut shared = CALLBACKS.mine().lock().unwrap_or_else(PoisonError::into_inner);
        let process = forks();
        if shared.0 == process
            && let Some(callbacks) = shared.1.upgrade()
        {
            return Ok(callbacks);
        }
        let queue = Arc::new(CallbackQueue::new());
        let of_thread = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("zoarium-callback".to_owned())
            .spawn(move || of_thread.run_until_over())?;
        let callbacks = Arc::new(Callbacks { queue, thread: Mutex::new(Some(thread)) });
        *shared = (process, Arc::downgrade(&callbacks));
        Ok(callbacks)
    }

    /// Its queue.
    pub fn queue(&self) -> &Arc<CallbackQueue> {
        &self.queue
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        self.queue.end();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // The last client may be let go from within a callback: then the thread ends by itself.
        if let Some(thread) = thread
            && !is_working_for(&*self.queue)
        {
            let _ = thread.join();
        }
    }
}
