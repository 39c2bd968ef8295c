//! Where servers are: the text a user writes, and which server is tried next.

use std::net::{IpAddr, Ipv6Addr};

use super::random::Random;
use crate::client::handle::chroot::Chroot;

/// ZooKeeper's client port, for hosts that name none.
const PORT: u16 = 2181;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// A name, or an address without brackets.
    pub(crate) name: String,
    /// Its client port.
    pub(crate) port: u16,
}

impl ServerAddress {
    /// The address, where no resolver has to be asked for it.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        self.name.parse().ok()
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// Takes a connection string apart: `host:port,host:port/chroot`. Ports may be left out, addresses of IPv6 stand in
/// brackets where a port follows, empty entries count for nothing.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn parse(text: &str) -> Result<(Vec<ServerAddress>, Chroot), String> {
    let (list, chroot) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let chroot = Chroot::new(chroot.trim_end()).ok_or_else(|| format!("the chroot {chroot:?} is no path"))?;
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let hosts = entries.map(host).collect::<Result<Vec<_>, _>>()?;
    if hosts.is_empty() {
        return Err(format!("{text:?} names no host"));
    }
    Ok((hosts, chroot))
}

fn host(entry: &str) -> Result<ServerAddress, String> {
    let no_host = || format!("{entry:?} is no host");
    let (name, port) = if let Some(rest) = entry.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or_else(no_host)?;
        name.parse::<Ipv6Addr>().map_err(|_| no_host())?;
        match rest {
            "" => (name, None),
            rest => (name, Some(rest.strip_prefix(':').ok_or_else(no_host)?)),
        }
    } else if entry.parse::<Ipv6Addr>().is_ok() {
        (entry, None)
    } else {
        match entry.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (entry, None),
        }
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '[' || c == ']') {
        return Err(no_host());
    }
    let port = match port {
        None => PORT,
        Some(port) => {
            let number = port.parse().ok().filter(|&number| number != 0 && !port.starts_with('+'));
            number.ok_or_else(|| format!("{port:?} is no port (in {entry:?})"))?
        }
    };
    Ok(ServerAddress { name: name.to_owned(), port })
}

/// The servers in the order in which this client tries them. Shuffled once, so that clients spread; then in turn.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    list: Vec<ServerAddress>,
    next: usize,
}

impl Hosts {
    /// At least one.
    pub(super) fn new(mut list: Vec<ServerAddress>, random: &mut Random) -> Hosts {
        assert!(!list.is_empty(), "the parser lets no empty list through");
        random.shuffle(&mut list);
        Hosts { list, next: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The next one in turn.
    pub(super) fn turn(&mut self) -> &ServerAddress {
        let at = self.next % self.list.len();
        self.next = at + 1;
        &self.list[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().0.iter().map(ServerAddress::to_string).collect()
    }

    #[test]
    fn every_way_to_write_a_host_is_read() {
        assert_eq!(names("a"), ["a:2181"]);
        assert_eq!(names("a:1,b:2 , c,"), ["a:1", "b:2", "c:2181"]);
        assert_eq!(names("127.0.0.1:65535"), ["127.0.0.1:65535"]);
        assert_eq!(names("[::1]:5,[fe80::2],::1"), ["[::1]:5", "[fe80::2]:2181", "[::1]:2181"]);
        assert_eq!(parse("[::1]:5").unwrap().0[0].literal(), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(parse("localhost").unwrap().0[0].literal(), None);
    }

    #[test]
    fn the_chroot_is_what_follows_the_hosts() {
        assert_eq!(parse("a:1,b:2/x/y").unwrap().1.as_str(), "/x/y");
        assert_eq!(parse("a:1/").unwrap().1.as_str(), "");
        assert_eq!(parse("[::1]:1/x").unwrap().1.as_str(), "/x");
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for text in [
            "", ",", "/x", "a:", "a:0", "a:65536", "a:+1", "a:x", ":1", "[::1", "[x]:1", "[::1]1", "a b:1", "a//x",
            "a/x/",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn all_hosts_have_their_turn() {
        let (list, _) = parse("a,b,c,d,e").unwrap();
        let mut hosts = Hosts::new(list, &mut Random::new(7));
        let mut round: Vec<String> = (0..5).map(|_| hosts.turn().name.clone()).collect();
        let again: Vec<String> = (0..5).map(|_| hosts.turn().name.clone()).collect();
        assert_eq!(round, again);
        round.sort();
        assert_eq!(round, ["a", "b", "c", "d", "e"]);
    }
}
