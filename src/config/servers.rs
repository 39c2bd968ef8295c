//! The ensemble's part of a configuration: server lines, groups, weights and the limits between servers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::ids::ServerId;

/// Whether a server votes.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Votes.
    #[default]
    Participant,
    /// Follows without a vote.
    Observer,
}

impl Role {
    pub(super) fn parse(text: &str) -> Option<Role> {
        match text.to_ascii_lowercase().as_str() {
            "participant" => Some(Role::Participant),
            "observer" => Some(Role::Observer),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        })
    }
}

/// One address of a server towards the other servers.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Name or address, without the brackets of IPv6; never looked up here.
    pub host: String,
    /// Where followers connect.
    pub quorum_port: u16,
    /// Where votes go.
    pub election_port: u16,
}

/// Where a server's clients connect.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// Name or address, without the brackets of IPv6; `None` is every address.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
}

/// `server.N=host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLine {
    /// N, the content of that server's `myid`.
    pub id: ServerId,
    /// Its addresses; more than one where the line has `|`.
    pub addresses: Vec<PeerAddress>,
    /// Participant when the line does not say.
    pub role: Role,
    /// Where its clients connect, if the line says.
    pub client: Option<ClientAddress>,
}

impl ServerLine {
    /// Reads the value of a `server.N` key.
    ///
    /// [`Config`](crate::Config) has an example.
    ///
    /// # Errors
    /// What is wrong, as text for [`ConfigError`](super::ConfigError).
    pub fn parse(id: ServerId, text: &str) -> Result<ServerLine, String> {
        let (peers, client) = match text.split_once(';') {
            Some((peers, client)) => (peers.trim(), Some(parse_client(client.trim())?)),
            None => (text.trim(), None),
        };
        let mut addresses = Vec::new();
        let mut role = None;
        for address in peers.split('|') {
            let parts = split_host_port(address.trim())?;
            let (host, quorum, election) = match parts.as_slice() {
                [host, quorum, election] => (host, quorum, election),
                [host, quorum, election, word] => {
                    role = Some(Role::parse(word).ok_or_else(|| format!("unknown role {word}"))?);
                    (host, quorum, election)
                }
                _ => return Err("three parts are needed between the colons".to_owned()),
            };
            addresses.push(PeerAddress {
                host: host.clone(),
                quorum_port: parse_port(quorum)?,
                election_port: parse_port(election)?,
            });
        }
        Ok(ServerLine { id, addresses, role: role.unwrap_or_default(), client })
    }
}

impl fmt::Display for ServerLine {
    /// The value as ZooKeeper writes it back: hosts unresolved, role always spelled out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.addresses.iter().enumerate() {
            let bar = if index > 0 { "|" } else { "" };
            write!(f, "{bar}{}:{}:{}", bracketed(&address.host), address.quorum_port, address.election_port)?;
        }
        write!(f, ":{}", self.role)?;
        match &self.client {
            Some(client) => write!(f, ";{}:{}", bracketed(client.host.as_deref().unwrap_or("0.0.0.0")), client.port),
            None => Ok(()),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The parts between colons, IPv6 hosts in brackets counting as one.
fn split_host_port(text: &str) -> Result<Vec<String>, String> {
    let (mut parts, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| "a [ without its ]".to_owned())?;
            let rest = rest.strip_prefix(':').ok_or_else(|| "a colon is needed after ]".to_owned())?;
            (vec![host.to_owned()], rest)
        }
        None => (Vec::new(), text),
    };
    parts.extend(rest.split(':').map(|part| part.trim().to_owned()));
    if parts[0].is_empty() { Err("the host is missing".to_owned()) } else { Ok(parts) }
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{} is not a port", text.escape_debug()))
}

fn parse_client(text: &str) -> Result<ClientAddress, String> {
    if !text.contains(':') {
        return Ok(ClientAddress { host: None, port: parse_port(text)? });
    }
    match split_host_port(text)?.as_slice() {
        [host, port] => {
            let host = (!is_any_address(host)).then(|| host.clone());
            Ok(ClientAddress { host, port: parse_port(port)? })
        }
        _ => Err("after the semicolon comes [clientHost:]clientPort".to_owned()),
    }
}

/// Whether `host` stands for every address: Java listens on IPv6 too when told `0.0.0.0`.
pub(super) fn is_any_address(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "*")
}

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

    fn check(text: &str, back: &str) {
        let line = ServerLine::parse(ServerId(1), text).unwrap();
        assert_eq!(line.to_string(), back);
        assert_eq!(ServerLine::parse(ServerId(1), back).unwrap(), line, "{back} reads back as itself");
    }

    #[test]
    fn server_lines_of_every_form_are_read_and_written_back() {
        check("zoo1:2888:3888", "zoo1:2888:3888:participant");
        check("zoo1:2888:3888:Observer", "zoo1:2888:3888:observer");
        check(" zoo1:2888:3888:participant ; 2181 ", "zoo1:2888:3888:participant;0.0.0.0:2181");
        check("zoo1:2888:3888;127.0.0.1:2181", "zoo1:2888:3888:participant;127.0.0.1:2181");
        check("[2001:db8::1]:2888:3888:observer;[::1]:2181", "[2001:db8::1]:2888:3888:observer;[::1]:2181");
        check("a:1:2|b:3:4:participant;5", "a:1:2|b:3:4:participant;0.0.0.0:5");
    }

    #[test]
    fn broken_server_lines_are_refused() {
        for text in [
            "",
            "zoo1",
            "zoo1:2888",
            "zoo1:2888:x",
            "zoo1:2888:70000",
            "zoo1:2888:3888:chief",
            "[::1:2888:3888",
            "zoo1:2888:3888;",
            "zoo1:2888:3888;a:b:c",
            ":2888:3888",
            "a:1:2:participant:9",
        ] {
            assert!(ServerLine::parse(ServerId(1), text).is_err(), "{text:?}");
        }
    }

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
