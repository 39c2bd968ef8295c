//! Members that come, go, change their role and their place while everything else goes wrong, too.

use super::Cluster;
use super::agenda::Happening;
use super::canon::is_majority;
use super::member::SimProcess;
use super::swarm::line;
use crate::ids::{ServerId, Zxid};
use crate::records::membership::{Membership, ReconfigView};
use crate::records::servers::Role;
use crate::records::txn::Payload;
use crate::sim::Wrong;
use crate::store::tests::sim_disk::Rng;
use crate::zab::{ConfigChange, Configs, Standing};

/// Whether a leader hears of as many as it needs. One that another configuration does not have waits for its learners to leave.
pub(super) fn watches(configs: &Configs, id: ServerId, is_heard: impl Fn(ServerId) -> bool) -> bool {
    let is_enough = |config: &Membership| is_majority(&config.voters().collect::<Vec<_>>(), &is_heard);
    configs.committed.role(id) != Some(Role::Participant)
        || (is_enough(&configs.committed) && is_enough(configs.seen()))
}

/// Other members: one to three servers come, go, or become something else.
fn changed(rng: &mut Rng, all: &[ServerId], leader: ServerId, view: &ReconfigView) -> Option<Membership> {
    let mut new = view.committed.clone();
    for _ in 0..1 + rng.below(3) {
        let id = if rng.chance(4) { leader } else { all[rng.below(all.len() as u64) as usize] };
        let port = 100 + rng.below(3);
        match rng.below(4) {
            0 => drop(new.servers.remove(&id)),
            1 => drop(new.servers.insert(id, line(id, Role::Observer, port)?)),
            _ => drop(new.servers.insert(id, line(id, Role::Participant, port)?)),
        }
    }
    let votes = new.voters().next().is_some();
    votes.then_some(new)
}

impl Cluster {
    /// Somebody wants other members, until everything is to come to rest.
    pub(super) fn members_change(&mut self) {
        if self.healed_at.is_some() {
            return;
        }
        self.is_change_due = true;
        let due = self.agenda.now + self.swarm.ticks_us(4 + self.changes.below(30));
        self.agenda.at(due, &mut self.changes, Happening::MembersChange);
    }

    /// A leader is asked for that.
    pub(super) fn change_members(&mut self, id: ServerId, process: &mut SimProcess) {
        if !self.is_change_due || !matches!(process.standing, Standing::Leading { .. }) || self.healed_at.is_some() {
            return;
        }
        self.is_change_due = false;
        let (all, rng) = (self.swarm.members(), &mut self.changes);
        let new = process.member.engine.change_config(|view| changed(rng, &all, id, view));
        let Some(new) = new else { return self.story.count("other members are refused") };
        self.story.count("other members are proposed");
        let line = format!("{id}: proposes {}", new.to_string().replace('\n', " "));
        self.story.tell(self.agenda.now, &line);
    }

    /// Who votes by what some log proposes beyond what is committed.
    pub(super) fn proposed_voters(&self) -> Vec<Vec<ServerId>> {
        let last = self.canon.last();
        let is_open = |(zxid, _): &&(Zxid, Payload)| *zxid > last;
        let proposed = self.machines.values().flat_map(|machine| machine.log.iter().rev().take_while(is_open));
        proposed.filter_map(|(_, txn)| Membership::of_txn(txn).ok()?).map(|config| config.voters().collect()).collect()
    }

    /// A transaction is committed: if it makes another configuration, that has a quorum, too; and who leads is in the one in force.
    pub(super) fn config_committed(
        &mut self,
        id: ServerId,
        process: &SimProcess,
        zxid: Zxid,
        bytes: &Payload,
    ) -> Result<(), Wrong> {
        if self.swarm.joiners.is_empty() {
            return Ok(());
        }
        if matches!(process.standing, Standing::Leading { epoch } if epoch == zxid.epoch())
            && !self.canon.voters.contains(&id)
        {
            return Err(format!("S-11: {id} commits {zxid}, and by {} it is no voter", self.canon.config_version));
        }
        let Ok(Some(new)) = Membership::of_txn(bytes) else { return Ok(()) };
        let voters: Vec<ServerId> = new.voters().collect();
        if !is_majority(&voters, |voter| self.keeps(voter, zxid, bytes)) {
            return Err(format!("S-11: {zxid} is applied and no quorum of {voters:?}, which it makes, has it on disk"));
        }
        if !matches!(process.standing, Standing::Leading { epoch } if epoch == zxid.epoch()) {
            self.story.count("mark: a half-done change is ended by the next leader");
        }
        if !voters.contains(&id) {
            self.story.count("mark: a leader commits a configuration without itself");
        }
        Ok(())
    }

    pub(super) fn mark_change(&mut self, process: &SimProcess, change: ConfigChange) {
        self.story.count(match change {
            ConfigChange::Proposed => "mark: a configuration is to be asked, too",
            ConfigChange::Forgotten => "mark: a configuration that was proposed is cut from the log",
            ConfigChange::Activated { is_in_log: true } => "mark: a configuration is in force by its commit",
            ConfigChange::Activated { .. } if process.standing == Standing::Looking => {
                "mark: a configuration is in force as others say"
            }
            ConfigChange::Activated { .. } => "mark: a configuration is in force by an epoch",
        });
    }

    pub(super) fn mark_removed(&mut self, id: ServerId, before: Standing) {
        if matches!(before, Standing::Leading { .. }) && !self.canon.voters.contains(&id) {
            self.story.count("mark: a removed leader has stopped");
        }
    }
}
