//! Which configurations are in force: the committed one and those that may become so.
//!
//! With reconfiguration switched off a member has none of this: who decides is what its settings say, and every version is 0.

use std::collections::BTreeSet;

use super::quorum::{Groups, Majority, Quorum, Quorums};
use crate::failpoint::{self, Failpoint};
use crate::ids::{ServerId, Zxid};
use crate::records::membership::Membership;
use crate::records::servers::Role;

/// The configurations that a member knows.
///
/// 1. Whatever needs a quorum needs one of each of them.
/// 2. `logged` is the newest that our log proposes; it goes when the log is cut below it. When a newer one is proposed behind it,
///    it was committed: a leader proposes one only once the one before is.
/// 3. `told` is what a leader's NEWLEADER had: durable with the epoch, and replaced only by a later leader's, since the one that
///    told it may have counted us for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configs {
    /// The one that is committed.
    pub committed: Membership,
    /// What a leader made or told with its epoch, if it is not known to be committed.
    pub told: Option<Membership>,
    /// What a transaction in our log proposes, if it is not known to be committed.
    pub logged: Option<Membership>,
}

impl Configs {
    /// One that is committed, and none that may come.
    pub fn of(committed: Membership) -> Configs {
        Configs { committed, told: None, logged: None }
    }

    /// The newest that was proposed; the committed one when there is none.
    pub fn seen(&self) -> &Membership {
        [&self.told, &self.logged].into_iter().flatten().max_by_key(|one| one.version).unwrap_or(&self.committed)
    }

    /// Whether one is proposed and not committed.
    pub fn is_pending(&self) -> bool {
        self.seen().version != self.committed.version
    }

    /// What needs a quorum, and of whom.
    pub(super) fn quorums(&self) -> Quorums {
        let mut quorums = Quorums::of(quorum_of(&self.committed));
        if !failpoint::on(Failpoint::NextNotAsked) {
            quorums.next = [&self.told, &self.logged].into_iter().flatten().map(quorum_of).collect();
        }
        quorums
    }

    /// Who is no observer takes part, if only without a vote.
    pub(super) fn is_participant(&self, me: ServerId) -> bool {
        self.committed.role(me) != Some(Role::Observer)
    }

    /// This one is committed: those that are not newer are of the past.
    pub fn commit(&mut self, new: Membership) {
        let version = new.version;
        self.committed = new;
        for pending in [&mut self.told, &mut self.logged] {
            pending.take_if(|pending| pending.version <= version);
        }
    }

    /// A transaction of our history proposes it. The one before it, if it was committed by that.
    pub(super) fn propose(&mut self, new: Membership) -> Option<Membership> {
        if new.version <= self.committed.version {
            return None;
        }
        let before = self.logged.replace(new.clone()).filter(|before| before.version < new.version)?;
        self.commit(before.clone());
        self.logged = Some(new);
        Some(before)
    }

    /// A leader ends its history with it: what others told before is of the past, and it covers what that history proposed.
    pub(super) fn tell(&mut self, new: &Membership) {
        self.told = (new.version > self.committed.version).then(|| new.clone());
        self.logged.take_if(|logged| logged.version <= new.version);
    }
}

/// What a configuration decides by.
pub(super) fn quorum_of(membership: &Membership) -> Quorum {
    if membership.groups.is_empty() {
        return Quorum::Majority(Majority::new(membership.voters().collect()));
    }
    let voters: BTreeSet<ServerId> = membership.voters().collect();
    let groups = membership.groups.values();
    let voting = groups.map(|group| group.iter().copied().filter(|id| voters.contains(id)).collect());
    Quorum::Groups(Groups::new(voting, &membership.weights))
}

/// Whether these servers are a quorum of a configuration.
pub(super) fn has_quorum(membership: &Membership, present: &BTreeSet<ServerId>) -> bool {
    quorum_of(membership).is_quorum_of(|voter| present.contains(&voter))
}

/// What became of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigChange {
    /// One more was proposed.
    Proposed,
    /// It is committed, and that is durable here.
    Activated {
        /// Whether a transaction that is about to be applied says so in the tree.
        is_in_log: bool,
    },
    /// What was proposed is not any more: the log was cut.
    Forgotten,
}

/// What a member does about its configurations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Configuring {
    pub(super) configs: Configs,
    /// What is durable of them: the committed one's version, and that of what was told.
    kept: (Zxid, Option<Zxid>),
    /// What is being made durable.
    keeping: Option<(Zxid, Option<Zxid>)>,
    /// What our log proposes beyond where it is being cut, or behind the state that takes its place.
    shelved: Option<Membership>,
    /// What is being kept with a state that is installed.
    installing: Option<(Zxid, Option<Zxid>)>,
}

impl Configuring {
    /// What the file has.
    pub(super) fn new(configs: Configs) -> Configuring {
        let mut reconfig =
            Configuring { configs, kept: (Zxid::ZERO, None), keeping: None, shelved: None, installing: None };
        reconfig.kept = reconfig.to_keep();
        reconfig
    }

    fn to_keep(&self) -> (Zxid, Option<Zxid>) {
        (self.configs.committed.version, self.configs.told.as_ref().map(|told| told.version))
    }

    /// Whether all that must be durable is, or is on its way.
    pub(super) fn is_asked_for(&self) -> bool {
        self.keeping.unwrap_or(self.kept) == self.to_keep()
    }

    /// Whether the committed configuration is durable.
    pub(super) fn is_committed_kept(&self) -> bool {
        self.kept.0 == self.configs.committed.version
    }

    /// Whether everything is durable.
    pub(super) fn is_kept(&self) -> bool {
        self.kept == self.to_keep()
    }

    /// It is being made durable as it is now.
    pub(super) fn begin_keeping(&mut self) {
        self.keeping = Some(self.to_keep());
    }

    /// What was begun is durable. Whether the committed configuration is another one by that.
    pub(super) fn end_keeping(&mut self) -> bool {
        let Some(kept) = self.keeping.take() else { return false };
        std::mem::replace(&mut self.kept, kept).0 != kept.0
    }

    /// It is being made durable with a state.
    pub(super) fn begin_installing(&mut self) {
        self.installing = Some(self.to_keep());
    }

    /// The state is ours. Whether the committed configuration that is durable is another one by that.
    pub(super) fn end_installing(&mut self) -> bool {
        let Some(kept) = self.installing.take() else { return false };
        std::mem::replace(&mut self.kept, kept).0 != kept.0
    }

    /// The log is about to end at `to`: what it proposes above is put aside. Whether there was something.
    pub(super) fn shelve(&mut self, to: Zxid) -> bool {
        let above = self.configs.logged.take_if(|logged| logged.version > to);
        let is_some = above.is_some();
        if is_some {
            self.shelved = above;
        }
        is_some
    }

    /// What was put aside is gone for good, or the log is what it was.
    pub(super) fn unshelve(&mut self, is_gone: bool) -> bool {
        let Some(shelved) = self.shelved.take() else { return false };
        if !is_gone && shelved.version > self.configs.committed.version {
            self.configs.logged = Some(shelved);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(version: u32, voters: &[u64]) -> Membership {
        let lines: Vec<String> = voters.iter().map(|id| format!("server.{id}=h{id}:1:2\n")).collect();
        Membership::parse(&lines.concat()).unwrap().with_version(Zxid::new(1, version))
    }

    #[test]
    fn a_proposal_behind_another_says_that_that_one_is_committed() {
        let mut configs = Configs::of(config(0, &[1, 2, 3]));
        assert_eq!(configs.propose(config(5, &[1, 2, 3, 4])), None);
        assert!(configs.is_pending());
        assert_eq!(configs.propose(config(5, &[1, 2, 3, 4])), None, "it came twice");
        assert_eq!(configs.propose(config(9, &[4, 5, 6])), Some(config(5, &[1, 2, 3, 4])));
        assert_eq!((&configs.committed, configs.seen()), (&config(5, &[1, 2, 3, 4]), &config(9, &[4, 5, 6])));
        assert_eq!(configs.propose(config(2, &[7])), None);
        assert_eq!(configs.seen(), &config(9, &[4, 5, 6]), "what is of the past is not proposed anew");
        configs.commit(config(9, &[4, 5, 6]));
        assert!(!configs.is_pending());
    }

    #[test]
    fn each_configuration_that_may_be_in_force_is_asked() {
        let mut configs = Configs::of(config(0, &[1, 2, 3]));
        configs.tell(&config(1, &[3, 4, 5]));
        configs.propose(config(2, &[5, 6, 7]));
        let has = |present: &[u64]| {
            let present: BTreeSet<ServerId> = present.iter().copied().map(ServerId).collect();
            configs.quorums().is_quorum_of(|voter| present.contains(&voter))
        };
        assert!(has(&[2, 3, 5, 6]) && !has(&[1, 2, 5, 6]) && !has(&[2, 3, 4]) && !has(&[3, 5, 6]));
    }

    #[test]
    fn what_a_leader_tells_takes_the_place_of_what_another_told() {
        let mut configs = Configs::of(config(1, &[1, 2, 3]));
        configs.tell(&config(7, &[1]));
        configs.tell(&config(5, &[1, 2]));
        assert_eq!(configs.seen(), &config(5, &[1, 2]));
        configs.tell(&config(1, &[1, 2, 3]));
        assert!(!configs.is_pending());
        configs.propose(config(8, &[1]));
        configs.tell(&config(7, &[2]));
        assert_eq!(configs.seen(), &config(8, &[1]), "what is proposed behind it stays");
    }

    #[test]
    fn what_was_put_aside_comes_back_only_if_the_log_is_what_it_was() {
        for is_gone in [false, true] {
            let mut reconfig = Configuring::new(Configs::of(config(1, &[1, 2, 3])));
            reconfig.configs.propose(config(5, &[1]));
            assert!(!reconfig.shelve(Zxid::new(1, 5)) && reconfig.shelve(Zxid::new(1, 4)));
            assert!(!reconfig.configs.is_pending());
            assert!(reconfig.unshelve(is_gone));
            assert_eq!(reconfig.configs.is_pending(), !is_gone);
        }
    }
}
