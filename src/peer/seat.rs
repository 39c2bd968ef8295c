//! Where the engine sits: with the loop while it works, within reach of readers while it waits or syncs.
//!
//! Other threads see whole turns only: what is applied, durable, and told to its watchers in this process.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::engine::Engine;
use crate::member::{self, EngineSeat as _};

/// Looks at an empty seat before a reader goes to sleep.
const SPINS: usize = 40;
/// How long a reader waits for the loop, which may be frozen or at the disk; then its request queues up like any other, and
/// the caller's time limit holds.
const NAP: Duration = Duration::from_millis(50);

/// The side of the readers.
pub struct Lent {
    seat: RwLock<Option<Box<Engine>>>,
    over: AtomicBool,
    waiting: AtomicUsize,
    nap: Mutex<()>,
    back: Condvar,
}

/// The side of the loop. Using it as an engine while it is lent is a bug.
pub(super) struct Seat {
    engine: Option<Box<Engine>>,
    lent: Arc<Lent>,
}

impl Seat {
    pub(super) fn new(engine: Engine) -> Seat {
        let lent = Lent {
            seat: RwLock::new(None),
            over: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            nap: Mutex::new(()),
            back: Condvar::new(),
        };
        Seat { engine: Some(Box::new(engine)), lent: Arc::new(lent) }
    }

    pub(super) fn lent(&self) -> Arc<Lent> {
        Arc::clone(&self.lent)
    }
}

impl member::EngineSeat for Seat {
    fn lend(&mut self) {
        *self.lent.seat.write().unwrap_or_else(PoisonError::into_inner) = self.engine.take();
        if self.lent.waiting.load(Ordering::SeqCst) > 0 {
            self.lent.wake_all();
        }
    }

    /// Waits for readers to finish, which none takes long to do.
    fn take_back(&mut self) {
        // A reader that panicked cannot have changed anything: it had a shared reference.
        if let Some(engine) = self.lent.seat.write().unwrap_or_else(PoisonError::into_inner).take() {
            self.engine = Some(engine);
        }
    }
}

impl Deref for Seat {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.engine.as_deref().expect("the loop takes the engine back before it works")
    }
}

impl DerefMut for Seat {
    fn deref_mut(&mut self) -> &mut Engine {
        self.engine.as_deref_mut().expect("the loop takes the engine back before it works")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lent.over.store(true, Ordering::SeqCst);
        self.take_back();
        self.lent.wake_all();
    }
}

impl Lent {
    /// Runs `read` on the engine as soon as the loop lends it; `None` if it does not for a while, or has ended.
    ///
    /// Other readers run at the same time. `read` must be short: the loop waits for it.
    pub fn read<R>(&self, read: impl FnOnce(&Engine) -> R) -> Option<R> {
        for _ in 0..SPINS {
            {
                let seat = self.seat.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(engine) = seat.as_deref() {
                    return Some(read(engine));
                }
            }
            std::hint::spin_loop();
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let result = self.read_after_naps(read);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn read_after_naps<R>(&self, read: impl FnOnce(&Engine) -> R) -> Option<R> {
        let mut nap = self.nap.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_late = false;
        loop {
            {
                let seat = self.seat.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(engine) = seat.as_deref() {
                    drop(nap);
                    return Some(read(engine));
                }
            }
            if is_late || self.over.load(Ordering::SeqCst) {
                return None;
            }
            let (awake, slept) = self.back.wait_timeout(nap, NAP).unwrap_or_else(PoisonError::into_inner);
            nap = awake;
            is_late = slept.timed_out();
        }
    }

    fn wake_all(&self) {
        // Taken so that no reader is between its look and its sleep.
        drop(self.nap.lock().unwrap_or_else(PoisonError::into_inner));
        self.back.notify_all();
    }
}
