//! What the engine may do between two looks of the loop at its clock.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What may be spent before the loop looks at the clock. A small write or read costs about 10, and that takes about a
/// microsecond.
pub(super) const SLICE: usize = 16_000;

/// What was spent since the loop last looked at the clock. Atomic because other threads read the engine too, while the loop
/// does not: what their checks of rights add to it is gone when the loop begins its next piece of work.
#[derive(Default)]
pub(super) struct Spent(AtomicUsize);

impl Spent {
    /// The loop has looked at the clock.
    pub(super) fn begin(&mut self) {
        *self = Spent::default();
    }

    pub(super) fn add(&self, cost: usize) {
        self.0.store(self.cost() + cost, Ordering::Relaxed);
    }

    pub(super) fn cost(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether the slice is over.
    pub(super) fn is_over(&self) -> bool {
        self.cost() >= SLICE
    }
}
