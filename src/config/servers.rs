//! The ensemble's part of a configuration: server lines, groups, weights and the limits between servers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ids::ServerId;
pub use crate::records::servers::{ClientAddress, PeerAddress, Role, ServerLine};

/// What only matters in an ensemble, as read. A standalone server uses none of it.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsembleSettings {
    /// `server.N`, by id.
    pub servers: BTreeMap<ServerId, ServerLine>,
    /// `group.N`: the servers of each group of a hierarchical quorum.
    pub groups: BTreeMap<u64, Vec<ServerId>>,
    /// `weight.N`: votes of a server in its group; 1 where absent.
    pub weights: BTreeMap<ServerId, u64>,
    /// `peerType`; the role in the server line wins over it.
    pub peer_type: Role,
    /// `initLimit`: ticks for a follower to connect and sync.
    pub init_limit: Option<u64>,
    /// `syncLimit`: ticks a follower may lag.
    pub sync_limit: Option<u64>,
    /// `connectToLearnerMasterLimit`: ticks; `initLimit` where absent.
    pub connect_to_learner_master_limit: Option<u64>,
    /// `standaloneEnabled`: a single server line makes a standalone server.
    pub standalone_enabled: bool,
    /// `localSessionsEnabled`: sessions begin as ones that only their server knows.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`: such a session becomes one of all servers when it wants an ephemeral.
    pub local_sessions_upgrading: bool,
    /// `dynamicConfigFile`: where the server lines live.
    pub dynamic_config_file: Option<PathBuf>,
    /// `version` of the dynamic configuration: the zxid that proposed it.
    pub version: Option<i64>,
    /// `cnxTimeout`: time for a connection to another server, ms.
    pub cnx_timeout_ms: u64,
    /// `quorumCnxnTimeoutMs`: time for the first message of another server, ms; `syncLimit` ticks where absent.
    pub quorum_cnxn_timeout_ms: Option<u64>,
    /// `quorumListenOnAllIPs`: listen for servers on every address of the machine.
    pub listen_on_all: bool,
    /// `electionPortBindRetry`: tries to bind a port for other servers; 0 is without end.
    pub bind_tries: u32,
    /// `db.autocreate`: whether a server with a new file votes: at once, once a leader has filled it, or, where absent, once
    /// every other voter was heard.
    pub db_autocreate: Option<bool>,
    /// Every other key that only matters in an ensemble, by name.
    pub others: BTreeMap<String, String>,
}

impl Default for EnsembleSettings {
    fn default() -> EnsembleSettings {
        EnsembleSettings {
            servers: BTreeMap::new(),
            groups: BTreeMap::new(),
            weights: BTreeMap::new(),
            peer_type: Role::Participant,
            init_limit: None,
            sync_limit: None,
            connect_to_learner_master_limit: None,
            standalone_enabled: true,
            local_sessions: false,
            local_sessions_upgrading: false,
            dynamic_config_file: None,
            version: None,
            cnx_timeout_ms: 5000,
            quorum_cnxn_timeout_ms: None,
            listen_on_all: false,
            bind_tries: 3,
            db_autocreate: None,
            others: BTreeMap::new(),
        }
    }
}

impl EnsembleSettings {
    /// How many servers have this role.
    ///
    /// [`Config`](crate::Config) has an example.
    pub fn count(&self, role: Role) -> usize {
        self.servers.values().filter(|server| server.role == role).count()
    }

    /// Whether these lines ask for a standalone server: none at all, or one participant where that is enabled.
    ///
    /// [`Config`](crate::Config) has an example.
    pub fn is_standalone(&self) -> bool {
        self.servers.is_empty()
            || (self.standalone_enabled && self.servers.len() == 1 && self.count(Role::Participant) == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_participant_is_standalone() {
        let mut ensemble = EnsembleSettings::default();
        assert!(ensemble.is_standalone());
        ensemble.servers.insert(ServerId(1), ServerLine::parse(ServerId(1), "a:1:2").unwrap());
        assert!(ensemble.is_standalone());
        ensemble.standalone_enabled = false;
        assert!(!ensemble.is_standalone());
        ensemble.standalone_enabled = true;
        ensemble.servers.insert(ServerId(2), ServerLine::parse(ServerId(2), "b:1:2:observer").unwrap());
        assert!(!ensemble.is_standalone());
    }
}
