//! A leader that another configuration does not have as its leader: it commits nothing more, and its learners leave.

use std::collections::BTreeMap;

use super::{Leader, LeaderPhase};
use crate::failpoint::{self, Failpoint};
use crate::ids::{Millis, ServerId, Zxid};
use crate::records::membership::{Membership, ReconfigView};
use crate::records::servers::Role;
use crate::zab::learner::LEAVE_AFTER_MS;
use crate::zab::learner_handler::LearnerHandler;
use crate::zab::own::{Own, RoleEnd};
use crate::zab::reconfig::has_quorum;

/// Reconfigurations of which a leader remembers who leads by them; learners that lag further are told a plain commit.
const REMEMBERED_MAX: usize = 256;

/// Who leads by the reconfigurations that a leader has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Succession {
    /// By each, as its commit tells learners.
    pub(super) leaders: BTreeMap<Zxid, ServerId>,
    /// Another one leads by the last, if it was said who, and until when it is waited for that all have left.
    successor: Option<(Option<ServerId>, Millis)>,
    /// When the role ends.
    leave_at: Option<Millis>,
}

impl Succession {
    /// Another one leads from now on.
    pub(super) fn begin(&mut self, leader: Option<ServerId>, until: Millis) {
        self.successor = Some((leader, until));
    }

    /// Learners that are told of the reconfiguration `zxid` are told with it who leads.
    fn note(&mut self, zxid: Zxid, leader: ServerId) {
        self.leaders.insert(zxid, leader);
        if self.leaders.len() > REMEMBERED_MAX {
            self.leaders.pop_first();
        }
    }

    /// Whether another one leads.
    pub(super) fn is_under_way(&self) -> bool {
        self.successor.is_some()
    }

    /// When to ask [`Succession::leave_if_due`].
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.leave_at.or(self.successor.map(|(_, until)| until))
    }

    /// Ends the role once everybody has left, or has had the time to.
    ///
    /// # Errors
    /// The end of the role.
    pub(super) fn leave_if_due(&mut self, now: Millis, have_left: bool) -> Result<(), RoleEnd> {
        let Some((leader, until)) = self.successor else { return Ok(()) };
        if have_left || now >= until {
            let at = *self.leave_at.get_or_insert(now.plus(LEAVE_AFTER_MS));
            if now >= at {
                return Err(RoleEnd::Reconfigured { leader });
            }
        }
        Ok(())
    }
}

impl Leader {
    /// Another configuration is committed, by the transaction at `head` or with this epoch: it is in force, and says who leads.
    pub(super) fn activate(&mut self, own: &mut Own, head: Zxid, new: Membership) {
        let Some(configs) = own.configs() else { return };
        let me = own.settings.me;
        let leader = match configs.committed.votes_at_same_place(&new, me) {
            true => me,
            false => {
                let may_lead = |learner: &&LearnerHandler| {
                    !learner.is_observer && learner.has_history && new.role(learner.server) == Some(Role::Participant)
                };
                let voters = self.learners.values().filter(may_lead);
                voters.max_by_key(|learner| (learner.acked, learner.server)).map_or(me, |learner| learner.server)
            }
        };
        let is_other = leader != me || !new.voters().any(|voter| voter == me);
        if head != Zxid::ZERO {
            self.succession.note(head, leader);
        }
        own.activate(new);
        if is_other && !failpoint::on(Failpoint::DemotedLeaderCommits) {
            // Learners that serve from now on were not told who leads, and elect somebody.
            let told = Some(leader).filter(|leader| *leader != me && head != Zxid::ZERO);
            self.succession.begin(told, own.now.plus(own.settings.sync_ms()));
        }
    }

    /// Ends the role once its learners have left for the leader that another configuration has.
    ///
    /// # Errors
    /// The end of the role.
    pub(in crate::zab) fn leave_if_due(&mut self, own: &Own) -> Result<(), RoleEnd> {
        if !self.succession.is_under_way() {
            return Ok(());
        }
        let is_applied = own.history.delivered() == own.history.committed() && own.are_configs_kept();
        let have_left = !self.learners.values().any(|learner| learner.is_up_to_date);
        self.succession.leave_if_due(own.now, is_applied && have_left)
    }

    /// Whether another configuration may be proposed.
    pub(in crate::zab) fn may_reconfigure(&self) -> bool {
        self.phase == LeaderPhase::Broadcasting && !self.succession.is_under_way()
    }

    /// What must be known before that.
    pub(in crate::zab) fn reconfig_view(&self, own: &Own) -> Option<ReconfigView> {
        let configs = own.configs()?;
        Some(ReconfigView {
            committed: configs.committed.clone(),
            seen: configs.seen().clone(),
            in_sync: self.in_sync(own).collect(),
            has_quorum,
        })
    }

    /// Whether that is what it was. It is asked in each turn, and a configuration is as long as there are servers.
    pub(in crate::zab) fn is_reconfig_view(&self, own: &Own, known: &ReconfigView) -> bool {
        let versions = own.configs().map(|configs| (configs.committed.version, configs.seen().version));
        versions == Some((known.committed.version, known.seen.version))
            && self.in_sync(own).count() == known.in_sync.len()
            && self.in_sync(own).all(|server| known.in_sync.contains(&server))
    }

    fn in_sync(&self, own: &Own) -> impl Iterator<Item = ServerId> {
        let in_sync = self.learners.values().filter(|learner| learner.is_up_to_date && !learner.is_observer);
        in_sync.map(|learner| learner.server).chain([own.settings.me])
    }
}
