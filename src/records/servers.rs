//! `server.N` lines: where a server is reached, and whether it votes. The one grammar of configuration files, of
//! `/zookeeper/config` and of what servers tell each other.

use std::fmt;

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
    /// Reads `participant` or `observer`, in any case.
    pub fn parse(text: &str) -> Option<Role> {
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress {
    /// Name or address, without the brackets of IPv6; `None` is every address.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
}

/// `server.N=host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`.
///
/// [`Config`](crate::Config) has an example.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// What is wrong, as text.
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
pub fn is_any_address(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "*")
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
}
