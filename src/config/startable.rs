//! What an ensemble's configuration must say before a server starts with it; single settings are not asked for all of that.

use std::collections::BTreeMap;

use super::{Config, ConfigError, Loaded, Role};
use crate::ids::{ServerId, Zxid};
use crate::records::membership::Membership;

/// What asks for protection, or for a decision, that is missing here: the key, whether its value asks for it, and why it is
/// refused.
type Refusal = (&'static str, fn(&str) -> bool, &'static str);

const REFUSED: &[Refusal] = &[
    (
        "sslQuorum",
        is_true,
        "TLS between servers is not there yet, and without it what they say to each other is in the clear",
    ),
    ("quorum.auth.enableSasl", is_true, SASL),
    ("quorum.auth.learnerRequireSasl", is_true, SASL),
    ("quorum.auth.serverRequireSasl", is_true, SASL),
    (
        "observerMasterPort",
        |value| value.parse::<i64>().is_ok_and(|port| port > 0),
        "followers serve no observers yet: observers connect to the leader; remove the line on every server",
    ),
    ("oraclePath", |value| !value.is_empty(), "no file decides for an ensemble of two; use three servers"),
];

const SASL: &str = "servers cannot authenticate to each other yet, and without that anybody could join";

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

impl Loaded {
    /// Refuses what a server cannot start with.
    ///
    /// # Errors
    /// [`ConfigError::Refused`], [`ConfigError::Conflict`].
    pub(super) fn startable(self) -> Result<Loaded, ConfigError> {
        let ensemble = &self.config.ensemble;
        if ensemble.is_standalone() {
            return Ok(self);
        }
        for (name, asks, reason) in REFUSED {
            let setting = self.settings.iter().find(|setting| setting.name == *name);
            if let Some(setting) = setting.filter(|setting| asks(setting.value.trim())) {
                return Err(ConfigError::Refused {
                    key: setting.name.clone(),
                    value: setting.value.clone(),
                    origin: setting.origin.clone(),
                    reason: (*reason).to_owned(),
                });
            }
        }
        if ensemble.count(Role::Participant) == 0 {
            return conflict("the server lines name observers only; an ensemble needs participants".to_owned());
        }
        if self.config.reconfig_enabled {
            // Every later version of it is to fit as well.
            let members = Membership {
                version: Zxid(i64::MAX),
                servers: ensemble.servers.clone(),
                groups: ensemble.groups.clone(),
                weights: ensemble.weights.clone(),
            };
            let (len, max) = (members.to_string().len(), Membership::TEXT_MAX);
            if len > max {
                return conflict(format!(
                    "the server lines make a configuration of {len} bytes; with reconfigEnabled=true {max} is the limit, since it is \
                     kept in the data file"
                ));
            }
        }
        for (name, value) in [("initLimit", ensemble.init_limit), ("syncLimit", ensemble.sync_limit)] {
            if value.is_none() {
                return conflict(format!("{name} is needed beside several server lines"));
            }
        }
        let myid = self.config.data_dir.join("myid");
        let Some(me) = self.myid else {
            return conflict(format!(
                "this server's number is missing: write it into {} or set zoarium.serverId",
                myid.display()
            ));
        };
        if !ensemble.servers.contains_key(&me) {
            let text = format!("this server is number {me} ({}, zoarium.serverId)", myid.display());
            return conflict(format!("{text}, and there is no line server.{me}"));
        }
        check_groups(&self.config)?;
        Ok(self)
    }
}

/// With groups, every participant is in exactly one.
fn check_groups(config: &Config) -> Result<(), ConfigError> {
    let ensemble = &config.ensemble;
    if ensemble.groups.is_empty() {
        return Ok(());
    }
    let mut groups: BTreeMap<ServerId, u64> = BTreeMap::new();
    for (group, servers) in &ensemble.groups {
        for server in servers {
            if let Some(other) = groups.insert(*server, *group).filter(|other| other != group) {
                return conflict(format!("server {server} is in group.{other} and in group.{group}"));
            }
        }
    }
    let participants = ensemble.servers.values().filter(|line| line.role == Role::Participant);
    match participants.map(|line| line.id).find(|id| !groups.contains_key(id)) {
        Some(id) => conflict(format!("server {id} votes and is in no group.N, although there are groups")),
        None => Ok(()),
    }
}

fn conflict<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Conflict(text))
}
