//! How soon a member comes back to a leader: not at once for ever, when one role after another ends early.

use crate::ids::{Millis, ServerId};
use crate::zab::{Leaving, RoleEnd};

/// The pause after the second role in a row that ended early, ms; it doubles with each that follows.
const PAUSE_FIRST_MS: u64 = 100;
/// The longest pause, ms.
const PAUSE_MAX_MS: u64 = 2000;
/// Who follows for so long has not failed, ms.
const STEADY_MS: u64 = 2000;

/// When the leader is dialled. An election takes a few milliseconds where the others have a leader, and what is sent to a learner
/// may be the whole state: without a pause a leader whose state cannot be read would send nothing else any more.
pub(super) struct DialPace {
    pause_max_ms: u64,
    /// Roles in a row that ended early, and not because of silence, which takes its own time.
    in_vain: u32,
    follows_since: Option<Millis>,
    ended_at: Millis,
    /// Who is dialled, and when.
    due: Option<(Millis, ServerId)>,
}

impl DialPace {
    /// A learner that is not greeted within `init_ms` takes its leader for dead: the pause is far shorter.
    pub(super) fn new(init_ms: u64) -> DialPace {
        let pause_max_ms = PAUSE_MAX_MS.min(init_ms / 4);
        DialPace { pause_max_ms, in_vain: 0, follows_since: None, ended_at: Millis(0), due: None }
    }

    /// It serves clients under a leader.
    pub(super) fn follows(&mut self, now: Millis) {
        self.follows_since = Some(now);
    }

    /// A role has ended.
    pub(super) fn ended(&mut self, now: Millis, ending: &RoleEnd) {
        self.due = None;
        self.ended_at = now;
        let is_early = self.follows_since.take().is_none_or(|since| now.since(since) < STEADY_MS);
        self.in_vain = match ending {
            RoleEnd::NoQuorum
            | RoleEnd::CounterUsedUp
            | RoleEnd::Reconfigured { .. }
            | RoleEnd::LeaderLost(Leaving::Silent) => 0,
            _ if !is_early => 1,
            _ => self.in_vain.saturating_add(1),
        };
    }

    /// This leader is to be dialled: whether that is due at once.
    pub(super) fn dial(&mut self, now: Millis, to: ServerId) -> bool {
        let pause_ms = match self.in_vain {
            0 | 1 => 0,
            several => (PAUSE_FIRST_MS << (several - 2).min(8)).min(self.pause_max_ms),
        };
        let at = self.ended_at.plus(pause_ms);
        self.due = (now < at).then_some((at, to));
        self.due.is_none()
    }

    /// When [`DialPace::take_due`] has somebody.
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.due.map(|(at, _)| at)
    }

    /// Who is to be dialled now.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<ServerId> {
        self.due.take_if(|(at, _)| *at <= now).map(|(_, to)| to)
    }
}
