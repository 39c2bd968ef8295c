//! Voters that have promised a higher epoch than that of the leader they come to.

use super::{Leader, LeaderPhase};
use crate::ids::ServerId;
use crate::zab::own::{Own, RoleEnd};

impl Leader {
    /// A voter comes, and has accepted this epoch. One below it, it may not follow (S-08), so a leader whose epoch is fixed and lower
    /// would never have it back: it begins another one, above that. Where leaders of ZooKeeper's go on, such a voter is away until
    /// the next election.
    pub(super) fn met_promise(&mut self, own: &mut Own, server: ServerId, accepted: u32) -> Result<(), RoleEnd> {
        if !own.settings.quorums.is_voter(server) {
            return Ok(());
        }
        own.promised_by_others = own.promised_by_others.max(accepted);
        let is_fixed = self.phase > LeaderPhase::Discovering;
        if is_fixed && accepted > self.epoch {
            Err(RoleEnd::PromisedHigher { server, epoch: accepted })
        } else {
            Ok(())
        }
    }
}
