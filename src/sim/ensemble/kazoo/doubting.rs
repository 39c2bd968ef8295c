//! A client while a leader may be one no more: it wants to know whether it sees the newest state (G-04).

use super::{KazooClient, KazooStep};
use crate::ids::{ServerId, Zxid};
use crate::sim::ensemble::canon::Canon;
use crate::sim::request::SimRequest;

/// Who doubts looks again after so long at most, µs.
const STEP_US: u64 = 20_000;

/// A leader may be one no more. Its clients ask with `sync` as soon as somebody else has seen something newer.
#[derive(Clone, Copy)]
pub(in crate::sim::ensemble) struct Doubt {
    pub leader: ServerId,
    /// The epoch that it led in.
    pub epoch: u32,
    /// The time of the doubt, µs.
    pub since: u64,
    pub until: u64,
}

impl KazooClient {
    /// A leader is deposed, and does not know it. What the client waits for by itself it waits for no longer.
    pub(in crate::sim::ensemble) fn begins_to_doubt(&mut self, doubt: Doubt) {
        self.doubts = Some(doubt);
        let soon = doubt.since + 1 + self.rng.below(STEP_US);
        (self.pauses_until, self.thinks_until) = (self.pauses_until.min(soon), self.thinks_until.min(soon));
    }

    fn doubted(&self, now: u64) -> Option<Doubt> {
        self.doubts.filter(|doubt| now < doubt.until)
    }

    /// `us`, or less where it doubts.
    pub(super) fn patience_us(&self, now: u64, us: u64) -> u64 {
        if self.doubted(now).is_some() { us.min(STEP_US) } else { us }
    }

    /// What it does at the leader that it doubts in place of what it would do.
    pub(super) fn doubting_step(&mut self, now: u64, canon: &mut Canon) -> Option<KazooStep> {
        let doubt = self.doubted(now).filter(|doubt| doubt.leader == self.servers[0])?;
        if Zxid(canon.shown).epoch() <= doubt.epoch || self.is_quiet {
            return Some(KazooStep::Nothing);
        }
        let asked_before = |asked: &super::KazooRequest| asked.sent_at < doubt.since;
        if self.asked.iter().any(|asked| asked_before(asked) && asked.request != SimRequest::Ping) {
            // A write that nobody commits any more is in front of whatever it asks. It comes again over another connection.
            self.lost(now);
            self.servers.rotate_right(1);
            return Some(KazooStep::HangUp);
        }
        Some(match self.waiting() {
            0 => KazooStep::Send(self.ask(SimRequest::Sync("/t0".to_owned()), now, canon)),
            _ => KazooStep::Nothing,
        })
    }
}
