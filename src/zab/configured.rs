//! What a member does about its configurations, whatever its role: it notes what is proposed, told and committed, asks for it to be
//! kept, and lets role, voters and text follow.

use super::event::ZabAction;
use super::leader::Leader;
use super::own::{Own, RoleEnd};
use super::reconfig::{ConfigChange, Configs, Configuring};
use super::{Zab, ZabRole};
use crate::failpoint::{self, Failpoint};
use crate::ids::Zxid;
use crate::records::membership::{Membership, ReconfigView};
use crate::records::txn::Payload;

impl Zab {
    /// The configurations, where they may change.
    pub fn configs(&self) -> Option<&Configs> {
        self.own.configs()
    }

    /// What a leader has to know before another configuration may be proposed; `None` for a member that could not propose one.
    pub fn reconfig_view(&self) -> Option<ReconfigView> {
        self.may_reconfigure().and_then(|leader| leader.reconfig_view(&self.own))
    }

    /// Whether that is what it was when `known` was told.
    pub fn is_reconfig_view(&self, known: Option<&ReconfigView>) -> bool {
        match (self.may_reconfigure(), known) {
            (Some(leader), Some(known)) => leader.is_reconfig_view(&self.own, known),
            (leader, known) => leader.is_none() && known.is_none(),
        }
    }

    fn may_reconfigure(&self) -> Option<&Leader> {
        match &self.role {
            ZabRole::Leading(leader) if self.own.reconfig.is_some() && leader.may_reconfigure() => Some(leader),
            _ => None,
        }
    }
}

impl Own {
    /// The configurations, where they may change.
    pub(super) fn configs(&self) -> Option<&Configs> {
        self.reconfig.as_ref().map(|reconfig| &reconfig.configs)
    }

    /// The version of the committed configuration, as others are told.
    pub(super) fn config_version(&self) -> Zxid {
        self.configs().map_or(Zxid::ZERO, |configs| configs.committed.version)
    }

    /// Whether this member has a vote. One that is in no configuration takes part without.
    pub(super) fn votes(&self) -> bool {
        self.settings.is_participant && (self.reconfig.is_none() || self.settings.quorums.is_voter(self.settings.me))
    }

    /// Role, voters and text are what the configurations say.
    pub(super) fn follow_configs(&mut self) {
        let Some(reconfig) = &self.reconfig else { return };
        let configs = &reconfig.configs;
        self.settings.quorums = configs.quorums();
        self.settings.is_participant = configs.is_participant(self.settings.me);
        self.settings.config = configs.committed.to_string().into();
    }

    fn changed(&mut self, change: ConfigChange) {
        self.follow_configs();
        if let Some(reconfig) = &self.reconfig {
            let configs = Box::new(reconfig.configs.clone());
            self.act(ZabAction::Configured { configs, change });
        }
        self.keep_on();
    }

    /// A transaction has come into our history, which may propose another configuration. From then on that is asked, too.
    ///
    /// # Errors
    /// It cannot be read, or has another version than it ought to.
    pub(super) fn note_txn(&mut self, zxid: Zxid, txn: &Payload) -> Result<(), RoleEnd> {
        let Some(reconfig) = &mut self.reconfig else { return Ok(()) };
        let new = match Membership::of_txn(txn) {
            Ok(None) => return Ok(()),
            Ok(Some(new)) if new.version == zxid => new,
            _ => return Err(RoleEnd::LeaderBroke("a configuration that cannot be read")),
        };
        if new.version > reconfig.configs.committed.version {
            reconfig.configs.propose(new);
            self.changed(ConfigChange::Proposed);
        }
        Ok(())
    }

    /// What was proposed by the transaction `zxid`, or told with that version, and is not committed yet.
    pub(super) fn proposed_at(&self, zxid: Zxid) -> Option<Membership> {
        let configs = self.configs()?;
        [&configs.logged, &configs.told].into_iter().flatten().find(|one| one.version == zxid).cloned()
    }

    /// The newest that was proposed and is not committed.
    pub(super) fn pending(&self) -> Option<Membership> {
        self.configs().filter(|configs| configs.is_pending()).map(|configs| configs.seen().clone())
    }

    /// A new leader's first configuration gets the version of its epoch, so that it wins over what a joiner's file says.
    pub(super) fn found_config(&mut self, epoch_start: Zxid) {
        let is_first =
            self.configs().is_some_and(|configs| configs.committed.version == Zxid::ZERO && !configs.is_pending());
        if is_first && let Some(reconfig) = &mut self.reconfig {
            let first = reconfig.configs.committed.with_version(epoch_start);
            reconfig.configs.tell(&first);
            self.follow_configs();
        }
    }

    /// What NEWLEADER carries. `tells_pending`: also what is only proposed. An observer is not sent proposals, and takes what it is
    /// told here for committed once it serves.
    pub(super) fn newleader_config(&self, tells_pending: bool) -> Payload {
        match self.configs() {
            Some(configs) if tells_pending => configs.seen().to_string().as_bytes().into(),
            Some(configs) => configs.committed.to_string().as_bytes().into(),
            None => self.settings.config.as_bytes().into(),
        }
    }

    /// A leader has ended its history with this configuration. It is kept with the leader's epoch.
    pub(super) fn told(&mut self, told: &Membership) {
        let Some(reconfig) = &mut self.reconfig else { return };
        if told.version < reconfig.configs.committed.version {
            return;
        }
        reconfig.configs.tell(told);
        self.follow_configs();
        if let Some(reconfig) = &self.reconfig
            && reconfig.configs.is_pending()
        {
            let configs = Box::new(reconfig.configs.clone());
            self.act(ZabAction::Configured { configs, change: ConfigChange::Proposed });
        }
    }

    /// This configuration is committed. What depends on it being durable waits for that.
    pub(super) fn activate(&mut self, new: Membership) {
        if let Some(reconfig) = &mut self.reconfig {
            reconfig.configs.commit(new);
            self.follow_configs();
            self.keep_on();
        }
    }

    /// What was being kept is durable.
    pub(super) fn configs_kept(&mut self) {
        if self.reconfig.as_mut().is_some_and(|reconfig| reconfig.end_keeping()) {
            self.tell_activated();
        }
    }

    /// A state was installed, and the configurations with it.
    pub(super) fn configs_installed(&mut self) {
        if self.reconfig.as_mut().is_some_and(|reconfig| reconfig.end_installing()) {
            self.tell_activated();
        }
        self.unshelve(true);
    }

    fn tell_activated(&mut self) {
        let version = self.config_version();
        let is_ahead = version.counter() > 0 && version > self.history.delivered();
        let is_in_log = is_ahead && version <= self.history.last();
        self.changed(ConfigChange::Activated { is_in_log });
    }

    /// What Install keeps beside the record.
    pub(super) fn configs_to_install(&mut self) -> Option<Box<Configs>> {
        let reconfig = self.reconfig.as_mut()?;
        reconfig.begin_installing();
        Some(Box::new(reconfig.configs.clone()))
    }

    /// Whether nothing may be appended yet: by what comes next, an older configuration is known to be committed, and the log alone
    /// will not say so.
    pub(super) fn awaits_config(&self) -> bool {
        self.reconfig.as_ref().is_some_and(|reconfig| !reconfig.is_committed_kept())
    }

    /// Whether the configurations are durable as they are.
    pub(super) fn are_configs_kept(&self) -> bool {
        self.reconfig.as_ref().is_none_or(|reconfig| reconfig.is_kept())
    }

    /// Up to where it may be applied with answers. Whoever asked for another configuration is answered once that is in force even
    /// if this member loses its power: it may stop the others then.
    pub(super) fn answerable(&self) -> Option<Zxid> {
        let upto = self.history.deliverable()?;
        if !self.awaits_config() {
            return Some(upto);
        }
        let before = self.history.last_upto(Zxid(self.config_version().0 - 1))?;
        Some(upto.min(before)).filter(|upto| *upto > self.history.delivered())
    }

    /// The log is about to end at `to`, or a state to take its place.
    pub(super) fn shelve(&mut self, to: Zxid) {
        if self.reconfig.as_mut().is_some_and(|reconfig| reconfig.shelve(to)) {
            self.follow_configs();
        }
    }

    /// That came to its end: whether what was put aside is gone for good, or the log is what it was.
    pub(super) fn unshelve(&mut self, is_gone: bool) {
        if self.reconfig.as_mut().is_some_and(|reconfig| reconfig.unshelve(is_gone)) {
            match is_gone {
                true => self.changed(ConfigChange::Forgotten),
                false => self.follow_configs(),
            }
        }
    }

    /// Another server that looks for a leader knows a newer configuration than we do, and it is committed. Whether the members are
    /// others by that.
    pub(super) fn hear_config(&mut self, text: &str) -> bool {
        let Some(configs) = self.configs() else { return false };
        if *text == *self.settings.config || failpoint::on(Failpoint::GossipNotHeard) {
            return false;
        }
        let Ok(heard) = Membership::parse(text) else { return false };
        if heard.version <= configs.committed.version {
            return false;
        }
        let is_other = !heard.has_same_members(&configs.committed) || configs.is_pending();
        log::info!("the configuration {} is in force, as others say", heard.version);
        self.activate(heard);
        is_other
    }
}

/// The configurations of a member that begins.
pub(super) fn begin(configs: Option<Configs>) -> Option<Box<Configuring>> {
    configs.map(|configs| Box::new(Configuring::new(configs)))
}
