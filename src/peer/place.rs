//! Where a server listens for others.

use std::fmt;
use std::net::IpAddr;

/// A port of another server, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Takes `host:port` apart, IPv6 in brackets; `None` when it is nothing of the kind.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            // ZooKeeper's servers before 3.5.5 write IPv6 without brackets.
            None => host,
        };
        let is_name = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
        let port = port.parse().ok().filter(|port| *port != 0)?;
        is_name.then(|| HostPort { host: host.to_owned(), port })
    }

    /// Whether it stands for every address of a machine, and so leads nowhere.
    pub fn is_wildcard(&self) -> bool {
        self.host == "*" || self.literal().is_some_and(|address| address.is_unspecified())
    }

    /// The address, where no resolver has to be asked for it.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
