//! What happens when: one queue in virtual microseconds, its order drawn from the seed where two things are due at once.

use std::collections::BTreeMap;

use crate::ids::ServerId;
use crate::store::tests::sim_disk::Rng;

/// One thing to come. `life` is the process it was meant for: what comes for an earlier one is void.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// The next run of a stream is due at one of its ends.
    Arrival { stream: u64, to: usize },
    /// A member's loop wakes.
    Turn { member: ServerId, life: u32 },
    /// A write of a member's log has come to its end.
    WriteIsOver { member: ServerId, life: u32 },
    /// A write takes longer than the loop waits for it: the loop goes on beside it.
    LoopGoesOn { member: ServerId, life: u32 },
    /// A dial of a member's quorum port has come to something.
    Dialled { member: ServerId, life: u32, serial: u64, to: ServerId },
    /// The same at the election port.
    BallotDialled { member: ServerId, life: u32, to: ServerId },
    /// A client looks at what it could do.
    ClientActs { client: usize },
    /// The fault driver's turn.
    Fault,
    /// Somebody wants the members to be others.
    MembersChange,
    /// A member is started.
    Starts { member: ServerId, life: u32 },
    /// A process is killed.
    Dies { member: ServerId, life: u32 },
    /// A stopped process goes on.
    Resumes { member: ServerId, life: u32 },
    /// Blocked paths are open again.
    Opens { number: u64 },
    /// A leader is deposed, now that its learners have answered its ping.
    IsDeposed { leader: ServerId, seed: u64 },
    /// Those that were cut off are back, and somebody else loses its disk.
    LaggardsAreBack { laggards: Vec<ServerId>, seed: u64 },
}

/// Everything to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Virtual time, µs.
    pub now: u64,
    count: u64,
    due: BTreeMap<(u64, u64, u64), Happening>,
}

impl Agenda {
    pub(super) fn at(&mut self, due: u64, rng: &mut Rng, what: Happening) {
        self.count += 1;
        self.due.insert((due.max(self.now), rng.next(), self.count), what);
    }

    /// The next thing, unless that is later than `end`. Time moves to it.
    pub(super) fn next(&mut self, end: u64) -> Option<Happening> {
        let entry = self.due.first_entry()?;
        if entry.key().0 > end {
            return None;
        }
        self.now = entry.key().0;
        Some(entry.remove())
    }
}
