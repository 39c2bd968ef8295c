//! Listening sockets, and which connections are accepted.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::Peer;
use super::hearing::backlog;
use super::tokens::{LISTENERS, LISTENERS_MAX};
use crate::Error;
use crate::config::Config;
use crate::ids::Millis;
use crate::process::Owned;
use crate::store::os_text;

mod moving;

use moving::Moving;

/// Connections taken in one turn, so that a flood does not keep the loop from its work.
const ACCEPTS_PER_TURN_MAX: usize = 256;

/// Connections per address and in all.
#[derive(Default)]
pub(super) struct Counts {
    per_address: HashMap<IpAddr, usize>,
    all: usize,
}

impl Counts {
    pub(super) fn enter(&mut self, address: IpAddr) {
        *self.per_address.entry(address).or_default() += 1;
        self.all += 1;
    }

    pub(super) fn leave(&mut self, address: IpAddr) {
        self.all -= 1;
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
    }

    /// All connections.
    pub(super) fn all(&self) -> usize {
        self.all
    }

    fn of(&self, address: IpAddr) -> usize {
        self.per_address.get(&address).copied().unwrap_or(0)
    }
}

pub(super) struct ClientPorts {
    pub(super) listeners: Vec<Owned<TcpListener>>,
    pub counts: Counts,
    /// Connections refused for being too many.
    pub rejected: u64,
    connections_max: usize,
    /// A descriptor kept so that, when all others are used up, one more connection can be taken and closed.
    reserve: Option<File>,
    retry_at: Option<Millis>,
    last_complaint: Option<Millis>,
    /// Where it is to listen instead.
    moving: Option<Moving>,
}

impl ClientPorts {
    pub(super) fn bind(config: &Config, registry: &Registry) -> Result<ClientPorts, Error> {
        let addresses =
            config.client_addresses().map_err(|error| Error::Config(format!("clientPortAddress: {error}")))?;
        let mut listeners = Vec::new();
        for (index, address) in addresses.into_iter().take(LISTENERS_MAX).enumerate() {
            let mut listener = Owned::new(bind(address, backlog(config.client_port_listen_backlog))?);
            registry
                .register(&mut *listener, Token(LISTENERS + index), Interest::READABLE)
                .map_err(Error::system("watch a listening socket"))?;
            listeners.push(listener);
        }
        let connections_max = match descriptors_max() {
            Some(max) => config.connections_max().min(max / 2).max(1),
            None => config.connections_max(),
        };
        Ok(ClientPorts {
            listeners,
            counts: Counts::default(),
            rejected: 0,
            connections_max,
            reserve: File::open("/dev/null").ok(),
            retry_at: None,
            last_complaint: None,
            moving: None,
        })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Whether the pause after running out of descriptors is over.
    pub(super) fn wants_retry(&self, now: Millis) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    pub(super) fn poll_timeout(&self, now: Millis) -> Option<u64> {
        self.retry_at.into_iter().chain(self.moves_at()).min().map(|at| at.since(now))
    }

    fn complain(&mut self, now: Millis, line: &str) {
        if self.last_complaint.is_none_or(|at| now.since(at) >= 1000) {
            self.last_complaint = Some(now);
            log::warn!("{line} ({} refused so far)", self.rejected);
        }
    }

    /// All descriptors are in use: take one connection with the reserve and close it, so that its client knows.
    fn turn_one_away(&mut self) {
        if self.reserve.take().is_some() {
            for listener in &self.listeners {
                let _ = listener.accept();
            }
        }
        self.keep_reserve();
    }

    /// Another thread may have been quicker in taking the reserve's place: then the next try gets it.
    fn keep_reserve(&mut self) {
        if self.reserve.is_none() {
            self.reserve = File::open("/dev/null").ok();
        }
    }
}

pub(super) fn bind(address: SocketAddr, backlog: usize) -> Result<TcpListener, Error> {
    let listener = bind_any(address)?;
    // All clients reconnect at once after a stall, and one that finds the queue full tries again only a second later.
    if let Err(error) = crate::store::listen(listener.as_fd(), backlog) {
        log::warn!("only 128 connections may wait to be accepted on {address}: {error}");
    }
    Ok(listener)
}

fn bind_any(address: SocketAddr) -> Result<TcpListener, Error> {
    open(address).map_err(|(address, source)| refused(address, source))
}

/// Listens there; where it could not, what it tried last is told beside the error.
pub(super) fn open(address: SocketAddr) -> Result<TcpListener, (SocketAddr, std::io::Error)> {
    match TcpListener::bind(address) {
        // A machine without IPv6 has no wildcard for both.
        Err(error)
            if address.ip().is_unspecified()
                && address.is_ipv6()
                && matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::AddrNotAvailable) =>
        {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            TcpListener::bind(v4).map_err(|source| (v4, source))
        }
        other => other.map_err(|source| (address, source)),
    }
}

fn refused(address: SocketAddr, source: std::io::Error) -> Error {
    let by_us = source.kind() == ErrorKind::AddrInUse && listens_here(address.port());
    Error::Listen { address, by_us, source }
}

/// Whether a socket of this process listens on `port`, as far as the system tells.
fn listens_here(port: u16) -> bool {
    let sockets: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_str()?.to_owned()))
        .collect();
    // A line has the local address as `0100007F:0885`, the state, 0A for listening, and behind them the socket's number.
    let local = format!(":{port:04X}");
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"].iter().any(|table| {
        std::fs::read_to_string(table).unwrap_or_default().lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_ours = |number: &&str| sockets.contains(&format!("socket:[{number}]"));
            fields.get(1).is_some_and(|at| at.ends_with(&local))
                && fields.get(3) == Some(&"0A")
                && fields.get(9).is_some_and(is_ours)
        })
    })
}

/// The process's limit on descriptors, where the system tells it in a file.
pub(super) fn descriptors_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

impl Peer {
    /// Takes new connections. Returns how many, and whether there may be more.
    pub(super) fn accept(&mut self, now: Millis) -> (usize, bool) {
        self.listening.retry_at = None;
        self.listening.keep_reserve();
        let (mut left, mut accepted) = (ACCEPTS_PER_TURN_MAX, 0);
        for index in 0..self.listening.listeners.len() {
            while left > 0 {
                left -= 1;
                match self.listening.listeners[index].accept() {
                    Ok((stream, address)) => {
                        accepted += 1;
                        self.admit(Owned::new(stream), address, now);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // The client was gone before we came to it.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        self.listening.rejected += 1;
                        self.listening.complain(now, &format!("cannot accept a connection: {}", os_text(&error)));
                        self.listening.turn_one_away();
                        self.listening.retry_at = Some(now.plus(self.config.limits.accept_pause_ms));
                        return (accepted, false);
                    }
                }
            }
        }
        if left == 0 {
            self.listening.retry_at = Some(now);
        }
        (accepted, left == 0)
    }

    fn admit(&mut self, stream: Owned<TcpStream>, address: SocketAddr, now: Millis) {
        let per_address_max = self.config.max_client_cnxns;
        let listening = &mut self.listening;
        if per_address_max > 0 && listening.counts.of(address.ip()) >= per_address_max {
            listening.rejected += 1;
            let line = format!("too many connections from {}: maxClientCnxns is {per_address_max}", address.ip());
            return listening.complain(now, &line);
        }
        if listening.counts.all >= listening.connections_max {
            listening.rejected += 1;
            let line = format!("too many connections: maxCnxns is {}", listening.connections_max);
            return listening.complain(now, &line);
        }
        self.add_link(stream, address);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_wait_to_be_accepted_as_the_key_says() {
        let waiting = |told: i32| {
            let listener = bind("127.0.0.1:0".parse().unwrap(), backlog(told)).unwrap();
            let address = listener.local_addr().unwrap();
            let clients: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
            clients.iter().filter(|client| client.peer_addr().is_ok()).count()
        };
        // The system lets one more in.
        assert_eq!(waiting(4), 5);
        assert_eq!((waiting(-1), waiting(0)), (40, 40));
    }
}
