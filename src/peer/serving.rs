//! Whether a server serves clients, for threads that wait for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, Default)]
struct ServingState {
    is_serving: bool,
    is_over: bool,
}

/// Whether clients are served: not while there is no leader.
#[derive(Default)]
pub struct Serving {
    state: Mutex<ServingState>,
    changed: Condvar,
}

impl Serving {
    fn lock(&self) -> MutexGuard<'_, ServingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, is_serving: bool) {
        self.lock().is_serving = is_serving;
        self.changed.notify_all();
    }

    /// The server has ended: no thread need wait any longer.
    pub fn end(&self) {
        *self.lock() = ServingState { is_serving: false, is_over: true };
        self.changed.notify_all();
    }

    /// Whether it does now.
    pub fn is_so(&self) -> bool {
        self.lock().is_serving
    }

    /// Waits until it does; false when it did not for so long, or has ended.
    pub fn wait(&self, limit: Duration) -> bool {
        let waits = |state: &mut ServingState| !state.is_serving && !state.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), limit, waits).unwrap_or_else(PoisonError::into_inner);
        waited.0.is_serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_goes_on_when_it_serves_and_when_it_has_ended() {
        let serving = Serving::default();
        assert!(!serving.is_so() && !serving.wait(Duration::ZERO));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| serving.wait(Duration::from_secs(60)));
            serving.set(true);
            assert!(waits.join().unwrap());
        });
        serving.set(false);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| serving.wait(Duration::from_secs(60)));
            serving.end();
            assert!(!waits.join().unwrap());
        });
    }
}
