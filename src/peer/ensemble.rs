//! What a configuration means to the parts of a member: who votes, where everybody listens, how long things may take.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::ballots::ElectionSettings;
use super::place::HostPort;
use super::quorum_links::QuorumSettings;
use crate::Error;
use crate::config::{Config, PeerAddress, Role, ServerLine};
use crate::four_letter::ConfMembership;
use crate::ids::{ServerId, Zxid};
use crate::records::membership::Membership;
use crate::zab::{Configs, Groups, Majority, Quorum, Quorums, ZabSettings, election_wait_max_ms};

/// Where servers listen.
pub type Places = BTreeMap<ServerId, Vec<HostPort>>;

/// What [`Zab`](crate::zab::Zab) is set up with.
///
/// # Errors
/// [`Error::Config`] when there is no line for this server, or a limit is missing: [`Config::load`] refuses such a
/// configuration, but not every configuration was loaded.
pub fn zab_settings(config: &Config, reconfig: Option<Configs>) -> Result<ZabSettings, Error> {
    let line = own_line(config)?;
    let limit = |name: &str, value: Option<u64>| {
        value.ok_or_else(|| Error::Config(format!("{name} is needed beside several server lines")))
    };
    Ok(ZabSettings {
        me: line.id,
        is_participant: line.role == Role::Participant,
        quorums: Quorums::of(quorum(config)),
        config: text(config).into(),
        tick_ms: config.tick_time_ms,
        init_limit: limit("initLimit", config.ensemble.init_limit)?,
        sync_limit: limit("syncLimit", config.ensemble.sync_limit)?,
        reconfig,
        passwords: config.session_passwords,
    })
}

/// What the election port is set up with.
///
/// # Errors
/// As [`zab_settings`].
pub fn election_settings(config: &Config) -> Result<ElectionSettings, Error> {
    let line = own_line(config)?;
    let port = |address: &PeerAddress| address.election_port;
    Ok(ElectionSettings {
        me: line.id,
        listen: listen(config, line, port),
        announced: places(line, port),
        peers: others(config, line.id, port),
        bind_tries: config.ensemble.bind_tries,
        dial_ms: config.ensemble.cnx_timeout_ms,
        initial_ms: first_ms(config),
        // Members that have nothing new to say repeat themselves every second, or every two ticks.
        silence_ms: config.ensemble.cnx_timeout_ms.max(2 * election_wait_max_ms(config.tick_time_ms)),
        takes_strangers: config.reconfig_enabled,
    })
}

/// What the quorum port is set up with.
///
/// # Errors
/// As [`zab_settings`].
pub fn quorum_settings(config: &Config) -> Result<QuorumSettings, Error> {
    let line = own_line(config)?;
    let port = |address: &PeerAddress| address.quorum_port;
    Ok(QuorumSettings {
        me: line.id,
        listen: listen(config, line, port),
        peers: others(config, line.id, port),
        bind_tries: config.ensemble.bind_tries,
        dial_ms: config.ensemble.cnx_timeout_ms.min(sync_ms(config)),
        first_ms: first_ms(config),
        takes_strangers: config.reconfig_enabled,
    })
}

fn own_line(config: &Config) -> Result<&ServerLine, Error> {
    let me = config.server_id;
    let missing = || Error::Config(format!("this server is number {me}, and there is no line server.{me}"));
    config.ensemble.servers.get(&me).ok_or_else(missing)
}

fn quorum(config: &Config) -> Quorum {
    let ensemble = &config.ensemble;
    let votes = |id: &ServerId| ensemble.servers.get(id).is_some_and(|line| line.role == Role::Participant);
    if ensemble.groups.is_empty() {
        return Quorum::Majority(Majority::new(ensemble.servers.keys().copied().filter(votes).collect()));
    }
    let voters = |servers: &Vec<ServerId>| servers.iter().copied().filter(votes).collect();
    Quorum::Groups(Groups::new(ensemble.groups.values().map(voters), &ensemble.weights))
}

/// Who the members are, as the configuration says.
pub fn members(config: &Config) -> Membership {
    let ensemble = &config.ensemble;
    Membership {
        version: Zxid(ensemble.version.unwrap_or(0)),
        servers: ensemble.servers.clone(),
        groups: ensemble.groups.clone(),
        weights: ensemble.weights.clone(),
    }
}

/// Puts these members into the configuration; where the own line says where clients connect, that counts. A server that is not
/// listed any more keeps its own line: it is where it was.
pub fn adopt(config: &mut Config, members: &Membership) {
    let me = config.server_id;
    let own = config.ensemble.servers.get(&me).cloned();
    config.ensemble.servers.clone_from(&members.servers);
    config.ensemble.groups.clone_from(&members.groups);
    config.ensemble.weights.clone_from(&members.weights);
    config.ensemble.version = Some(members.version.0);
    match members.servers.get(&me).map(|line| &line.client) {
        Some(Some(client)) => {
            config.client_port = client.port;
            config.client_hosts = client.host.clone().into_iter().collect();
        }
        Some(None) => {}
        None => config.ensemble.servers.extend(own.map(|line| (me, line))),
    }
}

/// Where the other members are reached, for elections and by learners: where the newest configuration says, and, until that is in
/// force, where they were.
pub fn others_of(configs: &Configs, me: ServerId) -> (Places, Places) {
    // The newest first.
    let pending = [&configs.logged, &configs.told];
    let all: Vec<&Membership> = pending.into_iter().flatten().chain([&configs.committed]).collect();
    let at = |port: fn(&PeerAddress) -> u16| {
        let mut found = Places::new();
        for line in all.iter().flat_map(|members| members.servers.values()).filter(|line| line.id != me) {
            let known = found.entry(line.id).or_default();
            for place in places(line, port) {
                if !known.contains(&place) {
                    known.push(place);
                }
            }
        }
        found
    };
    (at(|address| address.election_port), at(|address| address.quorum_port))
}

/// Whether the others can elect a leader without this server, as far as the configuration goes.
pub fn has_other_voters(config: &Config) -> bool {
    let quorums = quorum(config);
    quorums.voters().into_iter().any(|voter| voter != config.server_id && quorums.weight(voter) > 0)
}

/// What `conf` tells of the ensemble; `None` for a server that is alone. `committed`: the configuration in force, where that can
/// change.
pub fn conf_members(config: &Config, committed: Option<&Membership>) -> Option<ConfMembership> {
    let line = own_line(config).ok().filter(|_| !config.ensemble.is_standalone())?;
    let address = line.addresses.first()?;
    Some(ConfMembership {
        init_limit: config.ensemble.init_limit.unwrap_or(0),
        sync_limit: config.ensemble.sync_limit.unwrap_or(0),
        election_port: address.election_port,
        quorum_port: address.quorum_port,
        observer: line.role == Role::Observer,
        text: committed.map_or_else(|| text(config), Membership::to_string),
    })
}

/// The configuration as servers tell it to each other, and as znode `/zookeeper/config` holds it.
pub fn text(config: &Config) -> String {
    let ensemble = &config.ensemble;
    let mut text = String::new();
    // Writing into a text does not fail.
    for (id, line) in &ensemble.servers {
        let _ = writeln!(text, "server.{id}={line}");
    }
    for (id, servers) in &ensemble.groups {
        let servers: Vec<String> = servers.iter().map(ServerId::to_string).collect();
        let _ = writeln!(text, "group.{id}={}", servers.join(":"));
    }
    if !ensemble.groups.is_empty() {
        for id in ensemble.servers.keys() {
            let _ = writeln!(text, "weight.{id}={}", ensemble.weights.get(id).copied().unwrap_or(1));
        }
    }
    let _ = write!(text, "version={:x}", ensemble.version.unwrap_or(0));
    text
}

fn sync_ms(config: &Config) -> u64 {
    config.tick_time_ms.saturating_mul(config.ensemble.sync_limit.unwrap_or(1)).max(1)
}

fn first_ms(config: &Config) -> u64 {
    config.ensemble.quorum_cnxn_timeout_ms.unwrap_or_else(|| sync_ms(config))
}

fn places(line: &ServerLine, port: impl Fn(&PeerAddress) -> u16) -> Vec<HostPort> {
    line.addresses.iter().map(|address| HostPort { host: address.host.clone(), port: port(address) }).collect()
}

fn listen(config: &Config, line: &ServerLine, port: impl Fn(&PeerAddress) -> u16) -> Vec<HostPort> {
    let mut places = places(line, port);
    if config.ensemble.listen_on_all {
        for place in &mut places {
            "*".clone_into(&mut place.host);
        }
    }
    places
}

fn others(config: &Config, me: ServerId, port: impl Fn(&PeerAddress) -> u16) -> BTreeMap<ServerId, Vec<HostPort>> {
    let lines = config.ensemble.servers.values().filter(|line| line.id != me);
    lines.map(|line| (line.id, places(line, &port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zab::Quorum;

    fn config(lines: &[(&str, &str)]) -> Config {
        let lines: Vec<(String, String)> =
            lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::load(None, &lines, std::iter::empty()).unwrap().config
    }

    const COMMON: [(&str, &str); 4] =
        [("dataDir", "/nowhere/zookeeper"), ("initLimit", "10"), ("syncLimit", "5"), ("tickTime", "2000")];

    #[test]
    fn an_ensembles_lines_become_the_settings_of_all_parts() {
        let lines = [
            ("server.1", "0.0.0.0:2881:3881"),
            ("server.2", "zoo2:2882:3882|10.0.0.2:2882:3882;2181"),
            ("server.3", "[2001:db8::3]:2883:3883:observer"),
            ("zoarium.serverId", "1"),
            ("cnxTimeout", "700"),
        ];
        let config = config(&[&COMMON[..], &lines].concat());
        let zab = zab_settings(&config, None).unwrap();
        assert_eq!((zab.me, zab.is_participant, zab.init_ms(), zab.sync_ms()), (ServerId(1), true, 20_000, 10_000));
        assert_eq!(zab.quorums.voters(), [ServerId(1), ServerId(2)]);
        assert_eq!(
            &*zab.config,
            "server.1=0.0.0.0:2881:3881:participant\n\
             server.2=zoo2:2882:3882|10.0.0.2:2882:3882:participant;0.0.0.0:2181\n\
             server.3=[2001:db8::3]:2883:3883:observer\nversion=0"
        );
        let shown = |places: &[HostPort]| places.iter().map(HostPort::to_string).collect::<Vec<_>>();
        let election = election_settings(&config).unwrap();
        assert_eq!(shown(&election.listen), ["0.0.0.0:3881"]);
        assert!(election.listen[0].is_wildcard());
        assert_eq!(shown(&election.peers[&ServerId(2)]), ["zoo2:3882", "10.0.0.2:3882"]);
        assert_eq!(shown(&election.peers[&ServerId(3)]), ["[2001:db8::3]:3883"]);
        assert_eq!((election.peers.len(), election.dial_ms, election.initial_ms), (2, 700, 10_000));
        let quorum = quorum_settings(&config).unwrap();
        assert_eq!(shown(&quorum.peers[&ServerId(2)]), ["zoo2:2882", "10.0.0.2:2882"]);
        assert!(!quorum.takes_strangers && quorum.bind_tries == 3);
    }

    #[test]
    fn groups_and_weights_decide_and_are_told() {
        let lines = [
            ("server.1", "a:1:2"),
            ("server.2", "b:1:2"),
            ("server.3", "c:1:2"),
            ("server.4", "d:1:2:observer"),
            ("group.1", "1:2"),
            ("group.2", "3:4"),
            ("weight.1", "3"),
            ("zoarium.serverId", "4"),
            ("quorumListenOnAllIPs", "true"),
            ("version", "1f"),
        ];
        let config = config(&[&COMMON[..], &lines].concat());
        let zab = zab_settings(&config, None).unwrap();
        assert!(!zab.is_participant && matches!(zab.quorums.committed, Quorum::Groups(_)));
        assert_eq!(zab.quorums.voters(), [1, 2, 3].map(ServerId));
        assert!(zab.quorums.is_quorum_of(|id| [1, 3].contains(&id.0)));
        assert!(!zab.quorums.is_quorum_of(|id| [2, 3].contains(&id.0)));
        let rest = "group.1=1:2\ngroup.2=3:4\nweight.1=3\nweight.2=1\nweight.3=1\nweight.4=1\nversion=1f";
        assert!(zab.config.ends_with(rest), "{}", zab.config);
        let election = election_settings(&config).unwrap();
        assert!(election.listen[0].is_wildcard() && election.announced[0].to_string() == "d:2");
    }
}
