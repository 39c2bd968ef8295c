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
            | RoleEnd::PromisedHigher { .. }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: ServerId = ServerId(3);

    /// How long this leader waits to be dialled.
    fn pause(pace: &mut DialPace, now: Millis) -> u64 {
        if pace.dial(now, LEADER) {
            assert_eq!(pace.poll_timeout(), None, "it was dialled");
            return 0;
        }
        let at = pace.poll_timeout().expect("it is dialled some time");
        assert_eq!(pace.take_due(Millis(at.0 - 1)), None);
        assert_eq!(pace.take_due(at), Some(LEADER));
        assert_eq!((pace.take_due(at), pace.poll_timeout()), (None, None), "it is dialled once");
        at.since(now)
    }

    /// The pauses after so many roles in a row that ended at once.
    fn pauses(init_ms: u64, roles: usize) -> Vec<u64> {
        let mut pace = DialPace::new(init_ms);
        let now = Millis(50_000);
        let after_a_role = |_| {
            pace.ended(now, &RoleEnd::LeaderLost(Leaving::RoleEnded));
            pause(&mut pace, now)
        };
        (0..roles).map(after_a_role).collect()
    }

    #[test]
    fn each_role_that_ends_at_once_doubles_the_pause_up_to_a_quarter_of_what_a_leader_is_given() {
        // L-03
        assert_eq!(pauses(60_000, 8), [0, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pauses(2000, 5), [0, 100, 200, 400, 500]);
        assert_eq!(pauses(60_000, 200)[199], 2000, "also after many");
    }

    #[test]
    fn the_pause_counts_from_the_end_of_the_role() {
        let mut pace = DialPace::new(60_000);
        (0..3).for_each(|_| pace.ended(Millis(1000), &RoleEnd::DiskFailed));
        assert_eq!(pause(&mut pace, Millis(1150)), 50);
        assert_eq!(pause(&mut pace, Millis(1200)), 0);
    }

    #[test]
    fn who_has_followed_for_two_seconds_or_was_left_in_silence_need_not_wait() {
        let ended = Millis(9000);
        let pause_after = |followed_ms: Option<u64>, ending: &RoleEnd| {
            let mut pace = DialPace::new(60_000);
            (0..3).for_each(|_| pace.ended(ended, &RoleEnd::DiskFailed));
            if let Some(ms) = followed_ms {
                pace.follows(Millis(ended.0 - ms));
            }
            pace.ended(ended, ending);
            let first = pause(&mut pace, ended);
            pace.ended(ended, &RoleEnd::DiskFailed);
            (first, pause(&mut pace, ended))
        };
        let lost = RoleEnd::LeaderLost(Leaving::RoleEnded);
        // The first pause is that after this role, the second that after one more that failed at once.
        assert_eq!(pause_after(None, &lost), (400, 800));
        assert_eq!(pause_after(Some(1999), &lost), (400, 800));
        assert_eq!(pause_after(Some(2000), &lost), (0, 100));
        for takes_time in [
            RoleEnd::NoQuorum,
            RoleEnd::CounterUsedUp,
            RoleEnd::PromisedHigher { server: ServerId(2), epoch: 9 },
            RoleEnd::Reconfigured { leader: None },
            RoleEnd::LeaderLost(Leaving::Silent),
        ] {
            assert_eq!(pause_after(None, &takes_time), (0, 0), "{takes_time:?}");
        }
    }

    #[test]
    fn a_leader_that_was_to_be_dialled_is_not_when_the_role_has_ended() {
        let mut pace = DialPace::new(60_000);
        (0..2).for_each(|_| pace.ended(Millis(1000), &RoleEnd::DiskFailed));
        assert!(!pace.dial(Millis(1000), LEADER));
        pace.ended(Millis(1010), &RoleEnd::DiskFailed);
        assert_eq!((pace.poll_timeout(), pace.take_due(Millis(9000))), (None, None));
    }
}
