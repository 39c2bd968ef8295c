//! Voters that have promised a higher epoch than that of the leader they come to.

use super::{Leader, LeaderPhase};
use crate::ids::ServerId;
use crate::zab::own::{Own, RoleEnd};

/// How far above its own epoch a leader follows a promise. Each election that came to nothing makes one; what is further away is none of
/// this ensemble's, and would use up the epochs.
const PROMISE_MAX: u32 = 1000;

impl Leader {
    /// A voter comes, and has accepted this epoch. One below it, it may not follow (S-08), so a leader whose epoch is fixed and lower
    /// would never have it back: it begins another one, above that. Where leaders of ZooKeeper's go on, such a voter is away until
    /// the next election. One whose successor is named already leaves that to it.
    pub(super) fn met_promise(&mut self, own: &mut Own, server: ServerId, accepted: u32) -> Result<(), RoleEnd> {
        let is_fixed = self.phase > LeaderPhase::Discovering;
        let is_above = accepted > self.epoch && accepted - self.epoch <= PROMISE_MAX;
        if !is_fixed || !is_above || !own.settings.quorums.is_voter(server) || self.succession.is_under_way() {
            return Ok(());
        }
        own.promised_by_others = accepted;
        Err(RoleEnd::PromisedHigher { server, epoch: accepted })
    }
}
