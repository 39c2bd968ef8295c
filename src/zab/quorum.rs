//! Who decides: a majority of the voters.

use crate::ids::ServerId;

/// More than half of the voters.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        count * 2 > self.voters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> Vec<ServerId> {
        ids.iter().copied().map(ServerId).collect()
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
}
