//! A vote: a candidate, and how good its history is.

use super::quorum::Quorums;
use crate::failpoint::{self, Failpoint};
use crate::ids::{ServerId, Zxid};

/// The candidate of a member without a vote; also its zxid and epoch.
const NOBODY: i64 = i64::MIN;

/// A candidate, and how good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Who should lead.
    pub leader: ServerId,
    /// Its last zxid.
    pub zxid: Zxid,
    /// Its current epoch.
    pub peer_epoch: i64,
}

impl Vote {
    /// What a member without a vote begins with. Nothing is worse.
    pub fn nobody() -> Vote {
        Vote { leader: ServerId(NOBODY as u64), zxid: Zxid(NOBODY), peer_epoch: NOBODY }
    }

    /// Whether this candidate is the better one: by epoch first, because whoever adopted a newer leader's history beats a
    /// longer one that was abandoned.
    pub(super) fn beats(&self, other: &Vote, quorums: &Quorums) -> bool {
        let is_blind = failpoint::on(Failpoint::EpochNotCompared);
        let epoch = |vote: &Vote| if is_blind { 0 } else { vote.peer_epoch };
        let rank = |vote: &Vote| (epoch(vote), vote.zxid, vote.leader.0 as i64);
        quorums.weight(self.leader) > 0 && rank(self) > rank(other)
    }
}
