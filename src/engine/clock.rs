//! What time it is, as the engine is told once per turn.

use crate::ids::{Millis, WallMillis};

/// The time of this turn.
#[derive(Clone, Copy)]
pub(super) struct TurnClock {
    /// Since the start.
    pub now: Millis,
    /// For the history.
    pub wall: WallMillis,
    /// Time so far in which the loop did not listen to clients: their silence in it does not count, ms.
    pub unheard_ms: u64,
}

impl TurnClock {
    pub(super) fn new() -> TurnClock {
        TurnClock { now: Millis(0), wall: WallMillis(0), unheard_ms: 0 }
    }

    /// The clock of timeouts: it stands still while the loop does not listen.
    pub(super) fn listened(&self) -> Millis {
        Millis(self.now.0.saturating_sub(self.unheard_ms))
    }

    /// The moment at which the clock of timeouts shows `listened`, if it does not stand still before.
    pub(super) fn of_listened(&self, listened: Millis) -> Millis {
        listened.plus(self.unheard_ms)
    }
}
