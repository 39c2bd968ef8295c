//! Who decides: a majority of the voters, or of groups of them.

use std::collections::BTreeMap;

use crate::failpoint::{self, Failpoint};
use crate::ids::ServerId;

/// More than half of the voters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Majority {
    voters: Vec<ServerId>,
}

impl Majority {
    /// Of these voters, each counted once.
    pub fn new(mut voters: Vec<ServerId>) -> Majority {
        voters.sort_unstable();
        voters.dedup();
        Majority { voters }
    }

    /// Whether `present` holds a quorum. Who is no voter does not count (S-11).
    pub fn is_quorum(&self, present: &[ServerId]) -> bool {
        self.is_quorum_of(|voter| present.contains(&voter))
    }

    /// Whether those voters are a quorum for which `is_present` holds.
    pub fn is_quorum_of(&self, is_present: impl Fn(ServerId) -> bool) -> bool {
        let count = self.voters.iter().filter(|voter| is_present(**voter)).count();
        let is_enough = failpoint::on(Failpoint::HalfIsQuorum) && count * 2 == self.voters.len();
        count * 2 > self.voters.len() || is_enough
    }
}

/// A hierarchical quorum: in more than half of the groups, more than half of the group's weight.
///
/// A group whose weights are all 0 is not counted. A voter of weight 0 follows and acknowledges, and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Groups {
    /// Each group's voters with their weights; groups without weight left out.
    groups: Vec<BTreeMap<ServerId, u64>>,
}

impl Groups {
    /// From each group's voters, and the weights of those whose weight is not 1.
    pub fn new(groups: impl IntoIterator<Item = Vec<ServerId>>, weights: &BTreeMap<ServerId, u64>) -> Groups {
        let weigh = |voter: ServerId| (voter, weights.get(&voter).copied().unwrap_or(1));
        let weighed = groups.into_iter().map(|voters| voters.into_iter().map(weigh).collect::<BTreeMap<_, _>>());
        Groups { groups: weighed.filter(|group| group.values().any(|&weight| weight > 0)).collect() }
    }

    fn is_quorum_of(&self, is_present: impl Fn(ServerId) -> bool) -> bool {
        let has_most = |group: &&BTreeMap<ServerId, u64>| {
            let sum = |counts: &dyn Fn(ServerId) -> bool| {
                // Weights come from a file: their sum must not wrap.
                group.iter().filter(|(voter, _)| counts(**voter)).map(|(_, &weight)| u128::from(weight)).sum::<u128>()
            };
            sum(&|voter| is_present(voter)) * 2 > sum(&|_| true)
        };
        self.groups.iter().filter(has_most).count() * 2 > self.groups.len()
    }

    fn weight(&self, voter: ServerId) -> u64 {
        self.groups.iter().find_map(|group| group.get(&voter)).copied().unwrap_or(0)
    }
}

/// The rule by which one configuration decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Quorum {
    /// Every voter counts the same.
    Majority(Majority),
    /// `group.N` and `weight.N` are configured.
    Groups(Groups),
}

impl Quorum {
    /// Whether those voters are a quorum for which `is_present` holds.
    pub fn is_quorum_of(&self, is_present: impl Fn(ServerId) -> bool) -> bool {
        match self {
            Quorum::Majority(majority) => majority.is_quorum_of(is_present),
            Quorum::Groups(groups) => groups.is_quorum_of(is_present),
        }
    }

    /// Whether `server` votes.
    pub fn is_voter(&self, server: ServerId) -> bool {
        match self {
            Quorum::Majority(majority) => majority.voters.contains(&server),
            Quorum::Groups(groups) => groups.groups.iter().any(|group| group.contains_key(&server)),
        }
    }

    /// Who votes.
    pub fn voters(&self) -> Vec<ServerId> {
        match self {
            Quorum::Majority(majority) => majority.voters.clone(),
            Quorum::Groups(groups) => groups.groups.iter().flat_map(|group| group.keys().copied()).collect(),
        }
    }

    /// What a voter's vote weighs; a candidate of weight 0 never wins.
    pub fn weight(&self, server: ServerId) -> u64 {
        match self {
            Quorum::Majority(majority) => u64::from(majority.voters.contains(&server)),
            Quorum::Groups(groups) => groups.weight(server),
        }
    }
}

/// The configurations in force: the committed one and, while a change of it is under way, what comes.
/// What needs a quorum then needs one of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quorums {
    /// The configuration that is committed.
    pub committed: Quorum,
    /// Those that were proposed and are not known to be committed.
    pub next: Vec<Quorum>,
}

impl Quorums {
    /// One configuration alone.
    pub fn of(committed: Quorum) -> Quorums {
        Quorums { committed, next: Vec::new() }
    }

    fn all(&self) -> impl Iterator<Item = &Quorum> {
        std::iter::once(&self.committed).chain(&self.next)
    }

    /// Whether each configuration has a quorum of voters for which `is_present` holds.
    pub fn is_quorum_of(&self, is_present: impl Fn(ServerId) -> bool) -> bool {
        self.all().all(|quorum| quorum.is_quorum_of(&is_present))
    }

    /// Whether `server` votes in any of them.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.all().any(|quorum| quorum.is_voter(server))
    }

    /// Who votes in any of them, each once, in order.
    pub fn voters(&self) -> Vec<ServerId> {
        let mut voters: Vec<ServerId> = self.all().flat_map(Quorum::voters).collect();
        voters.sort_unstable();
        voters.dedup();
        voters
    }

    /// What a candidate weighs: the most that any of them gives it.
    pub fn weight(&self, server: ServerId) -> u64 {
        self.all().map(|quorum| quorum.weight(server)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> Vec<ServerId> {
        ids.iter().copied().map(ServerId).collect()
    }

    fn has(present: &[u64]) -> impl Fn(ServerId) -> bool {
        move |server| present.contains(&server.0)
    }

    #[test]
    fn half_is_not_enough_and_strangers_do_not_count() {
        // S-11
        let quorum = Majority::new(ids(&[1, 2, 3, 4]));
        assert!(!quorum.is_quorum(&ids(&[1, 2])));
        assert!(quorum.is_quorum(&ids(&[1, 2, 3])));
        assert!(!quorum.is_quorum(&ids(&[1, 2, 9])));
        assert!(!quorum.is_quorum(&ids(&[1, 1, 1])));
        assert!(Majority::new(ids(&[7])).is_quorum(&ids(&[7])));
        assert!(!Majority::new(Vec::new()).is_quorum(&[]));
    }

    #[test]
    fn groups_need_the_most_weight_in_most_groups() {
        let weights = BTreeMap::from([(ServerId(1), 3), (ServerId(9), 0)]);
        let groups = [ids(&[1, 2, 3]), ids(&[4, 5, 6]), ids(&[7, 8]), ids(&[9])];
        let quorum = Quorum::Groups(Groups::new(groups, &weights));
        for (present, expected) in [
            (&[1, 4, 5][..], true),
            (&[2, 3, 4, 5], false),
            (&[2, 3, 4, 5, 7, 8], true),
            (&[1, 7, 4], false),
            (&[1, 9], false),
            (&[], false),
        ] {
            assert_eq!(quorum.is_quorum_of(has(present)), expected, "{present:?}");
        }
        assert_eq!((quorum.weight(ServerId(1)), quorum.weight(ServerId(2)), quorum.weight(ServerId(9))), (3, 1, 0));
        let huge = BTreeMap::from([(ServerId(1), u64::MAX), (ServerId(2), u64::MAX)]);
        let quorum = Quorum::Groups(Groups::new([ids(&[1, 2])], &huge));
        assert!(!quorum.is_quorum_of(has(&[1])) && quorum.is_quorum_of(has(&[1, 2])));
    }

    #[test]
    fn while_a_configuration_changes_both_must_agree() {
        let majority = |voters| Quorum::Majority(Majority::new(ids(voters)));
        let mut quorums = Quorums::of(majority(&[1, 2, 3]));
        assert!(quorums.is_quorum_of(has(&[1, 2])));
        quorums.next.push(majority(&[3, 4, 5]));
        assert!(!quorums.is_quorum_of(has(&[1, 2])), "the new one is not asked");
        assert!(!quorums.is_quorum_of(has(&[3, 4])), "the old one is not asked");
        assert!(quorums.is_quorum_of(has(&[2, 3, 4])));
        assert_eq!(quorums.voters(), ids(&[1, 2, 3, 4, 5]));
    }
}
