//! Asking a server whether it has a quorum, for a session that is content without one for now.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use crate::client::handle::core::ServerAddress;
use crate::ids::Millis;
use crate::process::Owned;
use crate::resolve::LookupResult;

/// How long it may take, ms.
const LIMIT: u64 = 1000;
const QUESTION: &[u8] = b"isro";
const ANSWER: &[u8] = b"rw";

/// One question to one server.
pub(super) struct Probe {
    /// Whom it is put to.
    pub(super) host: ServerAddress,
    /// When to give up.
    pub(super) deadline: Millis,
    /// Its socket has something to say.
    pub(super) is_ready: bool,
    address: Option<SocketAddr>,
    stream: Option<Owned<TcpStream>>,
    has_asked: bool,
    heard: Vec<u8>,
}

impl Probe {
    /// Nothing happens before [`Probe::drive`].
    pub(super) fn new(host: ServerAddress, now: Millis) -> Probe {
        let address = host.literal().map(|address| SocketAddr::new(address, host.port));
        let deadline = now.plus(LIMIT);
        Probe { host, deadline, is_ready: false, address, stream: None, has_asked: false, heard: Vec::new() }
    }

    /// The name that has to be looked up first.
    pub(super) fn wants_name(&self) -> Option<&str> {
        self.address.is_none().then_some(self.host.name.as_str())
    }

    /// A name was looked up.
    pub(super) fn resolved(&mut self, name: &str, found: &LookupResult) {
        if self.wants_name() == Some(name)
            && let Ok(found) = found
        {
            self.address = found.first().map(|address| SocketAddr::new(*address, self.host.port));
        }
    }

    /// Does what can be done. The answer, once it is known.
    pub(super) fn drive(
        &mut self,
        now: Millis,
        connect: impl FnOnce(SocketAddr) -> std::io::Result<Owned<TcpStream>>,
    ) -> Option<bool> {
        if now >= self.deadline {
            return Some(false);
        }
        let stream = match (&mut self.stream, self.address) {
            (Some(stream), _) => stream,
            (None, None) => return None,
            (None, Some(address)) => {
                match connect(address) {
                    Ok(stream) => self.stream = Some(stream),
                    Err(_) => return Some(false),
                }
                return None;
            }
        };
        if !std::mem::take(&mut self.is_ready) {
            return None;
        }
        if !self.has_asked {
            match stream.write(QUESTION) {
                Ok(size) if size == QUESTION.len() => self.has_asked = true,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return None,
                _ => return Some(false),
            }
        }
        let mut room = [0; 16];
        match stream.read(&mut room) {
            Ok(0) => return Some(false),
            // An answer longer than the room is none we wait for.
            Ok(size) => self.heard.extend_from_slice(&room[..size]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(_) => return Some(false),
        }
        match ANSWER.starts_with(&self.heard) {
            true if self.heard == ANSWER => Some(true),
            true => None,
            false => Some(false),
        }
    }
}
