//! Who may vote: what a member whose file is new has to hear before its vote may count.
//!
//! What such a member acknowledged before, if it was here before, is gone with its old file. If it voted at once, it could
//! help a member that lacks an acknowledged write to lead, while those that have the write are away. So it says nothing in
//! elections, in the word that ZooKeeper has for that (a vote with the zxid −1, which its servers ignore), and waits for one of
//! two things: that a leader which the others elected without it fills its file, or that every other voter was heard. Then it
//! knows the best history that any of them has, and votes for nothing below that; so three new members begin by meeting.

use std::collections::{BTreeMap, BTreeSet};

use super::quorum::Quorums;
use super::vote::Vote;
use crate::ids::{ServerId, Zxid};

/// The zxid of who says nothing in an election.
pub(super) const SILENT: Zxid = Zxid(-1);
/// The epoch that a silent member tells whose file is new. Who has lost something tells −1, as a silent ZooKeeper does.
const NEW_EPOCH: i64 = 0;
/// So many votes on one connection, and the last one was sent while it was there: the first may be of an earlier election, because
/// servers repeat their last vote when they are connected.
const VOTES_HEARD: u32 = 2;

/// Whether a member's vote may count, as its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VotingRight {
    /// Its history is the one it was given.
    Held,
    /// Its file is new: it may once every other voter was heard, or a leader has filled the file.
    OnceAllAreHeard,
    /// Some of its history was lost, or it is not to vote before: once a leader has filled the file.
    OnceFilled,
}

/// Why a member says nothing in an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Only a leader can give it its vote.
    AwaitsLeader,
    /// These voters were not heard yet.
    AwaitsVoters(Vec<ServerId>),
    /// Every other voter was heard, and of those who look for a leader now nobody has this zxid, which one of them named.
    AwaitsHistory(Zxid),
}

/// What a member whose file is new has heard from the other voters, since its process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Newcomer {
    /// Who looks for a leader, as its newest vote says; and how many came on this connection.
    present: BTreeMap<ServerId, (Vote, u32)>,
    /// Who was heard since our process began.
    met: BTreeSet<ServerId>,
    /// The best history that was named, by epoch and zxid: what was acknowledged with our help is in it once all are met.
    floor: (i64, Zxid),
}

fn history_of(vote: &Vote) -> (i64, Zxid) {
    (vote.peer_epoch, vote.zxid)
}

impl Newcomer {
    /// Another election begins. Who was met before stays met: what we forgot was all told then.
    pub(super) fn begin(&mut self) {
        self.present.clear();
    }

    /// A voter that looks for a leader said this.
    pub(super) fn heard(&mut self, from: ServerId, vote: Vote) {
        let is_possible = (0..=i64::from(i32::MAX)).contains(&vote.peer_epoch) && vote.zxid >= Zxid::ZERO;
        // Else it has lost something that nobody knows, or it tells what no server has.
        if !is_possible && vote != silent(vote.leader, VotingRight::OnceAllAreHeard) {
            self.present.remove(&from);
            return;
        }
        if vote.zxid != SILENT {
            self.floor = self.floor.max(history_of(&vote));
        }
        let votes = self.present.get(&from).map_or(1, |(_, before)| VOTES_HEARD.min(before + 1));
        self.present.insert(from, (vote, votes));
        if votes == VOTES_HEARD {
            self.met.insert(from);
        }
    }

    /// Its connection is new or gone, or it does not look for a leader any more.
    pub(super) fn forget(&mut self, server: ServerId) {
        self.present.remove(&server);
    }

    /// Whether it was heard.
    pub(super) fn has_met(&self, server: ServerId) -> bool {
        self.met.contains(&server)
    }

    /// Who decides something and was not met yet.
    pub(super) fn missing(&self, me: ServerId, quorums: &Quorums) -> Vec<ServerId> {
        let voters = quorums.voters().into_iter();
        voters.filter(|voter| *voter != me && quorums.weight(*voter) > 0 && !self.has_met(*voter)).collect()
    }

    /// The end of the best history that was named.
    pub(super) fn named(&self) -> Zxid {
        self.floor.1
    }

    /// Whether nothing that could have been acknowledged with our help is missing in the history of who is voted for.
    pub(super) fn may_count_for(&self, vote: &Vote) -> bool {
        history_of(vote) >= self.floor
    }

    /// The best candidate among those that look for a leader and ourselves, once all are met; `None` when nobody who is there
    /// has what was heard of.
    pub(super) fn best(&self, own: Vote, quorums: &Quorums) -> Option<Vote> {
        let told = self.present.values().map(|(vote, _)| *vote).filter(|vote| vote.zxid != SILENT);
        let mut candidates: Vec<Vote> = told.chain([own]).filter(|vote| self.may_count_for(vote)).collect();
        // Others may still vote for what somebody was, or we were, before it was lost.
        let has_voice = |server: ServerId| self.present.get(&server).is_some_and(|(vote, _)| vote.zxid != SILENT);
        candidates.retain(|vote| *vote == own || has_voice(vote.leader));
        candidates.into_iter().reduce(|best, vote| if vote.beats(&best, quorums) { vote } else { best })
    }
}

/// What a member tells that has no right to vote yet.
pub(super) fn silent(me: ServerId, right: VotingRight) -> Vote {
    let peer_epoch = if right == VotingRight::OnceAllAreHeard { NEW_EPOCH } else { -1 };
    Vote { leader: me, zxid: SILENT, peer_epoch }
}
