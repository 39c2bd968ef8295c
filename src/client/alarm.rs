//! What waits for something that is told elsewhere: by a watch, or by a change of the session's state.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

/// Rung from anywhere, waited for by one future.
#[derive(Default)]
pub(crate) struct Alarm {
    inner: Mutex<AlarmState>,
}

#[derive(Default)]
struct AlarmState {
    is_rung: bool,
    waker: Option<Waker>,
}

impl Alarm {
    fn lock(&self) -> MutexGuard<'_, AlarmState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits, or else the next who does.
    pub(crate) fn ring(&self) {
        let waker = {
            let mut inner = self.lock();
            inner.is_rung = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Forgets what came so far; to be called before looking at what the waiting is for.
    pub(crate) fn reset(&self) {
        self.lock().is_rung = false;
    }

    /// Waits until it rings, or has rung since the last reset.
    pub(crate) fn wait(&self) -> Ringing<'_> {
        Ringing(self)
    }
}

/// See [`Alarm::wait`].
pub(crate) struct Ringing<'a>(&'a Alarm);

impl Future for Ringing<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock();
        if inner.is_rung {
            inner.is_rung = false;
            return Poll::Ready(());
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread. `None` when the deadline came first: the future is dropped then, and whatever it
/// leaves to be undone is its own to undo.
pub(crate) fn block_on<T>(future: impl Future<Output = T>, deadline: Option<Instant>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
        match deadline {
            None => std::thread::park(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                std::thread::park_timeout(left);
            }
        }
    }
}
