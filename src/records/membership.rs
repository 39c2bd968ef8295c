//! The text of an ensemble's configuration: its servers, groups and weights, and its version.
//!
//! It is the data of `/zookeeper/config` and of a reconfiguration's transaction, and what servers tell each other in
//! notifications and NEWLEADER. Two configurations are compared by what they say, never as texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::OpCode;
use super::servers::{PeerAddress, Role, ServerLine, is_any_address};
use super::txn::SetDataTxn;
use crate::ids::{ServerId, Zxid};
use crate::jute::Decoder;

/// Bytes in front of a transaction's record, and where its type stands in them.
const TXN_HEADER_SIZE: usize = 32;
const TXN_OP_OFFSET: usize = 28;

/// Why a text is no configuration, or a change cannot be made. Nothing of it needs to know who is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipError {
    /// The text has more bytes than this.
    TooLong(usize),
    /// A line that is not `key=value`.
    NotAPair(String),
    /// A key that has no meaning here.
    UnknownKey(String),
    /// A number in a key or a value cannot be read.
    NotANumber(String),
    /// A key comes twice.
    Twice(String),
    /// The line of a server cannot be read.
    Server(ServerId, String),
    /// A voter is in no group or in several, or a group names a server that is not there.
    Grouping(ServerId),
    /// Nobody votes.
    NoVoters,
    /// A server that leaves is not named by a number: ZooKeeper answers this with a marshalling error.
    Leaving(String),
    /// A server that joins says not all of its three ports.
    PortMissing(ServerId),
    /// Two servers have the same address.
    SameAddress(ServerId, ServerId),
    /// Single servers can join and leave only where every voter counts the same.
    HasGroups,
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MembershipError::TooLong(max) => write!(f, "the configuration is longer than {max} bytes"),
            MembershipError::NotAPair(line) => write!(f, "{} is not key=value", line.escape_debug()),
            MembershipError::UnknownKey(key) => write!(f, "{} is no key of a configuration", key.escape_debug()),
            MembershipError::NotANumber(text) => write!(f, "{} is not a number", text.escape_debug()),
            MembershipError::Twice(key) => write!(f, "{} is there twice", key.escape_debug()),
            MembershipError::Server(id, why) => write!(f, "server.{id}: {why}"),
            MembershipError::Grouping(id) => write!(f, "server {id} is not in exactly one group, or not a server"),
            MembershipError::NoVoters => f.write_str("no server votes"),
            MembershipError::Leaving(text) => write!(f, "{} is not the number of a server", text.escape_debug()),
            MembershipError::PortMissing(id) => write!(f, "server.{id}: quorum, election and client port are needed"),
            MembershipError::SameAddress(one, other) => write!(f, "servers {one} and {other} have the same address"),
            MembershipError::HasGroups => f.write_str("with groups, the whole configuration has to be given"),
        }
    }
}

impl std::error::Error for MembershipError {}

/// One configuration of an ensemble.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Membership {
    /// The zxid of the transaction that proposed it; 0 where it comes from a file that does not say.
    pub version: Zxid,
    /// `server.N`, by id.
    pub servers: BTreeMap<ServerId, ServerLine>,
    /// `group.N`: the servers of each group of a hierarchical quorum.
    pub groups: BTreeMap<u64, Vec<ServerId>>,
    /// `weight.N`: votes of a server in its group; 1 where absent.
    pub weights: BTreeMap<ServerId, u64>,
}

impl Membership {
    /// The most bytes of a configuration's text: two of them are kept in the superblock.
    pub const TEXT_MAX: usize = 1856;

    /// Reads a text: `key=value` in each line, in any order; empty lines and comments count for nothing.
    ///
    /// # Errors
    /// [`MembershipError`]: the whole text is refused for anything in it.
    pub fn parse(text: &str) -> Result<Membership, MembershipError> {
        Membership::read(text, text.split('\n'))
    }

    /// Reads the members of a request to reconfigure: as [`Membership::parse`], with commas or newlines between the lines.
    ///
    /// # Errors
    /// [`MembershipError`]: the whole text is refused for anything in it.
    pub fn parse_members(text: &str) -> Result<Membership, MembershipError> {
        Membership::read(text, text.split(['\n', ',']))
    }

    fn read<'t>(text: &str, lines: impl Iterator<Item = &'t str>) -> Result<Membership, MembershipError> {
        if text.len() > Membership::TEXT_MAX {
            return Err(MembershipError::TooLong(Membership::TEXT_MAX));
        }
        let mut found = Membership::default();
        let mut version = None;
        for line in lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
            let (key, value) = line.split_once('=').ok_or_else(|| MembershipError::NotAPair(line.to_owned()))?;
            let (key, value) = (key.trim(), value.trim());
            let is_new = match key.split_once('.') {
                None if key == "version" => version.replace(parse_version(value)?).is_none(),
                Some(("server", id)) => {
                    let id = ServerId(number(id)?);
                    found.servers.insert(id, server(id, value)?).is_none()
                }
                Some(("group", id)) => {
                    let ids = value.split(':').map(|id| number(id).map(ServerId)).collect::<Result<Vec<_>, _>>()?;
                    found.groups.insert(number(id)?, ids).is_none()
                }
                Some(("weight", id)) => found.weights.insert(ServerId(number(id)?), number(value)?).is_none(),
                _ => return Err(MembershipError::UnknownKey(key.to_owned())),
            };
            if !is_new {
                return Err(MembershipError::Twice(key.to_owned()));
            }
        }
        found.version = version.unwrap_or_default();
        found.checked()
    }

    /// The configuration that a transaction proposes, if it is a reconfiguration.
    ///
    /// # Errors
    /// [`MembershipError`] when it is one that cannot be read.
    pub fn of_txn(txn: &[u8]) -> Result<Option<Membership>, MembershipError> {
        let op = txn.get(TXN_OP_OFFSET..TXN_HEADER_SIZE).and_then(|op| op.try_into().ok()).map(i32::from_be_bytes);
        if op != Some(OpCode::Reconfig as i32) {
            return Ok(None);
        }
        let unreadable = || MembershipError::NotAPair("a transaction".to_owned());
        let record = Decoder::new(&txn[TXN_HEADER_SIZE..]).read::<SetDataTxn<'_>>().map_err(|_| unreadable())?;
        let text = std::str::from_utf8(record.data.0.unwrap_or_default()).map_err(|_| unreadable())?;
        Membership::parse(text).map(Some)
    }

    /// What holds for every configuration, whoever made it.
    fn checked(self) -> Result<Membership, MembershipError> {
        if self.voters().next().is_none() {
            return Err(MembershipError::NoVoters);
        }
        if !self.groups.is_empty() {
            let named: Vec<ServerId> = self.groups.values().flatten().copied().collect();
            let count = |id: ServerId| named.iter().filter(|named| **named == id).count();
            let is_right = |id: &ServerId| count(*id) == 1 && self.servers.contains_key(id);
            if let Some(wrong) = self.voters().chain(named.iter().copied()).find(|id| !is_right(id)) {
                return Err(MembershipError::Grouping(wrong));
            }
        }
        if self.to_string().len() > Membership::TEXT_MAX {
            return Err(MembershipError::TooLong(Membership::TEXT_MAX));
        }
        Ok(self)
    }

    /// The same members under another version.
    pub fn with_version(&self, version: Zxid) -> Membership {
        Membership { version, ..self.clone() }
    }

    /// This configuration without `leaving` and with `joining`, both as a request has them: numbers with commas between, and
    /// `server.N=…` with commas between. The version stays.
    ///
    /// # Errors
    /// [`MembershipError`]; of these, [`MembershipError::Leaving`] has another code than the others.
    pub fn changed(&self, joining: &str, leaving: &str) -> Result<Membership, MembershipError> {
        if joining.len() > Membership::TEXT_MAX || leaving.len() > Membership::TEXT_MAX {
            return Err(MembershipError::TooLong(Membership::TEXT_MAX));
        }
        if !self.groups.is_empty() {
            return Err(MembershipError::HasGroups);
        }
        let mut new = self.clone();
        for id in leaving.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            let id = number(id).map_err(|_| MembershipError::Leaving(id.to_owned()))?;
            new.servers.remove(&ServerId(id));
            new.weights.remove(&ServerId(id));
        }
        for line in joining.split(',').map(str::trim).filter(|line| !line.is_empty()) {
            let not_a_pair = || MembershipError::NotAPair(line.to_owned());
            let (key, value) = line.split_once('=').ok_or_else(not_a_pair)?;
            let id = key.trim().strip_prefix("server.").ok_or_else(|| MembershipError::UnknownKey(key.to_owned()))?;
            let id = ServerId(number(id)?);
            let joiner = server(id, value.trim())?;
            if joiner.client.is_none() {
                return Err(MembershipError::PortMissing(id));
            }
            if let Some(other) = new.servers.values().find(|other| other.id != id && share_address(&joiner, other)) {
                return Err(MembershipError::SameAddress(id, other.id));
            }
            new.servers.insert(id, joiner);
        }
        new.checked()
    }

    /// Who votes, in order.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.values().filter(|server| server.role == Role::Participant).map(|server| server.id)
    }

    /// What `id` is here; `None` when it is not listed.
    pub fn role(&self, id: ServerId) -> Option<Role> {
        self.servers.get(&id).map(|server| server.role)
    }

    /// Whether servers, addresses, roles, groups and weights are the same, whatever the versions.
    pub fn has_same_members(&self, other: &Membership) -> bool {
        let sorted = |membership: &Membership| {
            let mut sorted = membership.with_version(Zxid::ZERO);
            for line in sorted.servers.values_mut() {
                line.addresses.sort_by(|a, b| order(a).cmp(&order(b)));
            }
            sorted.groups.values_mut().for_each(|group| group.sort_unstable());
            sorted
        };
        sorted(self) == sorted(other)
    }

    /// Whether `id` votes in both and is reached at the same place by its learners.
    pub fn votes_at_same_place(&self, other: &Membership, id: ServerId) -> bool {
        let place = |membership: &Membership| {
            let line = membership.servers.get(&id).filter(|line| line.role == Role::Participant)?;
            let mut places: Vec<_> = line.addresses.iter().map(|at| (at.host.clone(), at.quorum_port)).collect();
            places.sort_unstable();
            Some(places)
        };
        place(self).is_some_and(|here| place(other) == Some(here))
    }
}

impl fmt::Display for Membership {
    /// The text: servers, groups, weights, and the version in a line without an end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, line) in &self.servers {
            writeln!(f, "server.{id}={line}")?;
        }
        for (id, group) in &self.groups {
            let ids: Vec<String> = group.iter().map(ServerId::to_string).collect();
            writeln!(f, "group.{id}={}", ids.join(":"))?;
        }
        for (id, weight) in &self.weights {
            writeln!(f, "weight.{id}={weight}")?;
        }
        write!(f, "version={:x}", self.version.0)
    }
}

/// What a leader has to know of its ensemble before it may propose another configuration.
#[derive(Clone, Debug)]
pub struct ReconfigView {
    /// The configuration in force.
    pub committed: Membership,
    /// The newest one that was proposed; the same when none waits to be committed.
    pub seen: Membership,
    /// This server and its followers that have all of the history and are connected, with or without a vote.
    pub in_sync: BTreeSet<ServerId>,
    /// Whether such servers are a quorum of a configuration.
    pub has_quorum: fn(&Membership, &BTreeSet<ServerId>) -> bool,
}

fn order(at: &PeerAddress) -> (&str, u16, u16) {
    (&at.host, at.quorum_port, at.election_port)
}

fn number(text: &str) -> Result<u64, MembershipError> {
    let text = text.trim();
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Java's numbers are signed.
    let number = text.parse::<i64>().ok().filter(|_| is_plain).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| MembershipError::NotANumber(text.to_owned()))
}

fn parse_version(text: &str) -> Result<Zxid, MembershipError> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let version = i64::from_str_radix(text, 16).ok().filter(|_| is_plain);
    version.map(Zxid).ok_or_else(|| MembershipError::NotANumber(text.to_owned()))
}

/// The line of a server whose text says the same to every reader: a backslash begins an escape in Java's.
fn server(id: ServerId, text: &str) -> Result<ServerLine, MembershipError> {
    let wrong = |why: String| MembershipError::Server(id, why);
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '=' | ',' | '#' | '!')) {
        return Err(wrong("a character that no host name has".to_owned()));
    }
    let line = ServerLine::parse(id, text).map_err(wrong)?;
    match ServerLine::parse(id, &line.to_string()) {
        Ok(again) if again == line => Ok(line),
        _ => Err(MembershipError::Server(id, "it does not read back as itself".to_owned())),
    }
}

/// Whether two servers cannot both listen there. What stands for every address, or for this machine, tells nothing.
fn share_address(one: &ServerLine, other: &ServerLine) -> bool {
    let places = |line: &ServerLine| {
        let peers = line
            .addresses
            .iter()
            .flat_map(|at| [(at.host.clone(), at.quorum_port), (at.host.clone(), at.election_port)]);
        let client = line.client.iter().filter_map(|client| Some((client.host.clone()?, client.port)));
        let is_somewhere = |(host, _): &(String, u16)| !is_any_address(host) && !is_this_machine(host);
        peers.chain(client).filter(is_somewhere).collect::<Vec<_>>()
    };
    let others = places(other);
    places(one).iter().any(|place| others.contains(place))
}

fn is_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

#[cfg(test)]
mod tests;
