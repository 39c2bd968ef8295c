//! A member that is cut off from the others, for tests: nothing comes in at its quorum port, nothing goes out.

use super::output::LinkOutput;
use super::{QuorumLinks, QuorumReport, QuorumSlot};
use crate::ids::{LinkId, Millis};

impl QuorumLinks {
    /// From now on nothing comes in and nothing goes out, and nobody is told: as where a cable is pulled. Or that is over: what
    /// was sent meanwhile is lost, so connections of before end.
    pub fn cut_off(&mut self, is_cut_off: bool) {
        if !std::mem::replace(&mut self.is_cut_off, is_cut_off) || is_cut_off {
            return;
        }
        self.silenced.clear();
        self.end_all();
        // Others may have connected meanwhile.
        self.door.ready();
    }

    /// Ends all connections.
    pub fn end_all(&mut self) {
        let mut ended = Vec::new();
        for used in &mut self.slots {
            match used {
                // It has not been told of.
                Some(QuorumSlot::Link(link)) if link.until.is_some() => *used = None,
                Some(QuorumSlot::Link(link)) => ended.push(link.name),
                Some(QuorumSlot::Dialling { .. }) | None => {}
            }
        }
        for link in ended {
            self.end(link, "it is ended by this side".to_owned());
        }
    }

    /// Dials get no answer.
    pub(super) fn fail_dials(&mut self, now: Millis) {
        for used in &mut self.slots {
            if let Some(QuorumSlot::Dialling { to, dial }) = used
                && now >= dial.poll_timeout()
            {
                let why = "it does not answer".to_owned();
                self.reports.push_back(QuorumReport::DialFailed(*to, why));
                *used = None;
            }
        }
    }

    /// As [`QuorumLinks::poll_timeout`].
    pub(super) fn poll_timeout_cut_off(&self) -> Option<Millis> {
        if !self.reports.is_empty() {
            return Some(Millis(0));
        }
        let dials = self.slots.iter().flatten().filter_map(|slot| match slot {
            QuorumSlot::Dialling { dial, .. } => Some(dial.poll_timeout()),
            QuorumSlot::Link(_) => None,
        });
        dials.min()
    }

    /// What is sent is lost.
    pub(super) fn forget_output(&mut self) {
        for name in std::mem::take(&mut self.unflushed) {
            if let Some(link) = self.open(name) {
                link.is_unflushed = false;
                link.output = LinkOutput::default();
            }
        }
    }

    /// Closes a connection without the other end's knowing.
    pub(super) fn silence(&mut self, name: LinkId) {
        if self.open(name).is_some()
            && let Some(QuorumSlot::Link(link)) = self.slots[name.slot as usize].take()
        {
            self.silenced.push(link);
        }
    }
}
