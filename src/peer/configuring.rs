//! Who the members are: at start by the file and the record in our own file, later by what the member says is in force.

use super::Peer;
use super::dynamic::DynamicFiles;
use super::{ensemble, recovery};
use crate::Error;
use crate::config::Config;
use crate::engine::{EngineSettings, ReplicatedState};
use crate::ids::Millis;
use crate::member::configs_at_start;
use crate::records::membership::Membership;
use crate::store::Store;
use crate::zab::Configs;

/// What was recovered before a port was bound.
pub(super) struct Begun {
    pub store: Store,
    pub state: ReplicatedState,
}

impl Begun {
    /// Recovers first where our own file may say that the members are others than the configuration file says: that decides where
    /// this server listens. Else ports are bound before a file is made.
    pub(super) fn if_members_change(
        config: &Config,
        settings: &EngineSettings,
        seeds: [u64; 2],
    ) -> Result<Option<Begun>, Error> {
        let begun = std::fs::metadata(config.file()).is_ok_and(|found| found.len() > 0);
        if !begun || !members_change(config) {
            return Ok(None);
        }
        let (store, state) = recovery::recover(config, settings, seeds)?;
        Ok(Some(Begun { store, state }))
    }

    /// The configurations to start with; `config` has the one in force from now on. `None` where members do not change.
    pub(super) fn configs(&self, config: &mut Config) -> Option<Configs> {
        if !members_change(config) {
            return None;
        }
        let configs = configs_at_start(&self.store, &self.state, ensemble::members(config));
        ensemble::adopt(config, &configs.committed);
        Some(configs)
    }
}

fn members_change(config: &Config) -> bool {
    config.reconfig_enabled && !config.ensemble.is_standalone()
}

impl Peer {
    /// Does what follows from a configuration that came into force: client port and files. The ports for other members are where
    /// they ought to be by now.
    pub(super) fn follow_members(&mut self, now: Millis) {
        self.writer.go_on();
        self.listening.go_on_moving(now, self.poll.registry());
        let Some(members) = self.network.as_mut().and_then(|network| network.take_activated()) else { return };
        log::info!("the members are from now on, by version {:x}: {}", members.version.0, listed(&members));
        if !members.servers.contains_key(&self.config.server_id) {
            log::warn!("this server is no member any more: it follows without a vote until it is stopped");
        }
        let before = (self.config.client_port, self.config.client_hosts.clone());
        ensemble::adopt(&mut self.config, &members);
        if before != (self.config.client_port, self.config.client_hosts.clone()) {
            self.listening.move_to(&self.config, &self.waker);
        }
        self.keep_in_files(&members);
        self.members = Some(members);
    }

    /// Writes the configuration beside the file that the first one came from, if one did.
    pub(super) fn keep_in_files(&mut self, members: &Membership) {
        let Some(static_file) = self.config.config_file.clone() else { return };
        let lines =
            members.to_string().lines().filter(|line| !line.starts_with("version=")).map(str::to_owned).collect();
        let own = members.servers.get(&self.config.server_id);
        let has_own_client_port = own.is_some_and(|line| line.client.is_some());
        self.writer.write(DynamicFiles { static_file, version: members.version.0, lines, has_own_client_port });
    }
}

fn listed(members: &Membership) -> String {
    let lines: Vec<String> = members.servers.values().map(|line| format!("server.{}={line}", line.id)).collect();
    lines.join(", ")
}
