//! Sockets that are done but for the client's goodbye.
//!
//! Closing a socket with unread input resets the connection, and then the client may lose the last reply. So our side is
//! shut, what still comes is thrown away, and the socket goes when the client closes its side or a moment has passed.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::WAKER;
use crate::ids::Millis;
use crate::process::Owned;

const LINGER_MS: u64 = 2000;
/// More than these, and the oldest go at once.
const SOCKETS_MAX: usize = 512;
const DISCARD_MAX: usize = 1 << 20;

struct Socket {
    stream: Owned<TcpStream>,
    rest: Vec<u8>,
    until: Millis,
}

/// All of them, oldest first.
#[derive(Default)]
pub(super) struct Lingering {
    sockets: Vec<Socket>,
}

impl Lingering {
    pub(super) fn add(&mut self, stream: Owned<TcpStream>, now: Millis, registry: &Registry) {
        self.add_with(stream, Vec::new(), now, registry);
    }

    /// With a rest to be sent first.
    pub(super) fn add_with(&mut self, mut stream: Owned<TcpStream>, rest: Vec<u8>, now: Millis, registry: &Registry) {
        if rest.is_empty() {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        // The waker's token: any event makes the loop turn, and the sweep looks at all of them.
        if registry.register(&mut *stream, Token(WAKER.0), interest).is_err() {
            return;
        }
        let mut socket = Socket { stream, rest, until: now.plus(LINGER_MS) };
        if !socket.is_over(now) {
            if self.sockets.len() >= SOCKETS_MAX {
                self.sockets.remove(0);
            }
            self.sockets.push(socket);
        }
    }

    /// Lets go of those that are over.
    pub(super) fn sweep(&mut self, now: Millis) {
        self.sockets.retain_mut(|socket| !socket.is_over(now));
    }

    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }
}

impl Socket {
    fn is_over(&mut self, now: Millis) -> bool {
        if now >= self.until {
            return true;
        }
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(count) if count > 0 => {
                    self.rest.drain(..count);
                    if self.rest.is_empty() {
                        let _ = self.stream.shutdown(Shutdown::Write);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                _ => return true,
            }
        }
        let mut waste = [0; 16 << 10];
        let mut discarded = 0;
        while discarded < DISCARD_MAX {
            match self.stream.read(&mut waste) {
                Ok(0) => return true,
                Ok(count) => discarded += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
        false
    }
}
