//! A port where other servers connect: bound as the configuration names it, tried again while that fails.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::dial::{Named, Names};
use super::listening;
use super::place::HostPort;
use crate::Error;
use crate::ids::Millis;
use crate::process::Owned;
use crate::store::os_text;

/// Pause between two tries to bind a port, ms, as in ZooKeeper.
const BIND_PAUSE_MS: u64 = 1000;
/// Pause before the next accept when descriptors have run out, ms.
const ACCEPT_PAUSE_MS: u64 = 100;
/// Connections that may wait to be accepted.
const BACKLOG: usize = 1024;
/// The number under which a door asks the resolver; no connection's number is as high.
pub(super) const DOOR: usize = usize::MAX;

/// An address that is not bound yet.
#[derive(Debug)]
struct Unbound {
    place: HostPort,
    tries: u32,
    next_at: Millis,
    is_asking: bool,
}

/// The listening sockets of one port.
#[derive(Debug)]
pub(super) struct Door {
    /// What the port is called in a sentence.
    what: &'static str,
    token: Token,
    unbound: Vec<Unbound>,
    listeners: Vec<Owned<TcpListener>>,
    /// Tries to bind; 0 is without end (`electionPortBindRetry`).
    tries_max: u32,
    may_have_more: bool,
    retry_at: Option<Millis>,
}

impl Door {
    /// At these places, each bound by the first [`Door::turn`] that can.
    pub(super) fn new(what: &'static str, token: Token, places: &[HostPort], tries_max: u32) -> Door {
        let mut places = places.to_vec();
        places.sort();
        places.dedup();
        let unbound = |place| Unbound { place, tries: 0, next_at: Millis(0), is_asking: false };
        Door {
            what,
            token,
            unbound: places.into_iter().map(unbound).collect(),
            listeners: Vec::new(),
            tries_max,
            may_have_more: false,
            retry_at: None,
        }
    }

    /// At these places after others, tried without end: see [`Door::new`].
    pub(super) fn moved(what: &'static str, token: Token, places: &[HostPort]) -> Door {
        Door::new(what, token, places, 0)
    }

    /// Where it listens by now.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        let unbound = self.unbound.iter().filter(|unbound| !unbound.is_asking).map(|unbound| unbound.next_at).min();
        match (unbound, self.retry_at) {
            (Some(bind), Some(accept)) => Some(bind.min(accept)),
            (bind, accept) => bind.or(accept),
        }
    }

    /// A connection waits at one of its sockets.
    pub(super) fn ready(&mut self) {
        self.may_have_more = true;
    }

    /// Binds what is not bound yet and due.
    ///
    /// # Errors
    /// [`Error::ListenServers`] once that was tried often enough.
    pub(super) fn turn(&mut self, now: Millis, names: &mut Names, registry: &Registry) -> Result<(), Error> {
        for mut unbound in std::mem::take(&mut self.unbound) {
            if unbound.is_asking || now < unbound.next_at {
                self.unbound.push(unbound);
                continue;
            }
            let port = unbound.place.port;
            let address = match unbound.place.literal() {
                // It takes IPv4 too.
                _ if unbound.place.is_wildcard() => Ok(vec![std::net::Ipv6Addr::UNSPECIFIED.into()]),
                Some(address) => Ok(vec![address]),
                None => match names.ask(&unbound.place.host, DOOR) {
                    None => {
                        unbound.is_asking = true;
                        self.unbound.push(unbound);
                        continue;
                    }
                    Some(found) => found,
                },
            };
            let addresses = address.map(|found| found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
            self.bind(now, unbound, addresses, registry)?;
        }
        Ok(())
    }

    /// A name was looked up.
    ///
    /// # Errors
    /// As [`Door::turn`].
    pub(super) fn named(&mut self, now: Millis, named: &Named, registry: &Registry) -> Result<(), Error> {
        for unbound in std::mem::take(&mut self.unbound) {
            if !unbound.is_asking || unbound.place.host != named.name {
                self.unbound.push(unbound);
                continue;
            }
            let port = unbound.place.port;
            let addresses = named.found.clone().map(|found| found.into_iter().map(|ip| (ip, port).into()).collect());
            self.bind(now, unbound, addresses, registry)?;
        }
        Ok(())
    }

    /// Listens on all of a place's addresses, or tries again later.
    fn bind(
        &mut self,
        now: Millis,
        mut unbound: Unbound,
        addresses: Result<Vec<SocketAddr>, String>,
        registry: &Registry,
    ) -> Result<(), Error> {
        let token = self.token;
        let listen = |addresses: Vec<SocketAddr>| -> Result<Vec<Owned<TcpListener>>, String> {
            let one = |address: SocketAddr| -> io::Result<Owned<TcpListener>> {
                let mut listener = Owned::new(listening::open(address).map_err(|(_, error)| error)?);
                // More than the system's default, so that a crowd does not keep servers waiting outside.
                let _ = crate::store::listen(listener.as_fd(), BACKLOG);
                registry.register(&mut *listener, token, Interest::READABLE)?;
                Ok(listener)
            };
            addresses
                .into_iter()
                .map(|address| one(address).map_err(|error| format!("{address}: {}", os_text(&error))))
                .collect()
        };
        let why = match addresses.and_then(listen) {
            Ok(listeners) => {
                self.listeners.extend(listeners);
                return Ok(());
            }
            Err(why) => why,
        };
        unbound.tries += 1;
        if self.tries_max > 0 && unbound.tries >= self.tries_max {
            return Err(Error::ListenServers { port: self.what, place: unbound.place.to_string(), why });
        }
        log::warn!("cannot listen at the {} {} yet: {why}", self.what, unbound.place);
        unbound.is_asking = false;
        unbound.next_at = now.plus(BIND_PAUSE_MS);
        self.unbound.push(unbound);
        Ok(())
    }

    /// The next connection that waits, if there is one.
    pub(super) fn accept(&mut self, now: Millis) -> Option<(Owned<TcpStream>, SocketAddr)> {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.may_have_more = true;
        }
        if !self.may_have_more || self.retry_at.is_some() {
            return None;
        }
        for listener in &self.listeners {
            loop {
                match listener.accept() {
                    Ok((stream, address)) => {
                        let _ = stream.set_nodelay(true);
                        return Some((Owned::new(stream), address));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                    Err(error) => {
                        log::warn!("cannot accept a connection at the {}: {}", self.what, os_text(&error));
                        self.retry_at = Some(now.plus(ACCEPT_PAUSE_MS));
                        return None;
                    }
                }
            }
        }
        self.may_have_more = false;
        None
    }

    /// Whether connections may wait that were not taken yet.
    pub(super) fn has_work(&self) -> bool {
        self.may_have_more && self.retry_at.is_none()
    }
}
