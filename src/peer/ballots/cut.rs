//! A member that is cut off from the others, for tests: nothing comes in at its election port, nothing goes out.

use super::{BallotSlot, Ballots};
use crate::ids::{Millis, ServerId};

impl Ballots {
    /// From now on nothing comes in and nothing goes out, and nobody is told: as where a cable is pulled. Or that is over: what
    /// was sent meanwhile is lost, so connections of before end and others are made.
    pub fn cut_off(&mut self, now: Millis, is_cut_off: bool) {
        if !std::mem::replace(&mut self.is_cut_off, is_cut_off) || is_cut_off {
            return;
        }
        self.end_all(now);
        // Others may have connected meanwhile.
        self.door.ready();
    }

    /// Ends all connections.
    pub fn end_all(&mut self, now: Millis) {
        let mut links: Vec<(usize, ServerId)> = Vec::new();
        let mut dials: Vec<(usize, ServerId)> = Vec::new();
        for (slot, used) in self.slots.iter_mut().enumerate() {
            match used {
                Some(BallotSlot::Link { peer, .. }) => links.push((slot, *peer)),
                Some(BallotSlot::Dialling { peer, .. }) => dials.push((slot, *peer)),
                Some(BallotSlot::New { .. }) => *used = None,
                None => {}
            }
        }
        for (slot, peer) in links {
            self.lost(now, slot, peer, "it is ended by this side", 0);
        }
        for (slot, peer) in dials {
            self.free(slot);
            self.failed(now, peer);
        }
    }
}
